"""Whom a plan hits, and when: the same for the same seed."""

import json

import pytest

import streamlab as sl
from streamlab.errors import UsageError
from streamlab.faults import Fault, Plan


class Notes:
    def __init__(self):
        self.all = []

    def write(self, kind, *, note="", time_ns=None):
        self.all.append((kind, json.loads(note)))


class Stage:
    """Workers that do what they are told, and hold what they are said to hold."""

    foreign = False
    wire = None

    def __init__(self, workers=5, pending=1):
        self.names = [f"worker-{n}" for n in range(1, workers + 1)]
        self.held = dict.fromkeys(self.names, pending)
        self.did = []

    def workers(self):
        return self.names

    def alive(self, worker):
        return ("kill", worker) not in self.did

    def pending(self, worker):
        return self.held[worker]

    def oldest(self):
        return next((name for name in reversed(self.names) if self.held[name]), "")

    def __getattr__(self, name):
        return lambda worker, *_: self.did.append((name, worker)) or True


def carried_out(stage, *faults, seed=1, until=5.0):
    notes = Notes()
    plan = Plan(faults, stage, notes, seed)
    for tick in range(int(until * 100)):
        plan.step(tick / 100)
    plan.heal()
    return notes.all


def test_one_is_chosen_by_the_seed():
    chosen = {seed: carried_out(Stage(), sl.Kill("one", at=1), seed=seed)[0][1]["target"] for seed in range(20)}
    again = {seed: carried_out(Stage(), sl.Kill("one", at=1), seed=seed)[0][1]["target"] for seed in range(20)}
    assert chosen == again
    assert len(set(chosen.values())) > 2, "not always the same one"


def test_two_that_mean_one_need_not_mean_the_same():
    notes = [carried_out(Stage(), sl.Kill("one", at=1), sl.Kill("one", at=2), seed=seed) for seed in range(20)]
    pairs = {tuple(note["target"] for kind, note in all_ if kind == "fault_on") for all_ in notes}
    assert any(first != second for first, second in pairs)


def test_all_are_all():
    stage = Stage(workers=3)
    ((_, note),) = [item for item in carried_out(stage, sl.Kill("all", at=1)) if item[0] == "fault_on"]
    assert note["held"] == 3
    assert [what for what in stage.did if what[0] == "kill"] == [("kill", f"worker-{n}") for n in (1, 2, 3)]


def test_the_oldest_is_looked_up_when_it_strikes():
    stage = Stage(pending=0)
    notes = Notes()
    plan = Plan([sl.Pause("oldest", at=1, seconds=1)], stage, notes)
    plan.step(1.0)
    assert notes.all == [], "nobody holds anything yet"
    stage.held["worker-3"] = 2
    plan.step(1.1)
    assert notes.all[0][1]["target"] == "worker-3"
    stage.held["worker-4"] = 2
    plan.step(2.2)
    assert notes.all[1][1]["target"] == "worker-3", "who was paused is let go on"
    assert stage.did[-1] == ("thaw", "worker-3")


def test_where_nobody_can_be_hit_it_says_so():
    (on,) = carried_out(Stage(pending=0), sl.Kill("oldest", at=1))
    assert on == ("fault_on", {"index": 0, "fault": "kill", "family": "worker", "target": "", "held": 0})


def test_faults_are_numbered_as_they_were_written():
    notes = carried_out(Stage(), sl.Pause("worker-1", at=2, seconds=1), sl.Pause("worker-1", at=1, seconds=3))
    order = [(kind, note["index"]) for kind, note in notes]
    assert order == [("fault_on", 1), ("fault_on", 0), ("fault_off", 0), ("fault_off", 1)]


def test_a_plan_leaves_the_faults_as_they_were():
    fault = sl.Kill("one", at=1)
    carried_out(Stage(), fault)
    assert (fault.target, fault.index) == ("one", -1)


def test_an_instant_is_over_at_once():
    class Blink(Fault):
        kind = "blink"
        family = "operator"

        def start(self, stage):
            return {"hit": 1}

    notes = Notes()
    plan = Plan([Blink(at=1)], Stage(), notes)
    plan.step(1.0)
    assert [kind for kind, _ in notes.all] == ["fault_on", "fault_off"]
    assert plan.finished


def test_a_target_that_is_nobody():
    with pytest.raises(UsageError, match="'worker-9'; there are: worker-1"):
        Plan([sl.Kill("worker-9", at=1)], Stage(), Notes())
