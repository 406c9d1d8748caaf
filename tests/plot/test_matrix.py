"""The matrix of faults against verdicts."""

from __future__ import annotations

from itertools import product

import pytest

from streamlab.errors import UsageError
from streamlab.plot import matrix
from tests.plot.boxes import assert_readable, drawn, texts

ROWS = [f"a worker with the mistake number {n}, told at some length" for n in range(20)]
COLUMNS = [f"a fault that has a long name, namely {n}" for n in range(12)]
VERDICTS = ("valid", "invalid", "unknown", "")


def test_a_cell_has_a_colour_a_sign_and_words() -> None:
    cells = {
        ("own", "kill"): ("valid", ""),
        ("own", "cut"): ("invalid", "12 lost"),
        ("acks first", "kill"): ("unknown", "a\nb\n$"),
    }
    figure = matrix(["own", "acks first"], ["kill", "cut"], cells).figure
    cell = {verdict: drawn(figure, verdict) for verdict in ("valid", "invalid", "unknown", "not tried")}
    assert [len(found) for found in cell.values()] == [1, 1, 1, 1]
    assert len({found[0].get_facecolor() for found in cell.values()}) == 4
    assert cell["invalid"][0].get_xy() == (1, 0), "first row, second column"
    assert {"own", "acks first", "kill", "cut", "✓", "✗", "?", "12 lost", "a\nb…"} <= set(texts(figure))


def test_nothing_is_cut_off_at_any_size() -> None:
    for rows, columns in ((20, 12), (1, 1)):
        names = list(product(ROWS[:rows], COLUMNS[:columns]))
        cells = {name: (VERDICTS[n % 4], "1,204 done twice, 3 lost") for n, name in enumerate(names)}
        figure = matrix(ROWS[:rows], COLUMNS[:columns], cells).figure
        assert_readable(figure, rotated=True)
        width = figure.axes[0].get_window_extent().width / columns
        assert all(text.get_window_extent().width <= width for text in figure.axes[0].texts), "in their cell"
        heads = max(label.get_window_extent().y1 for label in figure.axes[0].get_xticklabels())
        assert heads < min(text.get_window_extent().y0 for text in figure.texts), "below the title and the key"


def test_what_is_no_table_is_refused() -> None:
    cells: dict[tuple[str, str], tuple[str, str]]
    for rows, cells, said in (
        (["own"], {("nobody", "kill"): ("valid", "")}, "expected one of the rows and one of the columns"),
        (["own"], {("own", "kill"): ("good", "")}, "verdict 'good', expected valid, invalid, unknown or ''"),
        ([], {}, "expected one of each at least"),
    ):
        with pytest.raises(UsageError, match=said):
            matrix(rows, ["kill"], cells)
