"""What the queue's tests share: a worker in a thread, an observer that remembers, questions to Redis."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from streamlab.queue import DeadLetters, Message, PermanentError, Producer, Worker
from tests.waiting import wait_until
from tests.wire import Wire

GROUP = "g"


class Notes:
    """An observer that keeps everything: (kind, entry ID), in order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def __call__(self, kind: str, messages: Sequence[Message], note: str = "") -> None:
        self.all += [(kind, m.id) for m in messages] or [(kind, "")]

    def ids(self, kind: str) -> list[str]:
        return [entry for it, entry in self.all if it == kind]

    def of(self, entry: str) -> list[str]:
        return [kind for kind, it in self.all if it == entry]


def refuse(message: Message) -> None:
    """A handler: each message becomes a dead letter."""
    raise PermanentError("no")


def fail(message: Message) -> None:
    """A handler: each message is to be tried again."""
    raise RuntimeError("not now")


class Waiting:
    """A handler that waits for `release`, with each message or with those in `slow`."""

    def __init__(self, *slow: str) -> None:
        self.slow, self.release = slow, threading.Event()
        self.begun: list[str] = []
        self.done: list[str] = []
        self.since = 0.0  # when it last began to wait, in seconds since 1970

    def __call__(self, message: Message) -> None:
        self.begun.append(message.id)
        if not self.slow or message.id in self.slow:
            self.since = time.time()
            self.release.wait(20)
        self.done.append(message.id)


class Started:
    """A worker at work in a thread, and the error that ended its `run`."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="worker under test", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self.error = error

    def ended(self, timeout: float = 10) -> BaseException | None:
        """Wait until `run` has ended of itself; return what it raised."""
        wait_until("run() has ended", lambda: not self.thread.is_alive(), timeout)
        return self.error


@contextlib.contextmanager
def started(worker: Worker) -> Iterator[Started]:
    """A worker at work whose error is the test's business; at the end it is stopped and must come back."""
    run = Started(worker)
    try:
        yield run
    finally:
        worker.stop()
        run.thread.join(20)
    assert not run.thread.is_alive(), "the worker did not stop within 20 s"


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[None]:
    """A worker at work, whose `run` must end without an error."""
    with started(worker) as run:
        yield
    if run.error:
        raise run.error


class Queue:
    """A stream of one test on one server, what its workers tell, and what Redis says of it."""

    def __init__(self, server: Any, client: Redis, stream: str) -> None:
        self.server, self.client, self.stream = server, client, stream
        self.seen: list[str] = []  # by the handler of a worker that has none of its own
        self.notes = Notes()
        self.letters = DeadLetters(client, stream, GROUP)
        self._open: list[Producer | DeadLetters] = [self.letters]

    def worker(self, handler: Callable[[Message], object] | None = None, **settings: Any) -> Worker:
        settings = {"client": self.client, "observe": self.notes, **settings}
        return Worker(stream=self.stream, group=GROUP, handler=handler or self._see, **settings)

    def _see(self, message: Message) -> None:
        self.seen.append(message.id)

    def running(self, *handler: Callable[[Message], object], **settings: Any) -> AbstractContextManager[None]:
        return running(self.worker(*handler, **settings))

    def started(self, *handler: Callable[[Message], object], **settings: Any) -> AbstractContextManager[Started]:
        return started(self.worker(*handler, **settings))

    def producer(self, **settings: Any) -> Producer:
        producer = Producer(self.client, self.stream, **settings)
        self._open.append(producer)
        return producer

    def make_group(self) -> None:
        self.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)

    def add(self, count: int, **fields: str) -> list[str]:
        producer = Producer(self.client, self.stream)
        ids = producer.add_many({"n": n, **fields} for n in range(count))
        producer.close()
        return ids

    def strand(self, count: int, consumer: str = "dead") -> list[str]:
        """Let a consumer read entries and never come back."""
        rows: Any = self.client.xreadgroup(GROUP, consumer, {self.stream: ">"}, count=count)
        return [entry for entry, _ in rows[0][1]]

    def group_exists(self) -> bool:
        return bool(self.client.exists(self.stream) and self.client.xinfo_groups(self.stream))

    def pending(self) -> int:
        summary: Any = self.client.xpending(self.stream, GROUP)
        return int(summary["pending"])

    def consumers(self) -> list[str]:
        rows: Any = self.client.xinfo_consumers(self.stream, GROUP)
        return sorted(row["name"] for row in rows)

    def close(self) -> None:
        for it in self._open:
            it.close()


@contextlib.contextmanager
def wired(server: Any) -> Iterator[tuple[Wire, Redis]]:
    """A wire to the server, and a client that goes through it."""
    parts = urlsplit(server.url)
    with (
        Wire(parts.hostname or "127.0.0.1", parts.port or 6379) as wire,
        Redis(host="127.0.0.1", port=wire.port, password=parts.password, decode_responses=True) as client,
    ):
        yield wire, client
