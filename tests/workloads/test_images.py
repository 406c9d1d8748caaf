from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamlab.errors import MissingError, UsageError
from streamlab.workloads import ResizeImages


@dataclass
class Delivered:
    fields: dict[str, str]
    id: str = "1-0"
    deliveries: int = 1


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


def test_further_sizes_stay_within_what_the_handler_makes() -> None:
    workload = ResizeImages(count=5, photos=1, sizes=((10, 4095), (20, 4000)))

    assert [workload.fields(job)["height"] for job in range(5)] == ["4095", "4000", "4096", "4001", "4002"]


def test_the_message_of_a_job_is_text_and_always_the_same() -> None:
    assert ResizeImages().fields(13) == {"image_path": "photos/photo-02.jpg", "width": "128", "height": "96"}
    assert ResizeImages().fields(13) == ResizeImages().fields(13)


@pytest.mark.parametrize("sizes", [(), 5, "wide", ((1, 2, 3),), ((0, 5),), ((5, 4097),), ((5, 2.5),), (None,)])
def test_sizes_that_cannot_be_meant(sizes: Any) -> None:
    with pytest.raises(UsageError, match="sizes"):
        ResizeImages(sizes=sizes)


@pytest.mark.parametrize("photos", [0, 101, 1.5, "many"])
def test_photos_that_cannot_be_meant(photos: Any) -> None:
    with pytest.raises(UsageError, match=r"photos is .* from 1 to 100"):
        ResizeImages(photos=photos)


def test_more_jobs_than_can_differ_are_refused() -> None:
    assert ResizeImages(count=8, photos=2, sizes=((4096, 4094), (4096, 4093))).fields(7)["height"] == "4096"
    with pytest.raises(UsageError, match="make only 8 different jobs"):
        ResizeImages(count=9, photos=2, sizes=((4096, 4094), (4096, 4093)))


def test_prepare_makes_different_photographs_of_a_camera_s_size(tmp_path: Path) -> None:
    ResizeImages().prepare(tmp_path)

    made = sorted((tmp_path / "photos").iterdir())
    assert [path.name for path in made] == [f"photo-{number:02}.jpg" for number in range(1, 13)]
    assert len({path.read_bytes() for path in made}) == 12
    for path in made:
        with Image.open(path) as photo:
            assert photo.format == "JPEG"
            assert (1200, 900) <= photo.size <= (1600, 1200)
            assert photo.width * 3 == photo.height * 4


def test_prepare_twice_makes_only_what_is_missing(tmp_path: Path) -> None:
    workload = ResizeImages(photos=2, count=2)
    workload.prepare(tmp_path)
    first, second = sorted((tmp_path / "photos").iterdir())
    original = second.read_bytes()
    first.write_bytes(b"left alone")
    second.unlink()

    workload.prepare(tmp_path)

    assert first.read_bytes() == b"left alone"
    assert second.read_bytes() == original


def test_prepare_says_what_to_do_without_the_raw_material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingError, match=r"grace_hopper.jpg is missing.*pip install --force-reinstall matplotlib"):
        ResizeImages().prepare(tmp_path)


def test_prepare_does_not_import_matplotlib(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from streamlab.workloads import ResizeImages; "
        "ResizeImages(photos=1, count=1).prepare(pathlib.Path(sys.argv[1])); print('matplotlib' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    said = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, check=True, text=True, env=environment
    )

    assert said.stdout == "False\n"


def test_every_job_leaves_a_thumbnail_of_its_own(tmp_path: Path) -> None:
    workload = ResizeImages(count=9, photos=3, sizes=((20, 10), (30, 40)))
    workload.prepare(tmp_path)
    handle = workload.handler(tmp_path)

    for job in range(workload.count):
        handle(Delivered(workload.fields(job)))

    made = list((tmp_path / "thumbnails").iterdir())
    assert len(made) == 9
    sizes = []
    for path in made:
        with Image.open(path) as thumbnail:
            sizes.append(thumbnail.size)
    assert sorted(sizes) == [(20, 10)] * 3 + [(20, 11)] * 3 + [(30, 40)] * 3
