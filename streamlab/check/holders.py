"""Who held an entry when it was acknowledged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlab.history import History


def zombie_acks(history: History) -> npt.NDArray[np.bool_]:
    """Which events are acks by a process that was not the last one to have got the entry; a restarted one is another.

    Only what is certain counts. An ack with a note ("2 of 3") is one of several in a command, of which Redis took only
    some.
    """
    events, in_force = history.events, history.in_force
    acks = np.flatnonzero(((events["kind"] == "acked") & (events["note"] == "")).to_numpy() & (in_force >= 0))
    acked, held = events.iloc[acks], history.deliveries.iloc[in_force[acks]]
    same = (acked["process"].array == held["process"].array) & (acked["incarnation"].array == held["incarnation"].array)
    found = np.zeros(len(events), dtype=bool)
    found[acks[~same]] = True
    return found
