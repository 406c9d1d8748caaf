"""Read the files of a history, and say in one line which is missing, cut or spoiled, and what was expected of it."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec import Meta, Struct
from pandas.api.types import union_categoricals

from streamlab.errors import DataError, MissingError
from streamlab.history.files import read
from streamlab.history.log import COLUMNS, HEADER, KINDS, whole_lines

_Array = npt.NDArray[Any]
_S = TypeVar("_S", bound=Struct)

# Texts are read as objects: of "category" pandas makes numbers where all of them look like numbers.
_OPTIONAL = {"job": "Int64", "due_ns": "float64"}  # the columns in which an empty field is none, not a text
_EVENTS = (
    dict.fromkeys(COLUMNS, "object") | dict.fromkeys(("time_ns", "incarnation", "deliveries"), "int64") | _OPTIONAL
)
_SAMPLES = {"time_ns": "int64", "metric": "object", "consumer": "object", "value": "float64"}
_ENTRIES = {"entry": "object", "job": "int64"}


class Experiment(Struct):
    """What a reader needs of experiment.toml; the rest is for who does it again."""

    faults: list[Any] = []
    workload: dict[str, Any] = {}
    keys: int = 0
    recovery_within: float = 0.0


class Environment(Struct):
    """The same of environment.json."""

    start_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class DeadLetter(Struct):
    """An entry of the dead-letter stream: the entry that it was, its job, and why."""

    entry: str = ""
    job: int | None = None
    reason: str = ""
    error: str = ""


class Outcome(Struct):
    """outcome.json: how the run ended, and what the server held then; "interrupted" where the run wrote none.

    `pending` {entry: consumer}, `undelivered` [entry], `dead` (letters), `length` (entries); `jobs` {entry: job} of
    what is pending or undelivered. The workload's own count is in `effects` {job: times}; `effects_counted`: a job that
    is missing there has none; `idempotent`: to do it again is harmless. `files` {file: bytes} is how long each file of
    the history was at least.
    """

    ended: Literal["drained", "timed out", "interrupted"]
    ended_ns: int = 0
    pending: dict[str, str] = {}
    undelivered: list[str] = []
    dead: list[DeadLetter] = []
    jobs: dict[str, int] = {}
    length: int = 0
    stream: str = ""
    group: str = ""
    group_exists: bool = True
    last_delivered: str = ""
    effects: dict[Annotated[str, Meta(pattern=r"^\d+$")], int] = {}
    effects_counted: bool = False
    idempotent: bool = False
    files: dict[str, int] = {}


def read_settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """experiment.toml and environment.json."""
    experiment, _ = _parsed(folder / "experiment.toml", tomllib.loads, "TOML", Experiment)
    environment, _ = _parsed(folder / "environment.json", json.loads, "a JSON object", Environment)
    return experiment, environment


def read_outcome(folder: Path) -> dict[str, Any]:
    """`Outcome` as a dict, once it is sure that no file of the history has been cut since the run ended."""
    path, outcome = folder / "outcome.json", Outcome("interrupted")
    if path.exists():
        _, outcome = _parsed(path, json.loads, "a JSON object", Outcome)
    for name, size in outcome.files.items():
        path = folder / name
        if not path.exists():
            raise MissingError(f"{path}: no such file, expected one of {size} bytes that the run wrote")
        if (found := path.stat().st_size) < size:
            raise DataError(f"{path}: {found} bytes, expected {size}: the file was cut")
    plain: dict[str, Any] = msgspec.to_builtins(outcome)
    return plain


def read_samples(folder: Path, start_ns: int) -> pd.DataFrame:
    """samples.csv in the order of time; empty where nobody sampled."""
    path = folder / "samples.csv"
    table = _table(path, read(path) if path.exists() else b"", _SAMPLES)
    table.insert(0, "time", (table.pop("time_ns") - start_ns) / 1e9)
    table = table.astype({"metric": "category", "consumer": "category"})
    return table.sort_values("time", kind="stable", ignore_index=True)


def read_entries(folder: Path) -> pd.DataFrame | None:
    """entries.csv; None where nobody looked."""
    path = folder / "entries.csv"
    return _table(path, read(path), _ENTRIES) if path.exists() else None


def read_events(folder: Path, start_ns: int) -> pd.DataFrame:
    """All event logs in one table, in the order of time; `History.events` has its columns."""
    events = folder / "events"
    if not events.is_dir():
        raise MissingError(f"{events}: no such folder, expected an event log of every process in it")
    logs = [_event_log(path, read(path)) for path in sorted(events.glob("*.csv"))] or [_event_log(events, b"")]
    for name in ("process", "kind", "stream", "note"):  # one set of categories: concat would make texts of several
        column = union_categoricals([log[name] for log in logs])
        for log, end in zip(logs, np.cumsum([len(log) for log in logs]).tolist(), strict=True):
            log[name] = column[end - len(log) : end]
    table = pd.concat(logs, ignore_index=True).sort_values("time_ns", kind="stable", ignore_index=True)
    entry = _entries(table["ms"].to_numpy(), table["seq"].to_numpy())
    return pd.DataFrame(
        {
            "time": (table["time_ns"] - start_ns) / 1e9,
            "due": (table["due_ns"] - start_ns) / 1e9,
            "process": table["process"],
            "incarnation": table["incarnation"],
            "kind": table["kind"].cat.set_categories(KINDS),
            "stream": table["stream"],
            "entry": entry,
            "job": _jobs(table["job"], entry),
            "deliveries": table["deliveries"],
            "note": table["note"],
        }
    )


def _event_log(path: Path, data: bytes) -> pd.DataFrame:
    """One process's events, the entry's ID in two halves. A log that was created and never begun has none."""
    if not HEADER.startswith(data[: len(HEADER)]):
        raise DataError(f"{path}: not an event log, expected a file that begins with {HEADER.decode().strip()}")
    table = _table(path, data, _EVENTS)
    if unknown := set(table["kind"].unique()) - set(KINDS):
        raise DataError(f"{path}: event kind {min(unknown)!r}, expected one of {', '.join(KINDS)}")
    codes, names = pd.factorize(table.pop("entry"))
    ids = "\n".join(name or "0-0" for name in names)
    try:  # one call for all: int() for each would take longer than all the rest
        halves = pd.read_csv(io.StringIO(ids), sep="-", names=["ms", "seq"], dtype="uint64")
    except (ValueError, OverflowError):
        halves = None
    if halves is None or len(halves) != len(names):
        raise DataError(f"{path}: expected entry IDs such as 1700000000000-0 in the column entry")
    return table.assign(ms=halves["ms"].to_numpy()[codes], seq=halves["seq"].to_numpy()[codes])


def _entries(ms: _Array, seq: _Array) -> pd.Categorical[str]:
    """Entry IDs as categories in the stream's order, which is not that of their strings; '' (no entry) comes first."""
    none = np.zeros(1, np.uint64)  # not a plain 0: numpy would make floats of the lot, and lose the last digits
    ms_code, all_ms = pd.factorize(np.append(ms, none), sort=True)
    seq_code, all_seq = pd.factorize(np.append(seq, none), sort=True)
    codes, pairs = pd.factorize(ms_code * len(all_seq) + seq_code, sort=True)
    first, second = np.divmod(pairs, len(all_seq))
    halves = zip(all_ms[first].tolist(), all_seq[second].tolist(), strict=True)
    names = [f"{a}-{b}" if a or b else "" for a, b in halves]
    return pd.Categorical.from_codes(codes[:-1], categories=pd.Index(names, dtype=str))


def _jobs(told: pd.Series[int], entry: pd.Categorical[str]) -> pd.arrays.IntegerArray:
    """Job numbers; where an event has none, the one that another event of the same entry told."""
    jobs, codes = told.to_numpy(dtype=np.int64, na_value=-1), np.asarray(entry.codes)
    of_entry = np.full(len(entry.categories), -1, np.int64)
    known = (jobs >= 0) & (codes > 0)
    of_entry[codes[known]] = jobs[known]
    jobs = np.where((jobs < 0) & (codes > 0), of_entry[codes], jobs)
    return pd.arrays.IntegerArray(jobs, jobs < 0)


def _table(path: Path, data: bytes, types: Mapping[str, str]) -> pd.DataFrame:
    """A CSV file's whole lines; its first one names the columns. A file that was never begun is an empty table."""
    columns = ",".join(types)
    try:
        table = pd.read_csv(
            io.BytesIO(whole_lines(data) or f"{columns}\n".encode()),
            dtype=dict(types),
            keep_default_na=False,
            na_values={name: [""] for name in _OPTIONAL if name in types},
            encoding_errors="replace",
        )
    except (ValueError, OverflowError) as error:  # pandas' parser errors are ValueErrors too
        raise DataError(f"{path}: expected lines of {columns}: {str(error).splitlines()[0]}") from None
    if list(table.columns) != list(types):
        raise DataError(f"{path}: columns {','.join(map(str, table.columns))}, expected {columns}")
    for name, kind in types.items():
        if kind == "object" and name != "entry":
            codes, names = pd.factorize(table[name])
            table[name] = pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=str))
    return table


def _parsed(path: Path, parse: Callable[[str], Any], expected: str, shape: type[_S]) -> tuple[dict[str, Any], _S]:
    """A file's data as it is and, checked, in its shape."""
    try:
        data = parse(read(path).decode())
        return data, msgspec.convert(data, shape)
    except MissingError:
        raise MissingError(f"{path}: no such file, expected {expected} that the run wrote") from None
    except (ValueError, RecursionError, msgspec.ValidationError) as error:  # not TOML, not JSON, not UTF-8, or odd
        raise DataError(f"{path}: expected {expected}: {str(error).splitlines()[0]}") from None
