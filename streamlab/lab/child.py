"""What runs in a process of its own: a worker, or the producer.

The parent starts `python -m streamlab.lab.child` and writes what to do, pickled, to its standard input: a command line
would show the password to everybody on the machine. The pipe stays open. When it closes, the parent is gone, and so
is the child a moment later: no crash of the lab leaves a worker behind.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from redis import Redis

from streamlab.observe.journal import Journal
from streamlab.queue import Message, NotSentError, OutcomeUnknownError, Producer, RefusedError, Worker

if TYPE_CHECKING:
    from streamlab.workloads import Workload

_LENGTH = struct.Struct("<Q")
_ORPHANED = 113  # exit status of a child whose parent has gone


@dataclass
class Task:
    """What every child is told.

    Attributes:
        url: where Redis is, with its password.
        stream: key of the stream.
        group: the consumer group.
        folder: the run's folder.
        name: of the process; a worker's consumer is called the same.
        incarnation: 1 for the first process of that name.
        workload: what the jobs are.
    """

    url: str
    stream: str
    group: str
    folder: Path
    name: str
    incarnation: int
    workload: Workload

    def journal(self) -> Journal:
        """Open the journal of the process."""
        return Journal(self.folder, self.name, self.incarnation, self.stream)

    def run(self, orders: BinaryIO) -> None:
        """Do it."""
        raise NotImplementedError


@dataclass
class Work(Task):
    """Be a worker until SIGTERM. `settings` are the keyword arguments of `Worker`."""

    settings: dict[str, Any] = field(default_factory=dict)

    def run(self, orders: BinaryIO) -> None:
        """Work."""
        with self.journal() as journal:
            handler: Callable[[Message], object] = self.workload.handler(self.folder)
            worker = Worker(
                Redis.from_url(self.url),
                self.stream,
                self.group,
                handler,
                consumer=self.name,
                observe=journal.observe,
                **self.settings,
            )
            _live_with_parent(orders)
            worker.run()


@dataclass
class Produce(Task):
    """Add every job when it is due. The parent says when the clock starts, once all workers are there."""

    schedule: Sequence[float] = ()

    def run(self, orders: BinaryIO) -> None:
        """Produce."""
        with self.journal() as journal:
            # Short of patience: what Redis does not take in time is written down as refused, and the next job is due.
            producer = Producer(Redis.from_url(self.url), self.stream, patience=2.0)
            start_ns = pickle.loads(_read(orders))
            _live_with_parent(orders)
            due_ns = [start_ns + int(due * 1e9) for due in self.schedule]
            job = 0
            while job < len(due_ns):
                now = time.monotonic_ns()
                if due_ns[job] > now:
                    time.sleep((due_ns[job] - now) / 1e9)
                # Whatever is overdue by now goes in one round trip: a producer that fell behind must catch up.
                last = job + 1
                while last < len(due_ns) and last < job + 100 and due_ns[last] <= time.monotonic_ns():
                    last += 1
                job += _add(producer, journal, self.workload, range(job, last), due_ns)


def _add(producer: Producer, journal: Journal, workload: Workload, jobs: range, due_ns: Sequence[int]) -> int:
    """Add some jobs and write down what is known of each; how many need not be tried again."""
    for job in jobs:
        journal.write("adding", job=job, due_ns=due_ns[job])
    added: list[str] = []
    unknown: list[str] = []
    refused = ""
    try:
        added = producer.add_many([{"job": str(job)} | workload.fields(job) for job in jobs])
    except OutcomeUnknownError as error:
        added, unknown = error.added, error.unknown
    except (NotSentError, RefusedError) as error:
        added, refused = error.added, str(error)
    for job, entry in zip(jobs, added, strict=False):
        journal.write("added", job=job, entry=entry, due_ns=due_ns[job])
    for job in jobs[len(added) : len(added) + len(unknown)]:
        journal.write("unknown", job=job, due_ns=due_ns[job])
    if refused:
        for job in jobs[len(added) :]:
            journal.write("refused", job=job, due_ns=due_ns[job], note=refused)
        return len(jobs)
    return len(added) + len(unknown)


def _live_with_parent(orders: BinaryIO) -> None:
    def watch() -> None:
        orders.read()
        os._exit(_ORPHANED)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def write_order(pipe: BinaryIO, data: bytes) -> None:
    """Send one pickled thing to a child."""
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _read(pipe: BinaryIO) -> bytes:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        os._exit(_ORPHANED)
    return pipe.read(_LENGTH.unpack(head)[0])


def main() -> None:
    """Entry point of a child process."""
    orders = os.fdopen(os.dup(0), "rb")  # the handler finds an empty standard input, not our orders
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    path = pickle.loads(_read(orders))  # before anything else: the task may need the parent's modules
    sys.path[:] = path
    task: Task = pickle.loads(_read(orders))
    task.run(orders)


if __name__ == "__main__":
    from streamlab.lab import child  # noqa: PLW0406 - so that a pickled Work is of the class that is used here

    child.main()
