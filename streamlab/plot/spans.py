"""Who held which message, from when to when, as the workers wrote it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.history import History
from streamlab.record import DELIVERIES

_ENDS = ("acked", "dead", "deleted", "wire_acked")  # whoever tells it: it is out of the PEL
_WORDS = ("started", "done", "failed", "retry", "disowned")
_Array = npt.NDArray[Any]


def spans(events: pd.DataFrame) -> pd.DataFrame:
    """One row a delivery of these rows of `History.events`, in the order of time.

    `worker`, `life` (its incarnation), `entry`; `start`, `end` (s): from the delivery until the entry was delivered to
    somebody else, acknowledged, buried, or found deleted (NaN = nothing of that was written); `done` (s, when this
    holder wrote it first, NaN = never); `last` (s): the holder's last word about it, after `end` for a zombie (and not
    for who waits for the reply to an XACK that the wire has seen); `again`: it had been delivered before; `before`: the
    row of the delivery that another worker claimed it from, -1 = none.
    """
    entry = events["entry"].cat.codes.to_numpy().astype(np.int64)
    kinds = events["kind"].cat
    numbers = {kind: code for code, kind in enumerate(kinds.categories)}
    wanted = np.zeros(len(numbers), bool)
    wanted[[numbers[kind] for kind in (*DELIVERIES, *_ENDS, *_WORDS)]] = True
    rows = np.flatnonzero(wanted[kinds.codes.to_numpy()] & (entry > 0))
    entry, kind, time = entry[rows], kinds.codes.to_numpy()[rows], events["time"].to_numpy()[rows]
    life, process = events["incarnation"].to_numpy()[rows], events["process"].cat.codes.to_numpy()[rows]
    holder = process.astype(np.int64) * (life.max(initial=0) + 1) + life
    delivered = np.isin(kind, [numbers[kind] for kind in DELIVERIES])
    count = events["deliveries"].to_numpy()[rows]
    end, before, closer = _ends(entry, holder, kind, count, time=time, numbers=numbers)
    done, last = _words(entry, holder, delivered, kind == numbers["done"], time)
    on_the_wire = kind == numbers["wire_acked"]
    who = np.full(len(rows), -2)  # whose XACK the wire saw
    who[on_the_wire] = events["process"].cat.categories.get_indexer(events["note"].array[rows[on_the_wire]])
    last = np.where((closer >= 0) & (who[closer] == process), np.fmin(last, end), last)
    place = np.cumsum(delivered) - 1  # of an event's delivery among the deliveries
    elsewhere = (kind == numbers["claimed"]) & (before >= 0) & (process != process[before])
    return pd.DataFrame(
        {
            "worker": events["process"].array[rows[delivered]],
            "life": life[delivered],
            "entry": events["entry"].array[rows[delivered]],
            "start": time[delivered],
            "end": end[delivered],
            "done": done[delivered],
            "last": last[delivered],
            "again": ((count > 1) | (before >= 0))[delivered],
            "before": np.where(elsewhere, place[before], -1)[delivered],
        }
    )


def _ends(
    entry: _Array, holder: _Array, kind: _Array, count: _Array, *, time: _Array, numbers: dict[str, int]
) -> tuple[_Array, _Array, _Array]:
    """For each delivery when it ended (s), the delivery before it, and the event that ended it (rows, -1 = none).

    A frozen worker may read, too late, a reply that Redis sent before the entry was claimed from it: it holds nothing.
    """
    order = np.argsort(entry, kind="stable")
    entry, holder, kind, count = (x[order] for x in (entry, holder, kind, count))
    most = np.maximum.accumulate((entry << 32) + count) - (entry << 32)  # so far, of the same entry
    late = (kind == numbers["read"]) & (count > 0) & (count < most)
    delivered = np.isin(kind, [numbers[kind] for kind in DELIVERIES]) & ~late
    latest = np.maximum.accumulate(np.where(delivered, np.arange(len(order)), -1))
    known = (latest >= 0) & (entry[latest] == entry)
    # Who finds that it is another's has ended nothing, unless nobody wrote that he took it.
    own = known & (kind == numbers["disowned"]) & (holder[latest] == holder)
    closing = np.flatnonzero(delivered | own | np.isin(kind, [numbers[kind] for kind in _ENDS]))
    after = np.append(closing[1:], -1)[: len(closing)]
    same = (after >= 0) & (entry[after] == entry[closing])
    end, before, closer = np.full(len(order), np.nan), np.full(len(order), -1), np.full(len(order), -1)
    end[order[closing[same]]] = time[order[after[same]]]
    closer[order[closing[same]]] = order[after[same]]
    end[order[late]] = time[order[late]]
    prior = np.append(-1, latest)[: len(latest)]
    again = np.flatnonzero(delivered & (prior >= 0) & (entry[prior] == entry))
    before[order[again]] = order[prior[again]]
    first = np.searchsorted(entry, entry[late])  # the claim that came first: it was from the one who was late
    before[order[first]] = np.where(delivered[first], order[late], -1)
    return end, before, closer


def _words(entry: _Array, holder: _Array, delivered: _Array, done: _Array, time: _Array) -> tuple[_Array, _Array]:
    """For each delivery the holder's first done and last word (s) before the entry was delivered to it once more."""
    order = np.lexsort((holder, entry))  # stable: within them it stays the order of time
    entry, holder, delivered, done = (x[order] for x in (entry, holder, delivered, done))
    latest = np.maximum.accumulate(np.where(delivered, np.arange(len(order)), -1))
    known = (latest >= 0) & (entry[latest] == entry) & (holder[latest] == holder)
    first, last = np.full(len(order), np.nan), np.full(len(order), np.nan)
    its = np.flatnonzero(known & done)[::-1]  # backwards: of several assignments the last stays
    first[order[latest[its]]] = time[order[its]]
    its = np.flatnonzero(known)
    last[order[latest[its]]] = time[order[its]]
    return first, last


def settled(found: pd.DataFrame, history: History, until: float) -> _Array:
    """`end` without gaps (s): what is pending in the end was held `until` then.

    What Redis lost or an operator removed was held until somebody wrote of it for the last time, or until the first
    such fault after that.
    """
    end, last = found["end"].to_numpy(dtype=float).copy(), found["last"].to_numpy()
    outcome = history.outcome
    open_ = np.isnan(end)
    if outcome is None or outcome["ended"] == "interrupted":
        gone = np.zeros(len(end), bool)
    else:
        gone = open_ & ~found["entry"].isin(set(outcome["pending"])).to_numpy()
    faults = history.faults
    losing = faults["family"].isin(["redis", "operator"]) if "family" in faults else np.zeros(len(faults), bool)
    struck = np.append(np.sort(faults["start"][losing].to_numpy(dtype=float)), np.inf)
    following = struck[np.searchsorted(struck, last)]
    end[open_] = until
    end[gone] = np.where(np.isfinite(following), following, last)[gone]
    return np.asarray(np.minimum(end, until))
