"""Did the faults hit the work? A test that broke nothing proves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from streamlab.history import History

_MET = {
    "worker": "no message met it",
    "wire": "nothing passed the wire that it met",
    "redis": "Redis had nothing for it to hit",
    "operator": "there was nothing to change or remove",
}
_WORK = ("adding", "added", "read", "claimed", "own", "started", "done", "acked", "failed", "retry", "dead")


def missed(history: History) -> list[str]:
    """A sentence for each planned fault that never began, had no effect, or began and ended outside of the work.

    What somebody pressed in the dashboard is not planned, and may miss.
    """
    begun = [fault for fault in history.faults.to_dict("records") if fault["record"].planned]
    reasons = [f"{kind} was planned and never happened" for kind in _never_begun(history, begun)]
    work = history.events[history.events["kind"].isin(_WORK)]
    for fault in begun:
        record, start, end = fault["record"], fault["start"], fault["end"]
        at = f"{record.name} at {start:.2f} s"
        if record.doubt:
            reasons.append(f"{at} is in doubt: {record.doubt}")
        elif fault["held"] == 0:
            reasons.append(f"{at} hit nothing: it held no message")
        elif fault["hit"] == 0:
            reasons.append(f"{at} hit nothing: {_MET.get(record.family, 'it met nothing')}")
        elif record.started and not work["process"].isin(record.started).any():
            reasons.append(f"{at} hit nothing: the second process got no message")
        elif fault["held"] > 0 or record.entries:
            continue  # there were messages for it, whether or not anybody went on with them
        elif len(work) and start > (last := work["time"].iloc[-1]):
            reasons.append(f"{at} came after the work, which ended at {last:.2f} s")
        elif len(work) and end < (first := work["time"].iloc[0]):
            reasons.append(f"{record.name} ended at {end:.2f} s, before the work, which began at {first:.2f} s")
    return reasons


def _never_begun(history: History, begun: list[dict[Hashable, Any]]) -> list[str]:
    """Planned faults of which fewer began; targets do not count, since a schedule may aim at 'one' of them."""
    faults = history.experiment.get("faults", [])
    planned = Counter(str(fault.get("kind", "a fault")) for fault in faults if isinstance(fault, dict))
    return sorted((planned - Counter(fault["fault"] for fault in begun)).elements())
