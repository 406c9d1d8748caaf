"""What a run is like at this moment: read from its files while they are being written, and from nothing else.

Nobody is asked anything, neither Redis nor a worker: whoever looks disturbs no more than the probe does that runs
anyway. What is known of a message here is for the eye; the verdict comes from `history`, when all is written.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamlab.record import HEADER, KIND_NUMBER, RECORD

STEP = 0.25  # seconds
SECONDS = 30.0  # that a look goes back
_A_SECOND = 4  # steps
_BLOCK = 1024 * RECORD.size
_ADDING, _ADDED, _UNKNOWN, _REFUSED, _CLAIMED, _DONE, _DEAD = (
    KIND_NUMBER[kind] for kind in ("adding", "added", "unknown", "refused", "claimed", "done", "dead")
)
_NOT_WORK = ("lab.", "wire.")  # journals of those who only watch

Values = list[float | None]


@dataclass
class Mark:
    """A fault as far as a picture shows it: its name and family, and from when to when (s, None = it goes on)."""

    name: str
    family: str
    start: float
    end: float | None = None


@dataclass(frozen=True)
class Look:
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


class Meters:
    """Reads what is new in a run's folder at each look.

    Args:
        folder: of the run, which may go on.
        start_ns: when its clock started: CLOCK_MONOTONIC.
    """

    def __init__(self, folder: Path, start_ns: int) -> None:
        self._events = folder / "events"
        self._samples = _Lines(folder / "samples.csv")
        self._start_ns = start_ns
        self._length = round(SECONDS / STEP)
        self._journals: dict[Path, _Records] = {}
        self._steps: defaultdict[int, _Step] = defaultdict(_Step)
        self._due_ns: dict[int, int] = {}  # of the jobs that are not done yet, the oldest first
        self._held: dict[str, int] = {}
        self._looked = 0  # the step of the last look
        self.offered = self._finished = self._claimed = 0

    def look(self, now: float) -> Look:
        """What is known at `now`, in seconds since the start."""
        self.read()
        last = int(now / STEP)
        oldest = next(iter(self._due_ns.values()), None)
        for step in range(max(self._looked, last - self._length) + 1, last + 1):
            self._steps[step].oldest = None if oldest is None else max(0.0, now - (oldest - self._start_ns) / 1e9)
        self._looked = last
        for step in [step for step in self._steps if step < last - self._length - _A_SECOND]:
            del self._steps[step]
        return self._drawn(range(max(0, last - self._length), last))  # the last one is not over yet

    def read(self) -> None:
        """Take in what is new."""
        for path in sorted(self._events.glob("*.events")):
            if path not in self._journals and not path.name.startswith(_NOT_WORK):
                self._journals[path] = _Records(path)
        # The producer last, so that it has written of every message that a worker wrote of; but it comes first.
        in_order = sorted(self._journals, key=lambda path: path.name.startswith("producer."))
        news = [list(self._journals[path].new()) for path in in_order]
        for rows in reversed(news):
            for row in rows:
                self._take(row)
        for row in csv.reader(self._samples.new()):
            self._take_sample(row)

    def _take(self, row: tuple[Any, ...]) -> None:
        time_ns, due_ns, _, _, job, *_, kind = row
        step = int((time_ns - self._start_ns) / 1e9 / STEP)
        if kind == _ADDING:
            self._due_ns[job] = due_ns
            self.offered += 1
        elif kind == _ADDED:
            self._steps[step].added += 1
        elif kind == _CLAIMED:
            self._claimed += 1
        elif kind in {_DONE, _DEAD, _REFUSED, _UNKNOWN}:
            due = self._due_ns.pop(job, None)
            if kind == _DONE and due is not None:  # not the second time
                self._steps[step].took.append((time_ns - due) / 1e9)
                self._finished += 1

    def _take_sample(self, row: list[str]) -> None:
        time_ns, metric, consumer, value = row
        if not time_ns.isdecimal():
            return  # the head of the file
        step = self._steps[int((int(time_ns) - self._start_ns) / 1e9 / STEP)]
        if metric == "pending":
            step.pending[consumer] = float(value)
            self._held[consumer] = int(float(value))
        elif metric == "lag":
            step.lag = float(value)

    def _drawn(self, steps: range) -> Look:
        rows = {step: self._steps.get(step, _NOTHING) for step in range(steps.start - _A_SECOND, steps.stop)}
        seconds = [[rows[step - back] for back in range(_A_SECOND)] for step in steps]
        took = [sorted(value for row in second for value in row.took) for second in seconds]
        return Look(
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


class _Records:
    """What is new in a journal that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = HEADER.size

    def new(self) -> Iterator[tuple[Any, ...]]:
        """The records since the last time.

        The file is longer than what is written in it, and ends with zeros. A place that was drawn and is not filled
        yet is missed, if something stands behind it: a message in a million, and only for the eye.
        """
        with self._path.open("rb") as file:
            while True:
                file.seek(self._at)
                data = file.read(_BLOCK)
                filled = len(data.rstrip(b"\0"))
                filled += -filled % RECORD.size
                self._at += filled
                yield from (row for row in RECORD.iter_unpack(data[:filled]) if row[-1])
                if filled < _BLOCK:
                    return


class _Lines:
    """What is new in a file of lines that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def new(self) -> io.StringIO:
        """The whole lines since the last time."""
        if not self._path.exists():
            return io.StringIO()
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, end, _ = file.read().rpartition(b"\n")
        self._at += len(whole + end)
        return io.StringIO(whole.decode(errors="replace"))
