"""An experiment is data: what goes into a file comes out, and what cannot be meant is refused by name."""

import pytest

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


def test_the_seed_decides_when_jobs_are_due():
    assert experiment(seed=3).schedule() == experiment(seed=3).schedule()
    assert experiment(seed=3).schedule() != experiment(seed=4).schedule()


def test_arrivals_come_at_the_rate():
    times = Experiment(workload=Sleep(count=5000, rate=200.0, seconds=0.0)).schedule()
    assert times[0] == 0
    assert times == sorted(times)
    assert 5000 / times[-1] == pytest.approx(200, rel=0.1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 0}, "workers = 0"),
        ({"workers": 1.5}, "workers = 1.5, expected a whole number"),
        ({"workers": True}, "workers = True"),
        ({"claim_after": -1}, "claim_after = -1"),
        ({"claim_after": float("nan")}, "claim_after = nan"),
        ({"drain": "long"}, "drain = 'long', expected a number"),
        ({"name": "../up"}, "name = '../up'"),
        ({"seed": -1}, "seed = -1"),
        ({"faults": Kill("worker-1", at=1)}, "expected a list of faults"),
        ({"faults": ["kill"]}, "expected a list of faults"),
        ({"faults": None}, "expected a list of faults"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(wrong, said):
    with pytest.raises(UsageError) as caught:
        experiment(**wrong)
    assert said in str(caught.value)


def test_a_negative_rate():
    with pytest.raises(UsageError, match="rate"):
        Sleep(count=1, rate=-1.0, seconds=0.0)


def test_a_workload_that_is_none():
    with pytest.raises(UsageError, match="workload=3"):
        Experiment(workload=3)


def test_a_function_cannot_be_saved():
    with pytest.raises(UsageError):
        Experiment(workload=Call(print, count=1, rate=1.0)).to_toml()


GOOD = """
workers = 2
[workload]
kind = "sleep"
count = 3
rate = 1.0
seconds = 0.1
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers = ", "Invalid value"),
        ("colour = 1\n" + GOOD, "unknown key 'colour'"),
        ("workers = 2", "[workload]"),
        (GOOD.replace("sleep", "swim"), "swim"),
        (GOOD.replace("seconds", "second"), "second"),
        (GOOD.replace("0.1", "'slow'"), "seconds"),
        (GOOD.replace("workers = 2", "workers = 'two'"), "workers = 'two'"),
        (GOOD + "[[faults]]\nkind = 'kill'\nat = 1", "missing target"),
        (GOOD + "[[faults]]\nkind = 'flood'\nat = 1", "unknown kind 'flood'"),
        (GOOD + "[[faults]]\nkind = ['kill']\nat = 1", "unknown kind ['kill']"),
        (GOOD + "[[faults]]\nkind = 'kill'\ntarget = 'worker-3'\nat = 1", "no worker is called 'worker-3'"),
        (GOOD + "[[faults]]\nkind = 'fail'\ntarget = 'one'\njob = 1.5\nat = 1", "job = 1.5, expected a whole number"),
        (GOOD.replace("count = 3", "count = 1000000000000"), "count is 1000000000000"),
        (GOOD.replace("rate = 1.0", "rate = 1e-300"), "rate is 1e-300"),
        (GOOD + "[[faults]]\nkind = 'kill'\ntarget = 'worker-1'\nat = 'soon'", "at = 'soon'"),
        (GOOD + "[[faults]]\nkind = 'kill'\ntarget = 'worker-1'\nat = -1", "at=-1"),
        (GOOD + "[[faults]]\nkind = 'kill'\ntarget = 'worker-1'\nwhen = 1", "unknown key 'when'"),
        ("faults = 3\n" + GOOD, "[[faults]]"),
    ],
)
def test_a_file_with_a_fault_of_its_own_names_file_and_key(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        Experiment.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingError, match=r"nowhere\.toml"):
        Experiment.load(tmp_path / "nowhere.toml")
