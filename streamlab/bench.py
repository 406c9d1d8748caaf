"""The queue against raw redis-py: both sides in one run, on one server, taking turns.

Bare times say more about the machine than about the code: what counts is the ratio of two measurements of the same
round, and of all rounds the median.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from redis import Redis
from rich.console import Console
from rich.table import Table

from streamlab.queue import Message, Producer, Worker
from streamlab.servers import Server

_GROUP = "g"
_PAYLOAD = "x" * 100  # with the names and a task ID about 150 bytes a message
_BATCH = 100
_PIPELINE = 500


def bench(server: Server, *, messages: int, rounds: int, progress: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """Measure, and return a row a comparison: what, unit, raw, ours (medians), ratio (median), goal.

    Args:
        server: where to measure; keys are made under its prefix, and removed.
        messages: a measurement of throughput.
        rounds: how often each is repeated.
        progress: told (finished, total) measurements.
    """
    pairs: tuple[tuple[str, str, str, _Measure, _Measure], ...] = (
        ("draining, no-op handler", "messages/s", "at least 0.8", _drain_raw, _drain_ours),
        ("draining, handler reads the fields", "messages/s", "", _drain_raw, _drain_ours_reading),
        ("adding many", "messages/s", "at least 0.8", _add_raw, _add_ours),
        ("XADD to handler, p50", "ms", "at most 1.2", _latency_raw, _latency_ours),
    )
    rows = []
    finished = 0
    for what, unit, goal, raw, ours in pairs:
        results: list[tuple[float, float]] = []
        for _ in range(rounds):
            values = []
            for measure in (raw, ours):
                stream = f"{server.prefix}{secrets.token_hex(4)}"
                with server.client() as client:
                    values.append(measure(client, stream, messages))
                    client.delete(stream)
                finished += 1
                progress(finished, 2 * rounds * len(pairs))
            results.append((values[0], values[1]))
        rows.append(
            {
                "what": what,
                "unit": unit,
                "raw": median(raw for raw, _ in results),
                "ours": median(ours for _, ours in results),
                "ratio": median(ours / raw for raw, ours in results),
                "goal": goal,
            }
        )
    return rows


def describe(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows as a table."""
    table = Table("", "raw redis-py", "streamlab", "unit", "ratio", "goal")
    for row in rows:
        digits = 2 if row["unit"] == "ms" else 0
        table.add_row(
            row["what"],
            f"{row['raw']:,.{digits}f}",
            f"{row['ours']:,.{digits}f}",
            row["unit"],
            f"{row['ratio']:.2f}",
            row["goal"],
        )
    console.print(table)


_Measure = Callable[[Redis, str, int], float]


def _fill(client: Redis, stream: str, messages: int) -> float:
    """Add by pipelines of 500, and return messages a second."""
    client.xgroup_create(stream, _GROUP, id="0", mkstream=True)
    started = time.perf_counter()
    for first in range(0, messages, _PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + _PIPELINE, messages)):
            pipeline.xadd(stream, {"task_id": f"{number:032d}", "payload": _PAYLOAD})
        pipeline.execute()
    return messages / (time.perf_counter() - started)


_add_raw = _fill


def _add_ours(client: Redis, stream: str, messages: int) -> float:
    client.xgroup_create(stream, _GROUP, id="0", mkstream=True)
    producer = Producer(client, stream)
    started = time.perf_counter()
    producer.add_many({"task_id": f"{number:032d}", "payload": _PAYLOAD} for number in range(messages))
    took = time.perf_counter() - started
    producer.close()
    return messages / took


def _drain_raw(client: Redis, stream: str, messages: int) -> float:
    """XACK of the last batch and XREADGROUP of the next in one round trip; a call for each message."""

    def handler(fields: dict[str, str]) -> None:
        pass

    _fill(client, stream, messages)
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

    _fill(client, stream, messages)
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
