"""Every class of the verdict, planted in one job beside two that went well: it is caught, and no other class is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamlab.check import judge
from streamlab.check.classes import CLASSES
from streamlab.check.fates import FATES
from tests.histories import Story

E = Story.entry
OK = "started done acked"
MINE = {"worker": "my:work"}
ADDS = {"producer": "my:adds"}


def read(story: Story, kinds: str = "read") -> Story:
    """Add job 7, of which worker-1 writes these kinds."""
    return story.add(7, 0.5).work(7, "worker-1", 0.6, kinds)


def claimed(story: Story, kinds: str = "") -> Story:
    """Worker-1 has started job 7, and worker-2 claims it."""
    return read(story, "read started").work(7, "worker-2", 0.7, f"claimed {kinds}")


def zombie(story: Story, kinds: str, **more: str) -> Story:
    """Worker-1 writes of job 7 once more."""
    return story.work(7, "worker-1", 0.8, kinds, **more)


def removed(story: Story, *jobs: int, at: float = 0.7, hit: int = 1, fault: str = "delete", below: str = "") -> Story:
    """An operator removes the entries of these jobs."""
    entries = [E(job) for job in jobs]
    return story.fault(fault, "all", at, at, family="operator", entries=entries, hit=hit, below=below)


def redis(story: Story, at: float = 0.7, **told: object) -> Story:
    """Redis restarts, and the fault tells in the end what it lost."""
    return story.fault("redis-restart", "", at, at + 0.1, family="redis", hit=3, off=told)


def left(story: Story) -> Story:
    """Job 7 is pending when the drain's budget ends."""
    return story.end("timed out", pending={E(7): "worker-1"})


def keyed(story: Story, *done: float, keys: int = 2) -> Story:
    """Jobs 7, 9 and 11, of one key of two, done at these times; job 8, of the other key, before them all."""
    for job, at in zip((7, 9, 11, 8), (*done, 0.6), strict=True):
        story.add(job, 0.5 + job / 100).work(job, f"worker-{job}", at - 0.02, f"read {OK}")
    return story.set(keys=keys)


def counted(story: Story, **effects: int) -> Story:
    """The workload counted the effects: one each of jobs 0 and 1, and these."""
    return story.end(effects_counted=True, effects={"0": 1, "1": 1, **effects})


def spin(story: Story, times: int, every: float, note: str = "worker-1 XREADGROUP NOGROUP") -> Story:
    for n in range(times):
        story.wire("error", 0.6 + n * every, note=note)
    return story


#: The classes, and in which case; job 7 is the only member of each. What does not say how it ended was drained.
CASES: dict[str, Callable[[Story], Story]] = {
    ": all went well": lambda s: s,
    ": the stream was trimmed when all was done": lambda s: s.holds(),
    ": the producer left the job out of the fields": lambda s: s.holds(0, (E(1), -1)),
    # where a job was lost
    "lost_by_redis: added, and gone": lambda s: s.add(7, 0.5).holds(0, 1),
    "lost_by_redis: read, and gone": lambda s: read(s).holds(0, 1),
    "lost_by_redis: a custom worker, and Redis says so": lambda s: redis(read(s.set(**MINE)), entries=[E(7)]).holds(),
    "lost_by_redis: a custom producer, and Redis says so": lambda s: redis(read(s.set(**ADDS)), lost=3).holds(),
    "lost_by_redis: an operator removed another": lambda s: removed(read(s), 6).holds(0, 1),
    "lost_by_redis: trimmed before it came": lambda s: removed(read(s), fault="trim", hit=7, below=E(7)).holds(),
    "lost_by_redis: added after more were removed than listed": lambda s: removed(read(s), 1, at=0.4, hit=2).holds(0),
    "lost_by_redis unknown_adds: the wire tells that it was added": lambda s: (
        s.add(7, 0.5, "unknown").wire("added", 0.5, 7, "producer").holds(0, 1)
    ),
    "lost_unexplained: nobody looked at the stream": read,
    "lost_unexplained unknown_adds: no answer, and seen": lambda s: s.add(7, 0.5, "unknown").work(7, "w", 0.6, "read"),
    "lost_unexplained: a custom worker may have done it": lambda s: redis(read(s.set(**MINE)), 0.1, lost=3).holds(0, 1),
    "lost_unexplained: a custom worker, and Redis lost nothing": lambda s: redis(read(s.set(**MINE))).holds(0, 1),
    "lost_unexplained: a custom producer may have trimmed it": lambda s: read(s.set(**ADDS)).holds(0, 1),
    "lost_removed: listed": lambda s: removed(read(s), 7).holds(0, 1),
    "lost_removed: below": lambda s: removed(read(s), fault="trim", hit=8, below=E(8)).holds(),
    "lost_removed: of more than the list has": lambda s: removed(read(s), 1, hit=2).holds(0),
    "lost_removed: found deleted": lambda s: read(s, "read deleted").holds(0, 1),
    "lost_removed: acknowledged when it was gone": lambda s: zombie(removed(read(s), 7), "acked").holds(0, 1),
    "lost_acked: before done": lambda s: read(s, "read acked started").holds(0, 1, 7),
    "lost_acked: only the wire saw it": lambda s: read(s).wire("acked", 0.7, 7).holds(0, 1, 7),
    "lost_acked: and deleted later": lambda s: removed(read(s, "read acked"), 7).holds(),
    "lost_discarded: with its consumer": lambda s: removed(read(s), 7, fault="delete-consumer").holds(0, 1, 7),
    "lost_discarded: its reader died first": lambda s: removed(s.add(7, 0.5), 7, fault="delete-consumer").holds(
        0, 1, 7
    ),
    "lost_discarded: nothing says how": lambda s: read(s).holds(0, 1, 7),
    "lost_discarded: only the wire saw it": lambda s: s.add(7, 0.5).wire("delivered", 0.6, 7).holds(0, 1, 7),
    "lost_discarded: only its start was written": lambda s: (
        s.add(7, 0.5).work(7, "w", 0.6, "started", deliveries=0).holds(0, 1, 7)
    ),
    "lost_skipped: never delivered": lambda s: s.add(7, 0.5).holds(0, 1, 7),
    "lost_skipped unknown_adds: the stream tells": lambda s: s.add(7, 0.5, "unknown").holds(0, 1, 7),
    # the other fates
    "stuck: pending": lambda s: left(read(s)),
    "stuck: undelivered": lambda s: s.add(7, 0.5).end("timed out", undelivered=[E(7)]),
    "stuck unknown_adds: the lab could tell its job": lambda s: s.add(7, 0.5, "unknown").end(
        "timed out", undelivered=["9-9"], jobs={"9-9": 7}
    ),
    "not_added: refused": lambda s: s.add(7, 0.5, "refused"),
    "unknown unknown_adds: no answer and never seen": lambda s: s.add(7, 0.5, "unknown"),
    "unknown unknown_adds: the producer died in the XADD": lambda s: s.add(7, 0.5, ""),
    "unknown unknown_adds: what is left may be it": lambda s: s.add(7, 0.5, "unknown").end(
        "timed out", undelivered=["9-9"]
    ),
    "unknown: an interrupted run calls nothing lost": lambda s: s.add(7, 0.5).end("interrupted"),
    "dead_lettered failed_attempts: by a worker": lambda s: read(s, "read started failed dead"),
    "dead_lettered: by one that died in it": lambda s: read(s).end(dead=[{"entry": E(7), "job": 7}]),
    ": the witness found its effect": lambda s: counted(read(s, "read started").holds(0, 1), **{"7": 1}),
    "unexpected: a worker got what nobody added": lambda s: s.event("read", "worker-1", 0.6, entry=E(7)),
    "unexpected: a job that was never offered": lambda s: s.work(7, "worker-1", 0.6),
    "unexpected: refused, and there all the same": lambda s: s.add(7, 0.5, "refused").work(7, "worker-1", 0.6),
    "unexpected: only found deleted": lambda s: s.event("deleted", "worker-1", 0.6, entry=E(7)),
    "unexpected: left on the server": lambda s: s.end("timed out", undelivered=[E(7)]),
    "unexpected: skipped by the group": lambda s: s.holds(0, 1, (E(7), -1)),
    "unexpected: a job of another run": lambda s: s.holds(0, 1, (E(7), 99)),
    # what else happened
    "unknown_adds: no answer, but done": lambda s: s.add(7, 0.5, "unknown").work(7, "worker-1", 0.6),
    "produced_twice redelivered done_twice: two entries": lambda s: zombie(
        read(s, f"read {OK}"), f"read {OK}", entry="1700000000999-0"
    ),
    "produced_twice: the stream tells": lambda s: read(s, f"read {OK}").holds(0, 1, 7, ("1700000000999-0", 7)),
    "redelivered: only the server's count tells": lambda s: s.add(7, 0.5).work(7, "w", 0.7, f"own {OK}", deliveries=2),
    "redelivered failed_attempts: failed, then done": lambda s: zombie(
        read(s, "read started failed retry"), f"claimed {OK}"
    ),
    "redelivered reclaimed done_twice: by two workers": lambda s: zombie(claimed(s, OK), "done"),
    "redelivered reclaimed zombie_acks: what another has claimed": lambda s: zombie(claimed(s), "done acked"),
    "redelivered reclaimed zombie_acks: what another has acked": lambda s: zombie(claimed(s, OK), "acked"),
    "redelivered zombie_acks: read again by its next process": lambda s: zombie(
        read(s, "read started").work(7, "worker-1", 0.7, "own", incarnation=2), "done acked"
    ),
    "redelivered zombie_acks: two processes of one name": lambda s: zombie(
        read(s, "read started").work(7, "worker-1-twin", 0.7, "own"), "done acked"
    ),
    "redelivered: no zombie, the restarted process acks": lambda s: read(s, "read started").work(
        7, "worker-1", 0.7, f"own {OK}", incarnation=2
    ),
    "redelivered reclaimed: no zombie, claimed back": lambda s: zombie(claimed(s, "started"), f"claimed {OK}"),
    "redelivered reclaimed: no zombie, a sleeper wrote late that it read it": lambda s: (
        s.add(7, 0.5).work(7, "worker-2", 0.7, f"claimed {OK}").work(7, "worker-1", 0.715, "read")
    ),
    "redelivered reclaimed: no zombie, one of several in an XACK": lambda s: zombie(
        claimed(s, OK), "acked", note="2 of 3"
    ),
    "torn failed_attempts: dead-lettered and done": lambda s: zombie(read(s, "read started failed dead"), "done"),
    "torn dead_lettered: and pending": lambda s: read(s).end(
        dead=[{"entry": E(7), "job": 7}], pending={E(7): "worker-1"}
    ),
    "torn: the letter names the job alone": lambda s: read(s, f"read {OK}").end(dead=[{"entry": "", "job": 7}]),
    "produced_twice redelivered failed_attempts: a dead letter redriven, not torn": lambda s: zombie(
        read(s, "read started failed dead"), f"read {OK}", entry="9-9"
    ),
    "unacked: done and pending": lambda s: left(read(s, "read started done")),
    "reordered: the first was done last": lambda s: keyed(s, 0.9, 0.7, 0.8),
    ": in order": lambda s: keyed(s, 0.7, 0.8, 0.9),
    ": each its own key": lambda s: keyed(s, 0.9, 0.7, 0.8, keys=100),
    "done_twice: in order, and done again later": lambda s: zombie(keyed(s, 0.7, 0.8, 0.9), "done", incarnation=2),
    "effect_twice: counted": lambda s: counted(read(s, f"read {OK}"), **{"7": 2}),
    "effect_missing: counted": lambda s: counted(read(s, f"read {OK}")),
    ": nobody counted": lambda s: read(s, f"read {OK}").end(effects={"0": 1}),
    "dead_lettered: has no effect to miss": lambda s: counted(read(s, "read dead")),
    "spinning: fifty times in a second": lambda s: spin(s, 50, 0.019),
    ": 49 errors": lambda s: spin(s, 49, 0.001),
    ": errors that come slowly": lambda s: spin(s, 300, 0.021),
    ": different errors": lambda s: spin(spin(s, 40, 0.001), 40, 0.001, "worker-1 XACK LOADING"),
    ": errors of different processes": lambda s: spin(spin(s, 40, 0.001), 40, 0.001, "worker-2 XREADGROUP NOGROUP"),
}


def classes(case: str) -> set[str]:
    found = set(case.partition(":")[0].split())
    return found | {"lost" for name in found if name.startswith("lost_")}


@pytest.mark.parametrize("case", CASES)
def test_a_class_is_caught_and_no_other(tmp_path: Path, case: str) -> None:
    story = Story(tmp_path).add(0, 0.1).work(0, "worker-1", 0.2).add(1, 0.2).work(1, "worker-2", 0.3)
    story = CASES[case](story)
    verdict = judge((story if (tmp_path / "outcome.json").exists() else story.end()).load())
    found = {name: members for name, members in verdict.evidence.items() if members}
    assert found.keys() == classes(case)
    assert all(members in ([E(7)], ["job 7"]) for name, members in found.items() if name != "spinning")
    broken, doubtful = found.keys() & {"lost", "stuck", "unexpected"}, found.keys() & {"unknown", "unacked"}
    assert verdict.verdict == ("invalid" if broken else "unknown" if doubtful else "valid"), verdict.reasons
    assert verdict.reasons
    assert sum(verdict.counts[fate] for fate in FATES) == verdict.counts["jobs"]


def test_every_class_is_planted() -> None:
    assert {name for case in CASES for name in classes(case)} | {"late"} == set(CLASSES), "late: see test_recovery"
