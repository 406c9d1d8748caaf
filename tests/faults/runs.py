"""Short runs for the tests of faults."""

from __future__ import annotations

from contextlib import contextmanager, suppress
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


def struck(finished: sl.Run, *kinds: str) -> list[dict[str, Any]]:
    """The faults, each with its record; of just these kinds, all of which must have hit something."""
    faults = [msgspec.structs.asdict(row["record"]) | row for row in finished.history.faults.to_dict("records")]
    assert sorted(row["fault"] for row in faults) == sorted(kinds), faults
    for row in faults:
        assert row["hit"] > 0 or row["held"] > 0, row
        assert not row["doubt"], row
        assert row["said"]
    return [next(row for row in faults if row["fault"] == kind) for kind in kinds]


def times(finished: sl.Run, kind: str, fault: dict[str, Any]) -> list[float]:
    """When there were such events ('samples': answers to the sampler) while the fault lasted, edges left out."""
    history = finished.history
    seen = history.samples["time"] if kind == "samples" else history.events[history.events["kind"] == kind]["time"]
    return [float(time) for time in seen if fault["start"] + 0.1 < time < fault["end"] - 0.1]


def interrupted(word: str, server: Server, tmp_path: Path, *faults: Fault) -> None:
    """Run these faults, and press Ctrl-C when a line has this word."""

    def listen(line: str) -> None:
        if word in line:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        run(server, tmp_path, *faults, say=listen)
        raise AssertionError(f"nobody said {word!r}")


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


def refused(server: Server, tmp_path: Path, fault: Fault, line: str, **more: Any) -> str:
    """Return what is said of a fault that cannot be done; nothing was begun."""
    with pytest.raises(UnsupportedError, match=line) as caught:
        run(server, tmp_path, fault, **more)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "experiment.toml").exists(), "refused before anything was begun"
    return str(caught.value)
