"""When each worker's process was there, and how it went."""

from __future__ import annotations

from dataclasses import dataclass

from streamlab.history import History
from streamlab.plot import style

_ORDERLY = "status 0"


@dataclass
class Lifetime:
    """One process of a worker: from `start` to `end` (s); `crashed`: it did not end because it was told to."""

    start: float
    end: float
    crashed: bool = False


def lifetimes(history: History) -> dict[str, list[Lifetime]]:
    """The processes of each consumer, in order; where nobody wrote when the first began, it was there before."""
    events, end = history.events, style.end_of(history)
    found = {name: [Lifetime(float("-inf"), end)] for name in style.colours(history)}
    rows = events[events["kind"].isin(["worker_up", "worker_exit"]).to_numpy()]
    for time, kind, note in zip(rows["time"], rows["kind"], rows["note"], strict=True):
        name, _, how = str(note).partition(": ")
        if name not in found:
            continue
        latest = found[name][-1]
        if kind == "worker_exit":
            latest.end, latest.crashed = time, how != _ORDERLY
        elif latest.start == float("-inf") and latest.end == end:
            latest.start = time
        else:
            found[name].append(Lifetime(time, end))
    return found
