"""The trace of one message, from its due time to its ack: as a text or a table, and who held it as a picture."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from streamlab.errors import UsageError
from streamlab.history import History
from streamlab.history.fault_record import hit_by

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
    "retry": "scheduled a later attempt",
    "dead": "moved it to the dead-letter stream",
    "disowned": "found that another consumer holds it",
    "deleted": "found that it is no longer in the stream",
    # What the proxy saw; the note goes on with the process at the other end.
    "wire_added": "answered the XADD of",
    "wire_delivered": "delivered it to",
    "wire_claimed": "moved it to the pending entries of",
    "wire_acked": "took it out of the pending entries, acknowledged by",
    "wire_error": "answered with an error:",
    "wire_cut": "answered, and a fault cut the reply:",
}
_ENDS = ("acked", "dead", "wire_acked")


@dataclass(frozen=True, eq=False)
class Trace:
    """One message from due time to ack: its rows of `History.events`, and the `faults` that hit its holders."""

    job: int | None
    events: pd.DataFrame
    faults: pd.DataFrame
    history: History

    @classmethod
    def of(cls, history: History, which: str | int) -> Self:
        """The trace of an entry ID ('1700000000000-0') or a job (7, 'job 7'). Raises UsageError."""
        events = history.events
        name = str(which).removeprefix("job ").strip()
        if name.isdecimal():
            job: int | None = int(name)
        else:
            jobs = events.loc[(events["entry"] == name).to_numpy(), "job"].dropna()
            job = int(jobs.iloc[0]) if len(jobs) else None
        rows = events["entry"] == name if job is None else events["job"].fillna(-1) == job
        if not name or not rows.any():
            raise UsageError(
                f"{history.folder}: no event of {which!r}, expected an entry ID of this run or a job's number"
            )
        mine = events[rows.to_numpy()].reset_index(drop=True)
        return cls(job, mine, _faults_around(history, mine), history)

    @property
    def entries(self) -> list[str]:
        """The entry IDs that carried it; more than one where it was produced twice."""
        return [str(entry) for entry in self.events["entry"].unique() if entry]

    def lines(self) -> list[tuple[float, str, str]]:
        """Time (s since the run's start), who, and what, in order."""
        end = self.events["time"].iloc[-1]
        due = self.events["due"].dropna()
        lines = [(float(due.iloc[0]), "plan", "due")] if len(due) else []
        faults = {record.index: record.name for record in self.history.faults["record"]}
        for event in self.events.to_dict("records"):
            kind, who, note = str(event["kind"]), str(event["process"]), str(event["note"])
            what, delivery = _IN_WORDS.get(kind, kind), f" (delivery {event['deliveries']})" * (event["deliveries"] > 0)
            if who == "wire":
                who, what = "Redis", f"{what} {note}".strip() + delivery
            elif kind == "fault_hit":
                what = f"was hit by {faults.get(hit_by(note), 'a fault')}"
            else:
                who += f" (incarnation {event['incarnation']})" if event["incarnation"] > 1 else ""
                what += delivery + (f": {note}" if note else "")
            lines.append((float(event["time"]), who, what))
        for fault in self.faults.to_dict("records"):
            lines.append((float(fault["start"]), "lab", str(fault["name"])))
            if fault["start"] < fault["end"] <= end:
                lines.append((float(fault["end"]), "lab", f"{fault['name']} is over"))
        return sorted(lines, key=lambda line: line[0])

    def plot(self) -> Picture:
        """Who held it from when to when, from its due time to the end of its trace; the faults shaded."""
        from streamlab.plot import lanes

        begin, end = self.events[["due", "time"]].min().min(), self.lines()[-1][0]
        pad = 0.02 * max(end - begin, 0.05)
        return lanes(self.history, begin - pad, end + pad, entries=self.entries, title=self.title)

    @property
    def title(self) -> str:
        """Which message it is."""
        job = "no job of this run" if self.job is None else f"job {self.job}"
        return f"message {', '.join(self.entries) or 'without an entry'}, {job}"

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(who) for _, who, _ in lines)
        return "\n".join(
            [
                f"{self.title}; seconds since the start",
                *(f"{time:+8.3f} s  {who:<{width}}  {what}" for time, who, what in lines),
            ]
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        left = "<td style='text-align: left'>"
        rows = "".join(
            f"<tr><td>{time:+.3f} s</td>{left}{escape(who)}</td>{left}{escape(what)}</td></tr>"
            for time, who, what in self.lines()
        )
        picture = b64encode(self.plot()._repr_png_()).decode()
        drawn = f"<img src='data:image/png;base64,{picture}' alt='Who held it' style='max-width: 100%'>"
        return f"<b>{escape(self.title)}</b>, seconds since the start<table>{rows}</table>{drawn}"


def _faults_around(history: History, events: pd.DataFrame) -> pd.DataFrame:
    """Faults that hit a process of these events meanwhile, or that hit no process: Redis, and so everybody.

    Of a message that did not end, also the first of them that came afterwards: that may be why.
    """
    faults = history.faults
    targets = {"", *(str(name) for name in events["process"].unique())}
    names = {str(name) for name in history.events["process"].cat.categories}
    begin = events[["due", "time"]].min().min()
    hit = faults["target"].isin(targets) | ~faults["target"].isin(names)
    until = events["time"].iloc[-1]
    if not events["kind"].isin(_ENDS).any():
        later = faults["start"][hit & (faults["start"] > until)]
        until = later.min() if len(later) else until
    met = (faults["start"] <= until) & ~(faults["end"] < begin)
    near: pd.DataFrame = faults[(met & hit).to_numpy()]
    return near
