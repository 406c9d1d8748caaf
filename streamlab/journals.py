"""The reading half of `observe.journal`: the journals of a run, made one table of events, and one of its faults.

A million events in about a second: numpy reads the records whole, and a text or an entry ID becomes a string once,
however many events name it (pandas categories).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.errors import DataError
from streamlab.faultrecord import FaultRecord
from streamlab.files import read
from streamlab.record import FIELDS, HEADER, KINDS, MAGIC, RECORD, SPARE_BYTES, TEXT_LENGTH, VERSION, parse_entry

_EVENT = np.dtype(
    [(name, "<" + code) for name, code in FIELDS[:-1]] + [("spare", f"V{SPARE_BYTES}"), (FIELDS[-1][0], FIELDS[-1][1])]
)
_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Journal:
    """One process's records in the order they were drawn, and its texts by their place in the side file."""

    process: str
    incarnation: int
    records: _Array
    texts: dict[int, str]


def read_journal(path: Path) -> Journal | None:
    """None for a journal that was created and never begun: its process was killed in between. Raises DataError."""
    data = read(path)
    header = data[: HEADER.size].ljust(HEADER.size, b"\0")
    if not any(header):
        return None
    magic, version, size, incarnation, _, name = HEADER.unpack(header)
    if magic != MAGIC:
        raise DataError(f"{path}: not a journal, expected a file that begins with {MAGIC.decode()}")
    if (version, size) != (VERSION, RECORD.size):
        raise DataError(f"{path}: journal format {version} ({size} bytes), expected {VERSION} ({RECORD.size} bytes)")
    if len(data) % RECORD.size or len(data) < HEADER.size:
        raise DataError(f"{path}: {len(data)} bytes, expected a multiple of {RECORD.size}: the file was cut")
    records = np.frombuffer(data, _EVENT, offset=HEADER.size)
    records = records[records["kind"] != 0]
    if len(records) and records["kind"].max() > len(KINDS):
        raise DataError(f"{path}: event kind {records['kind'].max()}, expected at most {len(KINDS)}")
    try:
        process = name.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise DataError(f"{path}: the header holds no process name, expected UTF-8") from None
    return Journal(process, incarnation, records, _texts(path.with_suffix(".notes"), records))


def _texts(path: Path, records: _Array) -> dict[int, str]:
    places = np.union1d(records["note"], records["stream"])
    data = read(path) if path.exists() else b""
    texts = {0: ""}
    for place in places[places > 0].tolist():
        start = place - 1 + TEXT_LENGTH.size
        length = TEXT_LENGTH.unpack_from(data, place - 1)[0] if start <= len(data) else 0
        if start + length > len(data):
            raise DataError(
                f"{path}: no whole text at byte {place - 1}, expected one: the file was cut or belongs elsewhere"
            )
        texts[place] = data[start : start + length].decode(errors="replace")
    return texts


def events_table(journals: list[Journal], start_ns: int) -> pd.DataFrame:
    """All journals in one table, in the order of time; `History.events` has its columns."""
    records = np.concatenate([np.empty(0, _EVENT), *(j.records for j in journals)])
    order = np.argsort(records["time_ns"], kind="stable")
    records = records[order]
    entry = _entries(records["ms"], records["seq"])
    incarnations = [np.full(len(j.records), j.incarnation, np.int64) for j in journals]
    processes = [(np.zeros(len(j.records), np.intp), [j.process]) for j in journals]
    return pd.DataFrame(
        {
            "time": (records["time_ns"] - start_ns) / 1e9,
            "due": np.where(records["due_ns"] == 0, np.nan, (records["due_ns"] - start_ns) / 1e9),
            "process": _categories(processes, order),
            "incarnation": np.concatenate([np.empty(0, np.int64), *incarnations])[order],
            "kind": pd.Categorical.from_codes(records["kind"].astype(np.int64) - 1, categories=_index(KINDS)),
            "stream": _categories([_named(j, "stream") for j in journals], order),
            "entry": entry,
            "job": _jobs(records["job"], entry),
            "deliveries": records["deliveries"].astype(np.int64),
            "note": _categories([_named(j, "note") for j in journals], order),
        }
    )


def _named(journal: Journal, field: str) -> tuple[_Array, list[str]]:
    """A text's place differs from journal to journal: its rows by number, and the text of each number."""
    places, numbers = np.unique(journal.records[field], return_inverse=True)
    return numbers, [journal.texts[place] for place in places.tolist()]


def _categories(parts: list[tuple[_Array, list[str]]], order: _Array) -> pd.Categorical[str]:
    """Categories of several parts that number their names each for itself."""
    numbers: dict[str, int] = {}
    codes = [np.empty(0, np.int64)]
    for part, names in parts:
        own = [numbers.setdefault(name, len(numbers)) for name in names]
        codes.append(np.array(own, np.int64)[part])
    return pd.Categorical.from_codes(np.concatenate(codes)[order], categories=_index(numbers))


def _index(names: Iterable[str]) -> pd.Index[str]:
    return pd.Index(list(names), dtype=str)


def _entries(ms: _Array, seq: _Array) -> pd.Categorical[str]:
    """Entry IDs as categories in the stream's order, which is not that of their strings; '' (no entry) comes first."""
    none = np.zeros(1, np.uint64)  # not a plain 0: numpy would make floats of the lot, and lose the last digits
    ms_code, all_ms = pd.factorize(np.append(ms, none), sort=True)
    seq_code, all_seq = pd.factorize(np.append(seq, none), sort=True)
    codes, pairs = pd.factorize(ms_code * len(all_seq) + seq_code, sort=True)
    first, second = np.divmod(pairs, len(all_seq))
    halves = zip(all_ms[first].tolist(), all_seq[second].tolist(), strict=True)
    names = [f"{a}-{b}" if a or b else "" for a, b in halves]
    return pd.Categorical.from_codes(codes[:-1], categories=_index(names))


def _jobs(jobs: _Array, entry: pd.Categorical[str]) -> pd.arrays.IntegerArray:
    """Job numbers; where an event has none, the one that another event of the same entry told."""
    jobs, codes = jobs.astype(np.int64), np.asarray(entry.codes)
    of_entry = np.full(len(entry.categories), -1, np.int64)
    told = (jobs >= 0) & (codes > 0)
    of_entry[codes[told]] = jobs[told]
    jobs = np.where((jobs < 0) & (codes > 0), of_entry[codes], jobs)
    return pd.arrays.IntegerArray(jobs, jobs < 0)


def faults_table(events: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """What the lab wrote of its faults, one row a fault; `History.faults` has its columns. Raises DataError."""
    met: Counter[int] = Counter()  # messages, by the number of the fault inside a worker that met them
    for note, times in events.loc[(events["kind"] == "fault_hit").to_numpy(), "note"].value_counts().items():
        if times:
            met[hit_by(str(note), folder)] += int(times)
    rows: list[dict[str, Any]] = []
    running: dict[object, dict[str, Any]] = {}
    told = events[events["kind"].isin(["fault_on", "fault_off"]).to_numpy()]
    for time, kind, note in zip(told["time"], told["kind"], told["note"], strict=True):
        record = _record(folder, kind, note)
        key = (record.fault, record.target) if record.index < 0 else record.index
        if kind == "fault_on":
            running[key] = {"start": time, "end": np.nan, "record": record}
            rows.append(running[key])
        elif key in running:
            running.pop(key).update(end=time, record=record)
    for row in rows:
        record = row["record"]
        row |= {name: getattr(record, name) for name in ("fault", "family", "target", "name", "held", "hit")}
        row["kills"] = record.kills and not record.inside
        if record.inside:
            row["hit"] = met[record.index]
    numbers = dict.fromkeys(("start", "end", "held", "hit"), float)
    columns = ["fault", "family", "target", "name", *numbers, "kills", "record"]
    return pd.DataFrame(rows, columns=columns).astype({**numbers, "kills": bool})


def hit_by(note: str, folder: Path | str = "") -> int:
    """The number of the fault that met a message, of the note of an event `fault_hit`. Raises DataError."""
    try:
        return int(json.loads(note)["index"])
    except (ValueError, TypeError, KeyError):
        raise DataError(f'{folder}: fault_hit with note {note!r}, expected {{"index": ...}}') from None


def _record(folder: Path, kind: str, note: str) -> FaultRecord:
    try:
        record = FaultRecord.read(note)
        parse_entry(record.below)
    except ValueError as error:
        raise DataError(f"{folder}: {kind} with note {note!r}, expected the record of a fault ({error})") from None
    return record
