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
    signals: list[tuple[float, str, str]] = []
    for row in events[events["kind"].isin(["worker_up", "worker_exit"]).to_numpy()].to_dict("records"):
        name, _, how = str(row["note"]).partition(": ")
        kind = "up" if row["kind"] == "worker_up" else "end" if how == _ORDERLY else "crash"
        signals.append((row["time"], name, kind))
    later = events[(events["incarnation"] > 1).to_numpy()].drop_duplicates(["process", "incarnation"])
    signals += [(time, str(name), "up") for time, name in zip(later["time"], later["process"], strict=True)]
    kills = history.faults[history.faults["kills"].to_numpy()]
    signals += [(time, name, "crash") for time, name in zip(kills["start"], kills["target"], strict=True)]
    undone = kills.dropna(subset="end")
    signals += [(time, name, "up") for time, name in zip(undone["end"], undone["target"], strict=True)]
    found = {name: [Lifetime(float("-inf"), end)] for name in style.colours(history)}
    for time, name, kind in sorted(signals):
        if name not in found:
            continue
        latest = found[name][-1]
        if kind != "up" and latest.end == end:  # of a death that two tell of, the first is the one
            latest.end, latest.crashed = time, kind == "crash"
        elif kind == "up" and latest.end < end:
            found[name].append(Lifetime(time, end))
        elif kind == "up" and latest.start == float("-inf"):
            latest.start = time
    return found
