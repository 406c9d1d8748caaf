"""What runs in a process of its own: a worker, or the producer.

The lab sends what to do, pickled, through a pipe: a command line would show the password to everybody on the machine.
The pipe stays open for further orders. When it closes, the lab is gone, and the process ends: no crash of the lab
leaves a worker behind.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamlab.errors import UsageError
from streamlab.history.log import EventLog
from streamlab.lab.arrivals import Arrivals
from streamlab.lab.injection import FaultInjection
from streamlab.queue import Message, NotSentError, OutcomeUnknownError, Producer, RefusedError, Worker
from streamlab.workloads import Workload

_LENGTH = struct.Struct("<Q")
_ORPHANED = 113  # exit status of a process whose lab has gone
_LAST_MOMENT = 0.2  # seconds between the last message and the end


@dataclass(kw_only=True)
class Task:
    """What every process is told.

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

    def run(self, orders: BinaryIO) -> None:
        raise NotImplementedError

    def open_log(self) -> EventLog:
        return EventLog(self.folder, self.name, self.incarnation, self.stream)

    def client(self, **options: Any) -> Redis:
        """Return redis-py's client as it comes out of the box, under a name by which Redis can tell whose it is."""
        return Redis.from_url(self.url, client_name=f"{self.stream}/{self.name}", **options)


@dataclass(kw_only=True)
class Work(Task):
    """Be a worker until SIGTERM.

    Attributes:
        consumer: its name in the group.
        orders: the faults inside it that are active already, by number.
        settings: the keyword arguments of `Worker`.
        work: a custom worker instead, a function or "module:function"; see `Experiment.worker`.
    """

    consumer: str
    orders: dict[int, dict[str, Any]]
    settings: dict[str, Any]
    work: str | Callable[..., object]

    def run(self, orders: BinaryIO) -> None:
        with self.open_log() as event_log:
            injection = FaultInjection(event_log, self.orders)
            handler = injection.around(self.workload.handler(self.folder))
            follow(orders, lambda order: injection.take(*order))
            if self.work:
                handle = Handle(handler, injection.observe)
                signal.signal(signal.SIGTERM, handle.stop)
                client = self.client(decode_responses=True)
                imported(self.work)(client, self.stream, self.group, self.consumer, handle)
            else:
                more: dict[str, Any] = {"consumer": self.consumer, "observe": injection.observe, **self.settings}
                Worker(self.client(), self.stream, self.group, handler, **more).run()


class Handle:
    """What a custom worker calls for each message: the handler, and what the lab must know of it.

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
    """Return a function, or what "module:function" names. Raises UsageError where there is no such thing."""
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


@dataclass(kw_only=True)
class Produce(Task):
    """Add every job when it is due. The lab says when the clock starts, once all workers are ready.

    Attributes:
        seed: of the times at which jobs are due.
        keys: so many different values has the field `key`; 0: there is no such field.
        add: a custom way of adding, a function or "module:function"; see `Experiment.producer`.
    """

    seed: int
    keys: int
    add: str | Callable[..., object]

    def run(self, orders: BinaryIO) -> None:
        with self.open_log() as event_log:
            if self.add:
                producer: Any = _CustomProducer(imported(self.add), self.client(decode_responses=True), self.stream)
            else:
                # Short of patience: what Redis does not take in time is written down as refused, and the next is due.
                producer = Producer(self.client(), self.stream, patience=2.0)
            arrivals = Arrivals(_read(orders), self.workload.rate, self.workload.count, self.seed)
            follow(orders, arrivals.change)
            job = 0
            while jobs := arrivals.wait(job):
                job += self._add(producer, event_log, jobs, arrivals.due_ns)

    def fields(self, job: int) -> dict[str, str]:
        """The message of a job: its number, its key, and what the workload says."""
        key = {"key": str(job % self.keys)} if self.keys else {}
        return {"job": str(job)} | key | self.workload.fields(job)

    def _add(self, producer: Producer, event_log: EventLog, jobs: range, due_ns: Sequence[int]) -> int:
        """Add jobs and write down what is known of each; return how many need not be tried again."""

        def write(kind: str, jobs: Iterable[int], note: str = "") -> None:
            for job in jobs:
                event_log.write(kind, job=job, due_ns=due_ns[job], note=note)

        messages = [self.fields(job) for job in jobs]
        write("adding", jobs)
        unknown, refused = 0, ""
        try:
            added = producer.add_many(messages)
        except OutcomeUnknownError as error:
            added, unknown = error.added, len(error.unknown)
        except (NotSentError, RefusedError) as error:
            added, refused = error.added, str(error)
        for job, entry in zip(jobs, added, strict=False):
            event_log.write("added", job=job, entry=entry, due_ns=due_ns[job])
        write("unknown", jobs[len(added) : len(added) + unknown])
        if refused:
            write("refused", jobs[len(added) :], refused)
        return len(jobs) if refused else len(added) + unknown


class _CustomProducer:
    """A custom way of adding, in the shape of a `Producer`: one message at a time."""

    def __init__(self, add: Callable[..., object], client: Redis, stream: str) -> None:
        self._add = add
        self._client = client
        self._stream = stream

    def add_many(self, messages: Sequence[dict[str, str]]) -> list[str]:
        """Add them. Raises RefusedError or OutcomeUnknownError at the first that fails."""
        added: list[str] = []
        for message in messages:
            try:
                added.append(str(self._add(self._client, self._stream, message)))
            except ResponseError as error:
                raise RefusedError(str(error), added=added) from error
            except RedisError as error:
                raise OutcomeUnknownError(str(error), added=added, unknown=[""]) from error
        return added


def send(pipe: BinaryIO, data: bytes) -> None:
    """Send one pickled thing to a process; one that has ended does not hear it."""
    if not pipe.closed:
        try:
            pipe.write(_LENGTH.pack(len(data)) + data)
            pipe.flush()
        except BrokenPipeError:
            pass


def _read(pipe: BinaryIO) -> Any:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        os._exit(_ORPHANED)
    return pickle.loads(pipe.read(_LENGTH.unpack(head)[0]))


def follow(orders: BinaryIO, obey: Callable[[Any], None]) -> None:
    """Take further orders from now on, in a thread, and end the process with the lab."""

    def watch() -> None:
        while True:
            obey(_read(orders))

    threading.Thread(target=watch, name="orders", daemon=True).start()


def context() -> tuple[list[str], str, dict[str, str]]:
    """What of the lab's own process a new one takes over: module path, working directory, environment."""
    # Libraries such as NumPy start a thread for each core, which would compete with the other workers.
    return sys.path, str(Path.cwd()), {**os.environ, "OMP_NUM_THREADS": "1"}


def main(orders: BinaryIO) -> None:
    """Do what comes through the pipe."""
    sys.path[:], folder, environment = _read(orders)  # before the task, which may need the lab's modules
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    task: Task = _read(orders)
    task.run(orders)
