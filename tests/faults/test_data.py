"""A fault is data: it survives a file, and what cannot be meant is refused in one line."""

import json

import pytest

import streamlab as sl
from streamlab import faults
from streamlab.errors import UsageError
from tests.faults.each import EACH


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
        ("pause", {"target": "one"}, {"seconds": [0, -1, float("nan"), True]}),
        ("slow", {"target": "one", "seconds": 1}, {"by": [0]}),
        ("fail", {"target": "one"}, {"times": [-1, 1.5], "job": [1.5, -1], "seconds": [0]}),
        ("crash", {"target": "one"}, {"after": ["lunch"], "restart_after": [0]}),
        ("delay", {"target": "one", "seconds": 1, "delay": 0.1}, {"jitter": [0.2, -0.2], "direction": ["left"]}),
        ("throttle", {"target": "one", "seconds": 1}, {"bytes_per_second": [-5]}),
        ("cut-reply", {"target": "one"}, {"command": ["", "XACK s g"]}),
        ("cut-reply", {"target": "one", "command": "XACK"}, {"nth": [0], "times": [1.5], "seconds": [0]}),
        ("pause-clients", {"seconds": 1}, {"mode": ["READ", ["ALL"]]}),
        ("redis-sleep", {}, {"seconds": [5, 0]}),
        ("redis-restart", {}, {"how": ["INT"], "seconds": [-1]}),
        ("aof-cut", {}, {"size": [1.5, 0]}),
        ("memory-limit", {"seconds": 1}, {"spare": [-1]}),
        ("config", {"name": "hz", "seconds": 1}, {"value": [50]}),
        ("trim", {}, {"keep": [-1, True]}),
        ("delete", {}, {"count": [0, 1001]}),
        ("set-id", {}, {"to": ["5", ["$"]]}),
        ("twin", {"target": "one"}, {"seconds": [0]}),
    ):
        for name, values in wrong.items():
            for value in values:
                with pytest.raises(UsageError, match=rf"^\w+: {name} = [^\n]+, expected [^\n]+$"):
                    faults.KINDS[kind](**({"at": 1} | right | {name: value}))
    for make, said in (
        (lambda: faults.CutAppendOnlyFile(at=1), "either seconds or size"),
        (lambda: faults.CutAppendOnlyFile(at=1, seconds=1, size=1), "either seconds or size"),
        (lambda: faults.SetConfig("requirepass", "x", at=1, seconds=1), "would not find its server again"),
    ):
        with pytest.raises(UsageError, match=said):
            make()


def test_a_target_that_is_nobody():
    for fault in EACH:
        if hasattr(fault, "target"):
            reached = fault.family == "wire" or fault.kind == "kill-clients"
            for target in ("worker-1", "one", "all", "oldest", *(["producer"] if reached else [])):
                sl.Experiment(workload=sl.Sleep(), faults=[type(fault)(**(vars(fault) | {"target": target}))])
            for target in ("worker-9", "", "redis", *([] if reached else ["producer"])):
                with pytest.raises(UsageError, match="; there are: worker-1, worker-2, worker-3"):
                    sl.Experiment(workload=sl.Sleep(), faults=[type(fault)(**(vars(fault) | {"target": target}))])
