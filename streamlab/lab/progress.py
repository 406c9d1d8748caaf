"""A bar that shows how far something is, in a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Progress:
    """How far something is. Of a run: messages that are done with (acknowledged, by whatever outcome), and added."""

    finished: int
    total: int
    added: int = 0


Watcher = Callable[[Progress], None]


@contextmanager
def bar(what: str, console: Console | None = None) -> Iterator[Watcher]:
    """A bar that is gone in the end; lines said meanwhile appear above it. Silent where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = console or Console()
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    watched = console.is_terminal or console.is_jupyter
    with Bar(*columns, console=console, transient=True, disable=not watched) as shown:
        task = shown.add_task(what, total=None)
        yield lambda how_far: shown.update(task, completed=how_far.finished, total=how_far.total)
