"""What streamlab costs: the queue, looking at it, and recovery; both sides of each comparison in one run, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streamlab.bench import looking, queue, recovery
from streamlab.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from streamlab.servers import Server

GROUPS = {"queue": queue.pairs, "looking": looking.pairs, "recovery": recovery.pairs}


def bench(
    server: Server, groups: Sequence[str], *, messages: int, rounds: int, progress: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Measure, and return a row a comparison: what, unit, than, base, ours (medians), ratio (median), goal.

    Args:
        server: where to measure; keys are made under its prefix, and removed.
        groups: of `GROUPS`; none means all.
        messages: a measurement of throughput.
        rounds: how often each is repeated.
        progress: told (finished, total) measurements.

    Raises UsageError for a group that there is not.
    """
    for group in groups:
        if group not in GROUPS:
            raise UsageError(f"no measurements are called {group!r}; there are: {', '.join(GROUPS)}")
    pairs = [pair for group in groups or GROUPS for pair in GROUPS[group](server, messages)]
    finished = 0

    def told() -> None:
        nonlocal finished
        finished += 1
        progress(finished, 2 * rounds * len(pairs))

    return [pair.measured(rounds, told) for pair in pairs]


def describe(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows as a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "measured", "against", "ratio", "goal"):
        table.add_column(heading, justify="left" if heading in ("", "goal") else "right", no_wrap=bool(heading))
    for row in rows:
        what = f"{row['what']}, {row['unit']}\n  [dim]against {row['than']}[/]"
        table.add_row(what, _digits(row["ours"]), _digits(row["base"]), f"{row['ratio']:.2f}", row["goal"])
    console.print(table)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
