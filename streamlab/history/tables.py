"""A history as tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.errors import MissingError
from streamlab.history import reading
from streamlab.history.deliveries import deliveries
from streamlab.history.faults import faults_table
from streamlab.history.log import WIRE

_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class History:
    """What happened in one run. Times are seconds since the run's start.

    `events`, one row an event, in the order of time: `time`, `due` (NaN = none), `process`, `incarnation`, `kind` (of
    `log.KINDS`), `stream`, `entry` (ID, '' = none), `job` (<NA> = none; filled in where another event of the same
    entry told it), `deliveries` (the server's count, 0 = not known), `note`.

    `samples`, one row a value: `time`, `metric` ('pending', 'idle' in s, a consumer; 'group_pending', 'lag', 'length'),
    `consumer` ('' = none), `value`. Where the sampler got no answer there is no row.

    `outcome` has the fields of `reading.Outcome`; `ended` is 'interrupted' where the run came to no end.

    `entries`, one row an entry that the stream held in the end: `entry`, `job` (-1 = none). None where nobody looked.
    """

    folder: Path
    events: pd.DataFrame
    samples: pd.DataFrame
    experiment: dict[str, Any]
    environment: dict[str, Any]
    outcome: dict[str, Any]
    entries: pd.DataFrame | None = None

    @classmethod
    def load(cls, folder: str | Path) -> History:
        """Read a run's folder. Raises MissingError or DataError, naming the file and what was expected of it."""
        folder = Path(folder)
        if not folder.is_dir():
            raise MissingError(f"{folder}: no such folder; a history is the folder that a run wrote")
        experiment, environment = reading.read_settings(folder)
        start_ns = environment["start_ns"]
        return cls(
            folder,
            reading.read_events(folder, start_ns),
            reading.read_samples(folder, start_ns),
            experiment,
            environment,
            reading.read_outcome(folder),
            reading.read_entries(folder),
        )

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """One row a job, by job number.

        `due`, `added` (s); `adding`, what the producer knows ('adding', 'added', 'unknown', 'refused', '' = never
        tried); `entry` (the first, '' = none), `entries` (how many); `delivered` (times, as the workers wrote),
        `deliveries` (the server's largest count), `claimed`, `reclaimed` (times; the latter from another worker);
        `first_started`, `first_done` (s), `times_done`, `failed` (times), `acked` (s), `dead` (in the dead-letter
        stream), `latency` (first done - due, s), `on_wire` (whether Redis answered something of it, seen on the wire).
        """
        return _jobs(self)

    @property
    def deliveries(self) -> pd.DataFrame:
        """Who held which entry from when to when, as all processes wrote it: one row a delivery, in the order of time.

        `process`, `incarnation` (the holder), `entry`, `job`, `kind` ('read', 'claimed', 'own'); `start`, `end` (s):
        until the entry was delivered once more, acknowledged, dead-lettered or found deleted, by any process (NaN =
        nothing of it was written); `start` for a reply read after another process had the entry: nothing was held.
        `done` (s, when this holder wrote it first, NaN = never); `last` (s): the holder's last word about it, after
        `end` for a zombie; `again`: it had been delivered before; `reclaimed`: claimed, and this process was not the
        last that wrote that it had got it; `claimed_from`: the row of the delivery that another worker claimed it from
        (-1 = none, or unknown); `event`: its row of `events`.
        """
        return self._deliveries[0]

    @property
    def in_force(self) -> npt.NDArray[np.int64]:
        """For each event of a worker or of the wire, the row of `deliveries` in force: the last not late one, or -1."""
        return self._deliveries[1]

    @cached_property
    def _deliveries(self) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
        return deliveries(self.events)

    @cached_property
    def faults(self) -> pd.DataFrame:
        """One row a fault, in the order of time.

        `fault`, `family` ('worker', 'wire', 'redis', 'operator', '' = not told), `target`, `name` (kind and target, for
        a reader), `start`, `end` (s, NaN = never ended), `held` (messages that the target held) and `hit` (what else it
        met: connections, bytes, entries, messages; NaN = not told), `kills` (its target died when it began), `record`
        (the `FaultRecord` with all that the lab wrote).
        """
        return faults_table(self.events, self.folder / "events")

    def first(self, *kinds: str) -> pd.Series[float]:
        """When the first event of these kinds was (s), by job; jobs that have none are left out."""
        rows = np.flatnonzero((self.events["kind"].isin(kinds) & self.events["job"].notna()).to_numpy())
        jobs, first = np.unique(self.events["job"].to_numpy(dtype=np.int64, na_value=-1)[rows], return_index=True)
        return pd.Series(self.events["time"].to_numpy()[rows[first]], index=jobs)

    @property
    def end(self) -> float:
        """When the last thing was written or sampled, in s since the start; 0 for an empty history."""
        return max([0.0, *(float(table["time"].iloc[-1]) for table in (self.events, self.samples) if len(table))])


def _jobs(history: History) -> pd.DataFrame:
    events, outcome = history.events, history.outcome
    number = events["job"].to_numpy(dtype=np.int64, na_value=-1)
    codes, jobs = pd.factorize(np.append(number, -1), sort=True)  # -1 sorts first: row 0 is for what is nobody's
    row = codes[:-1]
    time, due = events["time"].to_numpy(), events["due"].to_numpy()
    entry = events["entry"].cat.codes.to_numpy()
    is_kind = {kind: (events["kind"] == kind).to_numpy() for kind in events["kind"].cat.categories}

    def first(values: npt.NDArray[Any], where: _Bools, missing: float = np.nan) -> npt.NDArray[Any]:
        """Events are in the order of time: of several assignments to one row the last stays, so assign backwards."""
        found = np.full(len(jobs), missing, dtype=values.dtype)
        found[row[where][::-1]] = values[where][::-1]
        return found

    def times(where: _Bools) -> npt.NDArray[np.int64]:
        return np.bincount(row[where], minlength=len(jobs)).astype(np.int64)

    adding = np.full(len(jobs), "", dtype=object)
    for kind in ("adding", "unknown", "refused", "added"):  # later ones know better
        adding[row[is_kind[kind]]] = kind
    pairs = np.unique(row[entry > 0].astype(np.int64) * (entry.max(initial=0) + 1) + entry[entry > 0])
    count = np.zeros(len(jobs), np.int64)
    np.maximum.at(count, row, events["deliveries"].to_numpy())
    first_entry = first(entry.astype(np.int64), entry > 0, missing=0)
    first_due, first_done = first(due, ~np.isnan(due)), first(time, is_kind["done"])
    buried = {dead["job"] for dead in outcome["dead"] if dead["job"] is not None}
    buried_entries = {dead["entry"] for dead in outcome["dead"]} - {""}
    dead_entry = events["entry"].isin(buried_entries).to_numpy()
    reclaimed = np.zeros(len(events), bool)
    reclaimed[history.deliveries["event"]] = history.deliveries["reclaimed"]
    table = pd.DataFrame(
        {
            "due": first_due,
            "added": first(time, is_kind["added"]),
            "adding": pd.Categorical(adding, categories=["", "adding", "added", "unknown", "refused"]),
            "entry": pd.Categorical.from_codes(first_entry, categories=events["entry"].cat.categories),
            "entries": np.bincount(pairs // (entry.max(initial=0) + 1), minlength=len(jobs)),
            "delivered": times(is_kind["read"] | is_kind["claimed"] | is_kind["own"]),
            "deliveries": count,
            "claimed": times(is_kind["claimed"]),
            "reclaimed": times(reclaimed),
            "first_started": first(time, is_kind["started"]),
            "first_done": first_done,
            "times_done": times(is_kind["done"]),
            "failed": times(is_kind["failed"]),
            "acked": first(time, is_kind["acked"]),
            "dead": (times(is_kind["dead"] | dead_entry) > 0) | np.isin(jobs, list(buried)),
            "latency": first_done - first_due,
            "on_wire": times(np.logical_or.reduce([is_kind[kind] for kind in WIRE])) > 0,
        },
        index=pd.Index(jobs, name="job"),
    )
    return table.iloc[1:]
