"""What the lab wrote of its faults, one row a fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from streamlab.errors import DataError
from streamlab.history.fault_record import FaultRecord, hit_by
from streamlab.history.log import parse_entry


def faults_table(events: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """What the lab wrote of its faults, one row a fault; `History.faults` has its columns. Raises DataError."""
    met: Counter[int] = Counter()  # messages, by the number of the fault inside a worker that met them
    for note, times in events.loc[(events["kind"] == "fault_hit").to_numpy(), "note"].value_counts().items():
        if times:
            try:
                met[hit_by(str(note))] += int(times)
            except ValueError:
                raise DataError(f'{folder}: fault_hit with note {note!r}, expected {{"index": ...}}') from None
    rows: list[dict[str, Any]] = []
    active: dict[object, dict[str, Any]] = {}
    told = events[events["kind"].isin(["fault_on", "fault_off"]).to_numpy()]
    for time, kind, note in zip(told["time"], told["kind"], told["note"], strict=True):
        record = _record(folder, kind, note)
        key = (record.fault, record.target) if record.index < 0 else record.index
        if kind == "fault_on":
            active[key] = {"start": time, "end": np.nan, "record": record}
            rows.append(active[key])
        elif key in active:
            active.pop(key).update(end=time, record=record)
    for row in rows:
        record = row["record"]
        row |= {name: getattr(record, name) for name in ("fault", "family", "target", "name", "held", "hit")}
        row["kills"] = record.kills and not record.inside
        if record.inside:
            row["hit"] = met[record.index]
    numbers = dict.fromkeys(("start", "end", "held", "hit"), float)
    columns = ["fault", "family", "target", "name", *numbers, "kills", "record"]
    return pd.DataFrame(rows, columns=columns).astype({**numbers, "kills": bool})


def _record(folder: Path, kind: str, note: str) -> FaultRecord:
    try:
        record = FaultRecord.read(note)
        parse_entry(record.below)
    except ValueError as error:
        raise DataError(f"{folder}: {kind} with note {note!r}, expected the record of a fault ({error})") from None
    return record
