"""Who held an entry when it was acknowledged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamlab.history import History
from streamlab.record import DELIVERIES

_Ints = npt.NDArray[np.int64]


def zombie_acks(history: History) -> npt.NDArray[np.bool_]:
    """Which events are acks by a process that was not the last one to have got the entry; a restarted one is another.

    Only what is certain counts. A `read` is a first delivery: one that stands behind another process's claim was
    written late, by a process that slept in between, and shows no new holder. An ack with a note ("2 of 3") is one of
    several in a command, of which Redis took only some.
    """
    events = history.events
    entry = events["entry"].cat.codes.to_numpy()
    acks = ((events["kind"] == "acked") & (events["note"] == "")).to_numpy()
    gets = events["kind"].isin(DELIVERIES).to_numpy()
    rows = np.flatnonzero((acks | gets) & (entry > 0))
    rows = rows[np.argsort(entry[rows], kind="stable")]  # an entry's events together, in the order of time
    lives = events["incarnation"].to_numpy()
    who = (events["process"].cat.codes.to_numpy().astype(np.int64) * (lives.max(initial=0) + 1) + lives)[rows]
    is_read = (events["kind"] == "read").to_numpy()[rows]
    is_get = gets[rows]
    before = _last(is_get, entry[rows], behind=True)
    late = is_get & is_read & (before >= 0) & ~is_read[before] & (who[before] != who)
    holder = _last(is_get & ~late, entry[rows])
    found = np.zeros(len(events), dtype=bool)
    found[rows] = ~is_get & (holder >= 0) & (who[holder] != who)
    return found


def _last(where: npt.NDArray[np.bool_], entry: npt.NDArray[Any], *, behind: bool = False) -> _Ints:
    """For each place the last one up to it (`behind`: before it) that is marked and of the same entry; -1 = none."""
    places = np.arange(len(where), dtype=np.int64)
    last = np.maximum.accumulate(np.where(where, places, -1)) if len(where) else places
    if behind:
        last = np.concatenate([np.full(min(1, len(last)), -1, np.int64), last[:-1]])
    return np.where((last >= 0) & (entry[last] == entry), last, -1)
