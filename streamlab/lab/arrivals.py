"""When jobs are due: at times that are set beforehand, or at a rate that somebody changes while they come."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_AT_ONCE = 100  # jobs that are added in one round trip, at most


class Clock(Protocol):
    """Says when which job is due, once the run's clock has started."""

    #: When each job is due that has been settled so far: CLOCK_MONOTONIC, ns.
    due_ns: list[int]

    def wait(self, job: int) -> range:
        """Wait until this job is due; it and those behind it that are due by now. None at all: there are no more.

        Whatever is overdue goes in one round trip: a producer that fell behind must catch up.
        """

    def obey(self, rate: float | None) -> None:
        """From now on so many a second; None: no more."""


class Arrivals(Protocol):
    """What the producer is told of it before the run."""

    def begin(self, start_ns: int) -> Clock:
        """Start the clock: CLOCK_MONOTONIC, ns."""


@dataclass(frozen=True)
class Planned:
    """Jobs whose times are all set beforehand, in seconds after the start."""

    schedule: Sequence[float]

    def begin(self, start_ns: int) -> Clock:
        """Start the clock."""
        return _PlannedClock([start_ns + int(due * 1e9) for due in self.schedule])


@dataclass(frozen=True)
class Open:
    """Jobs that go on coming until somebody ends them: independent arrivals (a Poisson process), as users make them.

    Attributes:
        rate: jobs a second in the beginning; 0: none until it changes.
        most: so many at most.
        seed: of what chance decides.
    """

    rate: float
    most: int
    seed: int

    def begin(self, start_ns: int) -> Clock:
        """Start the clock; the first job is due at once."""
        return _OpenClock(self, start_ns)


class _PlannedClock:
    def __init__(self, due_ns: list[int]) -> None:
        self.due_ns = due_ns

    def wait(self, job: int) -> range:
        if job >= len(self.due_ns):
            return range(0)
        now = time.monotonic_ns()
        if self.due_ns[job] > now:
            time.sleep((self.due_ns[job] - now) / 1e9)
        last = job + 1
        while last < len(self.due_ns) and last < job + _AT_ONCE and self.due_ns[last] <= time.monotonic_ns():
            last += 1
        return range(job, last)

    def obey(self, rate: float | None) -> None:
        raise NotImplementedError("a schedule that was set beforehand does not change")


class _OpenClock:
    """Each job is due some time after the one before it was due, whenever that was added: the loop stays open."""

    def __init__(self, arrivals: Open, start_ns: int) -> None:
        self.due_ns: list[int] = []
        self._most = arrivals.most
        self._rate = arrivals.rate
        self._chance = random.Random(f"arrivals {arrivals.seed}")
        self._next: float = start_ns if self._rate else math.inf  # when the first job is due that is not settled yet
        self._over = False
        self._changed = threading.Condition()

    def wait(self, job: int) -> range:
        with self._changed:
            while True:
                now = time.monotonic_ns()
                self._settle(now)
                if job < len(self.due_ns):
                    return range(job, min(len(self.due_ns), job + _AT_ONCE))
                if self._over or job >= self._most:
                    return range(0)
                self._changed.wait(None if math.isinf(self._next) else (self._next - now) / 1e9)

    def obey(self, rate: float | None) -> None:
        with self._changed:
            now = time.monotonic_ns()
            self._settle(now)  # what is due by now stays due, also if nobody has come to add it
            self._rate, self._over = rate or 0.0, rate is None
            self._next = now + self._gap()  # independent arrivals remember nothing
            self._changed.notify()

    def _settle(self, now: int) -> None:
        while self._next <= now and len(self.due_ns) < self._most:
            self.due_ns.append(int(self._next))
            self._next += self._gap()

    def _gap(self) -> float:
        return self._chance.expovariate(self._rate) * 1e9 if self._rate else math.inf
