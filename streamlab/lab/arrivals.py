"""When jobs are due: at random (a Poisson process), at a rate that may change while they come.

Independent arrivals are what many independent users make. They never wait for the queue (an open loop): a producer that
fell behind finds every job due at its own time, so that latency counts from there (see Gil Tene, "How NOT to Measure
Latency": coordinated omission).
"""

from __future__ import annotations

import math
import random
import threading
import time

_AT_ONCE = 100  # jobs that are added in one round trip, at most


class Arrivals:
    """Says which job is due. The same seed gives the same times after the start.

    Args:
        start_ns: when the first job is due (CLOCK_MONOTONIC, ns).
        rate: jobs a second in the beginning.
        most: jobs in all.
        seed: of the random times.

    Attributes:
        due_ns: when each job is due, as far as that is settled (CLOCK_MONOTONIC, ns).
    """

    def __init__(self, start_ns: int, rate: float, most: int, seed: int) -> None:
        self.due_ns: list[int] = []
        self._start_ns = start_ns
        self._rate = rate
        self._most = most
        self._random = random.Random(f"arrivals {seed}")
        self._next = 0.0  # when the first job is due that is not settled yet, in seconds after the start
        self._changed = threading.Condition()

    def wait(self, job: int) -> range:
        """Wait until a job is due; return it and those behind it that are due by now. Empty: there are no more.

        Whatever is overdue goes in one round trip: a producer that fell behind must catch up.
        """
        with self._changed:
            while True:
                now = time.monotonic_ns()
                self._settle(now)
                if job < len(self.due_ns):
                    return range(job, min(len(self.due_ns), job + _AT_ONCE))
                if job >= self._most:
                    return range(0)
                seconds = self._next - (now - self._start_ns) / 1e9
                self._changed.wait(None if math.isinf(seconds) else seconds)

    def change(self, rate: float | None) -> None:
        """Let so many jobs a second come from now on; None: no more."""
        with self._changed:
            now = time.monotonic_ns()
            self._settle(now)  # what is due by now stays due, also if nobody has come to add it
            self._rate = rate or 0.0
            if rate is None:
                self._most = len(self.due_ns)
            self._next = (now - self._start_ns) / 1e9 + self._gap()  # independent arrivals remember nothing
            self._changed.notify()

    def _settle(self, now: int) -> None:
        while len(self.due_ns) < self._most and self._next * 1e9 <= now - self._start_ns:
            self.due_ns.append(self._start_ns + int(self._next * 1e9))
            self._next += self._gap()

    def _gap(self) -> float:
        return self._random.expovariate(self._rate) if self._rate else math.inf
