"""Who held which entry, from when to when: derived once, from what all processes wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.history.log import DELIVERIES

_ENDS = ("acked", "dead", "deleted", "wire_acked")  # the entry is out of the PEL, no matter which process writes so
_WORDS = ("started", "done", "failed", "retry", "disowned")
_Array = npt.NDArray[Any]


def deliveries(events: pd.DataFrame) -> tuple[pd.DataFrame, _Array]:
    """`History.deliveries` has the columns; and, for each event, the row of the delivery in force then (-1 = none).

    A process that slept may read, too late, a reply that Redis sent before the entry was claimed from it. A `read` is
    a first delivery: one that follows what another process claimed (or read from its own PEL) is such a late one. It
    shows no new holder.
    """
    kinds = events["kind"].cat
    code = {kind: number for number, kind in enumerate(kinds.categories)}
    wanted = np.zeros(len(code), bool)
    wanted[[code[kind] for kind in (*DELIVERIES, *_ENDS, *_WORDS)]] = True
    entry = events["entry"].cat.codes.to_numpy()
    rows = np.flatnonzero(wanted[kinds.codes.to_numpy()] & (entry > 0))
    rows = rows[np.argsort(entry[rows], kind="stable")]  # an entry's events together, in the order of time
    entry, kind, time = entry[rows], kinds.codes.to_numpy()[rows], events["time"].to_numpy()[rows]
    process, incarnation = events["process"].cat.codes.to_numpy()[rows], events["incarnation"].to_numpy()[rows]
    holder = process.astype(np.int64) * (incarnation.max(initial=0) + 1) + incarnation

    gets = np.isin(kind, [code[name] for name in DELIVERIES])
    former = _latest(gets, entry, before=True)
    late = gets & (kind == code["read"]) & (former >= 0) & (kind[former] != code["read"]) & (holder[former] != holder)
    taken = gets & ~late
    in_force = _latest(taken, entry)
    prior = _latest(taken, entry, before=True)

    # A worker that finds that the entry is another's has ended nothing, unless no other wrote that it took the entry.
    disowned = (kind == code["disowned"]) & (in_force >= 0) & (holder[in_force] == holder)
    closer = _next(taken | disowned | np.isin(kind, [code[name] for name in _ENDS]), entry)
    end = np.where(closer >= 0, time[closer], np.nan)
    end[late] = time[late]

    done, last = _words(entry, holder, gets, kind == code["done"], time)
    # Who waits for the reply to an XACK that the wire has seen is no zombie.
    acker = np.full(len(rows), -2)
    on_wire = kind == code["wire_acked"]
    acker[on_wire] = events["process"].cat.categories.get_indexer(events["note"].array[rows[on_wire]])
    last = np.where((closer >= 0) & (acker[closer] == process), np.fmin(last, end), last)

    source = _sources(taken, late, prior, entry)
    claimed_from = (kind == code["claimed"]) & (source >= 0) & (process != process[source])
    reclaimed = (kind == code["claimed"]) & ((former < 0) | (holder[former] != holder))

    at = np.flatnonzero(gets)[np.argsort(rows[gets])]  # the deliveries in the order of time
    place = np.full(len(rows), -1)
    place[at] = np.arange(len(at))
    event, count = rows[at], events["deliveries"].to_numpy()[rows[at]]
    table = pd.DataFrame(
        {
            "process": events["process"].array[event],
            "incarnation": incarnation[at],
            "entry": events["entry"].array[event],
            "job": events["job"].array[event],
            "kind": events["kind"].array[event],
            "start": time[at],
            "end": end[at],
            "done": done[at],
            "last": last[at],
            "again": (count > 1) | (source[at] >= 0),
            "reclaimed": reclaimed[at],
            "claimed_from": np.where(claimed_from[at], place[source[at]], -1),
            "event": event,
        }
    )
    held = np.full(len(events), -1)
    held[rows] = np.where(in_force >= 0, place[in_force], -1)
    return table, held


def _sources(taken: _Array, late: _Array, prior: _Array, entry: _Array) -> _Array:
    """For each delivery the one whose holder had the entry before (-1 = none).

    Where a claim is the first that was written in time, that is the late reader's.
    """
    late_of = np.full(entry.max(initial=0) + 1, -1)
    late_of[entry[late]] = np.flatnonzero(late)
    return np.where(taken, np.where(prior < 0, late_of[entry], prior), -1)


def _next(ends: npt.NDArray[np.bool_], entry: _Array) -> _Array:
    """For each row, the next row of its entry that takes the entry from its holder or out of the PEL (-1 = none)."""
    places = np.append(np.flatnonzero(ends), -1)
    after = places[np.searchsorted(places[:-1], np.arange(len(entry)), side="right")]
    return np.where((after >= 0) & (entry[after] == entry), after, -1)


def _latest(where: _Array, entry: _Array, *, before: bool = False) -> _Array:
    """For each place the last one up to it (or only before it) that is marked and of the same entry; -1 = none."""
    latest = np.maximum.accumulate(np.where(where, np.arange(len(where)), -1)) if len(where) else np.zeros(0, np.int64)
    if before:
        latest = np.append(-1, latest)[: len(latest)]
    return np.where((latest >= 0) & (entry[latest] == entry), latest, -1)


def _words(entry: _Array, holder: _Array, gets: _Array, done: _Array, time: _Array) -> tuple[_Array, _Array]:
    """For each delivery the holder's first done and last word (s) before the entry was delivered to it once more."""
    order = np.lexsort((holder, entry))  # stable: within them it stays the order of time
    entry, holder, gets, done = (x[order] for x in (entry, holder, gets, done))
    latest = _latest(gets, entry)
    known = (latest >= 0) & (holder[latest] == holder)
    first, last = np.full(len(order), np.nan), np.full(len(order), np.nan)
    its = np.flatnonzero(known & done)[::-1]  # backwards: of several assignments the last stays
    first[order[latest[its]]] = time[order[its]]
    its = np.flatnonzero(known)
    last[order[latest[its]]] = time[order[its]]
    return first, last
