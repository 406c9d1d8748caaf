"""Did the faults hit the work? A test that broke nothing proves nothing."""

from __future__ import annotations

from collections import Counter
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

    A fault is planned unless the lab's note says `"planned": false`, as for a button pressed in the control room.
    """
    events, faults = history.events, history.faults
    reasons = [f"{name} was planned and never happened" for name in _not_begun(history)]
    work = events.loc[events["kind"].isin(_WORK), "time"]
    busy = set(events.loc[events["kind"].isin(_WORK), "process"])
    for fault in faults.to_dict("records"):
        if not fault["details"].get("planned", True):
            continue
        name, start, end = fault["name"], fault["start"], fault["end"]
        if doubt := fault["details"].get("doubt"):
            reasons.append(f"{name} at {start:.2f} s is in doubt: {doubt}")
        elif fault["held"] == 0:
            reasons.append(f"{name} at {start:.2f} s hit nothing: it held no message")
        elif fault["hit"] == 0:
            reasons.append(f"{name} at {start:.2f} s hit nothing: {_MET.get(fault['family'], 'it met nothing')}")
        elif fault["fault"] == "twin" and not busy & set(fault["details"].get("processes", busy)):
            reasons.append(f"{name} at {start:.2f} s hit nothing: the second process got no message")
        elif fault["held"] > 0 or fault["details"].get("entries"):
            continue  # there were messages for it, whether or not anybody went on with them
        elif len(work) and start > work.iloc[-1]:
            reasons.append(f"{name} at {start:.2f} s came after the work, which ended at {work.iloc[-1]:.2f} s")
        elif len(work) and end < work.iloc[0]:
            reasons.append(f"{name} ended at {end:.2f} s, before the work, which began at {work.iloc[0]:.2f} s")
    return reasons


def _not_begun(history: History) -> list[str]:
    """Planned faults whose name happened less often; targets do not count, since a plan may aim at 'one' of them."""
    planned = history.experiment.get("faults", [])
    names = Counter(_name(fault) for fault in planned if isinstance(fault, dict))
    happened = (row for row in history.faults.to_dict("records") if row["details"].get("planned", True))
    return sorted((names - Counter(row["fault"].lower() for row in happened)).elements())


def _name(fault: dict[str, Any]) -> str:
    return str(next((fault[key] for key in ("fault", "kind", "type", "name") if key in fault), "a fault")).lower()
