"""Pictures of every kind of history: drawn without a warning, nothing cut off, light, and the same each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from itertools import combinations, product
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pytest
from PIL import Image

from streamlab.history import History
from streamlab.plot import Picture, backlog, lanes, latency, overview, pel, rate, style
from streamlab.plot.pel import with_gaps
from tests.histories import Story, crash, healthy
from tests.plot.boxes import assert_readable, drawn, texts

DRAW = [pel, latency, overview, lanes, backlog, rate]


def one(folder: Path) -> Story:
    return Story(folder).add(0, 0.1).work(0, "worker-1", 0.2).sample(0, "pending", 1, "worker-1").end()


def crowd(folder: Path) -> Story:
    """16 workers, faults of every family that overlap, and a server that was silent for a second."""
    story = Story(folder)
    for job in range(400):
        story.add(job, job / 40).work(job, f"worker-{job % 16 + 1}", job / 40 + 0.01 * 1.02 ** (job % 200))
    for tick in range(200):
        for worker in range(16):
            if not 80 < tick < 100:
                story.sample(tick / 20, "pending", (tick * worker) % 7, f"worker-{worker + 1}")
        if not 80 < tick < 100:
            story.sample(tick / 20, "length", tick * 2)
        if not 80 < tick < 140:
            story.sample(tick / 20, "lag", 0)
    for fault, family, at in (
        ("kill worker-2", "worker", 2),
        ("xtrim", "operator", 2.1),
        ("hold replies of XREADGROUP", "wire", 2.2),
    ):
        story.fault(fault, "", at, until=at + 1, family=family)
    return story.fault("restart", "redis", 9.9, family="redis").end()


def untrusted(folder: Path) -> Story:
    """Names that somebody else chose: formulas, underscores, letters without a glyph, endless ones."""
    story = Story(folder)
    for job, name in enumerate(("$\\frac$", "_hidden", "a\nb", "\U0001f600 漢", "w" * 200, "$")):
        story.add(job, job / 10).work(job, name, job / 10 + 0.01)
        story.sample(job / 10, "pending", job + 1, name.replace("\n", " "))
    return story.fault("pause $\\frac$", "_hidden\n\U0001f600", 0.2, 0.3).end()


FULL: dict[str, Callable[[Path], Story]] = {"crash": crash, "crowd": crowd, "untrusted": untrusted}
SPARSE: dict[str, Callable[[Path], Story]] = {
    "no faults, no samples": healthy,
    "one job": one,
    "a fault and nothing else": lambda folder: Story(folder).fault("kill", "worker-1", 0.5),
    "only samples of other things": lambda folder: Story(folder).sample(0.1, "lag", 3).sample(0.2, "lag", 3),
}


@pytest.mark.parametrize(
    ("name", "draw"),
    [*product(FULL, [overview, lanes]), ("crowd", backlog), ("crowd", rate), *product(SPARSE, [overview])],
)
def test_a_picture_is_light_and_whole(tmp_path: Path, name: str, draw: Callable[[History], Picture]) -> None:
    picture = draw((FULL | SPARSE)[name](tmp_path).load())
    data = picture.save(tmp_path / "picture.png").read_bytes()
    assert len(data) < 100_000
    pixels = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    assert all((edge == 255).all() for edge in edges), "something touches the edge, so it may be cut off"
    assert_readable(picture.figure)
    assert picture.figure.axes[-1].get_xlabel() == "seconds since the start"
    assert draw is lanes or all(axes.get_ylabel() for axes in picture.figure.axes), "its unit"
    assert not list(tmp_path.glob(".*picture.png"))


def test_the_crash_is_named_and_the_units_are_there(tmp_path: Path) -> None:
    said = set(texts(overview(crash(tmp_path).load()).figure))
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


@pytest.mark.parametrize("draw", [overview, lanes])
def test_the_same_history_gives_the_same_file(tmp_path: Path, draw: Callable[[History], Picture]) -> None:
    story = crash(tmp_path)
    assert draw(story.load())._repr_png_() == draw(story.load())._repr_png_()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    history = Story(tmp_path).end().load()
    said = {text for draw in DRAW for text in texts(draw(history).figure)}
    assert {
        "no samples of the pending entries",
        "no message with a due time was done",
        "no message was delivered",
        "no message was added or done",
        "no samples of the lag",
        "no samples of the length",
    } <= said


def test_a_gap_in_the_samples_is_a_gap() -> None:
    time, rows = with_gaps(np.array([0, 1, 2, 3, 8, 9.0]), np.ones((6, 1)))
    assert time.tolist() == [0, 1, 2, 3, 4, 4, 8, 9]
    assert np.isnan(rows[:, 0]).tolist() == [False] * 5 + [True] + [False] * 2


def test_an_area_ends_where_its_line_ends(tmp_path: Path) -> None:
    """A sample holds until the next look, to which Redis gave no answer."""
    story = healthy(tmp_path)
    for tick in range(3):
        story.sample(tick / 10, "lag", 2).sample(tick / 10, "pending", 2, "worker-1")
    story.sample(0.3, "length", 1)
    history = story.load()
    (area,) = drawn(pel(history).figure, "pending")
    assert area.get_paths()[0].get_extents().x1 == pytest.approx(0.3)
    upper = backlog(history).figure.axes[0]
    assert upper.collections[0].get_paths()[0].get_extents().x1 == pytest.approx(0.3)


def test_three_intervals_are_no_gap_yet() -> None:
    time, _ = with_gaps(np.array([0, 1, 2, 5, 6.0]), np.ones((5, 1)))
    assert time.tolist() == [0, 1, 2, 5, 6]


def test_the_silence_of_the_server_is_white(tmp_path: Path) -> None:
    area = drawn(pel(crowd(tmp_path).load()).figure, "pending")[0]
    assert len(area.get_paths()) >= 2, "one area before the gap, one after"


def test_a_lag_that_redis_does_not_know_is_a_gap_and_no_zero(tmp_path: Path) -> None:
    figure = backlog(crowd(tmp_path).load()).figure
    (lag,), (length,) = drawn(figure, "lag"), drawn(figure, "length")
    for line, until in ((lag, 7.0), (length, 5.0)):
        time, values = line.get_xdata(), line.get_ydata()
        gap = time[np.isnan(values)]
        assert gap.min() <= 4.1
        assert not ((time > 4.1) & (time < until) & ~np.isnan(values)).any()
        assert not np.isnan(values[time >= until]).any()


def test_rates_count_each_event_once(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    figure = rate(history).figure
    assert {"added (120)", "done (120)", "delivered again (3)"} <= set(texts(figure))
    for patch, count in zip(figure.axes[0].patches[:3], (120, 120, 3), strict=True):
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(count)


def test_a_steady_rate_is_steady_to_the_end(tmp_path: Path) -> None:
    """The last step ends with the picture, wherever that is."""
    story = Story(tmp_path)
    for job in range(1025):
        story.add(job, job / 100)
    figure = rate(story.load()).figure
    values, edges, _ = figure.axes[0].patches[0].get_data()
    assert edges[-1] == figure.axes[0].get_xlim()[1] == pytest.approx(10.24, abs=0.01)
    assert values.min() > 90


def test_the_same_consumer_has_the_same_colour_everywhere(tmp_path: Path) -> None:
    story = crash(tmp_path)
    for tick in range(10):
        story.sample(tick / 10, "pending", 1, "a stranger")  # who shifts the others by one
    history = story.load()
    colours = style.colours(history)
    assert list(colours) == ["a stranger", "worker-1", "worker-2", "worker-3"]
    areas = {area.get_label(): tuple(area.get_facecolor()[0][:3]) for area in drawn(pel(history).figure, "pending")}
    bars = drawn(lanes(history).figure, "delivered")[0].get_facecolor()[:, :3]
    assert areas["worker-1"] == pytest.approx(colours["worker-1"])
    assert {tuple(bar) for bar in bars.round(4)} == {tuple(np.round(colours[f"worker-{n}"], 4)) for n in (1, 2, 3)}


def test_each_consumer_keeps_a_colour_of_its_own() -> None:
    names = [f"worker-{n}" for n in range(1, 17)]
    colours = style.consumer_colours(reversed(names))
    assert list(colours) == names
    assert len(set(colours.values())) == 16
    assert style.consumer_colours(names[:3]) == {name: colours[name] for name in names[:3]}
    assert len(style.consumer_colours(["7", "a", "worker-1", "", "1a"])) == 5
    hatches = style.hatches(reversed(names))
    assert [hatches[name] for name in names] == [""] * 7 + ["////"] * 7 + ["...."] * 2


def _seen(colour: style.Colour, sight: np.ndarray) -> np.ndarray:
    """What somebody with this sight sees, in CIE L*a*b*."""
    light = np.array([x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in colour])
    rgb_to_xyz = np.array([[0.4339, 0.3762, 0.1899], [0.2127, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]])
    x, y, z = np.cbrt(np.maximum(rgb_to_xyz @ np.clip(sight @ light, 0, 1), 0.01))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    "sight",  # Machado, Oliveira and Fernandes (2009): nobody sees less of red, or of green
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ],
    ids=["protanopia", "deuteranopia"],
)
def test_colour_blind_readers_tell_the_colours_apart(sight: list[list[float]]) -> None:
    """Those of the same hatch: two of those that a hatch tells apart may be near each other."""
    seen = [_seen(colour, np.array(sight)) for colour in style.consumer_colours(map(str, range(21))).values()]
    for hatch in range(3):
        least = min(np.linalg.norm(one - other) for one, other in combinations(seen[7 * hatch : 7 * hatch + 7], 2))
        assert least > (15 if hatch == 0 else 9)


def test_a_picture_ends_with_the_work_and_not_with_the_farewell(tmp_path: Path) -> None:
    story = healthy(tmp_path).event("phase", "lab", 1.0, note="stop")
    story.event("worker_exit", "lab", 9.0, note="worker-1: status 0")
    assert style.end_of(story.load()) == pytest.approx(1.0)


def test_an_area_has_its_colour_in_the_file(tmp_path: Path) -> None:
    """256 colours are chosen so that the large areas keep theirs, however many others there are."""
    pixels = np.asarray(Image.open(BytesIO(pel(crowd(tmp_path).load())._repr_png_())).convert("RGB")).reshape(-1, 3)
    for colour in style.consumer_colours([f"worker-{n}" for n in range(1, 17)]).values():
        assert (np.abs(pixels - np.round(np.array(colour) * 255)).max(axis=1) <= 1).sum() > 50


def test_a_dark_notebook_does_not_change_the_picture(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    plain = overview(history)._repr_png_()
    with mpl.style.context("dark_background"):
        dark = overview(history)._repr_png_()
    light, other = (np.asarray(Image.open(BytesIO(data)).convert("L"), dtype=int) for data in (plain, dark))
    assert (np.abs(light - other) > 100).mean() < 0.001


def test_saving_in_other_formats(tmp_path: Path) -> None:
    history = one(tmp_path).load()
    first = lanes(history).save(tmp_path / "a.svg").read_bytes()
    assert b"<svg" in first
    assert lanes(history).save(tmp_path / "a.svg").read_bytes() == first
    with pytest.raises(ValueError, match="not supported"):
        pel(history).save(tmp_path / "a.docx")
    assert not (tmp_path / "a.docx").exists()


def test_pyplot_is_not_loaded() -> None:
    code = "import sys, streamlab.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
