"""What all workloads have in common: their limits, their table in a file, and the way to another process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cloudpickle
import pytest
import tomli_w

from streamlab.errors import UsageError
from streamlab.workloads import Call, Count, ResizeImages, Sleep, Workload, from_table, to_table

NAN = float("nan")


def test_values_that_cannot_be_meant_are_one_clear_line() -> None:
    makes: list[Any] = [Sleep, ResizeImages, lambda **given: Call(print, **given)]
    for make in makes:
        for rate in (-3, 0, 1e9, NAN, "fast", None, True):
            with pytest.raises(UsageError, match=r"^\w+: rate = .*, expected messages a second, from 0.001"):
                make(rate=rate)
        for count in (0, 2.0, "3", None, True, 10**9):
            with pytest.raises(UsageError, match=r"^\w+: count = .*, expected a whole number"):
                make(count=count)
    for kind in (Sleep, Count):
        with pytest.raises(UsageError, match=r"^\w+: seconds = .*, expected a number"):
            kind(seconds=-1)
    with pytest.raises(UsageError, match=r"^Call: function = 'print', expected a function"):
        Call("print")  # type: ignore[arg-type]


def test_a_workload_survives_a_file_and_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for workload in (Sleep(count=7, rate=0.1 + 0.2, seconds=0), Count(once=True), ResizeImages(count=5, photos=3)):
        assert from_table(tomllib.loads(tomli_w.dumps(to_table(workload)))) == workload
        assert pickle.loads(cloudpickle.dumps(workload)) == workload
    assert from_table({"kind": "resize-images", "count": 3}) == ResizeImages(count=3), "the rest by default"

    with pytest.raises(UsageError, match=r"function is a .*, which a file cannot hold: keep it in the notebook"):
        to_table(Call(print))
    monkeypatch.setattr("streamlab.workloads.base._BY_NAME", {})

    @dataclass(frozen=True, kw_only=True)
    class Own(Workload):
        name: ClassVar[str] = "count-up"
        by: int = 1

    class Nameless(Own):
        pass

    assert from_table(to_table(Own(by=2))) == Own(by=2)
    with pytest.raises(UsageError, match="Nameless has no name of its own"):
        to_table(Nameless())


def test_a_table_that_cannot_be_meant_names_the_key_and_what_was_expected() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "workload.kind = None, expected one of call, count, resize-images, sleep"),
        ({"kind": "sleeep"}, "workload.kind = 'sleeep', expected one of"),
        ({"kind": ["sleep"]}, "workload.kind = ['sleep'], expected one of"),
        ({"kind": "sleep", "secnods": 1}, "workload: unknown key 'secnods', expected one of count, rate, seconds"),
        ({"kind": "sleep", "count": "ten"}, "workload: Sleep: count = 'ten', expected a whole number"),
        ({"kind": "count", "once": 1}, "workload: Count: once = 1, expected true or false"),
        ({"kind": "call", "count": 5}, "workload: missing key 'function'"),
    ]
    for table, said in wrong:
        with pytest.raises(UsageError) as caught:
            from_table(table)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_effects_are_counted_and_stay_in_their_folder(tmp_path: Path) -> None:
    for once, seen in ((False, 2), (True, 1)):
        folder = tmp_path / str(once)
        folder.mkdir()
        workload = Count(seconds=0, once=once)
        workload.prepare(folder)
        handle = workload.handler(folder)
        for job in (3, 3, 5):
            handle(SimpleNamespace(fields=workload.fields(job)))  # type: ignore[arg-type]
        assert workload.effects(folder) == {3: seen, 5: 1}
        with pytest.raises(ValueError, match="invalid literal"):
            handle(SimpleNamespace(fields={"job": "../../canary"}))  # type: ignore[arg-type]


def test_a_function_from_a_cell_travels_to_another_process() -> None:
    # A cell's function lives in __main__, which the other process has not got: cloudpickle carries it whole.
    cell = """
import cloudpickle, sys
from streamlab.workloads import Call
greeting = "hello"
def greet(message):
    print(greeting, message.fields["job"])
sys.stdout.buffer.write(cloudpickle.dumps(Call(greet, count=20)))
"""
    worker = """
import pickle, sys, types, pathlib
workload = pickle.load(sys.stdin.buffer)
workload.handler(pathlib.Path("."))(types.SimpleNamespace(id="1-0", deliveries=1, fields=workload.fields(7)))
print({'PIL', 'pandas', 'matplotlib', 'IPython'} & set(sys.modules))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    carried = b""
    for code in (cell, worker):
        carried = subprocess.run(
            [sys.executable, "-c", code], input=carried, capture_output=True, check=True, env=environment
        ).stdout
    assert carried == b"hello 7\nset()\n"
