"""The record of one run: a folder of facts, read as tables.

    folder/
      experiment.toml     what was to be done
      environment.json    where and when: versions, server, machine, and `start_ns`, the clock's reading at the start
      events/             a journal a process (`streamlab.record` has the layout), with its texts beside it
      samples.csv         what the probe saw; missing where none ran
      entries.csv         what the stream held in the end; missing where nobody could look
      outcome.json        how the run ended and what the server held then; missing where the run was interrupted

`outcome.json` is written last: {"ended": "drained" | "timed out" | "interrupted", "ended_ns": ..., "pending":
{entry: consumer}, "undelivered": [entry, ...], "dead": [{"entry": ..., "job": ..., "reason": ...}, ...], "length": ...,
"stream": ..., "group": ..., "group_exists": ..., "last_delivered": entry}, and where the lab can tell it, "jobs":
{entry: job} for what is pending or undelivered. The workload's own witness says there "effects": {job: times},
"effects_counted" (whether a job that is missing there has none) and "idempotent" (whether to do it again is harmless).
"files": {file: bytes} is how long each file of facts was at least; one that is missing or shorter now is damaged.
"""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.errors import DataError, MissingError
from streamlab.files import read
from streamlab.journals import events_table, faults_table, read_journal
from streamlab.record import DELIVERIES

ENDINGS = ("drained", "timed out", "interrupted")
#: What Redis answered of an entry, as the wire saw it.
WIRE = ("wire_added", "wire_delivered", "wire_claimed", "wire_acked")

_SAMPLES = {"time_ns": "int64", "metric": "str", "consumer": "str", "value": "float64"}
_ENTRIES = {"entry": "str", "job": "int64"}
_OUTCOME: dict[str, Any] = {
    "pending": {},
    "undelivered": [],
    "dead": [],
    "jobs": {},
    "files": {},
    "effects": {},
    "effects_counted": False,
    "idempotent": False,
    "group_exists": True,
    "last_delivered": "",
}
_EXPERIMENT: dict[str, tuple[type[Any], str]] = {
    "faults": (list, "tables: [[faults]]"),
    "workload": (dict, "a table: [workload]"),
    "keys": (int, "a whole number"),
    "recovery_within": (float, "a number"),
}
_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class History:
    """What happened in one run. Times are seconds since the run's start.

    `events`, one row an event, in the order of time: `time`, `due` (NaN = none), `process`, `incarnation`, `kind` (of
    `record.KINDS`), `stream`, `entry` (ID, '' = none), `job` (<NA> = none; filled in where another event of the same
    entry told it), `deliveries` (the server's count, 0 = not known), `note`.

    `samples`, one row a value: `time`, `metric` ('pending', 'idle' in s, a consumer; 'group_pending', 'lag', 'length'),
    `consumer` ('' = none), `value`. Where the probe got no answer there is no row.

    `outcome` is None where the run was interrupted before it could write one.

    `entries`, one row an entry that the stream held in the end: `entry`, `job` (-1 = none). None where nobody looked.
    """

    folder: Path
    events: pd.DataFrame
    samples: pd.DataFrame
    experiment: dict[str, Any]
    environment: dict[str, Any]
    outcome: dict[str, Any] | None
    entries: pd.DataFrame | None = None

    @classmethod
    def load(cls, folder: str | Path) -> History:
        """Read a run's folder. Raises MissingError or DataError, naming the file and what was expected of it."""
        folder = Path(folder)
        if not folder.is_dir():
            raise MissingError(f"{folder}: no such folder; a history is the folder that a run wrote")
        experiment = _parsed(folder / "experiment.toml", tomllib.loads, "TOML")
        environment = _parsed(folder / "environment.json", json.loads, "a JSON object")
        start_ns = environment.get("start_ns")
        if type(start_ns) is not int or not 0 <= start_ns < 2**63:
            raise DataError(f"{folder / 'environment.json'}: no start_ns, expected the clock's reading in ns")
        _check_experiment(folder / "experiment.toml", experiment)
        outcome = _outcome(path) if (path := folder / "outcome.json").exists() else None
        if not (folder / "events").is_dir():
            raise MissingError(f"{folder / 'events'}: no such folder, expected a journal of every process in it")
        for name, size in (outcome or {}).get("files", {}).items():
            _check_size(folder / name, size)
        journals = [journal for path in sorted((folder / "events").glob("*.events")) if (journal := read_journal(path))]
        samples = _samples(folder / "samples.csv", start_ns)
        entries = _lines(path, _ENTRIES) if (path := folder / "entries.csv").exists() else None
        return cls(folder, events_table(journals, start_ns), samples, experiment, environment, outcome, entries)

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

    @cached_property
    def reclaims(self) -> _Bools:
        """Which events are claims from another worker: another than the last one that wrote that it held the entry."""
        return _reclaims(self.events)

    @cached_property
    def faults(self) -> pd.DataFrame:
        """One row a fault, in the order of time.

        `fault`, `family` ('worker', 'wire', 'redis', 'operator', '' = not told), `target`, `name` (kind and target, for
        a reader), `start`, `end` (s, NaN = never ended), `held` (messages that the target held) and `hit` (what else it
        met: connections, entries, messages; NaN = not told), `kills` (its target died
        when it began), `record` (the `FaultRecord` with all that the lab wrote).
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


def _check_size(path: Path, size: int) -> None:
    """What the lab found there when the run ended must still be there, to its last byte."""
    if not path.exists():
        raise MissingError(f"{path}: no such file, expected one of {size} bytes that the run wrote")
    if (found := path.stat().st_size) < size:
        raise DataError(f"{path}: {found} bytes, expected {size}: the file was cut")


def _check_experiment(path: Path, experiment: Mapping[str, Any]) -> None:
    """What a reader needs of it."""
    for key, (kind, expected) in _EXPERIMENT.items():
        value = experiment.get(key, kind())
        if isinstance(value, bool) or not isinstance(value, kind if kind is not float else (int, float)):
            raise DataError(f"{path}: {key} is {value!r}, expected {expected}")


def _parsed(path: Path, parse: Callable[[str], Any], expected: str) -> dict[str, Any]:
    try:
        data = parse(read(path).decode())
    except MissingError:
        raise MissingError(f"{path}: no such file, expected {expected} that the run wrote") from None
    except ValueError as error:  # not TOML, not JSON, not UTF-8
        raise DataError(f"{path}: expected {expected}: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected {expected}")
    return data


def _outcome(path: Path) -> dict[str, Any]:
    outcome = _parsed(path, json.loads, "a JSON object")
    if outcome.get("ended") not in ENDINGS:
        raise DataError(f"{path}: ended is {outcome.get('ended')!r}, expected one of {', '.join(ENDINGS)}")
    for key, default in _OUTCOME.items():
        kind = type(default)
        if not isinstance(outcome.setdefault(key, kind(default)), kind):
            raise DataError(f"{path}: {key} is a {type(outcome[key]).__name__}, expected a {kind.__name__}")
    for key, fits, expected in (
        ("dead", _is_letter, "objects with entry and job"),
        ("undelivered", _is_text, "entry IDs"),
    ):
        if not all(map(fits, outcome[key])):
            raise DataError(f"{path}: {key} is not a list of {expected}")
    for key, fits, expected in (
        ("pending", _is_text, "entry IDs and the consumer of each"),
        ("jobs", _is_whole, "entry IDs and the job of each"),
        ("files", _is_whole, "files and the size of each"),
    ):
        if not all(map(fits, outcome[key].values())):
            raise DataError(f"{path}: {key} is not an object of {expected}")
    if not all(job.isdecimal() and type(times) is int for job, times in outcome["effects"].items()):
        raise DataError(f"{path}: effects is not an object of job numbers and how often each has its effect")
    return outcome


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_letter(row: object) -> bool:
    return isinstance(row, dict) and (row.get("job") is None or _is_whole(row["job"]))


def _lines(path: Path, types: Mapping[str, str]) -> pd.DataFrame:
    """A file of lines; a last one without its end was torn when the process died, and is none."""
    whole, end, _ = read(path).rpartition(b"\n") if path.exists() else (b"", b"", b"")
    table = pd.DataFrame({name: [] for name in types}).astype(dict(types))
    if end:
        try:
            table = pd.read_csv(io.BytesIO(whole + end), dtype=dict(types), keep_default_na=False)
        except ValueError as error:  # pandas' parser errors are ValueErrors too
            raise DataError(f"{path}: expected lines of {','.join(types)}: {str(error).splitlines()[0]}") from None
        if list(table.columns) != list(types):
            raise DataError(f"{path}: columns {','.join(table.columns)}, expected {','.join(types)}")
    return table


def _samples(path: Path, start_ns: int) -> pd.DataFrame:
    table = _lines(path, _SAMPLES).astype({"metric": "category", "consumer": "category"})
    table.insert(0, "time", (table["time_ns"] - start_ns) / 1e9)
    return table.drop(columns="time_ns").sort_values("time", kind="stable", ignore_index=True)


def _reclaims(events: pd.DataFrame) -> _Bools:
    kind, entry = events["kind"], events["entry"].cat.codes.to_numpy()
    deliveries = np.flatnonzero(kind.isin(DELIVERIES).to_numpy() & (entry > 0))
    deliveries = deliveries[np.argsort(entry[deliveries], kind="stable")]
    lives = events["incarnation"].to_numpy()
    holder = events["process"].cat.codes.to_numpy().astype(np.int64) * (lives.max(initial=0) + 1) + lives
    same_entry = entry[deliveries][1:] == entry[deliveries][:-1]
    same_holder = holder[deliveries][1:] == holder[deliveries][:-1]
    kept = np.concatenate([np.zeros(min(1, len(deliveries)), bool), same_entry & same_holder])
    reclaims = np.zeros(len(events), bool)
    reclaims[deliveries] = (kind == "claimed").to_numpy()[deliveries] & ~kept
    return reclaims


def _jobs(history: History) -> pd.DataFrame:
    events, outcome = history.events, history.outcome or {}
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
    deliveries = np.zeros(len(jobs), np.int64)
    np.maximum.at(deliveries, row, events["deliveries"].to_numpy())
    first_entry = first(entry.astype(np.int64), entry > 0, missing=0)
    first_due, first_done = first(due, ~np.isnan(due)), first(time, is_kind["done"])
    buried = {int(dead["job"]) for dead in outcome.get("dead", []) if dead.get("job") is not None}
    buried_entries = {str(dead.get("entry", "")) for dead in outcome.get("dead", [])} - {""}
    dead_entry = events["entry"].isin(buried_entries).to_numpy()
    table = pd.DataFrame(
        {
            "due": first_due,
            "added": first(time, is_kind["added"]),
            "adding": pd.Categorical(adding, categories=["", "adding", "added", "unknown", "refused"]),
            "entry": pd.Categorical.from_codes(first_entry, categories=events["entry"].cat.categories),
            "entries": np.bincount(pairs // (entry.max(initial=0) + 1), minlength=len(jobs)),
            "delivered": times(is_kind["read"] | is_kind["claimed"] | is_kind["own"]),
            "deliveries": deliveries,
            "claimed": times(is_kind["claimed"]),
            "reclaimed": times(history.reclaims),
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
