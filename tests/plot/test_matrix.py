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
    counts = {verdict: len(drawn(figure, verdict)) for verdict in ("valid", "invalid", "unknown", "not tried")}
    assert counts == {"valid": 1, "invalid": 1, "unknown": 1, "not tried": 1}
    assert len({drawn(figure, verdict)[0].get_facecolor() for verdict in counts}) == 4
    assert {"own", "acks first", "kill", "cut", "✓", "✗", "?", "12 lost", "?!"} <= set(texts(figure))
    (lost,) = [text for text in figure.axes[0].texts if text.get_text() == "12 lost"]
    assert lost.get_position() == (1.5, pytest.approx(0.68)), "first row, second column"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3 lost\n2 twice", "3 lost\n2 twice"),
        ("3 lost\r\n\n2 twice\n", "3 lost\n2 twice"),
        ("3 lost, 2 done twice", "3 lost, 2\ndone twice"),
        ("3 lost\n2 done twice by zombies", "3 lost\n2 done twice…"),
        ("a\nb\nc", "a\nb…"),
        ("n" * 99, "n" * 13 + "\n" + "n" * 12 + "…"),
        ("12345678 = $$$", "12345678 =\n" + r"\$\$\$"),
    ],
)
def test_the_words_of_a_cell_are_two_lines_at_most(text: str, shown: str) -> None:
    figure = matrix(["own"], ["kill"], {("own", "kill"): ("invalid", text)}).figure
    sign, words = figure.axes[0].texts
    assert words.get_text() == shown
    assert sign.get_window_extent().y0 >= words.get_window_extent().y1, "below the sign"
    assert words.get_window_extent().y0 >= figure.axes[0].get_window_extent().y0, "in its cell"


@pytest.mark.parametrize(("rows", "columns"), [(20, 12), (1, 1), (2, 12)])
def test_nothing_is_cut_off_at_any_size(rows: int, columns: int) -> None:
    names = list(product(ROWS[:rows], COLUMNS[:columns]))
    cells = {name: (VERDICTS[n % 4], "1,204 done twice, 3 lost") for n, name in enumerate(names)}
    figure = matrix(ROWS[:rows], COLUMNS[:columns], cells).figure
    assert_readable(figure, rotated=True)
    axes = figure.axes[0].get_window_extent()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.width <= axes.width / columns, "its words stay in their cell"
    heads = sorted(label.get_window_extent().y1 for label in figure.axes[0].get_xticklabels())
    assert heads[-1] < min(text.get_window_extent().y0 for text in figure.texts), "below the title and the key"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({("nobody", "kill"): ("valid", "")}, "expected one of the rows"),
        ({("own", "rain"): ("valid", "")}, "expected one of the rows and one of the columns"),
        ({("own", "kill"): ("good", "")}, "verdict 'good', expected valid, invalid, unknown or ''"),
    ],
)
def test_a_cell_that_has_no_place(cells: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        matrix(["own"], ["kill"], cells)


@pytest.mark.parametrize(("rows", "columns"), [([], ["kill"]), (["own"], [])])
def test_no_matrix_without_rows_and_columns(rows: list, columns: list) -> None:
    with pytest.raises(UsageError, match="expected one of each at least"):
        matrix(rows, columns, {})
