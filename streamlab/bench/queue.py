"""The queue against raw redis-py."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from redis import Redis

from streamlab.bench.pair import Pair
from streamlab.queue import Message, Producer, Worker
from streamlab.servers import Server

_GROUP = "g"
_PAYLOAD = "x" * 100  # with the names and a task ID about 150 bytes a message
_BATCH = 100
_PIPELINE = 500


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: the queue at work, and raw redis-py doing the same."""

    def on(measure: _Measure) -> Callable[[], float]:
        def measured() -> float:
            stream = f"{server.prefix}{secrets.token_hex(4)}"
            with server.client() as client:
                try:
                    return measure(client, stream, messages)
                finally:
                    client.delete(stream)

        return measured

    raw = "raw redis-py"
    return [
        Pair("draining, no-op handler", "messages/s", raw, on(drain_raw), on(_drain_ours), "at least 0.8"),
        Pair("draining, handler reads the fields", "messages/s", raw, on(drain_raw), on(_drain_ours_reading), ""),
        Pair("adding many", "messages/s", raw, on(_add_raw), on(_add_ours), "at least 0.8"),
        Pair("XADD to handler, p50", "ms", raw, on(_latency_raw), on(_latency_ours), "at most 1.2"),
    ]


_Measure = Callable[[Redis, str, int], float]


def fill(client: Redis, stream: str, messages: int) -> float:
    """Add by pipelines of 500, and return messages a second."""
    client.xgroup_create(stream, _GROUP, id="0", mkstream=True)
    started = time.perf_counter()
    for first in range(0, messages, _PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + _PIPELINE, messages)):
            pipeline.xadd(stream, {"task_id": f"{number:032d}", "payload": _PAYLOAD})
        pipeline.execute()
    return messages / (time.perf_counter() - started)


_add_raw = fill


def _add_ours(client: Redis, stream: str, messages: int) -> float:
    client.xgroup_create(stream, _GROUP, id="0", mkstream=True)
    producer = Producer(client, stream)
    started = time.perf_counter()
    producer.add_many({"task_id": f"{number:032d}", "payload": _PAYLOAD} for number in range(messages))
    took = time.perf_counter() - started
    producer.close()
    return messages / took


def drain_raw(client: Redis, stream: str, messages: int) -> float:
    """XACK of the last batch and XREADGROUP of the next in one round trip; a call for each message."""

    def handler(fields: dict[str, str]) -> None:
        pass

    fill(client, stream, messages)
    done: list[str] = []
    count = 0
    started = time.perf_counter()
    while count < messages:
        pipeline = client.pipeline(transaction=False)
        if done:
            pipeline.xack(stream, _GROUP, *done)
        pipeline.xreadgroup(_GROUP, "c", {stream: ">"}, count=_BATCH, block=100)
        done = []
        for entry, fields in pipeline.execute()[-1][0][1]:
            handler(fields)
            done.append(entry)
        count += len(done)
    client.xack(stream, _GROUP, *done)
    return messages / (time.perf_counter() - started)


def _drain_ours(client: Redis, stream: str, messages: int, handler: Callable[[Message], object] | None = None) -> float:
    """With all defaults: recovery, dead letters, heartbeat."""
    count = 0

    def counting(message: Message) -> None:
        nonlocal count
        count += 1
        if count == messages:
            worker.stop()

    def reading(message: Message) -> None:
        counting(message)
        message.fields  # noqa: B018 - decoded on first use, and this is it

    fill(client, stream, messages)
    worker = Worker(client, stream, _GROUP, reading if handler else counting)
    started = time.perf_counter()
    worker.run()
    return messages / (time.perf_counter() - started)


def _drain_ours_reading(client: Redis, stream: str, messages: int) -> float:
    return _drain_ours(client, stream, messages, handler=lambda message: message.fields)


_PACE = 0.005  # seconds between two messages when latency is measured
_SAMPLES = 300


def _latency(client: Redis, stream: str, consume: Callable[[Callable[[str], None], threading.Event], None]) -> float:
    """Median milliseconds from just before XADD to the handler's start, 200 messages/s on a quiet stream."""
    client.xgroup_create(stream, _GROUP, id="0", mkstream=True)
    took: list[float] = []
    stop = threading.Event()

    def handler(sent: str) -> None:
        took.append(time.perf_counter() - float(sent))

    thread = threading.Thread(target=consume, args=(handler, stop))
    thread.start()
    due = time.perf_counter() + 0.2
    for _ in range(_SAMPLES):
        time.sleep(max(0.0, due - time.perf_counter()))
        client.xadd(stream, {"sent": repr(time.perf_counter()), "payload": _PAYLOAD})
        due += _PACE
    deadline = time.perf_counter() + 5
    while len(took) < _SAMPLES and time.perf_counter() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join()
    return 1000 * quantiles(took, n=2)[0]


def _latency_raw(client: Redis, stream: str, messages: int) -> float:
    def consume(handler: Callable[[str], None], stop: threading.Event) -> None:
        reader = Redis(connection_pool=client.connection_pool)
        while not stop.is_set():
            reply: Any = reader.xreadgroup(_GROUP, "c", {stream: ">"}, count=_BATCH, block=100)
            for entry, fields in reply[0][1] if reply else []:
                handler(fields["sent"])
                reader.xack(stream, _GROUP, entry)

    return _latency(client, stream, consume)


def _latency_ours(client: Redis, stream: str, messages: int) -> float:
    def consume(handler: Callable[[str], None], stop: threading.Event) -> None:
        worker = Worker(client, stream, _GROUP, lambda message: handler(message.fields["sent"]))

        def wait() -> None:
            stop.wait()
            worker.stop()

        threading.Thread(target=wait, daemon=True).start()
        worker.run()

    return _latency(client, stream, consume)
