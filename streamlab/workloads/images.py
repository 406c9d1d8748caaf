"""Resizing photographs: work that takes real time, reads real files and leaves an effect to be counted."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from streamlab.errors import MissingError, UsageError
from streamlab.workloads.base import Handler, Message, Workload, require_whole

if TYPE_CHECKING:
    from PIL.Image import Image

PHOTOS = "photos"
LARGEST_SIDE = 4096

_SIZES = (
    (96, 72),
    (128, 96),
    (160, 120),
    (200, 150),
    (240, 180),
    (320, 240),
    (400, 300),
    (480, 360),
    (560, 420),
    (640, 480),
)


@dataclass(frozen=True, kw_only=True)
class ResizeImages(Workload):
    """Every job makes one thumbnail: no two have the same photograph and the same size.

        ResizeImages(count=120, rate=40)

    Each takes some tens of milliseconds of real work by Pillow. The raw material is the portrait of Grace Hopper
    that matplotlib ships: crops of it, mirrored or not, enlarged to what a camera would give.

    Attributes:
        sizes: width and height of the thumbnails, in pixels. With more jobs than photographs times sizes, further
            sizes are made of these, each a pixel higher than the last.
        photos: how many photographs to make.

    `prepare` raises `MissingError` where matplotlib came without its sample photograph.
    """

    name: ClassVar[str] = "resize-images"

    count: int = 120
    rate: float = 40.0
    sizes: tuple[tuple[int, int], ...] = _SIZES
    photos: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("photos", self.photos, at_least=1, at_most=100)
        try:
            sizes = tuple((width, height) for width, height in self.sizes)
        except (TypeError, ValueError):
            sizes = ()
        if not sizes:
            raise UsageError(f"sizes is {self.sizes!r}, but must be pairs of width and height, say sizes=[(160, 120)]")
        for side in (side for size in sizes for side in size):
            require_whole("a side in sizes", side, at_least=1, at_most=LARGEST_SIDE)
        object.__setattr__(self, "sizes", sizes)  # a list is as good to its user, but cannot be frozen
        if self.count > self._possible:
            raise UsageError(
                f"count is {self.count}, but {self.photos} photos in these sizes make only {self._possible} "
                "different jobs: give more sizes, or smaller ones"
            )

    def prepare(self, folder: Path) -> None:
        """Make the photographs in `folder`/photos; those that are there already are left alone."""
        from PIL import Image

        target = folder / PHOTOS
        target.mkdir(parents=True, exist_ok=True)
        missing = [number for number in range(self.photos) if not (target / _photo(number)).exists()]
        if not missing:
            return
        with Image.open(_raw_material()) as portrait:
            portrait.load()
        for number in missing:
            unfinished = target / f".{_photo(number)}.part"
            _variation(portrait, number).save(unfinished, "JPEG", quality=88)
            unfinished.replace(target / _photo(number))

    def fields(self, job: int) -> dict[str, str]:
        """Return which photograph to resize, as a path inside the folder, and to which size."""
        size, photo = divmod(job, self.photos)
        width, height = self._all_sizes[size]
        return {"image_path": f"{PHOTOS}/{_photo(photo)}", "width": str(width), "height": str(height)}

    def handler(self, folder: Path) -> Handler:
        """Return the handler of `streamlab.workloads.resize`, which reads and writes inside `folder` only."""
        from streamlab.workloads.resize import resize_message

        def resize(message: Message) -> None:
            resize_message(folder, message.fields)

        return resize

    @property
    def idempotent(self) -> bool:
        """A thumbnail has its name from what was asked for: a second time replaces it by the same."""
        return True

    def effects(self, folder: Path) -> dict[int, int] | None:
        """1 for each job whose thumbnail is there."""
        from streamlab.workloads.resize import THUMBNAILS, thumbnail_name

        found = {}
        for job in range(self.count):
            asked = self.fields(job)
            name = thumbnail_name(asked["image_path"], (int(asked["width"]), int(asked["height"])))
            if (folder / THUMBNAILS / name).is_file():
                found[job] = 1
        return found

    @property
    def _possible(self) -> int:
        """How many different jobs there can be: a photograph, a width, and that width's lowest height and above."""
        lowest: dict[int, int] = {}
        for width, height in self.sizes:
            lowest[width] = min(height, lowest.get(width, height))
        return self.photos * sum(LARGEST_SIDE - height + 1 for height in lowest.values())

    @cached_property
    def _all_sizes(self) -> list[tuple[int, int]]:
        """As many different sizes as the jobs need: those given first, and then each a pixel higher, and so on."""
        needed = -(-self.count // self.photos)
        sizes = dict.fromkeys(self.sizes)  # a dict, for its order
        higher = 0
        while len(sizes) < needed:
            higher += 1
            sizes |= dict.fromkeys((w, h + higher) for w, h in self.sizes if h + higher <= LARGEST_SIDE)
        return list(sizes)


def _photo(number: int) -> str:
    return f"photo-{number + 1:02}.jpg"


def _raw_material() -> Path:
    """Where matplotlib keeps its sample photograph. Found without importing matplotlib, which takes half a second."""
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "mpl-data", "sample_data", "grace_hopper.jpg")
        if path.is_file():
            return path
    raise MissingError(
        "matplotlib's sample photograph grace_hopper.jpg is missing, and photos are made of it: "
        "pip install --force-reinstall matplotlib"
    )


def _variation(portrait: Image, number: int) -> Image:
    """Photograph `number` of the portrait: a part of it, every other one mirrored, 1200x900 to 1600x1200 pixels."""
    from PIL import Image, ImageOps

    crop_width = portrait.width - 12 * (number % 12)
    crop_height = crop_width * 3 // 4
    left = (portrait.width - crop_width) * (number % 3) // 2
    top = (portrait.height - crop_height) * (number % 5) // 4
    photo = portrait.crop((left, top, left + crop_width, top + crop_height))
    if number % 2:
        photo = ImageOps.mirror(photo)
    width = 1200 + 80 * (number % 6)
    return photo.resize((width, width * 3 // 4), Image.Resampling.BICUBIC)
