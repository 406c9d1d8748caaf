"""When jobs are due: at times that are fixed in advance, or at a rate that changes while they come.

Arrivals never wait for the queue (an open loop): a producer that fell behind finds every job due at its own time, so
that latency counts from there (see Gil Tene, "How NOT to Measure Latency": coordinated omission).
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

_AT_ONCE = 100  # jobs that are added in one round trip, at most


@dataclass(frozen=True)
class Arrivals:
    """What the producer is told before the run.

    Attributes:
        schedule: when each job is due, in seconds after the start; None: at random (a Poisson process), until `obey`
            ends it.
        rate: jobs a second in the beginning, without a schedule; 0: none until it changes.
        most: jobs in all, without a schedule.
        seed: of the random times.
    """

    schedule: Sequence[float] | None = None
    rate: float = 0.0
    most: int = 0
    seed: int = 0

    def begin(self, start_ns: int) -> Clock:
        """Start the clock (CLOCK_MONOTONIC, ns). Without a schedule the first job is due at once."""
        return Clock(self, start_ns)


class Clock:
    """Says which job is due.

    Attributes:
        due_ns: when each job is due, as far as that is settled (CLOCK_MONOTONIC, ns).
    """

    def __init__(self, arrivals: Arrivals, start_ns: int) -> None:
        planned = arrivals.schedule is not None
        self.due_ns = [start_ns + int(due * 1e9) for due in arrivals.schedule or ()]
        self._most = len(self.due_ns) if planned else arrivals.most
        self._rate = 0.0 if planned else arrivals.rate
        self._random = random.Random(f"arrivals {arrivals.seed}")
        self._next: float = start_ns if self._rate else math.inf  # when the first job is due that is not settled yet
        self._over = planned
        self._changed = threading.Condition()

    def wait(self, job: int) -> range:
        """Wait until a job is due; return it and those behind it that are due by now. Empty: there are no more.

        Whatever is overdue goes in one round trip: a producer that fell behind must catch up.
        """
        with self._changed:
            while True:
                now = time.monotonic_ns()
                self._settle(now)
                last = job
                while last < min(len(self.due_ns), job + _AT_ONCE) and self.due_ns[last] <= now:
                    last += 1
                if last > job:
                    return range(job, last)
                if job >= self._most or (self._over and job >= len(self.due_ns)):
                    return range(0)
                due = self.due_ns[job] if job < len(self.due_ns) else self._next
                self._changed.wait(None if math.isinf(due) else (due - now) / 1e9)

    def obey(self, rate: float | None) -> None:
        """Let so many jobs a second come from now on; None: no more."""
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
        return self._random.expovariate(self._rate) * 1e9 if self._rate else math.inf
