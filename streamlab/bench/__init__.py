"""What streamlab costs: the queue, looking at it, recovery, and other libraries; both sides in one run, in turns.

Bare times say more about the machine than about the code: what counts is the ratio of two measurements of the same
round, and of all rounds the median. A group of measurements is a module here with a function `pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamlab.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from streamlab.servers import Server

GROUPS = ("queue", "looking", "recovery", "peers")


@dataclass(frozen=True)
class Pair:
    """Something to measure, and what it is compared with.

    Attributes:
        what: in a few words.
        unit: of both values.
        than: what `base` measures, in a few words.
        base: measures one side.
        ours: measures the other.
    """

    what: str
    unit: str
    than: str
    base: Callable[[], float]
    ours: Callable[[], float]


def bench(
    server: Server, groups: Sequence[str], *, messages: int, rounds: int, progress: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Measure, and return a row a comparison: what, unit, than, base, ours (medians), ratio (median).

    Args:
        server: where to measure; keys are made under its prefix, and removed.
        groups: of `GROUPS`; none means all but "peers", which makes an environment for each library.
        messages: a measurement of throughput.
        rounds: how often each is repeated.
        progress: told (finished, total) measurements.

    Raises UsageError for a group that there is not.
    """
    from statistics import median  # not above: `raw` is imported where memory is measured

    for group in groups:
        if group not in GROUPS:
            raise UsageError(f"no measurements are called {group!r}; there are: {', '.join(GROUPS)}")
    modules = [import_module(f"streamlab.bench.{group}") for group in groups or GROUPS[:-1]]
    pairs: list[Pair] = [pair for module in modules for pair in module.pairs(server, messages)]
    rows: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs):
        results = []
        for turn in range(rounds):
            progress(number * rounds + turn, len(pairs) * rounds)
            results.append((pair.base(), pair.ours()))
        bases, ours = zip(*results, strict=True)
        ratio = median(our / base for base, our in results)
        rows.append(
            {"what": pair.what, "unit": pair.unit, "than": pair.than}
            | {"base": median(bases), "ours": median(ours), "ratio": ratio}
        )
    progress(len(pairs) * rounds, len(pairs) * rounds)
    return rows


def describe(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows as a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "measured", "against", "ratio"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading))
    for row in rows:
        what = f"{row['what']}, {row['unit']}\n  [dim]against {row['than']}[/]"
        table.add_row(what, _digits(row["ours"]), _digits(row["base"]), f"{row['ratio']:.3g}")
    console.print(table)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
