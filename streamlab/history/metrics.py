"""Live metrics: what a run is like at this moment, read from its files while they are being written.

Nobody is asked anything, neither Redis nor a worker: to read them disturbs no more than the sampler does that runs
anyway. What is known of a message here is for the eye; the verdict comes from `History`, when all is written.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from streamlab.history.log import whole_lines

STEP = 0.25  # seconds
SECONDS = 30.0  # that the metrics go back
_A_SECOND = 4  # steps
_NOT_WORK = ("lab.", "wire.")  # event logs of those who only watch

Values = list[float | None]


@dataclass
class Mark:
    """A fault as far as a picture shows it: its name and family, and from when to when (s, None = it goes on)."""

    name: str
    family: str
    start: float
    end: float | None = None


@dataclass(frozen=True)
class Metrics:
    """A run's last seconds in steps of `STEP`, one value a step, None where nothing is known.

    Attributes:
        time: where each step begins, in seconds since the start.
        pending: messages pending, by consumer.
        lag: messages that the group has not read.
        added: messages added a second, over the last second.
        done: messages done for the first time, the same.
        p50: the median latency of what was done in the last second, from due to done (s).
        p99: the same for all but one in a hundred.
        oldest: how long the oldest message that is not done has been due (s); None: all are done.
        held: messages pending now, by consumer.
        offered: jobs that the producer has begun to add, since the start.
        finished: jobs that were done, since the start.
        claimed: messages that were claimed, since the start.
    """

    time: list[float]
    pending: dict[str, Values]
    lag: Values
    added: Values
    done: Values
    p50: Values
    p99: Values
    oldest: Values
    held: dict[str, int]
    offered: int
    finished: int
    claimed: int


@dataclass
class _Step:
    pending: dict[str, float] = field(default_factory=dict)
    lag: float | None = None
    added: int = 0
    took: list[float] = field(default_factory=list)
    oldest: float | None = None


class LiveMetrics:
    """Reads what is new in a run's folder each time.

    Args:
        folder: of the run, which may go on.
        start_ns: when its clock started: CLOCK_MONOTONIC.
    """

    def __init__(self, folder: Path, start_ns: int) -> None:
        self._events = folder / "events"
        self._samples = _Tail(folder / "samples.csv")
        self._start_ns = start_ns
        self._length = round(SECONDS / STEP)
        self._logs: dict[Path, _Tail] = {}
        self._steps: defaultdict[int, _Step] = defaultdict(_Step)
        self._due_ns: dict[str, int] = {}  # of the jobs that are not done yet, the oldest first
        self._held: dict[str, int] = {}
        self._last = 0  # the step that was the present the last time
        self.offered = self._finished = self._claimed = 0

    def at(self, now: float) -> Metrics:
        """What is known at `now`, in seconds since the start."""
        self.read()
        last = int(now / STEP)
        oldest = next(iter(self._due_ns.values()), None)
        for step in range(max(self._last, last - self._length) + 1, last + 1):
            self._steps[step].oldest = None if oldest is None else max(0.0, now - (oldest - self._start_ns) / 1e9)
        self._last = last
        for step in [step for step in self._steps if step < last - self._length - _A_SECOND]:
            del self._steps[step]
        return self._metrics(range(max(0, last - self._length), last))  # the last one is not over yet

    def read(self) -> None:
        """Take in what is new."""
        for path in sorted(self._events.glob("*.csv")):
            if path not in self._logs and not path.name.startswith(_NOT_WORK):
                self._logs[path] = _Tail(path)
        # The producer last, so that it has written of every message that a worker wrote of; but it comes first.
        in_order = sorted(self._logs, key=lambda path: path.name.startswith("producer."))
        news = [list(self._logs[path].rows()) for path in in_order]
        for rows in reversed(news):
            for row in rows:
                self._take(**row)
        for row in self._samples.rows():
            self._take_sample(**row)

    def _take(self, kind: str, time_ns: str, job: str, due_ns: str, **_: str) -> None:
        if kind == "adding":
            self._due_ns[job] = int(due_ns or time_ns)
            self.offered += 1
        elif kind == "added":
            self._steps[self._step(time_ns)].added += 1
        elif kind == "claimed":
            self._claimed += 1
        elif kind in ("done", "dead", "refused", "unknown"):
            due = self._due_ns.pop(job, None)
            if kind == "done" and due is not None:  # not the second time
                self._steps[self._step(time_ns)].took.append((int(time_ns) - due) / 1e9)
                self._finished += 1

    def _take_sample(self, time_ns: str, metric: str, consumer: str, value: str) -> None:
        step = self._steps[self._step(time_ns)]
        if metric == "pending":
            step.pending[consumer] = float(value)
            self._held[consumer] = int(float(value))
        elif metric == "lag":
            step.lag = float(value)

    def _step(self, time_ns: str) -> int:
        return int((int(time_ns) - self._start_ns) / 1e9 / STEP)

    def _metrics(self, steps: range) -> Metrics:
        rows = {step: self._steps.get(step, _NOTHING) for step in range(steps.start - _A_SECOND, steps.stop)}
        seconds = [[rows[step - back] for back in range(_A_SECOND)] for step in steps]
        took = [sorted(value for row in second for value in row.took) for second in seconds]
        return Metrics(
            time=[step * STEP for step in steps],
            pending={name: [rows[step].pending.get(name) for step in steps] for name in self._held},
            lag=[rows[step].lag for step in steps],
            added=[sum(row.added for row in second) / (STEP * _A_SECOND) for second in seconds],
            done=[sum(len(row.took) for row in second) / (STEP * _A_SECOND) for second in seconds],
            p50=[_quantile(values, 0.5) for values in took],
            p99=[_quantile(values, 0.99) for values in took],
            oldest=[rows[step].oldest for step in steps],
            held=dict(self._held),
            offered=self.offered,
            finished=self._finished,
            claimed=self._claimed,
        )


_NOTHING = _Step()


def _quantile(values: list[float], share: float) -> float | None:
    """A value that there was, of values in their order."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else None


class _Tail:
    """What is new in a CSV file that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []
        self._at = 0

    def rows(self) -> Iterator[dict[str, str]]:
        """The whole lines since the last time, by column."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = whole_lines(file.read())
        self._at += len(data)
        lines = csv.reader(io.StringIO(data.decode(errors="replace"), newline=""))
        self._columns = self._columns or next(lines, [])
        for line in lines:
            yield dict(zip(self._columns, line, strict=True))
