"""A checker nobody has seen fail proves nothing: every class is planted, and caught alone."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.check import Verdict, judge
from streamlab.check.facts import FATES
from streamlab.history.log import KINDS
from tests.histories import Story, crash, healthy

E = Story.entry
OK = "read started done acked"


def planted(folder: Path, **experiment: Any) -> Story:
    """Two jobs that went well; the anomalies are planted in job 7 beside them."""
    story = Story(folder, **experiment)
    return story.add(0, 0.1).work(0, "worker-1", 0.2).add(1, 0.2).work(1, "worker-2", 0.3)


def unseen(story: Story, outcome: str) -> Story:
    return story.add(7, 0.5, outcome=outcome).end()


# name: the story, the verdict, and every class that is not empty
PLANTED: dict[str, tuple[Callable[[Story], Story], str, dict[str, list[str]]]] = {
    "nothing": (lambda s: s.end(), "valid", {}),
    "lost: never read": (lambda s: s.add(7, 0.5).end(), "invalid", {"lost": [E(7)], "lost_unexplained": [E(7)]}),
    "lost: acked before done": (
        lambda s: s.add(7, 0.5).work(7, "worker-1", 0.6, "read acked started").end(),
        "invalid",
        {"lost": [E(7)], "lost_acked": [E(7)]},
    ),
    "lost: seen though the producer got no answer": (
        lambda s: s.add(7, 0.5, "unknown").work(7, "worker-1", 0.6, "read").end(),
        "invalid",
        {"lost": [E(7)], "lost_unexplained": [E(7)], "unknown_adds": [E(7)]},
    ),
    "stuck: pending": (
        lambda s: s.add(7, 0.5).work(7, "worker-1", 0.6, "read").end("timed out", pending={E(7): "worker-1"}),
        "invalid",
        {"stuck": [E(7)]},
    ),
    "stuck: undelivered": (
        lambda s: s.add(7, 0.5).end("timed out", undelivered=[E(7)]),
        "invalid",
        {"stuck": [E(7)]},
    ),
    "stuck: an unanswered add whose job the lab could tell": (
        lambda s: s.add(7, 0.5, "unknown").end("timed out", undelivered=["9-9"], jobs={"9-9": 7}),
        "invalid",
        {"stuck": ["job 7"], "unknown_adds": ["job 7"]},
    ),
    "unexpected: a worker got what nobody added": (
        lambda s: s.event("read", "worker-1", 0.6, entry="9-9").end(),
        "invalid",
        {"unexpected": ["9-9"]},
    ),
    "unexpected: a job that was never offered": (
        lambda s: s.work(7, "worker-1", 0.6).end(),
        "invalid",
        {"unexpected": [E(7)]},
    ),
    "unexpected: refused, and there all the same": (
        lambda s: s.add(7, 0.5, "refused").work(7, "worker-1", 0.6).end(),
        "invalid",
        {"unexpected": [E(7)]},
    ),
    "unexpected: left on the server": (
        lambda s: s.end("timed out", undelivered=["9-9"]),
        "invalid",
        {"unexpected": ["9-9"]},
    ),
    "not added": (lambda s: unseen(s, "refused"), "valid", {"not_added": ["job 7"]}),
    "unknown: no answer and never seen": (
        lambda s: unseen(s, "unknown"),
        "unknown",
        {"unknown": ["job 7"], "unknown_adds": ["job 7"]},
    ),
    "unknown: the producer died in the XADD": (
        lambda s: unseen(s, ""),
        "unknown",
        {"unknown": ["job 7"], "unknown_adds": ["job 7"]},
    ),
    "unknown: what is left may be the unanswered add": (
        lambda s: s.add(7, 0.5, "unknown").end("timed out", undelivered=["9-9"]),
        "unknown",
        {"unknown": ["job 7"], "unknown_adds": ["job 7"]},
    ),
    "no answer, but done": (
        lambda s: s.add(7, 0.5, "unknown").work(7, "worker-1", 0.6).end(),
        "valid",
        {"unknown_adds": [E(7)]},
    ),
    "dead-lettered": (
        lambda s: s.add(7, 0.5).work(7, "worker-1", 0.6, "read started failed dead").end(),
        "valid",
        {"dead_lettered": [E(7)], "failed_attempts": [E(7)]},
    ),
    "dead-lettered: by a worker that died before it wrote so": (
        lambda s: s.add(7, 0.5).work(7, "worker-1", 0.6, "read").end(dead=[{"entry": E(7), "job": 7}]),
        "valid",
        {"dead_lettered": [E(7)]},
    ),
    "produced twice": (
        lambda s: s.add(7, 0.5).work(7, "worker-1", 0.6).work(7, "worker-1", 0.7, OK, entry="1700000000999-0").end(),
        "valid",
        {"produced_twice": [E(7)], "redelivered": [E(7)], "done_twice": [E(7)]},
    ),
    "redelivered: after a restart": (
        lambda s: (
            s.add(7, 0.5)
            .work(7, "worker-1", 0.6, "read")
            .work(7, "worker-1", 0.7, "own started done acked", life=2)
            .end()
        ),
        "valid",
        {"redelivered": [E(7)]},
    ),
    "redelivered: only the server's count tells": (
        lambda s: s.add(7, 0.5).work(7, "worker-1", 0.7, "own started done acked", deliveries=2).end(),
        "valid",
        {"redelivered": [E(7)]},
    ),
    "reclaimed": (
        lambda s: (
            s.add(7, 0.5)
            .work(7, "worker-1", 0.6, "read started")
            .work(7, "worker-2", 0.7, "claimed started done acked")
            .end()
        ),
        "valid",
        {"redelivered": [E(7)], "reclaimed": [E(7)]},
    ),
    "done twice": (
        lambda s: (
            s.add(7, 0.5)
            .work(7, "worker-1", 0.6, "read started")
            .work(7, "worker-2", 0.7, "claimed started done acked")
            .work(7, "worker-1", 0.9, "done")
            .end()
        ),
        "valid",
        {"redelivered": [E(7)], "reclaimed": [E(7)], "done_twice": [E(7)]},
    ),
    "failed, then done": (
        lambda s: (
            s.add(7, 0.5)
            .work(7, "worker-1", 0.6, "read started failed retry")
            .work(7, "worker-1", 0.7, "claimed started done acked")
            .end()
        ),
        "valid",
        {"redelivered": [E(7)], "failed_attempts": [E(7)]},
    ),
    "unacked": (
        lambda s: (
            s.add(7, 0.5).work(7, "worker-1", 0.6, "read started done").end("timed out", pending={E(7): "worker-1"})
        ),
        "unknown",
        {"unacked": [E(7)]},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_class_is_caught_and_no_other(tmp_path: Path, name: str) -> None:
    plant, verdict, expected = PLANTED[name]
    judged = judge(plant(planted(tmp_path)).load())
    assert {name: found for name, found in judged.evidence.items() if found} == expected
    assert judged.verdict == verdict, judged.reasons
    assert judged.reasons
    assert sum(judged.counts[fate] for fate in FATES) == judged.counts["jobs"]


def test_the_crash_of_the_tour(tmp_path: Path) -> None:
    verdict = judge(crash(tmp_path).load())
    assert str(verdict) == "valid: 120 added, 120 done, 0 lost, 3 reclaimed, 0 done twice"
    assert verdict.exit_code == 0
    assert verdict.reclaimed == verdict.redelivered == [E(53), E(54), E(55)]
    assert verdict.reasons[1] == "kill worker-2 at 1.50 s hit the work, holding 3"


def doubt(folder: Path, story: Callable[[Story], Story], **experiment: Any) -> str:
    made = Story(folder, **experiment).add(0, 1.0).work(0, "worker-1", 1.1)
    verdict = judge(story(made).load())
    assert verdict.verdict == "unknown"
    assert verdict.exit_code == 2
    return " & ".join(verdict.reasons)


KILL = {"kind": "kill", "target": "worker-1"}


@pytest.mark.parametrize(
    ("experiment", "story", "reason"),
    [
        ({}, lambda s: s, "interrupted"),
        ({}, lambda s: s.end("interrupted"), "interrupted"),
        ({}, lambda s: s.end("timed out"), "budget ended"),
        ({"faults": [KILL]}, lambda s: s.end(), "kill was planned and never happened"),
        (
            {"faults": [{"kind": "kill"}] * 2},
            lambda s: s.fault("kill", "worker-1", 1.1).end(),
            "kill was planned and never",
        ),
        (
            {"faults": [KILL]},
            lambda s: s.fault("kill", "worker-1", 1.1, held=0).end(),
            "hit nothing: it held no message",
        ),
        (
            {"faults": [KILL]},
            lambda s: s.fault("kill", "worker-1", 1.1, planned=False).end(),
            "kill was planned and never happened",
        ),
        (
            {"faults": [{"kind": "reset"}]},
            lambda s: s.fault("reset", "worker-1", 1.1, 1.1, family="wire", off={"hit": 0}).end(),
            "reset worker-1 at 1.10 s hit nothing: nothing passed the wire that it met",
        ),
        (
            {"faults": [{"kind": "flushall"}]},
            lambda s: s.fault("flushall", "", 1.1, 1.1, family="redis", hit=0).end(),
            "flushall at 1.10 s hit nothing: Redis had nothing for it to hit",
        ),
        (
            {"faults": [{"kind": "trim"}]},
            lambda s: s.fault("trim", "", 1.1, 1.1, family="operator", hit=0).end(),
            "trim at 1.10 s hit nothing: there was nothing to change or remove",
        ),
        (
            {"faults": [{"kind": "slow"}]},
            lambda s: s.fault("slow", "worker-1", 1.1, 1.5, family="worker", index=0).hit("worker-2", 1.1, 0, 1).end(),
            "slow worker-1 at 1.10 s hit nothing: no message met it",
        ),
        (
            {"faults": [KILL]},
            lambda s: s.fault("kill", "worker-1", 1.1, held=1, doubt="worker-1 survived it").end(),
            "kill worker-1 at 1.10 s is in doubt: worker-1 survived it",
        ),
        (
            {"faults": [{"kind": "redis-freeze"}]},
            lambda s: s.fault("redis-freeze", "", 1.1, 1.2, family="redis", hit=3, off={"doubt": "so it was"}).end(),
            "redis-freeze at 1.10 s is in doubt: so it was",
        ),
        (
            {"faults": [{"kind": "twin"}]},
            lambda s: s.fault("twin", "worker-1", 1.1, family="operator", hit=1, started=["worker-1-twin"]).end(),
            "twin worker-1 at 1.10 s hit nothing: the second process got no message",
        ),
        ({"faults": [KILL]}, lambda s: s.fault("kill", "worker-1", 9.0).end(), "came after the work"),
        ({"faults": [KILL]}, lambda s: s.fault("kill", "worker-1", 0.1, until=0.2).end(), "before the work"),
        ({"workload": {"count": 5}}, lambda s: s.end(), "only 1 of 5 planned jobs"),
        ({"guarantee": "exactly-once"}, lambda s: s.end(), "no guarantee that this version checks"),
    ],
)
def test_doubts_are_unknown(
    tmp_path: Path, experiment: dict[str, Any], story: Callable[[Story], Story], reason: str
) -> None:
    assert reason in doubt(tmp_path, story, **experiment)


def test_no_job_is_unknown(tmp_path: Path) -> None:
    verdict = judge(Story(tmp_path).end().load())
    assert (verdict.verdict, verdict.reasons) == ("unknown", ["there was no job, so there is nothing to judge"])


@pytest.mark.parametrize(
    "story",
    [
        lambda s: s.fault("kill", "worker-1", 1.1, held=1),
        lambda s: s.fault("kill", "worker-1", 1.1),
        lambda s: s.fault("kill", "worker-1", 0.1, until=1.05),
        lambda s: s.fault("kill", "worker-1", 0.1),
        lambda s: s.fault("kill", "worker-1", 1.1, held=1).fault("pause", "worker-1", 9, planned=False),
        lambda s: s.fault("kill", "worker-1", 1.1, held=1).fault("reset", "all", 1.1, hit=0, planned=False),
        lambda s: s.fault("kill", "worker-1", 1.1, family="wire", hit=0, until=1.2, off={"hit": 2}),
        lambda s: s.fault("kill", "worker-1", 1.1, family="worker", index=0).hit("worker-1", 1.1, 0, 0),
        lambda s: s.fault("kill", "", 1.1, 1.2, family="redis"),
        lambda s: s.fault("kill", "", 9.0, 9.0, family="operator", hit=1, entries=[E(0)]),
        lambda s: s.fault("kill", "worker-1", 9.0, 9.0, held=2),
    ],
)
def test_a_fault_that_met_the_work_leaves_no_doubt(tmp_path: Path, story: Callable[[Story], Story]) -> None:
    made = Story(tmp_path, faults=[KILL]).add(0, 1.0).work(0, "worker-1", 1.1)
    assert judge(story(made).end().load()).verdict == "valid"


def test_an_interrupted_run_calls_nothing_lost(tmp_path: Path) -> None:
    verdict = judge(planted(tmp_path).add(7, 0.5).load())
    assert (verdict.verdict, verdict.lost, verdict.unknown) == ("unknown", [], [E(7)])


def test_proof_stands_beside_doubt(tmp_path: Path) -> None:
    """Something that nobody added was delivered: no interruption can excuse that."""
    verdict = judge(healthy(tmp_path).event("read", "worker-1", 0.6, entry="9-9").end("interrupted").load())
    assert verdict.verdict == "invalid"
    assert verdict.exit_code == 1
    assert str(verdict).endswith("0 done twice, 1 unexpected")
    assert "interrupted" in verdict.reasons[1]


def test_a_loss_says_where_and_after_which_faults(tmp_path: Path) -> None:
    story = planted(tmp_path)
    for job in range(10, 15):
        story.add(job, 0.5)
    story.work(10, "worker-1", 0.6, "read acked").fault(
        "flushall", "", 0.7, 0.7, family="redis", hit=5, entries=[E(12)]
    )
    verdict = judge(story.fault("kill", "worker-1", 0.8, held=1).holds(0, 1, 11).end().load())
    assert str(verdict) == (
        "invalid: 7 added, 2 done, 5 lost (3 by Redis, 1 acked before done, 1 skipped), 0 reclaimed, 0 done twice"
    )
    assert verdict.reasons == [
        f"3 lost by Redis: {E(12)}, {E(13)}, {E(14)} (flushall at 0.70 s)",
        f"1 lost acked before done: {E(10)}",
        f"1 lost skipped: {E(11)}",
    ]
    assert (verdict.counts["lost"], verdict.counts["lost_by_redis"]) == (5, 3)


@pytest.mark.parametrize(("outcome", "verdict"), [({}, "valid"), ({"ended": "timed out"}, "unknown")])
def test_what_the_lab_warned_of_is_told_and_judges_nothing(tmp_path: Path, outcome: dict, verdict: str) -> None:
    story = healthy(tmp_path).event("warning", "lab", 0.25, note="worker-2 ended by itself").end(**outcome)
    found = judge(story.load())
    assert found.verdict == verdict
    assert found.reasons[-1] == "warning at 0.25 s: worker-2 ended by itself"


def test_the_line_says_what_matters_first(tmp_path: Path) -> None:
    story = planted(tmp_path, keys=1, guarantee="ordered-per-key").add(7, 0.5).add(8, 0.5)
    story.work(8, "worker-1", 0.6).work(7, "worker-1", 0.7, "read started failed dead")
    verdict = judge(story.event("done", "worker-1", 0.9, 7).end("timed out", pending={E(8): "worker-1"}).load())
    line = "invalid: 4 added, 4 done, 0 lost, 0 reclaimed, 0 done twice, 1 reordered, 1 torn, 1 unacked"
    assert str(verdict) == line


def test_a_verdict_of_an_older_version_is_read(tmp_path: Path) -> None:
    old = {"verdict": "valid", "counts": {"lost": 0, "done": 1}, "evidence": {"lost": []}, "reasons": ["so it is"]}
    verdict = Verdict.from_json(json.dumps(old))
    assert (verdict.recovery, verdict.recovery_seconds) == ([], None)
    assert str(verdict) == "valid: 1 done, 0 lost"


def test_failed_attempts_are_counted_by_attempt(tmp_path: Path) -> None:
    story = planted(tmp_path).add(7, 0.5)
    for n in range(3):
        story.work(7, "worker-1", 0.6 + n, "claimed started failed")
    verdict = judge(story.work(7, "worker-1", 4, "claimed started done acked").end().load())
    assert verdict.counts["failed_attempts"] == 3
    assert verdict.failed_attempts == [E(7)]


def test_a_verdict_is_data(tmp_path: Path) -> None:
    verdict = judge(crash(tmp_path).load())
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert Verdict.from_json(json.dumps(verdict.as_dict())) == verdict
    assert pickle.loads(pickle.dumps(verdict)) == copy.deepcopy(verdict) == verdict
    assert "reclaimed" in dir(verdict)
    with pytest.raises(AttributeError, match="its classes are lost, lost_by_redis"):
        _ = verdict.reclaimd


def test_a_verdict_shows_itself_in_a_notebook() -> None:
    verdict = Verdict("invalid", {"added": 1, "done": 0}, {}, ["1 lost: <b>"])
    html = verdict._repr_html_()
    assert "invalid" in html
    assert "&lt;b&gt;" in html
    assert "<b>)" not in html


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_job_is_in_exactly_one_fate(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is written: the fates add up, and the verdict is what its evidence says."""
    story = Story(tmp_path_factory.mktemp("story"))
    jobs = data.draw(st.lists(st.sampled_from(["added", "unknown", "refused", ""]), min_size=1, max_size=6))
    kinds = st.lists(st.sampled_from([*KINDS[4:16]]), max_size=5)
    for job, outcome in enumerate(jobs):
        story.add(job, job / 10, outcome)
        story.work(job, f"worker-{job % 2}", 1.0, " ".join(data.draw(kinds)))
    left = data.draw(st.sets(st.integers(0, len(jobs) - 1)))
    ended = data.draw(st.sampled_from(["drained", "timed out", "interrupted"]))
    verdict = judge(story.end(ended, pending={E(job): "worker-1" for job in left}).load())
    assert sum(verdict.counts[fate] for fate in FATES) == verdict.counts["jobs"] == len(jobs)
    assert (verdict.verdict == "invalid") == bool(verdict.lost or verdict.stuck or verdict.unexpected)
    assert all(len(set(found)) == len(found) for found in verdict.evidence.values())
