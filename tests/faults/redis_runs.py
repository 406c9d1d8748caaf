"""Short runs for the faults of Redis and of the operator."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlab as sl
from streamlab.faults import Fault
from streamlab.servers import Server

#: A worker is busy nearly all the time, and a backlog builds up: whatever strikes hits something.
BUSY = sl.Sleep(count=40, rate=200.0, seconds=0.02)


def run(server: Server, tmp_path: Path, *faults: Fault, workload: Any = BUSY, say: Any = None, **more: Any) -> sl.Run:
    """Do it with two workers, and return what can be known about it."""
    settings = {"workers": 2, "claim_after": 0.4, "drain": 10.0} | more
    experiment = sl.Experiment(workload=workload, faults=faults, **settings)
    lab = sl.Lab(server, say=say) if say else sl.Lab(server)
    return lab.run(experiment, out=tmp_path / "run")


def struck(finished: sl.Run, *kinds: str) -> list[dict[str, Any]]:
    """The faults, each with its facts; of just these kinds, all of which must have hit something."""
    faults = [row | row["details"] for row in finished.history.faults.to_dict("records")]
    assert sorted(row["fault"] for row in faults) == sorted(kinds), faults
    for row in faults:
        assert row["hit"] > 0, row
        assert "doubt" not in row, row
    return [next(row for row in faults if row["fault"] == kind) for kind in kinds]


def times(finished: sl.Run, kind: str, fault: dict[str, Any]) -> list[float]:
    """When there were such events ('samples': when the probe got an answer) while the fault lasted, edges left out."""
    history = finished.history
    seen = history.samples["time"] if kind == "samples" else history.events[history.events["kind"] == kind]["time"]
    return [float(time) for time in seen if fault["start"] + 0.1 < time < fault["end"] - 0.1]


class Interrupt:
    """Listens to a lab, and presses Ctrl-C when a line has this word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, line: str) -> None:
        """Hear a line."""
        if self.word in line:
            raise KeyboardInterrupt

    def stops(self, server: Server, tmp_path: Path, *faults: Fault) -> None:
        """Interrupt a run of these faults."""
        with suppress(KeyboardInterrupt):
            run(server, tmp_path, *faults, say=self)
            raise AssertionError(f"nobody said {self.word!r}")
