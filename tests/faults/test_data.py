"""A fault is data: it survives a file, and what cannot be meant is refused in one line."""

import json

import pytest

import streamlab as sl
from streamlab import faults
from streamlab.errors import UsageError

#: One fault of every kind.
EACH = [
    faults.Kill("worker-1", at=1, restart_after=0, holding=2),
    faults.Pause("one", at=0.5, seconds=1),
    faults.Slow("all", at=1, by=0.1, seconds=1),
    faults.Fail("oldest", at=1, times=0, job=3, seconds=1),
    faults.Crash("worker-1", at=1, after="read", restart_after=1),
    faults.Delay("worker-1", at=1, delay=0.1, jitter=0.05, seconds=1, direction="replies"),
    faults.Throttle("all", at=1, bytes_per_second=5, seconds=1),
    faults.Hold("one", at=1, seconds=1),
    faults.Drop("producer", at=1, seconds=1, direction="requests"),
    faults.Reset("oldest", at=1),
    faults.Refuse("all", at=1, seconds=1),
    faults.CutReply("worker-1", at=1, command="XACK", nth=3, times=2, seconds=2),
    faults.KillClients("producer", at=0),
    faults.PauseClients(at=0, seconds=1, mode="ALL"),
    faults.SleepRedis(at=0, seconds=1),
    faults.FreezeRedis(at=0, seconds=1),
    faults.RestartRedis(at=0, how="TERM"),
    faults.FlushAll(at=0),
    faults.CutAppendOnlyFile(at=0, size=1),
    faults.LimitMemory(at=0, seconds=1),
    faults.SetConfig("hz", "50", at=0, seconds=1),
    faults.Trim(at=0, keep=0),
    faults.Delete("worker-1", at=0, count=5),
    faults.SetID(at=0, to="0"),
    faults.DestroyGroup(at=0),
    faults.DeleteConsumer("oldest", at=0),
    faults.TwinWorker("one", at=0, seconds=1.5),
]


def test_every_fault_is_data():
    assert {fault.kind for fault in EACH} == set(faults.KINDS)
    for fault in EACH:
        assert faults.from_table(json.loads(json.dumps(fault.table()))) == fault
        assert faults.from_table(fault.table() | {"at": 2.5}) != fault


def test_a_fault_that_cannot_be_meant_is_one_clear_line():
    """One of each rule; the same holds for every field of the same type."""
    for kind, right, wrong in (
        (
            "kill",
            {"target": "one"},
            {"at": [-1, float("inf"), "soon", None], "holding": [0, 1.5], "restart_after": [-1]},
        ),
        ("crash", {"target": "one"}, {"after": ["lunch"], "restart_after": [0]}),
        ("delay", {"target": "one", "seconds": 1, "delay": 0.1}, {"jitter": [0.2, -0.2], "direction": ["left"]}),
        ("cut-reply", {"target": "one"}, {"command": ["", "XACK s g"]}),
        ("redis-sleep", {}, {"seconds": [5, 0]}),
        ("config", {"name": "hz", "seconds": 1}, {"value": [50]}),
        ("delete", {}, {"count": [0, 1001]}),
        ("set-id", {}, {"to": ["5", ["$"]]}),
    ):
        for name, values in wrong.items():
            for value in values:
                with pytest.raises(UsageError, match=rf"^\w+: {name} = [^\n]+, expected [^\n]+$"):
                    faults.KINDS[kind](**({"at": 1} | right | {name: value}))
    with pytest.raises(UsageError, match="would not find its server again"):
        faults.SetConfig("requirepass", "x", at=1, seconds=1)


def test_a_target_that_is_nobody():
    for fault in EACH:
        if hasattr(fault, "target"):
            reached = fault.family == "wire" or fault.kind == "kill-clients"
            for target in ("worker-1", "one", "all", "oldest", *(["producer"] if reached else [])):
                sl.Experiment(workload=sl.Sleep(), faults=[type(fault)(**(vars(fault) | {"target": target}))])
            for target in ("worker-9", "", "redis", *([] if reached else ["producer"])):
                with pytest.raises(UsageError, match="; there are: worker-1, worker-2, worker-3"):
                    sl.Experiment(workload=sl.Sleep(), faults=[type(fault)(**(vars(fault) | {"target": target}))])
