"""What the queue's tests share: a worker in a thread, an observer that remembers, questions to Redis."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from streamlab.queue import Message, PermanentError, Producer, Worker
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


def add(client: Redis, stream: str, count: int, **fields: str) -> list[str]:
    producer = Producer(client, stream)
    ids = producer.add_many({"n": n, **fields} for n in range(count))
    producer.close()
    return ids


def strand(client: Redis, stream: str, count: int, consumer: str = "dead") -> list[str]:
    """Let a consumer read entries and never come back."""
    rows: Any = client.xreadgroup(GROUP, consumer, {stream: ">"}, count=count)
    return [entry for entry, _ in rows[0][1]]


def pending(client: Redis, stream: str) -> int:
    """Entries pending in the group."""
    summary: Any = client.xpending(stream, GROUP)
    return int(summary["pending"])


def consumers(client: Redis, stream: str) -> list[str]:
    rows: Any = client.xinfo_consumers(stream, GROUP)
    return [row["name"] for row in rows]


@contextlib.contextmanager
def wired(server: Any) -> Iterator[tuple[Wire, Redis]]:
    """A wire to the server, and a client that goes through it."""
    parts = urlsplit(server.url)
    with (
        Wire(parts.hostname or "127.0.0.1", parts.port or 6379) as wire,
        Redis(host="127.0.0.1", port=wire.port, password=parts.password, decode_responses=True) as client,
    ):
        yield wire, client
