"""A finished run as its reader meets it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlab.check import Verdict, judge
from streamlab.history import History
from streamlab.history.files import write_json
from streamlab.report.trace import Trace

if TYPE_CHECKING:
    from streamlab.plot import Picture


class Run:
    """The folder of a run, read when it is needed.

    run = Run("out/tour")
    run.verdict                             # valid: 120 added, 120 done, 0 lost, 4 reclaimed, 0 done twice
    run.plot()                              # PEL and latency, the faults named
    run.message(run.verdict.reclaimed[0])   # one message's trace

    Args:
        folder: where the history is.
        owner: kept as long as the run is: a temporary folder is removed with it.
    """

    def __init__(self, folder: str | Path, *, owner: object = None) -> None:
        self.folder = Path(folder)
        self._owner = owner

    @cached_property
    def history(self) -> History:
        """All that was written down. Raises MissingError or DataError for a folder that is no history."""
        return History.load(self.folder)

    @cached_property
    def verdict(self) -> Verdict:
        """What the history proves."""
        return judge(self.history)

    def plot(self) -> Picture:
        """Who holds how many messages, and how long each took, on the same seconds."""
        return self._timeline("overview")

    def plot_pel(self) -> Picture:
        """The pending entries list's size over time, by consumer."""
        return self._timeline("pel")

    def plot_latency(self) -> Picture:
        """How long each message took from its due time to its first done, at the time when it was due.

        What was reclaimed, done twice or dead-lettered (until it was) is marked apart; the quantiles are those of the
        messages that were due in the same window of time.
        """
        return self._timeline("latency")

    def plot_backlog(self) -> Picture:
        """Entries that the group has not read yet (lag), and entries in the stream.

        Redis does not always know the lag (after XDEL, XTRIM or XGROUP SETID): there it is a gap, and no zero.
        """
        return self._timeline("backlog")

    def plot_rate(self) -> Picture:
        """Messages a second, in steps: added to the stream, done, and delivered again."""
        return self._timeline("rate")

    def _timeline(self, name: str) -> Picture:
        from streamlab.plot import timeline

        return timeline(name, self.history)

    def plot_lanes(self, start: float | None = None, end: float | None = None) -> Picture:
        """A lane a worker, a bar a message, an arrow a claim; `start` and `end` (s) show a part. Raises UsageError."""
        from streamlab.plot import lanes

        return lanes(self.history, start, end)

    def message(self, which: str | int) -> Trace:
        """The trace of one message, by entry ID ('1700000000000-0') or job number (7, 'job 7'). Raises UsageError."""
        return Trace.of(self.history, which)

    def save_verdict(self) -> Path:
        """Write verdict.json into the run's folder."""
        path = self.folder / "verdict.json"
        write_json(path, self.verdict.as_dict())
        return path

    def save_pictures(self) -> list[Path]:
        """Write pel.png, latency.png, lanes.png, backlog.png and rate.png into the run's folder."""
        return [picture.save(self.folder / f"{name}.png") for name, picture in self._pictures()]

    def _pictures(self) -> Iterator[tuple[str, Picture]]:
        yield "pel", self.plot_pel()
        yield "latency", self.plot_latency()
        yield "lanes", self.plot_lanes()
        yield "backlog", self.plot_backlog()
        yield "rate", self.plot_rate()

    def report(self, path: str | Path | None = None) -> Path:
        """Write all of it as one HTML file that needs no network; None: report.html in the run's folder."""
        from streamlab.report.page import page, write

        pictures = {name: picture._repr_png_() for name, picture in self._pictures()}
        return write(page(self.history, self.verdict, pictures), Path(path or self.folder / "report.html"))

    def __repr__(self) -> str:
        # What has not been judged yet is not judged for the sake of a debugger's line.
        verdict = self.__dict__.get("verdict")
        return f"Run({str(self.folder)!r})" + (f": {verdict}" if verdict else "")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"Run({str(self.folder)!r}): {self.verdict}")

    def _repr_html_(self) -> str:
        return f"<code>{escape(str(self.folder))}</code> {self.verdict._repr_html_()}"
