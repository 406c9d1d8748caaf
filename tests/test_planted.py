"""Classes that no scenario shows, each in a real run of a worker, a handler or a producer with the mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

import streamlab as sl
from streamlab.check.classes import CLASSES
from streamlab.faults import CutReply, Drop, LimitMemory, SetID
from streamlab.scenarios import antipatterns
from streamlab.servers import Server
from streamlab.workloads import Count
from tests.faults.runs import BUSY, run
from tests.test_scenarios import EXPECTED

NEW = sl.Sleep(count=100, rate=100.0, seconds=0.0)


def adds_it_anew() -> Any:
    """Tries again by adding the message once more, and forgets which job it was."""

    def work(client: Any, stream: str, group: str, consumer: str, handle: Any) -> None:
        while True:
            for entry, fields in antipatterns.new(client, stream, group, consumer):
                handle(entry, fields)
                if fields.get("job") == "7":
                    client.xadd(stream, {"again": "1"})
                client.xack(stream, group, entry)

    return work


def swallows_its_error() -> Count:
    """The handler of job 7 fails, and returns as if nothing had happened."""

    class Swallows(Count):
        name: ClassVar[str] = "swallows"

        def handler(self, folder: Path) -> Any:
            count = super().handler(folder)
            return lambda message: message.fields["job"] == "7" or count(message)

    return Swallows(count=40, rate=100.0, seconds=0.0)


# class: the faults and the experiment, and the verdict
RUNS: dict[str, tuple[list[sl.faults.Fault], dict[str, Any], str]] = {
    "unexpected": ([], {"workload": NEW, "worker": adds_it_anew()}, "invalid"),
    "effect_missing": ([], {"workload": swallows_its_error(), "guarantee": "effectively-once"}, "invalid"),
    "unknown": ([Drop("producer", at=0.3, seconds=0.3, direction="requests")], {"workload": NEW}, "unknown"),
    "unknown_adds": ([CutReply("producer", at=0.3, command="XADD")], {"workload": NEW}, "valid"),
    "not_added": ([LimitMemory(at=0.3, seconds=0.3)], {"workload": NEW}, "valid"),
    "lost_skipped": ([SetID(at=0.1)], {}, "invalid"),
    "lost_unexplained": ([], {"producer": antipatterns.trims_too_short}, "invalid"),
}


@pytest.mark.soak
@pytest.mark.parametrize("name", RUNS)
def test_it_is_caught_in_a_real_run(any_server: Server, tmp_path: Path, name: str) -> None:
    faults, more, expected = RUNS[name]
    verdict = run(any_server, tmp_path, *faults, **({"workload": BUSY} | more)).verdict
    assert verdict.verdict == expected, verdict.reasons
    assert verdict.counts[name] == len(verdict.evidence[name]) >= 1


@pytest.mark.parametrize(
    ("worker", "expected"), [("streamlab.scenarios.antipatterns:acks_before_work", "valid"), ("", "invalid")]
)
def test_at_most_once_is_what_an_ack_before_the_work_gives(
    any_server: Server, tmp_path: Path, worker: str, expected: str
) -> None:
    """Where a worker dies with the effect made, who acks behind it does the job again."""
    crash = sl.Crash("worker-1", at=0.2, after="done")
    verdict = run(any_server, tmp_path, crash, workload=BUSY, worker=worker, guarantee="at-most-once").verdict
    assert verdict.verdict == expected, verdict.reasons
    assert bool(verdict.done_twice) == (expected == "invalid")


def test_every_class_is_caught_in_a_real_run() -> None:
    shown = {name for _, classes in EXPECTED.values() for name in classes.split() if not name.startswith("!")}
    assert shown | set(RUNS) == set(CLASSES)
