"""What the queue's tests share: a worker in a thread, and an observer that remembers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from streamlab.queue import Message, Producer, Worker
from tests.wire import Wire

GROUP = "g"


class Notes:
    """An observer that keeps everything: (kind, entry ID, deliveries, note), in order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, int, str]] = []

    def __call__(self, kind: str, messages: Sequence[Message], note: str = "") -> None:
        self.all += [(kind, m.id, m.deliveries, note) for m in messages] or [(kind, "", 0, note)]

    def ids(self, kind: str) -> list[str]:
        return [entry for it, entry, _, _ in self.all if it == kind]

    def of(self, entry: str) -> list[str]:
        return [kind for kind, it, _, _ in self.all if it == entry]


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """The worker at work in a thread; at the end it is stopped and must come back, and its errors are ours."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="worker under test")
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive(), "the worker did not stop within 20 s"
    if errors:
        raise errors[0]


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
    with Wire(parts.hostname or "127.0.0.1", parts.port or 6379) as wire:
        client = Redis(host="127.0.0.1", port=wire.port, password=parts.password, decode_responses=True)
        try:
            yield wire, client
        finally:
            client.close()
