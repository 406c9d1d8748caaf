"""The handler that makes a thumbnail, for messages that anybody may have written.

What a message may ask for: a file inside the root folder, reached without a link, in a format and of a size that cannot
hurt. Anything else is the message's own fault, will be no better next time, and raises `PermanentError`. What is the
machine's fault (a full disk, a failing one, no permission, a thumbnails folder that is a symbolic link) stays an
`OSError`, so that the queue tries again.

A thumbnail appears under its name at once and whole, by rename, and the name follows from path and size alone: making
it twice is making it once. A worker killed while writing leaves a file that starts with a dot and ends in `.part`; it
is in nobody's way, and may be removed while no worker runs.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from streamlab.queue.errors import PermanentError

THUMBNAILS = "thumbnails"
FORMATS = ("JPEG", "PNG", "WEBP")
LARGEST_SIDE = 4096
MAX_PIXELS = 40_000_000  # 160 MB once decoded
MAX_BYTES = 64 * 1024 * 1024

# NOFOLLOW: no link, wherever it leads. NONBLOCK: opening a FIFO must not wait for somebody to write to it.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_INNER_FOLDER = _FOLDER | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

# How the kernel says "there is no such file, or it is of the wrong sort": no folder or a link on the way, a link at the
# end, a name too long to exist, a socket.
_NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}


def resize_message(root: Path, fields: Mapping[str, str]) -> Path:
    """Make the thumbnail that a message asks for in `image_path`, `width` and `height`. See `resize_image`."""
    try:
        image_path, width, height = fields["image_path"], fields["width"], fields["height"]
    except KeyError as error:
        raise PermanentError(f"the message has no field {error}") from None
    return resize_image(root, image_path, (_side(width), _side(height)))


def resize_image(root: Path, image_path: str, size: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Path:
    """Make a thumbnail of the picture at `image_path` inside `root`, and return where it is.

        >>> resize_image(Path("pictures"), "holidays/beach.jpg", (320, 240))
        PosixPath('pictures/thumbnails/beach-5a4f...-320x240.jpg')

    The picture is scaled to cover `size` (width and height in pixels) and cropped around its middle. The thumbnail is
    a JPEG, upright whatever the camera noted in EXIF, on white where the picture was transparent.

    `max_pixels` is the largest picture, by the size that its header declares, that will be decoded.

    Raises `PermanentError` for what the message must not or cannot have, `OSError` for what may work another time.
    """
    width, height = size
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise PermanentError(f"a thumbnail of {width}x{height}: its sides must be from 1 to {LARGEST_SIDE} pixels")
    parts = _parts(image_path)
    with _opened(os.fspath(root), _FOLDER) as root_fd:
        # Reading and decoding apart: an error of the first is the disk's, one of the second the file's.
        picture = _read(root_fd, parts, image_path)
        thumbnail = _thumbnail(picture, size, max_pixels, image_path)
        name = thumbnail_name(image_path, size)
        _write(root_fd, name, thumbnail)
    return root / THUMBNAILS / name


def _side(text: str) -> int:
    # Not int() alone, which also takes "1_0", " 7 " and the digits of other scripts.
    if not re.fullmatch("[0-9]{1,4}", text, re.ASCII):
        raise PermanentError(f"a side of {_shown(text)} pixels: it must be a number from 1 to {LARGEST_SIDE}")
    return int(text)


def _parts(image_path: str) -> list[str]:
    """The names from the root to the file. Refuses every way of writing a path that means more than its names."""
    parts = image_path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in image_path or "\\" in image_path:
        raise PermanentError(f"image_path {_shown(image_path)} is not a plain path inside the root folder")
    try:
        os.fsencode(image_path)
    except UnicodeEncodeError:
        raise PermanentError(f"image_path {_shown(image_path)} cannot be the name of a file") from None
    return parts


def _read(root_fd: int, parts: list[str], image_path: str) -> bytes:
    """The bytes of a regular file.

    Opened name by name, each inside the folder before it: nobody can slip a link in between a check and its use.
    """
    with ExitStack() as stack:
        folder = root_fd
        try:
            for part in parts[:-1]:
                folder = stack.enter_context(_opened(part, _INNER_FOLDER, folder))
            file = stack.enter_context(_opened(parts[-1], _FILE, folder))
        except OSError as error:
            if error.errno not in _NO_SUCH_FILE:
                raise
            raise PermanentError(
                f"image_path {_shown(image_path)} leads to no file in the root folder ({error.strerror}); "
                "links are not followed"
            ) from None
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            raise PermanentError(f"image_path {_shown(image_path)} is not a regular file")
        if about.st_nlink > 1:
            # The other name may be anywhere on the disk, outside of the root too.
            raise PermanentError(f"image_path {_shown(image_path)} is a hard link: the file has another name elsewhere")
        if about.st_size > MAX_BYTES:
            raise PermanentError(f"image_path {_shown(image_path)} has {about.st_size:,} bytes; {MAX_BYTES:,} are read")
        with os.fdopen(file, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES)


def _thumbnail(picture: bytes, size: tuple[int, int], max_pixels: int, image_path: str) -> bytes:
    """The thumbnail as a JPEG. The same picture and size give the same bytes."""
    try:
        # Reads the header only; Pillow has a limit of its own here, far above ours.
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels <= max_pixels:
                upright = ImageOps.exif_transpose(image)
                small = ImageOps.fit(_opaque(upright), size, Image.Resampling.LANCZOS)
                encoded = io.BytesIO()
                small.save(encoded, "JPEG", quality=85)
                return encoded.getvalue()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PermanentError(f"image_path {_shown(image_path)} declares more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise PermanentError(f"image_path {_shown(image_path)} is not a picture in {', '.join(FORMATS)}") from None
    except MemoryError:
        raise  # the machine's, not the file's
    except Exception as error:
        # A broken file breaks a decoder in many ways: OSError, SyntaxError, ValueError, struct.error, IndexError, ...
        raise PermanentError(f"image_path {_shown(image_path)} is broken: {error}") from error
    raise PermanentError(f"image_path {_shown(image_path)} declares {pixels:,} pixels; {max_pixels:,} are decoded")


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in RGB, on white where it was transparent."""
    if image.mode.startswith("I"):
        # 16 bits of grey, which Pillow would cut off at 255 instead of scaling them.
        image = image.point(lambda grey: grey / 256).convert("L")
        image.info.pop("transparency", None)  # a shade of those 65,536
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def thumbnail_name(image_path: str, size: tuple[int, int]) -> str:
    """The thumbnail's name: of the picture's own name what is harmless, of the whole path its hash."""
    stem = re.sub("[^A-Za-z0-9_-]", "", image_path.rpartition("/")[2].rpartition(".")[0])[:40]
    path = hashlib.sha256(os.fsencode(image_path)).hexdigest()[:32]
    return f"{stem or 'picture'}-{path}-{size[0]}x{size[1]}.jpg"


def _write(root_fd: int, name: str, content: bytes) -> None:
    """Put a thumbnail in its place: whole, on disk, and in one step."""
    with suppress(FileExistsError):
        os.mkdir(THUMBNAILS, dir_fd=root_fd)
    with _opened(THUMBNAILS, _INNER_FOLDER, root_fd) as folder:
        unfinished = f".{name}.{secrets.token_hex(8)}.part"
        new = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
        try:
            with os.fdopen(new, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(new)  # or the name could outlive a power cut, and the content not
            os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=folder)
            raise


@contextmanager
def _opened(path: str, flags: int, folder: int | None = None) -> Iterator[int]:
    """A file descriptor for as long as it is needed; `path` is a name inside `folder` where one is given."""
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _shown(text: str) -> str:
    """Text from a message, fit for an error message: in ASCII, escaped, and not endless."""
    return ascii(text if len(text) <= 100 else f"{text[:100]}...")
