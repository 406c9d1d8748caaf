"""From facts to a verdict: proof, doubt, and how both are told."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from streamlab.check import Verdict, judge
from tests.histories import Story, crash, healthy

E = Story.entry
Plant = Callable[[Story], Story]


def planned(story: Story, *kinds: str) -> Story:
    return story.set(faults=[{"kind": kind} for kind in kinds])


def kill(story: Story, at: float = 1.1, until: float | None = None, **more: object) -> Story:
    return story.fault("kill", "worker-1", at, until, **more)


def test_the_crash_of_the_tour(tmp_path: Path) -> None:
    verdict = judge(crash(tmp_path).load())
    assert str(verdict) == "valid: 120 added, 120 done, 0 lost, 3 reclaimed, 0 done twice"
    assert verdict.exit_code == 0
    assert verdict.reclaimed == verdict.redelivered == [E(53), E(54), E(55)]
    assert verdict.reasons[1] == "kill worker-2 at 1.50 s hit the work, holding 3"


@pytest.mark.parametrize(
    ("reason", "plant"),
    [
        ("interrupted", lambda s: s),
        ("budget ended", lambda s: s.end("timed out")),
        ("kill was planned and never happened", lambda s: planned(s, "kill").end()),
        ("kill was planned and never", lambda s: kill(planned(s, "kill", "kill")).end()),
        ("kill was planned and never happened", lambda s: kill(planned(s, "kill"), planned=False).end()),
        ("hit nothing: it held no message", lambda s: kill(s, held=0).end()),
        ("nothing passed the wire", lambda s: s.fault("reset", "", 1.1, 1.1, family="wire", off={"hit": 0}).end()),
        ("flushall at 1.10 s hit nothing: Redis", lambda s: s.fault("flushall", "", 1.1, family="redis", hit=0).end()),
        ("nothing to change or remove", lambda s: s.fault("trim", "", 1.1, family="operator", hit=0).end()),
        ("no message met it", lambda s: s.fault("fail", "", 1.1, family="worker", index=0).hit("w", 1.1, 0, 1).end()),
        ("kill worker-1 at 1.10 s is in doubt: alive", lambda s: kill(s, held=1, doubt="alive").end()),
        ("is in doubt: told in the end", lambda s: kill(s, until=1.2, hit=3, off={"doubt": "told in the end"}).end()),
        ("the second process got no", lambda s: s.fault("twin", "worker-1", 1.1, hit=1, started=["twin"]).end()),
        ("came after the work", lambda s: kill(s, 9.0).end()),
        ("before the work", lambda s: kill(s, 0.1, until=0.2).end()),
        ("only 1 of 5 planned jobs", lambda s: s.set(workload={"count": 5}).end()),
        ("no guarantee that this version checks", lambda s: s.set(guarantee="exactly-once").end()),
    ],
)
def test_what_leaves_a_doubt_is_unknown(tmp_path: Path, reason: str, plant: Plant) -> None:
    verdict = judge(plant(Story(tmp_path).add(0, 1.0).work(0, "worker-1", 1.1)).load())
    assert (verdict.verdict, verdict.exit_code) == ("unknown", 2)
    assert reason in " & ".join(verdict.reasons)


@pytest.mark.parametrize(
    "plant",
    [
        lambda s: kill(s, held=1),
        kill,
        lambda s: kill(s, 0.1, until=1.05),
        lambda s: kill(s, 0.1),
        lambda s: kill(s, held=1).fault("pause", "worker-1", 9, planned=False).fault("reset", "", 1.1, planned=False),
        lambda s: kill(s, until=1.2, family="wire", hit=0, off={"hit": 2}),
        lambda s: s.fault("slow", "worker-1", 1.1, index=0).hit("worker-1", 1.1, 0, 0),
        lambda s: kill(s, 9.0, until=9.0, hit=1, entries=[E(0)]),
        lambda s: kill(s, 9.0, until=9.0, held=2),
    ],
)
def test_a_fault_that_met_the_work_leaves_no_doubt(tmp_path: Path, plant: Plant) -> None:
    story = plant(Story(tmp_path).add(0, 1.0).work(0, "worker-1", 1.1))
    assert judge(story.end().load()).verdict == "valid"


def test_no_job_is_unknown(tmp_path: Path) -> None:
    verdict = judge(Story(tmp_path).end().load())
    assert (verdict.verdict, verdict.reasons) == ("unknown", ["there was no job, so there is nothing to judge"])


def test_proof_stands_beside_doubt(tmp_path: Path) -> None:
    """Something that nobody added was delivered: no interruption can excuse that."""
    verdict = judge(healthy(tmp_path).event("read", "worker-1", 0.6, entry="9-9").end("interrupted").load())
    assert (verdict.verdict, verdict.exit_code) == ("invalid", 1)
    assert str(verdict).endswith("0 done twice, 1 unexpected")
    assert "interrupted" in verdict.reasons[1]


def test_a_loss_says_where_and_after_which_faults(tmp_path: Path) -> None:
    story = healthy(tmp_path, jobs=2)
    for job in range(10, 15):
        story.add(job, 0.5)
    story.work(10, "worker-1", 0.6, "read acked")
    story.fault("flushall", "", 0.7, 0.7, family="redis", hit=5, entries=[E(12)])
    verdict = judge(story.fault("kill", "worker-1", 0.8, held=1).holds(0, 1, 11).end().load())
    assert str(verdict) == (
        "invalid: 7 added, 2 done, 5 lost (3 by Redis, 1 acked before done, 1 skipped), 0 reclaimed, 0 done twice"
    )
    assert verdict.reasons == [
        f"3 lost by Redis: {E(12)}, {E(13)}, {E(14)} (flushall at 0.70 s)",
        f"1 lost acked before done: {E(10)}",
        f"1 lost skipped: {E(11)}",
    ]


def test_what_the_lab_warned_of_is_told_and_judges_nothing(tmp_path: Path) -> None:
    story = healthy(tmp_path).event("warning", "lab", 0.25, note="worker-2 ended by itself")
    for ended, expected in (("drained", "valid"), ("timed out", "unknown")):
        verdict = judge(story.end(ended).load())
        assert verdict.verdict == expected
        assert verdict.reasons[-1] == "warning at 0.25 s: worker-2 ended by itself"


def test_the_line_says_what_matters_first_and_attempts_are_counted(tmp_path: Path) -> None:
    story = healthy(tmp_path, jobs=2).set(keys=1, guarantee="ordered-per-key").add(7, 0.5).add(8, 0.5)
    story.work(8, "worker-1", 0.6).work(7, "worker-1", 0.7, "read started failed claimed started failed dead")
    verdict = judge(story.event("done", "worker-1", 0.9, 7).end("timed out", pending={E(8): "worker-1"}).load())
    line = "invalid: 4 added, 4 done, 0 lost, 0 reclaimed, 0 done twice, 1 reordered, 1 torn, 1 unacked"
    assert str(verdict) == line
    assert (verdict.counts["failed_attempts"], verdict.failed_attempts) == (2, [E(7)])


def test_a_verdict_is_data(tmp_path: Path) -> None:
    verdict = judge(crash(tmp_path).load())
    assert Verdict(**json.loads(json.dumps(verdict.as_dict()))) == verdict
    assert pickle.loads(pickle.dumps(verdict)) == copy.deepcopy(verdict) == verdict
    assert "reclaimed" in dir(verdict)
    with pytest.raises(AttributeError, match="its classes are lost, lost_by_redis"):
        _ = verdict.reclaimd
    older = Verdict("valid", {"lost": 0, "done": 1}, {"lost": []}, ["so it is"])
    assert (str(older), older.recovery_seconds) == ("valid: 1 done, 0 lost", None)


def test_a_verdict_shows_itself_in_a_notebook() -> None:
    html = Verdict("invalid", {"added": 1, "done": 0}, {}, ["1 lost: <script>"])._repr_html_()
    assert "invalid" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
