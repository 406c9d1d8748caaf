"""What several runs say together."""

import json
from math import inf

import pytest

import streamlab as sl
from streamlab.check import Verdict
from streamlab.errors import UsageError
from streamlab.report import Repeats, Run


def made_up(verdict, recovery=()):
    run = Run("runs/nowhere")
    rows = [{"fault": "kill", "start": 1.0, "stranded": 1, "seconds": seconds} for seconds in recovery]
    run.__dict__["verdict"] = Verdict(verdict, {"jobs": 3}, {}, ["because"], recovery=rows)
    return run


def test_they_are_summed_up():
    runs = made_up("valid", [0.5]), made_up("invalid", [None]), made_up("valid", [0.7, 0.9]), made_up("unknown")
    repeats = Repeats(dict(enumerate(runs, start=3)), "streamlab run kill")
    assert repeats.verdicts == {"valid": 2, "invalid": 1, "unknown": 1}
    assert repeats.recoveries == [0.5, 0.9, inf]
    failing = [(4, "streamlab run kill --seed 4"), (6, "streamlab run kill --seed 6")]
    assert [(seed, again) for seed, _, again in repeats.failing()] == failing
    assert repeats.exit_code == 1
    told = json.loads(json.dumps(repeats.as_dict(), allow_nan=False))
    assert told["recovery"] == {"runs": 3, "never": 1, "least": 0.5, "median": 0.7, "most": 0.9}
    assert "4 runs: 2 valid, 1 invalid, 1 unknown" in str(repeats)
    assert "streamlab run kill --seed 4" in repeats._repr_html_()


def test_the_worst_counts():
    for verdicts, code in ((["valid"], 0), (["valid", "unknown"], 2), (["unknown", "invalid"], 1)):
        assert Repeats(dict(enumerate(map(made_up, verdicts)))).exit_code == code


def test_every_run_has_its_seed(any_server, tmp_path):
    heard = []
    lab = sl.Lab(any_server, say=heard.append)
    experiment = sl.Experiment(workload=sl.Sleep(count=20, rate=200.0, seconds=0.0), seed=5)
    repeats = lab.repeat(experiment, 2, out=tmp_path / "runs")
    assert list(repeats.runs) == [5, 6]
    assert {run.history.experiment["seed"] for run in repeats.runs.values()} == {5, 6}
    assert (tmp_path / "runs" / "seed-6" / "outcome.json").exists()
    assert any(line.startswith("seed 6: ") for line in heard)
    for times in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="times="):
            lab.repeat(experiment, times)
