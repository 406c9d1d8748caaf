from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from streamlab.errors import UsageError
from streamlab.workloads import Call, ResizeImages, Sleep, Workload, from_table, to_table


@dataclass
class Delivered:
    fields: dict[str, str]
    id: str = "1-0"
    deliveries: int = 1


@pytest.mark.parametrize("rate", [-3, -0.5, 0, 0.0, float("nan"), float("inf"), float("-inf"), "fast", None, True])
@pytest.mark.parametrize("make", [ResizeImages, Sleep, lambda **given: Call(print, **given)])
def test_a_rate_that_cannot_be_meant_is_one_clear_line_with_the_fix(make: Any, rate: Any) -> None:
    with pytest.raises(UsageError, match=r"^rate is .*say rate=40$"):
        make(rate=rate)


@pytest.mark.parametrize("count", [0, -1, 2.0, "3", None, True])
def test_a_count_that_cannot_be_meant(count: Any) -> None:
    with pytest.raises(UsageError, match=r"^count is .*whole number of 1 or more$"):
        Sleep(count=count)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "long"])
def test_seconds_that_cannot_be_meant(seconds: Any) -> None:
    with pytest.raises(UsageError, match=r"^seconds is "):
        Sleep(seconds=seconds)


@pytest.mark.parametrize(
    "workload",
    [
        Sleep(),
        Sleep(count=7, rate=3, seconds=0),
        ResizeImages(),
        ResizeImages(count=5, sizes=((9, 8), (7, 6)), photos=3),
    ],
)
def test_a_workload_survives_a_file(workload: Workload) -> None:
    text = tomli_w.dumps({"workload": to_table(workload)})

    assert from_table(tomllib.loads(text)["workload"]) == workload


@given(
    count=st.integers(1, 10**6),
    rate=st.one_of(st.integers(1, 10**6), st.floats(min_value=1e-3, max_value=1e6)),
    seconds=st.floats(min_value=0, max_value=100),
)
def test_any_workload_survives_a_file(count: int, rate: float, seconds: float) -> None:
    workload = Sleep(count=count, rate=rate, seconds=seconds)

    assert from_table(tomllib.loads(tomli_w.dumps(to_table(workload)))) == workload


def test_missing_keys_have_their_defaults() -> None:
    assert from_table({"kind": "resize-images", "count": 3}) == ResizeImages(count=3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "kind is None, but must be one of call, count, resize-images, sleep"),
        ({"kind": "sleeep"}, "kind is 'sleeep', but must be one of"),
        ({"kind": ["sleep"]}, "kind is ['sleep'], but must be one of"),
        ({"kind": "sleep", "secnods": 1}, "workload sleep: unknown key 'secnods'; it has count, rate, seconds"),
        ({"kind": "sleep", "count": "ten"}, "workload sleep: count is 'ten', but must be a whole number"),
        ({"kind": "sleep", "count": 2.5}, "workload sleep: count is 2.5, but must be a whole number"),
        ({"kind": "sleep", "count": True}, "workload sleep: count is True, but must be a whole number"),
        ({"kind": "sleep", "rate": "fast"}, "workload sleep: rate is 'fast', but must be a number"),
        ({"kind": "sleep", "rate": float("nan")}, "rate is nan"),
        ({"kind": "sleep", "rate": -1}, "rate is -1"),
        (
            {"kind": "resize-images", "sizes": [[1, "b"]]},
            "workload resize-images: sizes is 'b', but must be a whole number",
        ),
        (
            {"kind": "resize-images", "sizes": [[1, 2, 3]]},
            "sizes is [1, 2, 3], but must be [a whole number, a whole number]",
        ),
        ({"kind": "resize-images", "sizes": 5}, "sizes is 5, but must be a list of [a whole number, a whole number]"),
        ({"kind": "call", "count": 5}, "workload call: function is missing; it must be something that only Python"),
        ({"kind": "call", "function": "print"}, "workload call: function is 'print', but must be something that only"),
    ],
)
def test_a_table_that_cannot_be_meant_names_the_key_and_what_was_expected(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_table(table)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_cannot_be_saved_to_a_file() -> None:
    with pytest.raises(UsageError, match=r"function is a .*, which a file cannot hold: keep it in the notebook"):
        to_table(Call(print))


def test_a_workload_without_a_name_of_its_own_cannot_be_saved() -> None:
    class Longer(Sleep):
        pass

    with pytest.raises(UsageError, match="Longer has no name of its own"):
        to_table(Longer())


def test_a_workload_of_ones_own_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.workloads.base._BY_NAME", {})

    @dataclass(frozen=True, kw_only=True)
    class Count(Workload):
        name: ClassVar[str] = "count-up"
        by: int = 1

    assert from_table(to_table(Count(by=2))) == Count(by=2)


def test_call_needs_a_function() -> None:
    with pytest.raises(UsageError, match="function is 'print', but must be a function"):
        Call("print")  # type: ignore[arg-type]


def test_sleep_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    workload = Sleep(seconds=0.25)

    workload.handler(tmp_path)(Delivered(workload.fields(3)))

    assert waited == [0.25]


def test_a_function_from_a_cell_travels_to_another_process(tmp_path: Path) -> None:
    # A cell's function lives in __main__, which the other process has not got: cloudpickle carries it whole.
    cell = """
import cloudpickle, sys
from streamlab.workloads import Call
greeting = "hello"
def greet(message):
    print(greeting, message.fields["job"])
sys.stdout.buffer.write(cloudpickle.dumps(Call(greet, count=20)))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    carried = subprocess.run([sys.executable, "-c", cell], capture_output=True, check=True, env=environment).stdout
    worker = """
import pickle, sys, types, pathlib
workload = pickle.load(sys.stdin.buffer)
workload.handler(pathlib.Path("."))(types.SimpleNamespace(id="1-0", deliveries=1, fields=workload.fields(7)))
"""
    done = subprocess.run(
        [sys.executable, "-c", worker], input=carried, capture_output=True, check=True, env=environment
    )

    assert done.stdout == b"hello 7\n"


@pytest.mark.parametrize("workload", [Sleep(count=3), ResizeImages(count=300), Call(print)])
def test_workloads_are_values(workload: Workload) -> None:
    workload.fields(0)

    assert pickle.loads(cloudpickle.dumps(workload)) == workload
    assert hash(workload) is not None


def test_importing_workloads_is_light() -> None:
    heavy = "{'PIL', 'redis', 'pandas', 'matplotlib', 'cloudpickle', 'IPython'}"
    code = f"import sys, streamlab.workloads; print({heavy} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environment)

    assert said.stdout == "set()\n"
