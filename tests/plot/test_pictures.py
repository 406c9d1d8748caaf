"""Pictures of every kind of history: drawn without a warning, nothing cut off, light, and the same each time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from streamlab.history import History
from streamlab.plot import Picture, latency, overview, pel, style
from streamlab.plot.pictures import _with_gaps
from tests.histories import Story, crash, healthy

DRAW = [pel, latency, overview]


def one(folder: Path) -> Story:
    return Story(folder).add(0, 0.1).work(0, "worker-1", 0.2).sample(0, "pending", 1, "worker-1").end()


def crowd(folder: Path) -> Story:
    """16 workers, faults that overlap, and a server that was silent for a second."""
    story = Story(folder)
    for job in range(400):
        story.add(job, job / 40).work(job, f"worker-{job % 16 + 1}", job / 40 + 0.01 * 1.02 ** (job % 200))
    for tick in range(200):
        for worker in range(16):
            if not 80 < tick < 100:
                story.sample(tick / 20, "pending", (tick * worker) % 7, f"worker-{worker + 1}")
    for fault, at in {"kill worker-2": 2, "pause worker-11": 2.1, "hold the replies of XREADGROUP": 2.2}.items():
        story.fault(fault, "", at, until=at + 1)
    return story.fault("kill", "worker-12", 9.9).end()


STORIES: dict[str, Callable[[Path], Story]] = {
    "crash": crash,
    "no faults, no samples": healthy,
    "one job": one,
    "no jobs": lambda folder: Story(folder).end(),
    "crowd": crowd,
    "a fault and nothing else": lambda folder: Story(folder).fault("kill", "worker-1", 0.5),
    "only samples of other things": lambda folder: Story(folder).sample(0.1, "lag", 3).sample(0.2, "lag", 3),
}


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("name", STORIES)
def test_a_picture_is_light_whole_and_repeatable(tmp_path: Path, name: str, draw: Callable[[History], Picture]) -> None:
    history = STORIES[name](tmp_path).load()
    picture = draw(history)
    path = picture.save(tmp_path / "picture.png")
    data = path.read_bytes()
    assert data == picture._repr_png_() == draw(history)._repr_png_()
    assert len(data) < 100_000
    image = Image.open(BytesIO(data)).convert("RGB")
    pixels = np.asarray(image)
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    assert all((edge == 255).all() for edge in edges), "something touches the edge, so it may be cut off"
    assert not list(tmp_path.glob(".*picture.png"))


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def test_the_crash_is_named_and_the_units_are_there(tmp_path: Path) -> None:
    said = texts(overview(crash(tmp_path).load()).figure)
    assert {
        "✕ kill worker-2",
        "worker-1",
        "worker-2",
        "worker-3",
        "messages pending",
        "seconds since the start",
    } <= said
    assert {"normal (117)", "reclaimed (3)"} <= said
    assert any(text.startswith("p99  1.") and text.endswith(" s") for text in said)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    said = texts(overview(Story(tmp_path).end().load()).figure)
    assert {"no samples of the pending entries", "no message with a due time was done"} <= said


def test_names_of_faults_do_not_overlap(tmp_path: Path) -> None:
    figure = pel(crowd(tmp_path).load()).figure
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    for n, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[n + 1 :])


def test_a_gap_in_the_samples_is_a_gap() -> None:
    time, rows = _with_gaps(np.array([0, 1, 2, 3, 8, 9.0]), np.ones((6, 1)))
    assert time.tolist() == [0, 1, 2, 3, 4, 8, 9]
    assert np.isnan(rows[:, 0]).tolist() == [False] * 4 + [True] + [False] * 2


def test_three_intervals_are_no_gap_yet() -> None:
    time, _ = _with_gaps(np.array([0, 1, 2, 5, 6.0]), np.ones((5, 1)))
    assert time.tolist() == [0, 1, 2, 5, 6]


def test_the_silence_of_the_server_is_white(tmp_path: Path) -> None:
    figure = pel(crowd(tmp_path).load()).figure
    area = figure.axes[0].collections[0]
    assert len(area.get_paths()) >= 2, "one area before the gap, one after"


def test_each_consumer_keeps_a_colour_of_its_own() -> None:
    names = [f"worker-{n}" for n in range(1, 17)]
    colours = style.consumer_colours(reversed(names))
    assert list(colours) == names
    assert len(set(colours.values())) == 16
    assert style.consumer_colours(names[:3]) == {name: colours[name] for name in names[:3]}
    assert len(style.consumer_colours(["7", "a", "worker-1", "", "1a"])) == 5


def test_many_messages_are_drawn_as_density(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.plot.pictures._DENSE", 100)
    figure = latency(crash(tmp_path).load()).figure
    said = texts(figure)
    assert "messages in a cell (120 in all)" in said
    assert "reclaimed (3)" in said


def test_a_dark_notebook_does_not_change_the_picture(tmp_path: Path) -> None:
    import matplotlib as mpl
    import matplotlib.style

    history = crash(tmp_path).load()
    plain = overview(history)._repr_png_()
    with mpl.style.context("dark_background"):
        dark = overview(history)._repr_png_()
    light, other = (np.asarray(Image.open(BytesIO(data)).convert("L"), dtype=int) for data in (plain, dark))
    assert (np.abs(light - other) > 100).mean() < 0.001


def test_saving_in_other_formats(tmp_path: Path) -> None:
    picture = pel(one(tmp_path).load())
    assert b"<svg" in picture.save(tmp_path / "a.svg").read_bytes()
    with pytest.raises(ValueError, match="not supported"):
        picture.save(tmp_path / "a.docx")
    assert not (tmp_path / "a.docx").exists()


def test_pyplot_is_not_loaded() -> None:
    import subprocess

    code = "import sys, streamlab.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
