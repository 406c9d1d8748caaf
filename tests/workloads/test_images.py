"""Photographs and their thumbnails: no message leads out of the root, and a crash leaves no half of one."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamlab.errors import MissingError, UsageError
from streamlab.queue.errors import PermanentError
from streamlab.workloads import ResizeImages
from streamlab.workloads.resize import resize
from tests.waiting import wait_until


def picture(size: tuple[int, int] = (80, 60), form: str = "PNG") -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(encoded, form)
    return encoded.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root folder with one good picture, and a folder beside it that no message may reach."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "photos").mkdir(parents=True)
    outside.mkdir()
    (root / "photos" / "good.png").write_bytes(picture())
    (outside / "canary.png").write_bytes(picture((8, 8)))
    return root


def thumbnail(root: Path, image_path: str, width: object = 32, height: object = 20) -> Path:
    return resize(root, {"image_path": image_path, "width": str(width), "height": str(height)})


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The workload


@given(
    count=st.integers(1, 2000),
    photos=st.integers(1, 20),
    sizes=st.lists(st.tuples(st.integers(1, 4096), st.integers(1, 2048)), min_size=1, max_size=6),
)
def test_no_two_jobs_are_the_same(count: int, photos: int, sizes: list[tuple[int, int]]) -> None:
    workload = ResizeImages(count=count, photos=photos, sizes=sizes)  # type: ignore[arg-type]
    jobs = {tuple(workload.fields(job).values()) for job in range(count)}
    assert len(jobs) == count
    assert all(1 <= int(side) <= 4096 for _, *sides in jobs for side in sides)


def test_what_cannot_be_meant() -> None:
    sizes: Any
    for sizes in ((), 5, "wide", ((1, 2, 3),), ((0, 5),), ((5, 4097),), ((5, 2.5),), (None,)):
        with pytest.raises(UsageError, match="sizes"):
            ResizeImages(sizes=sizes)
    photos: Any
    for photos in (0, 101, 1.5, "many"):
        with pytest.raises(UsageError, match=r"photos = .*, expected a whole number"):
            ResizeImages(photos=photos)
    assert ResizeImages(count=8, photos=2, sizes=((4096, 4094), (4096, 4093))).fields(7)["height"] == "4096"
    with pytest.raises(UsageError, match="make only 8 different jobs"):
        ResizeImages(count=9, photos=2, sizes=((4096, 4094), (4096, 4093)))


def test_photographs_are_different_and_of_a_camera_s_size(tmp_path: Path) -> None:
    ResizeImages().prepare(tmp_path)
    made = files_in(tmp_path)
    assert sorted(made) == [f"photos/photo-{number:02}.jpg" for number in range(1, 13)]
    assert len(set(made.values())) == 12
    for content in made.values():
        with Image.open(io.BytesIO(content)) as photo:
            assert (photo.format, photo.width * 3) == ("JPEG", photo.height * 4)
            assert (1200, 900) <= photo.size <= (1600, 1200)


def test_without_the_raw_material_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"grace_hopper.jpg is missing.*pip install --force-reinstall matplotlib"):
        ResizeImages().prepare(tmp_path)


def test_every_job_leaves_a_thumbnail_which_is_its_effect(tmp_path: Path) -> None:
    workload = ResizeImages(count=9, photos=3, sizes=((20, 10), (30, 40)))
    workload.prepare(tmp_path)
    assert workload.fields(4) == {"image_path": "photos/photo-02.jpg", "width": "30", "height": "40"}
    handle = workload.handler(tmp_path)
    for job in range(8):
        handle(SimpleNamespace(fields=workload.fields(job)))  # type: ignore[arg-type]
    assert workload.effects(tmp_path) == dict.fromkeys(range(8), 1)
    handle(SimpleNamespace(fields=workload.fields(8)))  # type: ignore[arg-type]
    sizes = []
    for path in (tmp_path / "thumbnails").iterdir():
        with Image.open(path) as image:
            sizes.append(image.size)
    assert sorted(sizes) == [(20, 10)] * 3 + [(20, 11)] * 3 + [(30, 40)] * 3


# One thumbnail


def test_doing_it_twice_is_doing_it_once(root: Path) -> None:
    first = thumbnail(root, "photos/good.png")
    content = first.read_bytes()
    with Image.open(first) as image:
        assert (image.format, image.size) == ("JPEG", (32, 20))
    assert thumbnail(root, "photos/good.png") == first
    assert files_in(root / "thumbnails") == {first.name: content}
    (root / "good.png").write_bytes(picture())
    others = {thumbnail(root, path, *size) for path in ("photos/good.png", "good.png") for size in ((5, 6), (6, 5))}
    assert len(others) == 4, "another path or size is another thumbnail"


def test_a_message_that_asks_for_no_thumbnail_is_refused(root: Path) -> None:
    good = {"image_path": "photos/good.png", "width": "12", "height": "9"}
    for missing in good:
        with pytest.raises(PermanentError, match=r"expected image_path.* from 1 to 4096"):
            resize(root, {name: value for name, value in good.items() if name != missing})
    for side in ("", "0", "-1", "4097", "9" * 5000, "1e2", "1.5", "wide", "\udc80"):
        for name in ("width", "height"):
            with pytest.raises(PermanentError, match="from 1 to 4096"):
                resize(root, good | {name: side})
    assert not (root / "thumbnails").exists()


def bomb(side: int) -> bytes:
    """A PNG of a hundred bytes that declares so many pixels a side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_decompression_bomb_is_refused_before_it_is_decoded(root: Path) -> None:
    for side in (50_000, 11_000, 7_000):  # Pillow refuses the first, warns of the second, decodes the third
        (root / "bomb.png").write_bytes(bomb(side))
        decoded = mock.patch("PIL.ImageFile.ImageFile.load", side_effect=AssertionError("decoded"))
        with decoded, pytest.raises(PermanentError, match="pixels"):
            thumbnail(root, "bomb.png")


def test_a_broken_or_foreign_file_is_the_message_s_fault(root: Path) -> None:
    jpeg, png = picture((200, 200), "JPEG"), picture((200, 200))
    for content, said in (
        (b"", "is not a picture in JPEG, PNG, WEBP"),
        (b"not a picture", "is not a picture"),
        (picture(form="GIF"), "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "is not a picture"),
        (jpeg[:-200], "is broken: image file is truncated"),
        (png[: len(png) // 2], "is "),
        (png[:60] + bytes([png[60] ^ 255]) + png[61:], "is "),
        (bomb(200), "is broken"),
        (b"RIFF\x20\x00\x00\x00WEBPVP8 " + bytes(20), "is "),
    ):
        (root / "bad.jpg").write_bytes(content)
        with pytest.raises(PermanentError, match=rf"image_path 'bad\.jpg' {said}"):
            thumbnail(root, "bad.jpg")
    assert not (root / "thumbnails").exists()


# Nothing outside the root

WAYS_OUT = [
    *("../outside/canary.png", "photos/../../outside/canary.png", "link.png", "folder/canary.png", "loop", "fifo"),
    *("photos/up/outside/canary.png", "{outside}/canary.png", "file://{outside}/canary.png", "", ".", "photos", "\0"),
    *("nothing.png", "photos/good.png/inside", "x" * 300, "\udfff", "/etc/hostname"),
]


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root full of ways out of it."""
    base = tmp_path_factory.mktemp("trapped")
    root, outside = base / "root", base / "outside"
    for folder in (root / "photos", outside / "photos"):
        folder.mkdir(parents=True)
    (root / "photos" / "good.png").write_bytes(picture())
    for canary in (outside / "canary.png", outside / "photos" / "canary.png", base / "canary.png"):
        canary.write_bytes(picture())
    (root / "link.png").symlink_to(outside / "canary.png")
    (root / "folder").symlink_to(outside)
    (root / "photos" / "up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    return root


@pytest.mark.timeout(20)  # a FIFO would wait for ever
def test_no_way_leads_out_of_the_root(trapped: Path) -> None:
    outside, opened, open_it = trapped.parent / "outside", [], Image.open
    before = files_in(trapped.parent)

    def spy(path: Path, **more: Any) -> Image.Image:
        opened.append(path)
        return open_it(path, **more)

    with mock.patch.object(Image, "open", spy):
        for way in WAYS_OUT:
            with pytest.raises(PermanentError, match="is no file inside the root folder") as caught:
                thumbnail(trapped, way.format(outside=outside))
            assert str(caught.value).isascii(), "fit for a log, and for Redis"
            assert len(str(caught.value)) < 300
        assert not opened
        assert files_in(trapped.parent) == before
        made = thumbnail(trapped, "photos/good.png")
    assert made.parent == trapped / "thumbnails"
    assert opened == [trapped / "photos" / "good.png"]


def test_no_link_leads_a_thumbnail_out_of_the_root(root: Path) -> None:
    made, outside = thumbnail(root, "photos/good.png"), root.parent / "outside"
    before = files_in(outside)
    made.unlink()
    made.symlink_to(outside / "canary.png")
    assert not thumbnail(root, "photos/good.png").is_symlink(), "it replaces the link"
    (root / "thumbnails").rename(root / "moved")
    (root / "thumbnails").symlink_to(outside)
    with pytest.raises(OSError, match="thumbnails"):
        thumbnail(root, "photos/good.png")
    assert files_in(outside) == before


# The machine's fault, and crashes


def test_what_the_machine_cannot_do_is_worth_another_attempt(root: Path) -> None:
    broken = OSError(errno.EIO, "Input/output error")
    for what in (
        mock.patch.object(Path, "replace", side_effect=broken),
        mock.patch.object(Path, "mkdir", side_effect=broken),
        mock.patch.object(Path, "stat", side_effect=broken),
        mock.patch("PIL.Image.Image.save", side_effect=broken),
        mock.patch("PIL.ImageFile.ImageFile.load", side_effect=broken),
    ):
        with what, pytest.raises(OSError, match="Input/output"):
            thumbnail(root, "photos/good.png")
        assert not files_in(root).keys() - {"photos/good.png"}, "nothing is left behind"
    with pytest.raises(FileNotFoundError):
        thumbnail(root / "nowhere", "photos/good.png")


def test_a_killed_worker_leaves_no_half_of_a_thumbnail(tmp_path: Path) -> None:
    """What has a thumbnail's name is the same as without a crash; all else shows what it is."""
    workload = ResizeImages(count=400, photos=1)
    crashed, undisturbed = tmp_path / "crashed", tmp_path / "undisturbed"
    for root in (crashed, undisturbed):
        (root / "photos").mkdir(parents=True)
        (root / "photos" / "photo-01.jpg").write_bytes(picture((300, 200), "JPEG"))
    code = """
import os, pathlib, signal, sys
from streamlab.workloads import ResizeImages, resize
root, rename, renamed = pathlib.Path(sys.argv[1]), pathlib.Path.replace, []
def strike(*args):
    renamed.append(args)
    if sys.argv[2] == "before a rename" and len(renamed) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(*args)
pathlib.Path.replace = strike
workload = ResizeImages(count=400, photos=1)
for job in range(workload.count):
    resize.resize(root, workload.fields(job))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for moment in ("before a rename", "whenever", "whenever", "whenever"):
        process = subprocess.Popen([sys.executable, "-c", code, crashed, moment], env=environment)
        if moment == "whenever":
            wait_until("there are more", lambda: len(list(crashed.glob("thumbnails/*.jpg"))) > 7, 30, 0.001)
            process.kill()
        assert process.wait(timeout=30) == -signal.SIGKILL
        made = {path.name: path for path in (crashed / "thumbnails").iterdir()}
        whole = {name: path for name, path in made.items() if not name.startswith(".")}
        assert all(name.endswith(".part") for name in made.keys() - whole.keys())
        assert moment == "whenever" or (len(whole), len(made)) == (2, 3)
        for job in range(workload.count):
            if not whole:
                break
            expected = resize(undisturbed, workload.fields(job))
            if found := whole.pop(expected.name, None):
                assert found.read_bytes() == expected.read_bytes()
                found.unlink()
        assert not whole
