"""What faults left stranded, and how long it took until that was done after all."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from streamlab.history import History
from streamlab.history.fault_record import FaultRecord, hit_by


@dataclass(frozen=True)
class Stranding:
    """What one fault stranded: the jobs that its target had got last, and that were neither done nor acked by then.

    `start` (s) is when it struck; `settled` (s), by job, when the job was first done or dead-lettered, NaN = never.
    """

    fault: str
    start: float
    settled: pd.Series[float]

    @property
    def seconds(self) -> float | None:
        """From the strike until the last of them was settled; None where one never was."""
        return None if self.settled.isna().any() else float(self.settled.max() - self.start)

    def later_than(self, within: float, end: float) -> set[int]:
        """The jobs that took longer than `within` seconds, as far as that is certain at `end`, the history's last."""
        return set(self.settled.index[self.settled.fillna(end) > self.start + within])

    def as_dict(self) -> dict[str, Any]:
        """For the verdict: `fault`, `start`, `stranded` (jobs), `seconds`."""
        return {"fault": self.fault, "start": self.start, "stranded": len(self.settled), "seconds": self.seconds}


def strandings(history: History) -> list[Stranding]:
    """Of every fault that stranded something, in the order of time."""
    struck = [
        (fault["name"], strikes) for fault in history.faults.to_dict("records") if (strikes := _strikes(history, fault))
    ]
    if not struck:
        return []
    settled = history.first("done", "dead").reindex(history.jobs.index)
    over = history.first("done", "dead", "acked", "wire_acked")
    found = []
    for name, strikes in struck:
        stranded = {
            job for process, time in strikes for job in _held(history, process, time) - set(over[over <= time].index)
        }
        if stranded:
            start = min(time for _, time in strikes)
            found.append(Stranding(str(name), start, settled.loc[sorted(stranded)]))
    return found


def _held(history: History, process: str, time: float) -> set[int]:
    """The jobs that this process ('' = any) held at this time."""
    table = history.deliveries
    held = (table["start"] <= time) & ~(table["end"] <= time) & table["job"].notna()
    if process:
        held &= table["process"] == process
    return set(table.loc[held, "job"])


def _strikes(history: History, fault: dict[Hashable, Any]) -> list[tuple[str, float]]:
    """Whom it struck ('' = everybody), and when."""
    events = history.events
    if fault["held"] > 0:
        known = fault["target"] in events["process"].cat.categories
        return [(fault["target"] if known else "", fault["start"])]
    record: FaultRecord = fault["record"]
    if not (record.kills and record.inside):
        return []
    # Ordered beforehand: a process dies at the first message that it meets.
    hits = events[(events["kind"] == "fault_hit").to_numpy()]
    rows = zip(hits["process"], hits["time"], hits["note"], strict=True)
    return [(process, time) for process, time, note in rows if hit_by(note) == record.index]
