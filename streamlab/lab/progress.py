"""A bar that shows how far something is, in a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class HowFar(Protocol):
    """So many of so many."""

    @property
    def finished(self) -> int:
        """How many are done with."""

    @property
    def total(self) -> int:
        """Of how many."""


Watcher = Callable[[HowFar], None]


@contextmanager
def bar(what: str, console: Console | None = None) -> Iterator[Watcher]:
    """A bar that is gone in the end; lines said meanwhile appear above it. Silent where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or Console()
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    watched = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not watched) as progress:
        task = progress.add_task(what, total=None)
        yield lambda how_far: progress.update(task, completed=how_far.finished, total=how_far.total)


@contextmanager
def shown(progress: Watcher | bool, what: str) -> Iterator[Watcher]:
    """Whom to tell how far a run is: the caller's own function; for True a bar; for False nobody."""
    if not isinstance(progress, bool):
        yield progress
    elif progress:
        with bar(what) as watcher:
            yield watcher
    else:
        yield lambda _: None
