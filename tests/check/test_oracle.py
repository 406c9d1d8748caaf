"""The checker against an oracle of another make, over histories that chance made up."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streamlab.check import judge
from streamlab.check.classes import CLASSES
from streamlab.check.fates import FATES, Facts, names
from streamlab.check.where_lost import PLACES
from streamlab.history import History
from tests.check.oracle import Oracle
from tests.histories import Story

WORKER_KINDS = ("read", "claimed", "own", "started", "done", "acked", "failed", "retry", "dead", "disowned", "deleted")
WIRE_KINDS = ("added", "delivered", "claimed", "acked")
#: What the oracle does not judge: entries without a job, processes, and recovery, which have tests of their own.
NOT_ASKED = {"unexpected", "spinning", "late"}


@st.composite
def histories(draw: st.DrawFn, folder: st.SearchStrategy[Story]) -> History:
    story = draw(folder)
    count = draw(st.integers(1, 6))
    jobs = range(count)
    for job in jobs:
        story.add(job, 0.1 + job / 100, draw(st.sampled_from(["added", "added", "added", "unknown", "refused", ""])))
    entries = st.sampled_from([Story.entry(job) for job in jobs])
    for n in range(draw(st.integers(0, 14))):
        job, at = draw(st.sampled_from(jobs)), 0.3 + n / 100
        if draw(st.integers(0, 4)) == 0:
            story.wire(draw(st.sampled_from(WIRE_KINDS)), at, job)
            continue
        entry = Story.entry(job) if draw(st.integers(0, 5)) else f"{job + 1}-0"
        who, incarnation = f"worker-{draw(st.integers(1, 2))}", draw(st.integers(1, 2))
        kind = draw(st.sampled_from((*WORKER_KINDS, "done", "done", "acked")))
        story.event(kind, who, at, job, incarnation=incarnation, entry=entry, deliveries=draw(st.integers(0, 2)))
    if draw(st.booleans()):
        removed = draw(st.lists(entries, max_size=2))
        at = draw(st.sampled_from([0.05, 0.35, 0.6]))
        story.fault("delete", "all", at, at, family="operator", entries=removed, hit=len(removed))
    if draw(st.booleans()):
        at = draw(st.sampled_from([0.05, 0.35]))
        story.fault("redis-restart", "", at, at + 0.01, family="redis", off={"lost": draw(st.integers(0, 1))})
    if draw(st.booleans()):
        story.holds(*draw(st.sets(st.sampled_from(jobs))), ("1-0", draw(st.sampled_from([0, -1]))))
    left = draw(st.dictionaries(entries, st.just("worker-1"), max_size=3))
    story.end(
        draw(st.sampled_from(["drained", "timed out", "timed out", "interrupted"])),
        pending=left,
        undelivered=draw(st.lists(entries, max_size=1)),
        effects=draw(st.dictionaries(st.sampled_from([str(job) for job in jobs]), st.integers(0, 2), max_size=3)),
        effects_counted=draw(st.booleans()),
    )
    return story.load()


# Each history is a folder of files: to shrink one that fails would take longer than a test may.
@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def test_the_checker_says_what_the_oracle_says(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    worker, keys = data.draw(st.sampled_from(["", "loops:mine"])), data.draw(st.integers(0, 2))
    story = st.builds(lambda: Story(tmp_path_factory.mktemp("story"), worker=worker, keys=keys))
    history = data.draw(histories(story))
    oracle, verdict, jobs = Oracle(history), judge(history), Facts(history).jobs
    assert jobs.index.tolist() == oracle.jobs
    named = dict(zip(jobs.index, names(jobs), strict=True))
    expected = {job: oracle.classes(job) for job in oracle.jobs}
    for name in CLASSES.keys() - NOT_ASKED:
        assert verdict.evidence[name] == [named[job] for job, classes in expected.items() if name in classes], name
    assert all(verdict.counts[fate] == sum(fate in classes for classes in expected.values()) for fate in FATES)
    # Each job once among the fates, each lost one once among the places: that is what "accounted for" means.
    assert sum(verdict.counts[fate] for fate in FATES) == verdict.counts["jobs"] == len(oracle.jobs)
    assert sum(verdict.counts[place] for place in PLACES) == verdict.counts["lost"] == len(verdict.lost)
    assert (verdict.verdict == "invalid") == bool(verdict.lost or verdict.stuck or verdict.unexpected)
