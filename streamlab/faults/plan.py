"""Which fault when: the plan of a run, carried out step by step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from streamlab.faults.base import Fault, Stage

_PATIENCE = 2.0  # seconds that a fault may wait for a moment at which it would hit something


class Writer(Protocol):
    """Where a plan writes down what it did: a journal."""

    def write(self, kind: str, *, note: str = "") -> None:
        """Append an event of this kind."""


class Plan:
    """Carries out faults at their times. Call `step` often; it never waits.

    Each start and stop is written down as an event `fault_on` or `fault_off`, its note a JSON object with the fault's
    number in the plan (`index`), its kind (`fault`) and what the fault itself reports.
    """

    def __init__(self, faults: Sequence[Fault], stage: Stage, journal: Writer) -> None:
        self._stage = stage
        self._journal = journal
        self._waiting = sorted(enumerate(faults), key=lambda item: item[1].at)
        self._running: list[tuple[float, int, Fault]] = []
        for fault in faults:
            fault.check(stage)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to start or to stop."""
        return not self._waiting and not self._running

    def step(self, now: float) -> list[tuple[Fault, dict[str, object]]]:
        """Do what is due at `now`, in seconds since the first job was due; what started, with its facts."""
        started = []
        for index, fault in list(self._waiting):
            if now < fault.at or (not fault.ready(self._stage) and now < fault.at + _PATIENCE):
                continue
            self._waiting.remove((index, fault))
            facts = fault.start(self._stage)
            self._write("fault_on", index, fault, facts)
            started.append((fault, facts))
            lasts = fault.ends_after()
            if lasts is not None:
                self._running.append((now + lasts, index, fault))
        self._end([item for item in self._running if now >= item[0]])
        return started

    def heal(self) -> None:
        """Stop whatever is still going on, and forget what was never started."""
        self._waiting.clear()
        self._end(list(self._running))

    def _end(self, items: Sequence[tuple[float, int, Fault]]) -> None:
        for item in items:
            _, index, fault = item
            self._running.remove(item)
            fault.stop(self._stage)
            self._write("fault_off", index, fault, {})

    def _write(self, kind: str, index: int, fault: Fault, facts: dict[str, object]) -> None:
        self._journal.write(kind, note=json.dumps({"index": index, "fault": fault.kind} | facts))
