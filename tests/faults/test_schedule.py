"""Whom a schedule hits, and when: the same for the same seed."""

import pytest
from redis.exceptions import ConnectionError

import streamlab as sl
from streamlab.errors import ServerError, UsageError
from streamlab.faults import Fault, FaultSchedule
from streamlab.history.fault_record import FaultRecord


class EventLog:
    def __init__(self):
        self.all = []

    def write(self, kind, *, note="", time_ns=None):
        self.all.append((kind, FaultRecord.read(note) if kind.startswith("fault") else note))


class Context:
    """Workers that do what they are told, and hold what they are said to hold."""

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


def carried_out(context, *faults, seed=1, until=5.0):
    log = EventLog()
    schedule = FaultSchedule(faults, context, log, seed)
    for tick in range(int(until * 100)):
        schedule.step(tick / 100)
    schedule.heal()
    return log.all


def test_one_is_chosen_by_the_seed_for_each_fault():
    def chosen(seed):
        events = carried_out(Context(), sl.Kill("one", at=1), sl.Kill("one", at=2), seed=seed)
        return [record.target for kind, record in events if kind == "fault_on"]

    targets = [chosen(seed) for seed in range(20)]
    assert targets == [chosen(seed) for seed in range(20)]
    assert len({first for first, _ in targets}) > 2, "not always the same one"
    assert any(first != second for first, second in targets)


def test_all_are_all_and_who_never_holds_so_many_is_killed_with_what_it_holds():
    """To hit an idle worker would show nothing; on a fast machine none may ever hold as many as were asked for."""
    context, log = Context(workers=3, pending=2), EventLog()
    schedule = FaultSchedule([sl.Kill("all", at=1, holding=50)], context, log)
    assert [now for now in (1.0, 1.9, 2.0) if schedule.step(now)] == [2.0]
    assert log.all[0][1].held == 6
    assert [what for what in context.did if what[0] == "kill"] == [("kill", f"worker-{n}") for n in (1, 2, 3)]


def test_the_oldest_is_looked_up_when_it_strikes():
    context = Context(pending=0)
    log = EventLog()
    schedule = FaultSchedule([sl.Pause("oldest", at=1, seconds=1)], context, log)
    schedule.step(1.0)
    assert log.all == [], "nobody holds anything yet"
    context.held["worker-3"] = 2
    schedule.step(1.1)
    assert log.all[0][1].target == "worker-3"
    context.held["worker-4"] = 2
    schedule.step(2.2)
    assert log.all[1][1].target == "worker-3", "who was paused is let go on"
    assert context.did[-1] == ("resume", "worker-3")


def test_where_nobody_can_be_hit_it_waits_two_seconds_and_says_so():
    schedule = FaultSchedule([sl.Slow("oldest", at=1, by=1, seconds=1)], Context(pending=0), EventLog())
    began = next(now for now in (1.0, 2.9, 3.1) if schedule.step(now))
    assert began == 3.1
    ((kind, record),) = carried_out(Context(pending=0), sl.Kill("oldest", at=1))
    assert (kind, record.target, record.held, record.family) == ("fault_on", "", 0, "worker")
    assert "killed nobody" in record.said


def test_faults_are_numbered_as_they_were_written():
    events = carried_out(Context(), sl.Pause("worker-1", at=2, seconds=1), sl.Pause("worker-1", at=1, seconds=3))
    order = [(kind, record.index) for kind, record in events]
    assert order == [("fault_on", 1), ("fault_on", 0), ("fault_off", 0), ("fault_off", 1)]


def test_what_is_pressed_is_not_planned_and_ends_with_the_run():
    log, context = EventLog(), Context()
    schedule = FaultSchedule([sl.Kill("worker-1", at=0)], context, log)
    schedule.step(0)
    for worker in ("worker-2", "worker-3"):
        schedule.add(sl.Kill(worker, at=1), planned=False)
    schedule.step(1)
    assert [strike.record.target for strike in schedule.running] == ["worker-2", "worker-3"]
    schedule.end_kill("worker-3")
    assert context.did[-1] == ("spawn", "worker-3")
    assert ("spawn", "worker-2") not in context.did
    schedule.heal()
    assert ("spawn", "worker-2") in context.did
    assert ("spawn", "worker-1") not in context.did, "a planned one stays dead"
    assert [record.planned for _, record in log.all] == [True, False, False, False, False]
    with pytest.raises(UsageError, match="'worker-9'; there are: worker-1"):
        schedule.add(sl.Kill("worker-9", at=1))


class Blink(Fault):
    kind = "blink"
    family = "operator"
    fails = None

    def strike(self, context, record):
        yield from self.fail("begin")
        yield
        yield from self.fail("end")

    def fail(self, where):
        if self.fails and where == self.fails[0]:
            raise self.fails[1]("no")
        return ()


@pytest.mark.parametrize("error", [OSError, ServerError, ConnectionError])
def test_an_instant_is_over_at_once_and_what_fails_is_told(monkeypatch, error):
    assert [kind for kind, _ in carried_out(Context(), Blink(at=1))] == ["fault_on", "fault_off"]
    monkeypatch.setattr(Blink, "fails", ("begin", error))
    assert carried_out(Context(), Blink(at=1)) == [("warning", "blink could not be done: no")]
    monkeypatch.setattr(Blink, "fails", ("end", error))
    _, warning, (_, record) = carried_out(Context(), Blink(at=1))
    assert warning == ("warning", "blink could not be undone: no")
    assert record.doubt == "its end went wrong (no)"
