"""What runs in a process of its own: a worker, or the producer.

The parent starts `python -m streamlab.lab.child` and writes what to do, pickled, to its standard input: a command line
would show the password to everybody on the machine. The pipe stays open for further orders. When it closes, the parent
is gone, and so is the child a moment later: no crash of the lab leaves a worker behind.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamlab.errors import UsageError
from streamlab.lab.arrivals import Arrivals, Planned
from streamlab.lab.mischief import Mischief
from streamlab.observe.journal import Journal
from streamlab.queue import Message, NotSentError, OutcomeUnknownError, Producer, RefusedError, Worker

if TYPE_CHECKING:
    from streamlab.workloads import Workload

_LENGTH = struct.Struct("<Q")
_ORPHANED = 113  # exit status of a child whose parent has gone
_LAST_MOMENT = 0.2  # seconds between the last message and the end


@dataclass
class Task:
    """What every child is told.

    Attributes:
        url: where Redis is, with its password; the lab's proxy, where there is one.
        stream: key of the stream.
        group: the consumer group.
        folder: the run's folder.
        name: of the process.
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

    def client(self, **options: Any) -> Redis:
        """Return redis-py's client as it comes out of the box, under a name by which Redis can tell whose it is."""
        return Redis.from_url(self.url, client_name=f"{self.stream}/{self.name}", **options)


@dataclass
class Work(Task):
    """Be a worker until SIGTERM.

    Attributes:
        consumer: its name in the group.
        orders: the faults inside it that are going on already, by number.
        settings: the keyword arguments of `Worker`.
        work: somebody else's worker instead, a function or "module:function"; see `Experiment.worker`.
    """

    consumer: str = ""
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    work: str | Callable[..., object] = ""

    def run(self, orders: BinaryIO) -> None:
        """Work."""
        with self.journal() as journal:
            mischief = Mischief(journal, self.orders)
            handler = mischief.around(self.workload.handler(self.folder))
            _live_with_parent(orders, lambda order: mischief.take(*order))
            if self.work:
                handle = Handle(handler, mischief.observe)
                signal.signal(signal.SIGTERM, handle.stop)
                client = self.client(decode_responses=True)
                imported(self.work)(client, self.stream, self.group, self.consumer, handle)
                return
            Worker(
                self.client(),
                self.stream,
                self.group,
                handler,
                consumer=self.consumer,
                observe=mischief.observe,
                **self.settings,
            ).run()


class Handle:
    """What somebody else's worker calls for each message: the handler, and what the lab must know of it.

    To be stopped at the end of a run is no fault: a message that is begun is finished, and there is a moment for XACK.
    """

    def __init__(self, handler: Callable[[Message], object], observe: Callable[[str, Sequence[Message]], None]) -> None:
        self._handler = handler
        self._observe = observe
        self._busy = 0
        self._stopping = False

    def __call__(self, entry: str | bytes, fields: Any) -> None:
        """Do the work of one message: its entry ID and its fields, as redis-py gave them."""
        key = entry.encode() if isinstance(entry, str) else entry
        raw = [item.encode() if isinstance(item, str) else item for pair in fields.items() for item in pair]
        message = Message(key, raw, deliveries=0)  # only the server knows, and nobody asked it
        self._busy += 1
        self._observe("started", (message,))
        try:
            self._handler(message)
        except BaseException:
            self._observe("failed", (message,))
            raise
        else:
            self._observe("done", (message,))
        finally:
            self._busy -= 1
            if self._stopping:
                threading.Timer(_LAST_MOMENT, os._exit, (0,)).start()

    def stop(self, *_: object) -> None:
        """On SIGTERM: at once between two messages, else after this one."""
        self._stopping = True
        if not self._busy:
            sys.exit()


def imported(what: str | Callable[..., object]) -> Callable[..., object]:
    """A function, or what "module:function" names. Raises UsageError where there is no such thing."""
    if callable(what):
        return what
    module, _, name = what.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # to import a module is to run it
        raise UsageError(f"{what!r}: expected module:function, importable from here ({error})") from error
    if not callable(found):
        raise UsageError(f"{what!r} is not a function")
    return found  # type: ignore[no-any-return]


@dataclass
class Produce(Task):
    """Add every job when it is due. The parent says when the clock starts, once all workers are there.

    Attributes:
        arrivals: when each job is due.
        keys: so many different values has the field `key`; 0: there is no such field.
        add: somebody else's way of adding, a function or "module:function"; see `Experiment.producer`.
    """

    arrivals: Arrivals = field(default_factory=lambda: Planned(()))
    keys: int = 0
    add: str | Callable[..., object] = ""

    def run(self, orders: BinaryIO) -> None:
        """Produce."""
        with self.journal() as journal:
            if self.add:
                add = imported(self.add)
                producer: Any = _Foreign(add, self.client(decode_responses=True), self.stream)
            else:
                # Short of patience: what Redis does not take in time is written down as refused, and the next is due.
                producer = Producer(self.client(), self.stream, patience=2.0)
            clock = self.arrivals.begin(pickle.loads(_read(orders)))
            _live_with_parent(orders, clock.obey)
            job = 0
            while jobs := clock.wait(job):
                job += self._add(producer, journal, jobs, clock.due_ns)

    def fields(self, job: int) -> dict[str, str]:
        """The message of a job: its number, its key, and what the workload says."""
        key = {"key": str(job % self.keys)} if self.keys else {}
        return {"job": str(job)} | key | self.workload.fields(job)

    def _add(self, producer: Producer, journal: Journal, jobs: range, due_ns: Sequence[int]) -> int:
        """Add some jobs and write down what is known of each; how many need not be tried again."""
        return _add([self.fields(job) for job in jobs], producer, journal, jobs, due_ns)


class _Foreign:
    """Somebody else's way of adding, in the shape of a `Producer`: one at a time."""

    def __init__(self, add: Callable[..., object], client: Redis, stream: str) -> None:
        self._add = add
        self._client = client
        self._stream = stream

    def add_many(self, tasks: Sequence[dict[str, str]]) -> list[str]:
        """Add them. Raises RefusedError or OutcomeUnknownError at the first that fails."""
        added: list[str] = []
        for task in tasks:
            try:
                added.append(str(self._add(self._client, self._stream, task)))
            except ResponseError as error:
                raise RefusedError(str(error), added=added) from error
            except RedisError as error:
                raise OutcomeUnknownError(str(error), added=added, unknown=[""]) from error
        return added


def _add(tasks: list[dict[str, str]], producer: Producer, journal: Journal, jobs: range, due_ns: Sequence[int]) -> int:
    for job in jobs:
        journal.write("adding", job=job, due_ns=due_ns[job])
    added: list[str] = []
    unknown: list[str] = []
    refused = ""
    try:
        added = producer.add_many(tasks)
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


def _live_with_parent(orders: BinaryIO, obey: Callable[[Any], None]) -> None:
    """Take further orders from now on, and end with the parent."""

    def watch() -> None:
        while True:
            obey(pickle.loads(_read(orders)))  # ends the process where the pipe ends

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
