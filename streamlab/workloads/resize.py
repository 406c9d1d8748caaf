"""The handler that makes thumbnails. Anybody may have written its messages.

A message names a file inside the root folder and a size. Whatever else it asks for is its own fault, and will be no
better next time: `PermanentError`. What the machine cannot do (a full disk, no permission) stays an `OSError`, so that
the queue retries it.

The thumbnail's name follows from path and size, and a rename puts it there whole: making it twice is making it once. A
worker killed while it writes leaves a file that starts with a dot and ends in `.part`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from streamlab.queue.errors import PermanentError

THUMBNAILS = "thumbnails"
LARGEST_SIDE = 4096  # pixels, of a thumbnail
MAX_PIXELS = 40_000_000  # 160 MB once decoded
_FORMATS = ("JPEG", "PNG", "WEBP")


def resize(root: Path, fields: Mapping[str, str]) -> Path:
    """Make the thumbnail that a message asks for in `image_path`, `width` and `height`, and return where it is.

        >>> resize(Path("pictures"), {"image_path": "holidays/beach.jpg", "width": "320", "height": "240"})
        PosixPath('pictures/thumbnails/beach-5a4f...-320x240.jpg')

    The picture is scaled to cover the size (pixels), and cropped around its middle.

    Raises `PermanentError` for what the message must not or cannot have, `OSError` for what may work another time.
    """
    try:
        image_path, size = fields["image_path"], (int(fields["width"]), int(fields["height"]))
    except (KeyError, ValueError):
        size = (0, 0)
    if not all(1 <= side <= LARGEST_SIDE for side in size):
        raise PermanentError(f"expected image_path, and a width and a height from 1 to {LARGEST_SIDE} pixels")
    base = root.resolve(strict=True)
    shown = ascii(image_path[:100])  # fit for a log line, and for Redis
    small = _decoded(_inside(base, image_path, shown), size, shown)
    target = base / THUMBNAILS / thumbnail_name(image_path, size)
    _save(small, target)
    return target


def thumbnail_name(image_path: str, size: tuple[int, int]) -> str:
    """The thumbnail's name: the harmless letters of the picture's own, and the hash of its path."""
    stem = re.sub("[^A-Za-z0-9_-]", "", Path(image_path).stem)[:40]
    return f"{stem}-{hashlib.sha256(os.fsencode(image_path)).hexdigest()[:16]}-{size[0]}x{size[1]}.jpg"


def _inside(base: Path, image_path: str, shown: str) -> Path:
    """The file's path, all links resolved: neither '..' nor a link leads out of `base`."""
    try:
        path = Path(os.path.realpath(base / image_path))
        if path.is_relative_to(base) and path.is_file():
            return path
    except (OSError, ValueError):  # a name that is too long, a null byte, half of a surrogate pair
        pass
    raise PermanentError(f"image_path {shown} is no file inside the root folder")


def _decoded(path: Path, size: tuple[int, int], shown: str) -> Image.Image:
    try:
        with Image.open(path, formats=_FORMATS) as image:  # reads the header
            pixels = image.width * image.height
            if pixels <= MAX_PIXELS:
                return ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS)
    except UnidentifiedImageError:
        raise PermanentError(f"image_path {shown} is not a picture in {', '.join(_FORMATS)}") from None
    except Exception as error:
        # A broken file breaks a decoder in many ways; an error with a number is the machine's.
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise
        raise PermanentError(f"image_path {shown} is broken: {error}") from error
    raise PermanentError(f"image_path {shown} declares {pixels:,} pixels; {MAX_PIXELS:,} are decoded")


def _save(image: Image.Image, target: Path) -> None:
    """Put the JPEG in its place, whole and in one step."""
    target.parent.mkdir(exist_ok=True)
    if target.parent.is_symlink():
        raise OSError(errno.ELOOP, "links are not followed", str(target.parent))
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        image.save(unfinished, "JPEG", quality=85)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
