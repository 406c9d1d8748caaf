"""Where a lost job was lost: one answer for each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.history import History
from streamlab.history.fault_record import FaultRecord
from streamlab.history.log import parse_entry


class Place(NamedTuple):
    """Where jobs can be lost: a short name, its definition, and the family of faults that can do it."""

    short: str
    says: str
    family: str = ""


#: The places in which a job can be lost, each a class of its own.
PLACES = {
    # Where somebody else's worker or producer ran, which may delete unseen, a fault must tell that Redis lost
    # something. FLUSHALL is such a fault: the queue had no part in it.
    "lost_by_redis": Place(
        "by Redis",
        "Lost: not acknowledged, and gone from the stream, though nothing in the run is known to have deleted it.",
        "redis",
    ),
    # By a fault of an operator, as its note tells, or by somebody unseen where a worker found the entry gone.
    "lost_removed": Place(
        "removed", "Lost: its entry was trimmed or deleted before anybody had acknowledged it.", "operator"
    ),
    "lost_acked": Place("acked before done", "Lost: acknowledged, though nobody had done it."),
    # XGROUP DELCONSUMER and XGROUP DESTROY throw pending entries away; XREADGROUP NOACK never makes any.
    "lost_discarded": Place(
        "discarded",
        "Lost: delivered and still in the stream, but no longer pending, though nobody acknowledged it.",
        "operator",
    ),
    "lost_skipped": Place(
        "skipped",
        "Lost: still in the stream and never delivered, though the group's cursor has gone past it.",
        "operator",
    ),
    "lost_unexplained": Place("unexplained", "Lost, and nothing that was written down tells where."),
}

_Bools = npt.NDArray[np.bool_]


def places(history: History, lost: pd.DataFrame) -> npt.NDArray[Any]:
    """For each of these rows of `History.jobs` the one of `PLACES` in which the job was lost."""
    if lost.empty:
        return np.empty(0, dtype=object)
    # Whoever finds an entry deleted finds it pending: nobody had acknowledged it before it was deleted.
    deleted_at = np.where(lost.index.isin(history.first("deleted").index), -np.inf, np.inf)
    removed_at = np.minimum(_removed_at(history, lost), deleted_at)
    acked_at = history.first("acked", "wire_acked").reindex(lost.index).fillna(np.inf).to_numpy()
    got = (lost["delivered"] > 0) | (lost["deliveries"] > 0) | lost["first_started"].notna()
    delivered = got.to_numpy() | lost.index.isin(history.first("wire_delivered", "wire_claimed").index)
    there = _in_stream(history, lost)
    removed = removed_at < np.inf
    cases = {
        "lost_acked": (acked_at < np.inf) & (acked_at < removed_at),
        "lost_removed": removed & ~there,
        "lost_by_redis": ~there & _may_be_redis(history, lost) & (history.entries is not None),
        "lost_discarded": there & (delivered | removed),
        "lost_skipped": there,
    }
    return np.select(list(cases.values()), list(cases), default="lost_unexplained")


def _removed_at(history: History, lost: pd.DataFrame) -> npt.NDArray[np.float64]:
    """When a fault of an operator took each entry out of the stream or the PEL, by its own account (s; inf = none did).

    It lists the entry, or trimmed below an ID that is above. Where it met more than it lists, all that had been added
    by then are among them, for all that is known.
    """
    added = lost["added"].fillna(-np.inf).to_numpy()
    entries = lost["entry"].astype("object")
    removed_at = np.full(len(lost), np.inf)
    for fault in history.faults[history.faults["family"] == "operator"].to_dict("records"):
        record: FaultRecord = fault["record"]
        covers = entries.isin(record.entries).to_numpy()
        if record.below:
            limit = parse_entry(record.below)
            covers = covers | np.array([entry != "" and parse_entry(entry) < limit for entry in entries], dtype=bool)
        elif record.entries and fault["hit"] > len(record.entries):
            covers = covers | (added <= fault["start"])
        removed_at[covers] = np.minimum(removed_at[covers], fault["start"])
    return removed_at


def _may_be_redis(history: History, lost: pd.DataFrame) -> _Bools:
    """Whether nobody else can have deleted the entry.

    Somebody else's worker or producer may have done so without a witness. With them Redis is held to blame only where a
    fault says that it lost something (`lost` or `entries` in its record), after the entry was added.
    """
    if not (history.experiment.get("worker") or history.experiment.get("producer")):
        return np.ones(len(lost), dtype=bool)
    may = np.zeros(len(lost), dtype=bool)
    for fault in history.faults[history.faults["family"] == "redis"].to_dict("records"):
        if fault["record"].lost or fault["record"].entries:
            may = may | ~(fault["end"] < lost["added"].to_numpy())  # either may be NaN: not told
    return may


def _in_stream(history: History, lost: pd.DataFrame) -> _Bools:
    if history.entries is None:
        return np.zeros(len(lost), dtype=bool)
    named = lost["entry"].astype("object").isin(history.entries["entry"]).to_numpy()
    return named | lost.index.isin(history.entries["job"])
