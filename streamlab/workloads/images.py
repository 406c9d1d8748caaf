"""Resizing photographs: work that takes real time, reads real files and leaves an effect to be counted."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from streamlab.errors import MissingError
from streamlab.workloads.base import Workload

if TYPE_CHECKING:
    from PIL.Image import Image

    from streamlab.queue.message import Handler

PHOTOS = "photos"
_WIDTHS = (96, 128, 160, 200, 240, 320, 400, 480, 560, 640)  # pixels, of the thumbnails


@dataclass(frozen=True, kw_only=True)
class ResizeImages(Workload):
    """Every job makes one thumbnail: no two have the same photograph and the same size.

        ResizeImages(count=120, rate=40)

    There are ten sizes; with more jobs than photographs times sizes, each is made again a pixel higher, and so on.
    Each takes some tens of milliseconds of real work by Pillow. The raw material is the portrait of Grace Hopper
    that matplotlib ships: crops of it, mirrored or not, enlarged to what a camera would give.

    Attributes:
        photos: how many photographs to make.

    `prepare` raises `MissingError` where matplotlib came without its sample photograph.
    """

    name: ClassVar[str] = "resize-images"

    count: Annotated[int, Meta(ge=1, le=30_000)] = 120  # the largest thumbnails of one photograph are 640 x 3,480
    rate: float = 40.0
    photos: Annotated[int, Meta(ge=1, le=100)] = 12

    def prepare(self, folder: Path) -> None:
        """Make the photographs in `folder`/photos."""
        from PIL import Image

        (folder / PHOTOS).mkdir(parents=True, exist_ok=True)
        with Image.open(_raw_material()) as portrait:
            portrait.load()
        for number in range(self.photos):
            _variation(portrait, number).save(folder / _photo(number), "JPEG", quality=88)

    def fields(self, job: int) -> dict[str, str]:
        """Return which photograph to resize, as a path inside the folder, and to which size."""
        size, photo = divmod(job, self.photos)
        higher, which = divmod(size, len(_WIDTHS))
        width = _WIDTHS[which]
        return {"image_path": _photo(photo), "width": str(width), "height": str(width * 3 // 4 + higher)}

    def handler(self, folder: Path) -> Handler:
        """Return the handler of `streamlab.workloads.resize`, which reads and writes inside `folder` only."""
        from streamlab.workloads.resize import resize

        return lambda message: resize(folder, message.fields)

    @property
    def idempotent(self) -> bool:
        """A thumbnail has its name from what was asked for: a second time replaces it by the same."""
        return True

    def effects(self, folder: Path) -> dict[int, int] | None:
        """1 for each job whose thumbnail is there."""
        from streamlab.workloads.resize import THUMBNAILS, thumbnail_name

        def made(job: int) -> bool:
            path, *size = self.fields(job).values()
            return (folder / THUMBNAILS / thumbnail_name(path, (int(size[0]), int(size[1])))).is_file()

        return {job: 1 for job in range(self.count) if made(job)}


def _photo(number: int) -> str:
    return f"{PHOTOS}/photo-{number + 1:02}.jpg"


def _raw_material() -> Path:
    """Where matplotlib keeps its sample photograph. Found without importing matplotlib, which takes half a second."""
    spec = importlib.util.find_spec("matplotlib")
    path = Path((spec and spec.origin) or "").parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    if path.is_file():
        return path
    raise MissingError(
        "matplotlib's sample photograph grace_hopper.jpg is missing, and photos are made of it: "
        "pip install --force-reinstall matplotlib"
    )


def _variation(portrait: Image, number: int) -> Image:
    """Photograph `number`: a part of the portrait, every other one mirrored, 1200x900 to 1600x1200 pixels."""
    from PIL import ImageOps

    width, part = 1200 + 80 * (number % 6), portrait.width - 12 * (number % 12)
    left, top = (portrait.width - part) * (number % 3) // 2, (portrait.height - part * 3 // 4) * (number % 5) // 4
    photo = portrait.resize((width, width * 3 // 4), box=(left, top, left + part, top + part * 3 // 4))
    return ImageOps.mirror(photo) if number % 2 else photo
