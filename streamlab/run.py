"""A finished run as its reader meets it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from streamlab.check import Verdict, judge
from streamlab.errors import UsageError
from streamlab.files import write_json
from streamlab.history import History

if TYPE_CHECKING:
    from streamlab.plot import Picture

_IN_WORDS = {
    "adding": "sends the XADD",
    "added": "has it in the stream",
    "unknown": "got no answer: added or not?",
    "refused": "was refused: not added",
    "read": "read it",
    "claimed": "claimed it",
    "own": "read it again from its own pending entries",
    "started": "started",
    "done": "done: the effect exists",
    "acked": "acknowledged it",
    "failed": "failed",
    "retry": "handed it back for a later attempt",
    "dead": "moved it to the dead-letter stream",
    "disowned": "found that another consumer holds it",
    "deleted": "found that it is no longer in the stream",
}


class Run:
    """The folder of a run, read when it is needed.

    run = Run("out/tour")
    run.verdict                             # valid: 120 added, 120 done, 0 lost, 4 reclaimed, 0 done twice
    run.plot()                              # PEL and latency, the faults named
    run.message(run.verdict.reclaimed[0])   # one message's life
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @cached_property
    def history(self) -> History:
        """All that was written down. Raises MissingError or DataError for a folder that is no history."""
        return History.load(self.folder)

    @cached_property
    def verdict(self) -> Verdict:
        """What the history proves."""
        return judge(self.history)

    def plot(self) -> Picture:
        """PEL by consumer and latency, one above the other."""
        from streamlab.plot import overview

        return overview(self.history)

    def plot_pel(self) -> Picture:
        """The size of the pending entries list over time, by consumer."""
        from streamlab.plot import pel

        return pel(self.history)

    def plot_latency(self) -> Picture:
        """How long each message took, from its due time to done."""
        from streamlab.plot import latency

        return latency(self.history)

    def message(self, which: str | int) -> Life:
        """The life of one message, by entry ID ('1700000000000-0') or job number (7, 'job 7'). Raises UsageError."""
        events = self.history.events
        name = str(which).removeprefix("job ").strip()
        if name.isdigit():
            job: int | None = int(name)
        else:
            jobs = events.loc[(events["entry"] == name).to_numpy(), "job"].dropna()
            job = int(jobs.iloc[0]) if len(jobs) else None
        rows = events["entry"] == name if job is None else events["job"].fillna(-1) == job
        if not name or not rows.any():
            raise UsageError(
                f"{self.folder}: no event of {which!r}, expected an entry ID of this run or a job's number"
            )
        mine = events[rows.to_numpy()].reset_index(drop=True)
        return Life(job, mine, self._faults_around(mine))

    def _faults_around(self, events: pd.DataFrame) -> pd.DataFrame:
        """Faults that hit a process of these events meanwhile, or that hit no process: Redis, and so everybody."""
        faults = self.history.faults
        targets = {"", *(str(name) for name in events["process"].unique())}
        names = {str(name) for name in self.history.events["process"].cat.categories}
        near = faults["start"].between(events["time"].iloc[0], events["time"].iloc[-1])
        return faults[near & (faults["target"].isin(targets) | ~faults["target"].isin(names))]

    def save_verdict(self) -> Path:
        """Write verdict.json into the run's folder."""
        path = self.folder / "verdict.json"
        write_json(path, self.verdict.as_dict())
        return path

    def save_pictures(self) -> list[Path]:
        """Write pel.png and latency.png into the run's folder."""
        pel = self.plot_pel().save(self.folder / "pel.png")
        return [pel, self.plot_latency().save(self.folder / "latency.png")]

    def __repr__(self) -> str:
        # What has not been judged yet is not judged for the sake of a debugger's line.
        verdict = self.__dict__.get("verdict")
        return f"Run({str(self.folder)!r})" + (f": {verdict}" if verdict else "")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"Run({str(self.folder)!r}): {self.verdict}")

    def _repr_html_(self) -> str:
        return f"<code>{escape(str(self.folder))}</code> {self.verdict._repr_html_()}"


@dataclass(frozen=True, eq=False)
class Life:
    """One message from due time to ack: its rows of `History.events`, and the `faults` that hit its holders."""

    job: int | None
    events: pd.DataFrame
    faults: pd.DataFrame

    @property
    def entries(self) -> list[str]:
        """The entry IDs that carried it; more than one where it was produced twice."""
        return [str(entry) for entry in self.events["entry"].unique() if entry]

    def lines(self) -> list[tuple[float, str, str]]:
        """Time (s since the run's start), who, and what, in order."""
        lines = [(float(fault["start"]), "lab", str(fault["name"])) for fault in self.faults.to_dict("records")]
        due = self.events["due"].dropna()
        if len(due):
            lines.append((float(due.iloc[0]), "plan", "due"))
        for event in self.events.to_dict("records"):
            who = str(event["process"]) + (f" (life {event['incarnation']})" if event["incarnation"] > 1 else "")
            what = _IN_WORDS.get(event["kind"], str(event["kind"]))
            what += f" (delivery {event['deliveries']})" if event["deliveries"] else ""
            what += f": {event['note']}" if event["note"] else ""
            lines.append((float(event["time"]), who, what))
        return sorted(lines, key=lambda line: line[0])

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(who) for _, who, _ in lines)
        return "\n".join([self._title(), *(f"{time:+8.3f} s  {who:<{width}}  {what}" for time, who, what in lines)])

    def _title(self) -> str:
        job = "no job of this run" if self.job is None else f"job {self.job}"
        return f"message {', '.join(self.entries) or 'without an entry'}, {job}; seconds since the start"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{time:+.3f} s</td><td>{escape(who)}</td><td style='text-align: left'>{escape(what)}</td></tr>"
            for time, who, what in self.lines()
        )
        return f"<b>{escape(self._title())}</b><table>{rows}</table>"
