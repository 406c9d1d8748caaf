"""A run as its reader meets it."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest

from streamlab.check import Verdict
from streamlab.errors import MissingError, UsageError
from streamlab.report import Run
from tests.histories import Story, crash, healthy


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(crash(tmp_path / "tour").write())


def test_a_message_from_due_time_to_ack(run: Run) -> None:
    trace = run.message(run.verdict.reclaimed[0])
    assert trace.job == 53
    assert trace.entries == [Story.entry(53)]
    assert trace.events["kind"].tolist() == ["adding", "added", "read", "claimed", "started", "done", "acked"]
    assert str(trace).splitlines() == [
        "message 1700000000530-0, job 53; seconds since the start",
        "  +1.425 s  plan      due",
        "  +1.425 s  producer  sends the XADD",
        "  +1.426 s  producer  has it in the stream",
        "  +1.427 s  worker-2  read it (delivery 1)",
        "  +1.500 s  lab       kill worker-2",
        "  +2.500 s  worker-1  claimed it (delivery 2)",
        "  +2.500 s  worker-1  started (delivery 2)",
        "  +2.530 s  worker-1  done: the effect exists (delivery 2)",
        "  +2.531 s  worker-1  acknowledged it (delivery 2)",
    ]
    html = trace._repr_html_()
    assert html.count("<tr>") == 9
    assert html.count("<td style='text-align: left'>") == 18, "who and what"
    (picture,) = re.findall(r"src='data:image/png;base64,([^']+)'", html)
    assert b64decode(picture).startswith(b"\x89PNG")


def test_a_message_by_any_of_its_names(run: Run) -> None:
    assert len({str(run.message(name)) for name in (53, "53", "job 53", Story.entry(53))}) == 1
    for which in ("1-1", 9999, "job 9999", "", "nonsense", -1):
        with pytest.raises(UsageError, match="expected an entry ID of this run"):
            run.message(which)


def said(story: Story, which: str | int) -> str:
    return str(Run(story.write()).message(which))


def test_the_faults_in_a_trace_are_those_that_hit_its_holders(run: Run, tmp_path: Path) -> None:
    assert "kill" not in str(run.message(0))
    assert "worker-2" in str(run.message(5)), "the killed worker, in its better days"
    assert "kill" not in str(run.message(5))
    story = (
        healthy(tmp_path / "redis", jobs=2).fault("restart", "redis", 0.05, 0.12).fault("pause", "redis", 0.01, 0.02)
    )
    told = [line.split("  ", 3)[-1].strip() for line in said(story, 1).splitlines() if " lab " in line]
    assert told == ["restart redis", "restart redis is over"], "began before it; the other was over"
    story = Story(tmp_path / "lost").add(0, 0.1).add(1, 0.2).work(1, "worker-1", 0.3)
    story.fault("flushall", "redis", 0.8, 0.8, family="redis").fault(
        "flushall", "redis", 1.6, 1.6, family="redis"
    ).end()
    assert said(story, 0).endswith("+0.800 s  lab       flushall redis"), "what came after a message that did not end"
    assert "flushall" not in said(story, 1)


def test_what_the_wire_saw_and_what_was_hit_is_told_in_words(tmp_path: Path) -> None:
    story = (
        Story(tmp_path)
        .add(0, 0.1)
        .work(0, "worker-1", 0.2)
        .wire("delivered", 0.19, 0)
        .fault("fail", "all", 0.0, index=3)
    )
    told = said(story.wire("cut", 0.3, 0, "worker-1 XACK").hit("worker-1", 0.3, 0, index=3), 0)
    assert "Redis     delivered it to worker-1" in told
    assert "Redis     answered, and a fault cut the reply: worker-1 XACK" in told
    assert "worker-1  was hit by fail all" in told


def test_notes_and_later_incarnations_are_told_and_escaped(tmp_path: Path) -> None:
    story = Story(tmp_path).add(0, 0.1).work(0, "worker-1", 0.2, "read started")
    story.event("failed", "worker-1", 0.3, 0, note="<b>").work(0, "worker-1", 0.4, "own", incarnation=2, deliveries=2)
    trace = Run(story.write()).message(0)
    assert "worker-1                  failed: <b>" in str(trace)
    assert "worker-1 (incarnation 2)  read it again from its own pending entries (delivery 2)" in str(trace)
    assert "&lt;b&gt;" in trace._repr_html_()


def test_an_entry_that_is_nobodys(tmp_path: Path) -> None:
    assert said(healthy(tmp_path).event("read", "worker-1", 0.9, entry="9-9"), "9-9").splitlines() == [
        "message 9-9, no job of this run; seconds since the start",
        "  +0.900 s  worker-1  read it",
    ]


def test_files(run: Run) -> None:
    data = json.loads(run.save_verdict().read_text())
    assert Verdict(**data) == run.verdict
    names = ["pel.png", "latency.png", "lanes.png", "backlog.png", "rate.png"]
    assert [path.name for path in run.save_pictures()] == names
    assert all((run.folder / name).read_bytes().startswith(b"\x89PNG") for name in names)
    first = (run.folder / "verdict.json").read_bytes()
    assert Run(run.folder).save_verdict().read_bytes() == first, "judged again from the saved history: the same"


def test_repr_is_one_line_and_reads_nothing(tmp_path: Path, run: Run) -> None:
    assert repr(Run(tmp_path / "nowhere")) == f"Run('{tmp_path / 'nowhere'}')"
    assert run.verdict
    assert repr(run) == f"Run('{run.folder}'): valid: 120 added, 120 done, 0 lost, 3 reclaimed, 0 done twice"
    assert "valid" in run._repr_html_()
    with pytest.raises(MissingError):
        _ = Run(tmp_path / "nowhere").verdict
