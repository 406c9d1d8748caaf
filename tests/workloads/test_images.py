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
from unittest import mock

import pytest
from PIL import Image

from streamlab.errors import MissingError, UsageError
from streamlab.queue.errors import PermanentError
from streamlab.workloads import ResizeImages
from streamlab.workloads.resize import resize


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


def test_every_job_has_its_own_thumbnail_which_is_its_effect(tmp_path: Path) -> None:
    many = ResizeImages(count=30_000, photos=1)
    jobs = {tuple(many.fields(job).values()) for job in range(many.count)}
    assert len(jobs) == many.count
    assert all(1 <= int(side) <= 4096 for _, *sides in jobs for side in sides)
    for wrong in ({"count": 30_001}, {"photos": 0}, {"photos": 101}, {"photos": "many"}):
        with pytest.raises(UsageError, match=r"(count|photos) = .*, expected a whole number"):
            ResizeImages(**wrong)  # type: ignore[arg-type]

    workload = ResizeImages(count=33, photos=3)
    workload.prepare(tmp_path)
    made = files_in(tmp_path)
    assert sorted(made) == [f"photos/photo-{number:02}.jpg" for number in range(1, 4)]
    assert len(set(made.values())) == 3
    handle = workload.handler(tmp_path)
    for job in (0, 1, 31):
        handle(SimpleNamespace(fields=workload.fields(job)))  # type: ignore[arg-type]
    assert workload.effects(tmp_path) == {0: 1, 1: 1, 31: 1}
    made = {name: content for name, content in files_in(tmp_path).items() if name.startswith("thumbnails/")}
    assert sorted(name.rpartition("-")[2] for name in made) == ["96x72.jpg", "96x72.jpg", "96x73.jpg"]


def test_without_the_raw_material_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"grace_hopper.jpg is missing.*pip install --force-reinstall matplotlib"):
        ResizeImages().prepare(tmp_path)


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


def bomb(side: int) -> bytes:
    """A PNG of a hundred bytes that declares so many pixels a side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_what_no_other_attempt_can_make_is_the_message_s_fault(root: Path) -> None:
    good = {"image_path": "photos/good.png", "width": "12", "height": "9"}
    for missing in good:
        with pytest.raises(PermanentError, match=r"expected image_path.* from 1 to 4096"):
            resize(root, {name: value for name, value in good.items() if name != missing})
    for side in ("", "0", "-1", "4097", "9" * 5000, "1.5", "wide", "\udc80"):
        with pytest.raises(PermanentError, match="from 1 to 4096"):
            resize(root, good | {"height": side})
    jpeg, png = picture((200, 200), "JPEG"), picture((200, 200))
    for content, said in (
        (b"", "is not a picture in JPEG, PNG, WEBP"),
        (picture(form="GIF"), "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "is not a picture"),
        (jpeg[:-200], "is broken: image file is truncated"),
        (png[:60] + bytes([png[60] ^ 255]) + png[61:], "is "),
        (bomb(200), "is broken"),
    ):
        (root / "bad.jpg").write_bytes(content)
        with pytest.raises(PermanentError, match=rf"image_path 'bad\.jpg' {said}"):
            thumbnail(root, "bad.jpg")
    for side in (50_000, 11_000, 7_000):  # Pillow refuses the first, warns of the second, decodes the third
        (root / "bomb.png").write_bytes(bomb(side))
        decoded = mock.patch("PIL.ImageFile.ImageFile.load", side_effect=AssertionError("decoded"))
        with decoded, pytest.raises(PermanentError, match="pixels"):
            thumbnail(root, "bomb.png")
    assert not (root / "thumbnails").exists()


def test_what_the_machine_cannot_do_is_worth_another_attempt(root: Path) -> None:
    for what in ("pathlib.Path.replace", "pathlib.Path.mkdir", "PIL.Image.Image.save", "PIL.ImageFile.ImageFile.load"):
        broken = mock.patch(what, side_effect=OSError(errno.EIO, "Input/output error"))
        with broken, pytest.raises(OSError, match="Input/output"):
            thumbnail(root, "photos/good.png")
        assert not files_in(root).keys() - {"photos/good.png"}, "nothing is left behind"
    with pytest.raises(FileNotFoundError):
        thumbnail(root / "nowhere", "photos/good.png")


# Nothing outside the root, and nothing half made


@pytest.mark.timeout(20)  # a FIFO would wait for ever
def test_no_way_and_no_link_leads_out_of_the_root(root: Path) -> None:
    outside = root.parent / "outside"
    (root / "link.png").symlink_to(outside / "canary.png")
    (root / "folder").symlink_to(outside)
    (root / "photos" / "up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    before = files_in(root.parent)
    for way in (
        *("../outside/canary.png", "photos/../../outside/canary.png", "link.png", "folder/canary.png", "loop", "fifo"),
        *("photos/up/outside/canary.png", f"{outside}/canary.png", f"file://{outside}/canary.png", "", ".", "photos"),
        *("\0", "nothing.png", "photos/good.png/inside", "x" * 300, "\udfff", "/etc/hostname"),
    ):
        with pytest.raises(PermanentError, match="is no file inside the root folder") as caught:
            thumbnail(root, way)
        assert str(caught.value).isascii(), "fit for a log, and for Redis"
        assert len(str(caught.value)) < 300
    assert files_in(root.parent) == before

    made = thumbnail(root, "photos/good.png")
    made.unlink()
    made.symlink_to(outside / "canary.png")
    assert not thumbnail(root, "photos/good.png").is_symlink(), "it replaces the link"
    (root / "thumbnails").rename(root / "moved")
    (root / "thumbnails").symlink_to(outside)
    with pytest.raises(OSError, match="thumbnails"):
        thumbnail(root, "photos/good.png")
    assert list(outside.iterdir()) == [outside / "canary.png"]
    assert (outside / "canary.png").read_bytes() == picture((8, 8))


def test_a_killed_worker_leaves_no_half_of_a_thumbnail(root: Path) -> None:
    code = """
import os, pathlib, signal, sys
from streamlab.workloads.resize import resize
rename = pathlib.Path.replace
def killed(*paths):
    if "30x30" in str(paths):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(*paths)
pathlib.Path.replace = killed
for side in range(28, 32):
    resize(pathlib.Path(sys.argv[1]), {"image_path": "photos/good.png", "width": str(side), "height": str(side)})
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, root], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    left = sorted(path.name for path in (root / "thumbnails").iterdir())
    assert [left[0][0], left[0].rpartition(".")[2]] == [".", "part"]
    assert [name.rpartition("-")[2] for name in left[1:]] == ["28x28.jpg", "29x29.jpg"]
