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
        ("acks first", "kill"): ("unknown", "?!"),
    }
    figure = matrix(["own", "acks first"], ["kill", "cut"], cells).figure
    cell = {verdict: drawn(figure, verdict) for verdict in ("valid", "invalid", "unknown", "not tried")}
    assert [len(found) for found in cell.values()] == [1, 1, 1, 1]
    assert len({found[0].get_facecolor() for found in cell.values()}) == 4
    assert cell["invalid"][0].get_xy() == (1, 0), "first row, second column"
    assert {"own", "acks first", "kill", "cut", "✓", "✗", "?", "12 lost", "?!"} <= set(texts(figure))


def test_the_words_of_a_cell_are_two_lines_at_most() -> None:
    for text, shown in (
        ("3 lost\r\n\n2 twice\n", "3 lost\n2 twice"),
        ("3 lost, 2 done twice", "3 lost, 2\ndone twice"),
        ("3 lost\n2 done twice by zombies", "3 lost\n2 done twice…"),
        ("a\nb\nc", "a\nb…"),
        ("n" * 99, "n" * 13 + "\n" + "n" * 12 + "…"),
        ("12345678 = $$$", "12345678 =\n" + r"\$\$\$"),
    ):
        axes = matrix(["own"], ["kill"], {("own", "kill"): ("invalid", text)}).figure.axes[0]
        sign, words = axes.texts
        assert words.get_text() == shown
        assert sign.get_window_extent().y0 >= words.get_window_extent().y1, "below the sign"
        assert words.get_window_extent().y0 >= axes.get_window_extent().y0, "in its cell"


def test_nothing_is_cut_off_at_any_size() -> None:
    for rows, columns in ((20, 12), (1, 1), (2, 12)):
        names = list(product(ROWS[:rows], COLUMNS[:columns]))
        cells = {name: (VERDICTS[n % 4], "1,204 done twice, 3 lost") for n, name in enumerate(names)}
        figure = matrix(ROWS[:rows], COLUMNS[:columns], cells).figure
        assert_readable(figure, rotated=True)
        width = figure.axes[0].get_window_extent().width / columns
        assert all(text.get_window_extent().width <= width for text in figure.axes[0].texts), "in their cell"
        heads = max(label.get_window_extent().y1 for label in figure.axes[0].get_xticklabels())
        assert heads < min(text.get_window_extent().y0 for text in figure.texts), "below the title and the key"


def test_what_is_no_table_is_refused() -> None:
    for rows, columns, cells, said in (
        (["own"], ["kill"], {("nobody", "kill"): ("valid", "")}, "expected one of the rows"),
        (["own"], ["kill"], {("own", "rain"): ("valid", "")}, "expected one of the rows and one of the columns"),
        (["own"], ["kill"], {("own", "kill"): ("good", "")}, "verdict 'good', expected valid, invalid, unknown or ''"),
        ([], ["kill"], {}, "expected one of each at least"),
        (["own"], [], {}, "expected one of each at least"),
    ):
        with pytest.raises(UsageError, match=said):
            matrix(rows, columns, cells)
