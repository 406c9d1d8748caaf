"""Pictures of every kind of history: nothing cut off, light, readable by everybody, and the same each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from streamlab.history import History
from streamlab.plot import Picture, lanes, style, timeline
from tests.histories import Story, crash, healthy
from tests.plot.boxes import assert_readable, drawn, texts

DRAW = [lanes, *(partial(timeline, name) for name in ("overview", "backlog", "rate"))]


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
        ("hold replies", "wire", 2.2),
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


STORIES: list[Callable[[Path], Story]] = [
    crash,
    crowd,
    untrusted,
    lambda folder: healthy(folder, jobs=1).sample(0, "pending", 1, "worker-1"),
    lambda folder: Story(folder).fault("kill", "worker-1", 0.5),
]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("draw", DRAW)
def test_a_picture_is_light_whole_and_readable(tmp_path: Path, draw: Callable[[History], Picture]) -> None:
    for number, story in enumerate(STORIES):
        picture = draw(story(tmp_path / str(number)).load())
        data = picture._repr_png_()
        assert len(data) < 100_000, "a notebook carries its pictures along"
        seen = pixels(data)
        edges = [seen[0], seen[-1], seen[:, 0], seen[:, -1]]
        assert all((edge == 255).all() for edge in edges), "something touches the edge, so it may be cut off"
        assert_readable(picture.figure)
        assert picture.figure.axes[-1].get_xlabel() == "seconds since the start"
        assert draw is lanes or all(axes.get_ylabel() for axes in picture.figure.axes), "its unit"


def test_the_crash_is_named_and_the_units_are_there(tmp_path: Path) -> None:
    said = set(texts(timeline("overview", crash(tmp_path).load()).figure))
    assert {"✕ kill worker-2", "worker-1", "worker-3", "messages pending", "normal (117)", "reclaimed (3)"} <= said
    assert any(text.startswith("p99  1.") and text.endswith(" s") for text in said)


def test_the_same_history_gives_the_same_file_in_a_dark_notebook_too(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    light = timeline("overview", history)._repr_png_()
    before = dict(mpl.rcParams)
    with mpl.style.context("dark_background"):
        assert timeline("overview", history)._repr_png_() == light
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: timeline("overview", history)._repr_png_(), range(4))) == {light}
    assert dict(mpl.rcParams) == before, "drawing changes no setting of the notebook"
    drawn_as_svg = lanes(history).save(tmp_path / "a.svg").read_bytes()
    assert b"<svg" in drawn_as_svg
    assert lanes(history).save(tmp_path / "a.svg").read_bytes() == drawn_as_svg
    with pytest.raises(ValueError, match="not supported"):
        timeline("pel", history).save(tmp_path / "a.docx")
    assert not list(tmp_path.glob("*a.docx*"))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    history = Story(tmp_path).end().load()
    assert {
        "no samples of the pending entries",
        "no message with a due time was done",
        "no message was delivered",
        "no message was added or done",
        "no samples of the lag",
        "no samples of the length",
    } <= {text for draw in DRAW for text in texts(draw(history).figure)}


def held_until(figure: Figure, gid: str) -> list[tuple[float, float]]:
    """From when to when something is drawn."""
    values, edges, _ = drawn(figure, gid)[0].get_data()
    known = np.flatnonzero(np.diff(np.isfinite(values).astype(int), prepend=0, append=0))
    return [(edges[begin], edges[end]) for begin, end in known.reshape(-1, 2)]


def test_a_sample_holds_until_the_next_and_silence_is_a_gap_and_no_zero(tmp_path: Path) -> None:
    history = crowd(tmp_path / "crowd").load()
    assert held_until(timeline("pel", history).figure, "pending") == [pytest.approx((0, 4.05)), pytest.approx((5, 10))]
    assert held_until(timeline("backlog", history).figure, "lag") == [pytest.approx((0, 4.05)), pytest.approx((7, 10))]
    story = healthy(tmp_path / "few")
    for at in (0.0, 0.1, 0.2, 0.5, 0.6, 1.0):  # three intervals are no gap yet
        story.sample(at, "pending", 2, "worker-1")
    assert held_until(timeline("pel", story.load()).figure, "pending") == [
        pytest.approx((0, 0.7)),
        pytest.approx((1.0, 1.1)),
    ]


def test_rates_count_each_event_once_and_are_steady_to_the_end(tmp_path: Path) -> None:
    figure = timeline("rate", crash(tmp_path / "crash").load()).figure
    assert {"added (120)", "done (120)", "delivered again (3)"} <= set(texts(figure))
    for patch, count in zip(figure.axes[0].patches[:3], (120, 120, 3), strict=True):
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(count)
    story = Story(tmp_path / "steady")
    for job in range(1025):
        story.add(job, job / 100)
    figure = timeline("rate", story.load()).figure
    values, edges, _ = figure.axes[0].patches[0].get_data()
    assert edges[-1] == figure.axes[0].get_xlim()[1] == pytest.approx(10.24, abs=0.01)
    assert values.min() > 90


def test_each_consumer_has_its_colour_and_hatch_in_every_picture(tmp_path: Path) -> None:
    story = crash(tmp_path / "crash").sample(0.5, "pending", 1, "a stranger")  # who shifts the others by one
    history = story.load()
    colours = style.colours(history)
    assert list(colours) == ["a stranger", "worker-1", "worker-2", "worker-3"]
    areas = {area.get_label(): area.get_facecolor()[:3] for area in drawn(timeline("pel", history).figure, "pending")}
    bars = drawn(lanes(history).figure, "delivered")[0].get_facecolor()[:, :3]
    assert areas == {name: pytest.approx(colour) for name, colour in colours.items()}
    assert {tuple(bar) for bar in bars.round(4)} == {tuple(np.round(colours[f"worker-{n}"], 4)) for n in (1, 2, 3)}
    # 256 colours are chosen for the file so that the large areas keep theirs, however many others there are.
    names = [f"worker-{n}" for n in range(1, 17)]
    colours = style.consumer_colours(reversed(names))
    assert list(colours) == names
    assert len(set(colours.values())) == 16
    assert list(style.hatches(names).values()) == [""] * 7 + ["////"] * 7 + ["...."] * 2
    seen = pixels(timeline("pel", crowd(tmp_path / "crowd").load())._repr_png_()).reshape(-1, 3)
    for colour in colours.values():
        assert (np.abs(seen - np.round(np.array(colour) * 255)).max(axis=1) <= 4).sum() > 50


def _seen(colour: style.Colour, sight: np.ndarray) -> np.ndarray:
    """What somebody with this sight sees, in CIE L*a*b*."""
    light = np.array([x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in colour])
    rgb_to_xyz = np.array([[0.4339, 0.3762, 0.1899], [0.2127, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]])
    x, y, z = np.cbrt(np.maximum(rgb_to_xyz @ np.clip(sight @ light, 0, 1), 0.01))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colour_blind_readers_tell_the_colours_apart() -> None:
    """Those of the same hatch: two of those that a hatch tells apart may be near each other."""
    protanopia = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    deuteranopia = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    for sight in (protanopia, deuteranopia):  # Machado, Oliveira and Fernandes (2009)
        seen = [_seen(colour, np.array(sight)) for colour in style.consumer_colours(map(str, range(21))).values()]
        for hatch in range(3):
            least = min(np.linalg.norm(one - other) for one, other in combinations(seen[7 * hatch : 7 * hatch + 7], 2))
            assert least > (15 if hatch == 0 else 9)


def test_a_picture_ends_with_the_work(tmp_path: Path) -> None:
    story = healthy(tmp_path).event("phase", "lab", 1.0, note="stop")
    history = story.event("worker_exit", "lab", 9.0, note="worker-1: status 0").load()
    assert timeline("rate", history).figure.axes[0].get_xlim()[1] == pytest.approx(1.0)


def test_pyplot_is_not_loaded() -> None:
    code = "import sys, streamlab.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
