"""Short runs for the tests of faults, and single faults without a run."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import streamlab as sl
from streamlab.errors import UnsupportedError
from streamlab.faults import Fault
from streamlab.history.fault_record import FaultRecord
from streamlab.servers import Server

#: A worker is busy nearly all the time, and a backlog builds up: whatever strikes hits something.
BUSY = sl.Sleep(count=40, rate=200.0, seconds=0.02)


def run(server: Server, tmp_path: Path, *faults: Fault, workload: Any = BUSY, say: Any = None, **more: Any) -> sl.Run:
    """Do it with two workers, and return what can be known about it."""
    settings = {"workers": 2, "claim_after": 0.4, "drain": 10.0} | more
    experiment = sl.Experiment(workload=workload, faults=faults, **settings)
    lab = sl.Lab(server, say=say) if say else sl.Lab(server)
    return lab.run(experiment, out=tmp_path / "run")


def valid(finished: sl.Run) -> sl.Run:
    """Return it, if its verdict is `valid`."""
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    return finished


def struck(finished: sl.Run) -> list[dict[str, Any]]:
    """The faults, each with its record, as they were planned; all of them must have hit something."""
    faults = [msgspec.structs.asdict(row["record"]) | row for row in finished.history.faults.to_dict("records")]
    assert sorted(row["index"] for row in faults) == list(range(len(finished.history.experiment["faults"])))
    for row in faults:
        assert row["hit"] or row["held"], row
        assert not row["doubt"], row
        assert row["said"]
    return sorted(faults, key=lambda row: row["index"])


@contextmanager
def striking(fault: Fault, context: Any, index: int = 0) -> Any:
    """Strike without a schedule, for as long as the block; gives the record."""
    record = FaultRecord(fault=fault.kind, index=index, target=getattr(fault, "target", ""))
    steps = fault.strike(context, record)
    next(steps)
    try:
        yield record
    finally:
        next(steps, None)


def refused(fault: Fault, context: Any, line: str) -> None:
    """It cannot be done there, and one line says why."""
    with pytest.raises(UnsupportedError, match=f"^{type(fault).__name__}: {line}") as caught:
        fault.check(context)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
