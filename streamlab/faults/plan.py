"""Which fault when: the plan of a run, carried out step by step."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError
from streamlab.faults.base import OLDEST, ONE, Fault, Stage

_ASKING = ("redis", "operator")  # families that need Redis for their end, too
_PATIENCE = 2.0  # seconds that a fault may wait for a moment at which it would hit something


class Writer(Protocol):
    """Where a plan writes down what it did: a journal."""

    def write(self, kind: str, *, note: str = "", time_ns: int | None = None) -> None:
        """Append an event of this kind."""


class Plan:
    """Carries out faults at their times. Call `step` often; it waits for Redis's own restart, and else only a moment.

    Each start and stop is written down as an event `fault_on` or `fault_off`, its note a JSON object with the fault's
    number in the plan (`index`), its kind (`fault`), its `family`, and what the fault itself reports. A fault that
    could not be carried out is a `warning`, and the checker misses it; one that could not be ended as planned says so
    in its note, as a `doubt`. While one makes Redis stand still no other
    begins: nobody could look what it would hit.

    Args:
        faults: what is planned.
        stage: what they reach.
        journal: where it is written down.
        seed: settles beforehand whom a fault means by `one`.

    Raises UsageError or UnsupportedError for a fault that cannot be done here.
    """

    def __init__(self, faults: Sequence[Fault], stage: Stage, journal: Writer, seed: int = 1) -> None:
        self._stage = stage
        self._journal = journal
        self._seed = seed
        self._count = 0
        self._waiting: list[Fault] = []
        self._running: list[tuple[float, Fault]] = []
        self._asked: dict[int, float] = {}  # since when faults wait for their moment
        for fault in faults:
            self.add(fault)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to start or to stop."""
        return not self._waiting and not self._running

    @property
    def running(self) -> list[Fault]:
        """What goes on at this moment, the latest last."""
        return [fault for _, fault in self._running]

    @property
    def still(self) -> bool:
        """Whether Redis answers nobody at this moment, because of a fault."""
        return any(fault.stills for fault in self.running)

    def add(self, fault: Fault) -> None:
        """Plan one more."""
        fault.check(self._stage)
        mine = copy.copy(fault)
        if getattr(fault, "target", "") == ONE:
            chance = random.Random(f"fault {self._count} {self._seed}")
            mine = dataclasses.replace(mine, target=chance.choice(self._stage.workers()))  # type: ignore[call-arg]
        object.__setattr__(mine, "index", self._count)
        self._count += 1
        self._waiting.append(mine)
        self._waiting.sort(key=lambda fault: fault.at)

    def step(self, now: float) -> list[tuple[Fault, dict[str, Any]]]:
        """Do what is due at `now`, in seconds since the first job was due; what started, with its facts."""
        started = []
        for planned in list(self._waiting):
            if now < planned.at or self.still:
                break
            fault = self._aimed(planned, now)
            if fault is None:
                continue
            self._waiting.remove(planned)
            facts = self._start(fault, now)
            if facts is not None:
                started.append((fault, facts))
        due = [item for item in self._running if now >= item[0]]
        self._end([item for item in due if item[1].stills])
        still = self.still  # whoever has to ask Redis for his end waits
        self._end([item for item in due if not (item[1].stills or (still and item[1].family in _ASKING))])
        return started

    def heal(self) -> None:
        """Stop whatever is still going on, and forget what was never started."""
        self._waiting.clear()
        self._end(self._running[::-1])

    def _aimed(self, planned: Fault, now: float) -> Fault | None:
        """The fault with its target settled, if it is to strike now; what cannot be hit in time is struck at anyway."""
        late = now >= self._asked.setdefault(planned.index, now) + _PATIENCE
        fault = planned
        try:
            if getattr(planned, "target", "") == OLDEST:
                owner = self._stage.oldest()
                if not owner and not late:
                    return None
                fault = dataclasses.replace(planned, target=owner)  # type: ignore[call-arg]
                object.__setattr__(fault, "index", planned.index)
            return fault if fault.ready(self._stage) or late else None
        except RedisError:  # away, because of another fault: nobody can tell now
            return fault if late else None

    def _start(self, fault: Fault, now: float) -> dict[str, Any] | None:
        began = time.monotonic_ns()
        try:
            facts = fault.start(self._stage)
        except BaseException as error:
            with suppress(Exception):
                fault.stop(self._stage)  # half of it may have been done
            if not isinstance(error, (RedisError, StreamlabError, OSError)):
                raise
            self._journal.write("warning", note=f"{fault.kind} could not be done: {error}")
            return None
        facts = {"target": getattr(fault, "target", "")} | facts
        self._write("fault_on", fault, facts, began)
        lasts = fault.ends_after()
        if lasts == 0:
            self._stop(fault)
        elif lasts is not None:
            self._running.append((now + lasts, fault))
        return facts

    def _end(self, items: Sequence[tuple[float, Fault]]) -> None:
        for item in items:
            self._running.remove(item)
            self._stop(item[1])

    def _stop(self, fault: Fault) -> None:
        facts: dict[str, Any] = {}
        try:
            facts = fault.stop(self._stage)
        except (RedisError, StreamlabError, OSError) as error:
            self._journal.write("warning", note=f"{fault.kind} could not be undone: {error}")
            facts = {"doubt": f"its end went wrong ({error})"}
        self._write("fault_off", fault, {"target": getattr(fault, "target", "")} | facts)

    def _write(self, kind: str, fault: Fault, facts: dict[str, Any], time_ns: int | None = None) -> None:
        note = {"index": fault.index, "fault": fault.kind, "family": fault.family} | facts
        self._journal.write(kind, note=json.dumps(note), time_ns=time_ns)
