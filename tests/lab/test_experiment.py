"""An experiment is data: what goes into a file comes out, and what cannot be meant is refused by name."""

import pytest

import streamlab as sl
from streamlab import Call, Experiment, Kill, ResizeImages, Sleep
from streamlab.errors import DataError, MissingError, UsageError


def experiment(**more):
    return Experiment(workload=Sleep(count=10, rate=100.0, seconds=0.01), **more)


def test_a_file_gives_back_the_same_experiment(tmp_path):
    there = Experiment(
        workload=ResizeImages(count=12, rate=5.0),
        workers=2,
        faults=[Kill("worker-2", at=1.5, restart_after=2.0), Kill("worker-1", at=0.5)],
        claim_after=0.75,
        seed=42,
        name="a-name",
    )
    path = tmp_path / "experiment.toml"
    path.write_text(there.to_toml())
    assert Experiment.load(path) == there
    with pytest.raises(UsageError):
        Experiment(workload=Call(print, count=1, rate=1.0)).to_toml()


def test_some_settings_changed_in_a_cell():
    zombie = sl.scenario("zombie")
    changed = zombie.but(rate=80, claim_after=2, faults=[])
    assert (changed.workload.rate, changed.claim_after, changed.faults) == (80.0, 2.0, ())
    assert changed.but(rate=zombie.workload.rate, claim_after=zombie.claim_after, faults=zombie.faults) == zombie
    assert zombie.but(workload=Sleep(count=3), rate=7).workload == Sleep(count=3, rate=7)
    with pytest.raises(UsageError, match=r"no setting 'speed'; there are: .*claim_after.* count, rate, seconds"):
        zombie.but(speed=3)
    with pytest.raises(MissingError, match="no such scenario"):
        sl.scenario("lunch")


def test_what_cannot_be_meant_is_refused_by_name():
    for wrong, said in (
        ({"workers": 0}, "workers = 0, expected a whole number >= 1"),
        ({"workers": 1.5}, "workers = 1.5, expected a whole number"),
        ({"workers": True}, "workers = True"),
        ({"claim_after": -1}, "claim_after = -1"),
        ({"claim_after": float("nan")}, "claim_after = nan"),
        ({"drain": "long"}, "drain = 'long', expected a number"),
        ({"name": "../up"}, "name = '../up', expected 1 to 64 letters"),
        ({"seed": -1}, "seed = -1"),
        ({"guarantee": "twice"}, "guarantee = 'twice', expected one of at-least-once, "),
        ({"guarantee": "bounded-recovery"}, "needs recovery_within"),
        ({"persistence": "disk"}, "persistence = 'disk', expected one of '', 'none'"),
        ({"worker": "no function"}, "worker = 'no function', expected a function or 'module:function'"),
        ({"faults": Kill("worker-1", at=1)}, "expected a list of faults"),
        ({"faults": ["kill"]}, "expected a list of faults"),
        ({"faults": None}, "expected a list of faults"),
        ({"faults": [Kill("worker-4", at=1)]}, "no worker is called 'worker-4'"),
    ):
        with pytest.raises(UsageError) as caught:
            experiment(**wrong)
        assert said in str(caught.value)
    with pytest.raises(UsageError, match="workload = 3"):
        Experiment(workload=3)


GOOD = """
workers = 2
[workload]
kind = "sleep"
count = 3
rate = 1.0
seconds = 0.1
"""
FAULT = GOOD + "[[faults]]\n"


def test_a_file_that_cannot_be_meant_names_file_and_key(tmp_path):
    path = tmp_path / "mine.toml"
    for text, said in (
        ("workers = ", "Invalid value"),
        ("colour = 1\n" + GOOD, "unknown key 'colour', expected one of workload, workers,"),
        ("workers = 2", "[workload]"),
        ("faults = 3\n" + GOOD, "[[faults]]"),
        (GOOD.replace("workers = 2", "workers = 'two'"), "workers = 'two', expected a whole number"),
        (GOOD.replace("sleep", "swim"), "workload.kind = 'swim', expected one of"),
        (GOOD.replace("seconds", "second"), "workload: unknown key 'second'"),
        (FAULT + "kind = 'kill'\nat = 1", "faults[0]: missing key 'target'"),
        (FAULT + "kind = 'flood'\nat = 1", "faults[0].kind = 'flood', expected one of aof-cut, config, crash,"),
        (FAULT + "kind = ['kill']\nat = 1", "faults[0].kind = ['kill']"),
        (FAULT + "kind = 'kill'\ntarget = 'worker-3'\nat = 1", "no worker is called 'worker-3'"),
        (FAULT + "kind = 'kill'\ntarget = 'worker-1'\nat = -1", "faults[0]: Kill: at = -1, expected a number >= 0"),
        (FAULT + "kind = 'kill'\ntarget = 'worker-1'\nwhen = 1", "faults[0]: unknown key 'when'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError) as caught:
            Experiment.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingError, match=r"nowhere\.toml"):
        Experiment.load(tmp_path / "nowhere.toml")
