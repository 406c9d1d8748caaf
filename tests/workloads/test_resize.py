from __future__ import annotations

import errno
import io
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from streamlab.queue.errors import PermanentError
from streamlab.workloads import ResizeImages, resize
from streamlab.workloads.resize import resize_image, resize_message
from tests.waiting import wait_until


def picture(mode: str = "RGB", size: tuple[int, int] = (80, 60), colour: Any = None, **saved: Any) -> bytes:
    encoded = io.BytesIO()
    Image.new(mode, size, colour if colour is not None else 0).save(encoded, saved.pop("format", "PNG"), **saved)
    return encoded.getvalue()


def colour_at(path: Path, place: tuple[int, int] = (1, 1)) -> tuple[int, int, int]:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        red, green, blue = image.getpixel(place)  # type: ignore[misc]
    return red, green, blue


def close_to(colour: tuple[int, int, int], expected: tuple[int, int, int]) -> bool:
    return all(abs(one - other) <= 6 for one, other in zip(colour, expected, strict=True))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root folder with one good picture, and a tree beside it that no message may reach."""
    root = tmp_path / "root"
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "good.png").write_bytes(picture(colour=(200, 30, 30)))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary.png").write_bytes(picture(colour=(1, 2, 3)))
    return root


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def thumbnails(root: Path) -> list[Path]:
    folder = root / "thumbnails"
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


# What a thumbnail is


def test_a_thumbnail_has_the_size_asked_for_and_lies_in_the_thumbnails_folder(root: Path) -> None:
    made = resize_image(root, "photos/good.png", (32, 20))

    assert made.parent == root / "thumbnails"
    assert made.name.startswith("good-")
    assert made.name.endswith("-32x20.jpg")
    with Image.open(made) as image:
        assert (image.format, image.size) == ("JPEG", (32, 20))
    assert close_to(colour_at(made), (200, 30, 30))


def test_doing_it_twice_is_doing_it_once(root: Path) -> None:
    first = resize_image(root, "photos/good.png", (32, 20))
    content = first.read_bytes()

    assert resize_image(root, "photos/good.png", (32, 20)) == first
    assert files_in(root / "thumbnails") == {first.name: content}


def test_another_path_or_size_is_another_thumbnail(root: Path) -> None:
    (root / "good.png").write_bytes(picture())
    (root / "photos" / "go od.png").write_bytes(picture())

    made = {
        resize_image(root, path, size)
        for path in ("photos/good.png", "good.png", "photos/go od.png")
        for size in ((5, 6), (6, 5))
    }

    assert len(made) == 6


def test_a_message_says_what_to_do(root: Path) -> None:
    made = resize_message(root, {"image_path": "photos/good.png", "width": "12", "height": "9", "task_id": "x"})

    assert made == resize_image(root, "photos/good.png", (12, 9))


@pytest.mark.parametrize("missing", ["image_path", "width", "height"])
def test_a_message_without_a_field_is_a_permanent_error(root: Path, missing: str) -> None:
    fields = {"image_path": "photos/good.png", "width": "12", "height": "9"}
    del fields[missing]

    with pytest.raises(PermanentError, match=f"no field '{missing}'"):
        resize_message(root, fields)


@pytest.mark.parametrize(
    "side", ["", "0", "-1", "4097", "99999", "1e2", "1.5", " 7", "7\n", "1_0", "\u0667", "wide", "\udc80"]
)
def test_a_side_that_is_no_number_of_pixels(root: Path, side: str) -> None:
    for fields in ({"width": side, "height": "9"}, {"width": "9", "height": side}):
        with pytest.raises(PermanentError) as caught:
            resize_message(root, {"image_path": "photos/good.png"} | fields)
        assert str(caught.value).isascii()
    assert not thumbnails(root)


@given(width=st.integers(-5000, 9000), height=st.integers(-5000, 9000))
@example(width=4096, height=1)
@example(width=4097, height=1)
@example(width=1, height=0)
def test_sizes_out_of_bounds_are_refused(tmp_path_factory: pytest.TempPathFactory, width: int, height: int) -> None:
    root = tmp_path_factory.getbasetemp() / "sizes"
    root.mkdir(exist_ok=True)
    (root / "dot.png").write_bytes(picture(size=(1, 1)))

    if 1 <= width <= 4096 and 1 <= height <= 4096:
        if width * height > 10**6:
            return  # correct, and slow
        with Image.open(resize_image(root, "dot.png", (width, height))) as image:
            assert image.size == (width, height)
    else:
        with pytest.raises(PermanentError, match="from 1 to 4096"):
            resize_image(root, "dot.png", (width, height))


# Pictures of all sorts


def test_exif_orientation_is_respected(root: Path) -> None:
    upright = Image.new("RGB", (60, 30), (250, 0, 0))
    upright.paste((0, 0, 250), (30, 0, 60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn it clockwise to look at it
    upright.save(root / "turned.jpg", exif=exif, quality=95)

    made = resize_image(root, "turned.jpg", (30, 60))

    assert close_to(colour_at(made, (15, 5)), (250, 0, 0))
    assert close_to(colour_at(made, (15, 55)), (0, 0, 250))


def palette_with_a_hole() -> bytes:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 200, 10, 10])
    encoded = io.BytesIO()
    image.save(encoded, "PNG", transparency=0)
    return encoded.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (picture("CMYK", colour=(0, 255, 255, 0), format="JPEG", quality=95), (254, 0, 0)),
        (picture("RGBA", colour=(255, 0, 0, 0)), (255, 255, 255)),
        (picture("RGBA", colour=(255, 0, 0, 128)), (255, 127, 127)),
        (picture("RGBA", colour=(255, 0, 0, 0), format="WEBP", lossless=True), (255, 255, 255)),
        (picture("LA", colour=(0, 0)), (255, 255, 255)),
        (picture("P", colour=0), (0, 0, 0)),
        (palette_with_a_hole(), (255, 255, 255)),
        (picture("L", colour=77), (77, 77, 77)),
        (picture("1", colour=1), (255, 255, 255)),
        (picture("I;16", colour=77 * 256), (77, 77, 77)),
        (picture("RGB", colour=(10, 200, 30), format="WEBP", lossless=True), (10, 200, 30)),
        (picture("RGB", size=(4000, 1), colour=(10, 200, 30)), (10, 200, 30)),
    ],
    ids=[
        *("CMYK", "clear", "half clear", "clear WebP", "grey and clear", "palette", "palette with a hole"),
        *("grey", "black and white", "16 bits", "WebP", "a line"),
    ],
)
def test_every_sort_of_picture_becomes_one_in_rgb(root: Path, content: bytes, expected: tuple[int, int, int]) -> None:
    (root / "sort").write_bytes(content)

    made = resize_image(root, "sort", (16, 16))

    assert close_to(colour_at(made), expected), colour_at(made)


# Files that are refused


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of a hundred bytes that declares billions of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [50_000, 11_000, 7_000])  # Pillow refuses the first, warns of the second
def test_a_decompression_bomb_is_refused_before_it_is_decoded(root: Path, side: int) -> None:
    (root / "bomb.png").write_bytes(bomb(side, side))

    with (
        mock.patch("PIL.ImageFile.ImageFile.load", side_effect=AssertionError("decoded")),
        pytest.raises(PermanentError, match=r"declares .* pixels"),
    ):
        resize_image(root, "bomb.png", (10, 10))


def test_the_limit_of_pixels_can_be_set(root: Path) -> None:
    resize_image(root, "photos/good.png", (10, 10), max_pixels=80 * 60)
    with pytest.raises(PermanentError, match="declares 4,800 pixels; 4,799 are decoded"):
        resize_image(root, "photos/good.png", (10, 10), max_pixels=80 * 60 - 1)


JPEG = picture(size=(200, 200), format="JPEG")
PNG = picture(size=(200, 200), colour=(9, 8, 7))
BROKEN = {
    "empty": b"",
    "text": b"not a picture",
    "GIF": picture("P", format="GIF"),
    "BMP": picture(format="BMP"),
    "TIFF": picture(format="TIFF"),
    "PPM": picture(format="PPM"),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "a JPEG without its end": JPEG[:-200],
    "half a PNG": PNG[: len(PNG) // 2],
    "a PNG with a wrong checksum": PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:],
    "a PNG that ends early": bomb(200, 200),
    "a header alone": PNG[:33],
    "a WebP of noise": b"RIFF\x20\x00\x00\x00WEBPVP8 " + bytes(20),
}


@pytest.mark.parametrize("sort", BROKEN)
def test_a_broken_or_foreign_file_is_a_permanent_error(root: Path, sort: str) -> None:
    (root / "bad.jpg").write_bytes(BROKEN[sort])

    with pytest.raises(PermanentError, match=r"image_path 'bad\.jpg' is "):
        resize_image(root, "bad.jpg", (10, 10))

    assert not thumbnails(root)


@given(cut=st.integers(0, len(JPEG)), flips=st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(1, 255))))
def test_a_damaged_picture_is_resized_or_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged"
    root.mkdir(exist_ok=True)
    content = bytearray(JPEG)
    for place, flip in flips:
        content[place] ^= flip
    (root / "damaged.jpg").write_bytes(content[:cut])

    try:
        made = resize_image(root, "damaged.jpg", (10, 10))
    except PermanentError:
        return
    with Image.open(made) as image:
        image.load()


def test_a_file_too_large_to_read_is_refused(root: Path) -> None:
    with (root / "large.png").open("wb") as file:
        file.truncate(resize.MAX_BYTES + 1)

    with pytest.raises(PermanentError, match="bytes"):
        resize_image(root, "large.png", (10, 10))


# Paths that are refused


@contextmanager
def opened_files() -> Iterator[list[tuple[int, int]]]:
    """Notes device and inode of everything that is opened, by whatever name."""
    seen: list[tuple[int, int]] = []
    original = os.open

    def spy(*args: Any, **kwargs: Any) -> int:
        descriptor = original(*args, **kwargs)
        about = os.fstat(descriptor)
        seen.append((about.st_dev, about.st_ino))
        return descriptor

    with mock.patch.object(os, "open", spy):
        yield seen


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root full of ways out of it."""
    base = tmp_path_factory.mktemp("trapped")
    root, outside = base / "root", base / "outside"
    (root / "photos").mkdir(parents=True)
    (outside / "photos").mkdir(parents=True)
    (root / "photos" / "good.png").write_bytes(picture())
    (outside / "canary.png").write_bytes(picture())
    (outside / "photos" / "canary.png").write_bytes(picture())
    (root / "link.png").symlink_to(outside / "canary.png")
    (root / "folder").symlink_to(outside)
    (root / "photos" / "up").symlink_to("../..")
    (root / "inner.png").symlink_to("photos/good.png")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    return root


names = st.sampled_from(
    [
        *(".", "..", "", "/", "\\", "\0", "~", "*", "$HOME", "%2e%2e", "\uff0e\uff0e", "\udc2e", "C:", "..\\outside"),
        *("outside", "root", "thumbnails", "photos", "good.png", "canary.png"),
        *("link.png", "folder", "up", "inner.png", "loop", "fifo"),
    ]
)
paths = st.one_of(st.lists(names, max_size=6).map("/".join), st.text(max_size=30))


@given(path=paths, absolute=st.sampled_from(["", "/", "{root}/", "{outside}/", "//", "file://{outside}/"]))
@example(path="../outside/canary.png", absolute="")
@example(path="photos/../../outside/canary.png", absolute="")
@example(path="folder/canary.png", absolute="")
@example(path="photos/up/outside/canary.png", absolute="")
@example(path="canary.png", absolute="{outside}/")
@example(path="photos/good.png", absolute="{root}/")
def test_nothing_outside_the_root_is_opened_or_written(trapped: Path, path: str, absolute: str) -> None:
    outside = trapped.parent / "outside"
    before = files_in(outside)
    forbidden = {(about.st_dev, about.st_ino) for about in map(os.stat, [trapped.parent, outside, *outside.rglob("*")])}
    path = absolute.format(root=trapped, outside=outside) + path

    with opened_files() as opened:
        if path == "photos/good.png":
            assert resize_image(trapped, path, (4, 3)).parent == trapped / "thumbnails"
        else:
            with pytest.raises(PermanentError) as caught:
                resize_image(trapped, path, (4, 3))
            assert str(caught.value).isascii()  # fit for a log, and for Redis

    assert not forbidden.intersection(opened)
    assert files_in(outside) == before
    assert {entry.name for entry in trapped.parent.iterdir()} == {"root", "outside"}


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "/", "/etc/hostname", "../outside/canary.png", "photos/../photos/good.png"),
        *("./photos/good.png", "photos//good.png", "photos/good.png/", "photos/./good.png"),
        *("photos\\good.png", "photos/good.png\0", "\0", "\udfff"),
    ],
)
def test_a_path_that_is_not_plain_is_refused(root: Path, path: str) -> None:
    with opened_files() as opened, pytest.raises(PermanentError):
        resize_image(root, path, (4, 3))

    assert opened == []


@pytest.mark.parametrize("path", ["nothing.png", "nothing/at/all.png", "photos/good.png/inside", "x" * 300, "photos"])
def test_a_missing_file_or_a_folder_is_a_permanent_error(root: Path, path: str) -> None:
    with pytest.raises(PermanentError) as caught:
        resize_image(root, path, (4, 3))

    assert len(str(caught.value)) < 300


def symlink(it: Path) -> None:
    it.symlink_to("photos/good.png")


def hard_link(it: Path) -> None:
    it.hardlink_to(it.parent.parent / "outside" / "canary.png")


def fifo(it: Path) -> None:
    os.mkfifo(it)


def unix_socket(it: Path) -> None:
    here = Path.cwd()
    os.chdir(it.parent)  # the name of a socket has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(it.name)
    finally:
        os.chdir(here)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (symlink, "links are not followed"),
        (hard_link, "is a hard link"),
        (fifo, "is not a regular file"),
        (Path.mkdir, "is not a regular file"),
        (unix_socket, "leads to no file"),
    ],
)
def test_links_and_what_is_no_file_are_permanent_errors(root: Path, make: Callable[[Path], None], said: str) -> None:
    make(root / "it")

    with pytest.raises(PermanentError, match=said):
        resize_image(root, "it", (4, 3))

    assert not thumbnails(root)


def test_a_link_slipped_in_at_the_last_moment_is_not_followed(root: Path) -> None:
    outside = root.parent / "outside"
    original = os.open

    def swap_and_open(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
        if path == "photos":  # somebody replaces the folder just before it is opened
            (root / "photos").rename(root / "moved")
            (root / "photos").symlink_to(outside)
        return original(path, flags, *args, **kwargs)

    with mock.patch.object(os, "open", swap_and_open), pytest.raises(PermanentError):
        resize_image(root, "photos/canary.png", (4, 3))


# What is the machine's fault is not permanent


def test_a_thumbnails_folder_that_leads_elsewhere_is_not_written_to(root: Path) -> None:
    outside = root.parent / "outside"
    (root / "thumbnails").symlink_to(outside)
    before = files_in(outside)

    with pytest.raises(OSError, match="thumbnails"):
        resize_image(root, "photos/good.png", (4, 3))

    assert files_in(outside) == before


def test_a_thumbnail_replaces_a_link_of_its_name_instead_of_following_it(root: Path) -> None:
    made = resize_image(root, "photos/good.png", (4, 3))
    content = made.read_bytes()
    canary = root.parent / "outside" / "canary.png"
    before = canary.read_bytes()
    made.unlink()
    made.symlink_to(canary)

    resize_image(root, "photos/good.png", (4, 3))

    assert not made.is_symlink()
    assert made.read_bytes() == content
    assert canary.read_bytes() == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_a_failing_disk_is_worth_another_attempt_and_leaves_nothing_behind(root: Path, call: str, number: int) -> None:
    with (
        mock.patch.object(os, call, side_effect=OSError(number, os.strerror(number))),
        pytest.raises(OSError, match=os.strerror(number)),
    ):
        resize_image(root, "photos/good.png", (4, 3))

    assert not (root / "thumbnails").exists() or not list((root / "thumbnails").iterdir())


def test_an_error_while_reading_is_not_the_message_s_fault(root: Path) -> None:
    broken = mock.Mock(side_effect=OSError(errno.EIO, "Input/output error"))

    with mock.patch.object(os, "fdopen", broken), pytest.raises(OSError, match="Input/output"):
        resize_image(root, "photos/good.png", (4, 3))


def test_a_missing_root_is_not_the_message_s_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        resize_image(tmp_path / "nowhere", "photos/good.png", (4, 3))


def test_no_descriptor_stays_open(root: Path, trapped: Path) -> None:
    def held() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = held()
    resize_image(root, "photos/good.png", (4, 3))
    for path in ("link.png", "folder/canary.png", "photos/nothing", "fifo", "photos"):
        with pytest.raises(PermanentError):
            resize_image(trapped, path, (4, 3))

    assert held() == before


# Killed at the worst moment

SHELL = """
import os, pathlib, signal, sys
from streamlab.workloads import ResizeImages, resize
root, moment = pathlib.Path(sys.argv[1]), sys.argv[2]
if moment != "whenever":
    original, calls = getattr(os, moment), []
    def strike(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(os, moment, strike)
workload = ResizeImages(count=400, photos=1)
for job in range(workload.count):
    resize.resize_message(root, workload.fields(job))
"""


def resizing(root: Path, moment: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", SHELL, root, moment], env=environment)


def assert_only_whole_thumbnails(root: Path, undisturbed: Path) -> None:
    """What has a thumbnail's name is a thumbnail, the same as without a crash; all else shows what it is."""
    workload = ResizeImages(count=400, photos=1)
    whole = {path.name: path for path in thumbnails(root)}
    for job in range(workload.count):
        if not whole:
            break
        expected = resize_message(undisturbed, workload.fields(job))
        found = whole.pop(expected.name, None)
        assert found is None or found.read_bytes() == expected.read_bytes()
    assert not whole
    for path in (root / "thumbnails").iterdir():
        assert path in thumbnails(root) or (path.name.startswith(".") and path.name.endswith(".part"))


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Path, Path]:
    crashed, undisturbed = tmp_path / "crashed", tmp_path / "undisturbed"
    photo = picture(size=(300, 200), colour=(30, 140, 30), format="JPEG")
    for root in (crashed, undisturbed):
        (root / "photos").mkdir(parents=True)
        (root / "photos" / "photo-01.jpg").write_bytes(photo)
    return crashed, undisturbed


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_between_writing_and_renaming(prepared: tuple[Path, Path], moment: str) -> None:
    crashed, undisturbed = prepared

    assert resizing(crashed, moment).wait(timeout=30) == -signal.SIGKILL

    assert len(thumbnails(crashed)) == 2
    assert len(list((crashed / "thumbnails").iterdir())) == 3
    assert_only_whole_thumbnails(crashed, undisturbed)


def more_than(root: Path, number: int) -> bool:
    return len(thumbnails(root)) > number


def test_killed_in_the_middle_of_many(prepared: tuple[Path, Path]) -> None:
    crashed, undisturbed = prepared
    chance = random.Random(7)

    for _ in range(5):
        for leftover in thumbnails(crashed):
            leftover.unlink()
        process = resizing(crashed, "whenever")
        try:
            wait_until("there are enough thumbnails", partial(more_than, crashed, chance.randint(3, 40)), 30, 0.001)
        finally:
            process.kill()
            assert process.wait(timeout=10) == -signal.SIGKILL
        assert_only_whole_thumbnails(crashed, undisturbed)
