"""The queue against raw redis-py."""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Queue, SimpleQueue
from statistics import quantiles
from typing import Any

from redis import Redis

from streamlab.bench.pair import PEAK, Pair
from streamlab.queue import Message, Producer, Worker
from streamlab.servers import Server

_GROUP = "g"
_PAYLOAD = "x" * 100  # with the names and a task ID about 150 bytes a message
_BATCH = 100
_PIPELINE = 500
_THREADS = 16
_IO = 0.002  # seconds that a handler waits


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: the queue at work, and raw redis-py doing the same."""

    def on(measure: _Measure, messages: int = messages) -> Callable[[], float]:
        def measured() -> float:
            stream = f"{server.prefix}{secrets.token_hex(4)}"
            with server.client() as client:
                try:
                    return measure(client, stream, messages)
                finally:
                    client.delete(stream)

        return measured

    raw, few = "raw redis-py", min(messages, 10_000)
    reading, waiting = (lambda message: message.fields), (lambda message: time.sleep(_IO))
    return [
        Pair("draining, no-op handler", "messages/s", raw, on(drain_raw), on(_drain), "at least 1.25"),
        Pair(
            "draining, handler reads the fields", "messages/s", raw,
            on(drain_raw), on(partial(_drain, work=reading)), "at least 1.15",
        ),
        Pair(
            "draining, 16 threads, no-op handler", "messages/s", "1 thread",
            on(_drain), on(partial(_drain, threads=_THREADS)), "at least 0.5",
        ),
        Pair(
            "draining, 16 threads, 2 ms of I/O", "messages/s", "16 threads on raw redis-py",
            on(_wait_raw, few), on(partial(_drain, work=waiting, threads=_THREADS), few), "at least 0.98",
        ),
        Pair("adding many", "messages/s", raw, on(fill), on(_add_ours), "at least 1"),
        Pair("XADD to handler, p50", "ms", raw, on(_latency_raw), on(_latency_ours), "at most 1"),
        Pair(
            "memory of a worker process", "MB", raw,
            on(partial(_memory, loop=_RAW_LOOP)), on(partial(_memory, loop=_OUR_LOOP)), "at most 1.1",
        ),
    ]  # fmt: skip


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


def _drain(
    client: Redis, stream: str, messages: int, *, work: Callable[[Message], object] | None = None, threads: int = 1
) -> float:
    """Messages a second until the last handler call; with all defaults: recovery, dead letters, heartbeat."""
    left = itertools.count(messages - 1, -1)
    ended = 0.0

    def counting(message: Message) -> None:
        nonlocal ended
        if work is not None:
            work(message)
        if next(left) == 0:
            ended = time.perf_counter()
            worker.stop()

    fill(client, stream, messages)
    worker = Worker(client, stream, _GROUP, counting, threads=threads)
    started = time.perf_counter()
    worker.run()
    return messages / (ended - started)


def _wait_raw(client: Redis, stream: str, messages: int) -> float:
    """A window of 64 messages shared by the threads, without a barrier; one more thread acknowledges what has ended."""
    todo: Queue[str | None] = Queue(64)
    ended: SimpleQueue[str] = SimpleQueue()

    def work() -> None:
        while (entry := todo.get()) is not None:
            time.sleep(_IO)
            ended.put(entry)

    def acknowledge() -> None:
        count = 0
        while count < messages:
            entries = [ended.get()]
            while not ended.empty():
                entries.append(ended.get())
            client.xack(stream, _GROUP, *entries)
            count += len(entries)

    fill(client, stream, messages)
    threads = [threading.Thread(target=work) for _ in range(_THREADS)] + [threading.Thread(target=acknowledge)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    rows: Any = True
    read: Callable[..., Any] = client.xreadgroup
    while rows := read(_GROUP, "c", {stream: ">"}, count=64):
        for entry, _ in rows[0][1]:
            todo.put(entry)
    threads[-1].join()
    took = time.perf_counter() - started
    for _ in range(_THREADS):
        todo.put(None)
    for thread in threads:
        thread.join()
    return messages / took


#: A process that drains what is there.
_MEMORY = """
import json, sys
from redis import Redis
about, stream, messages = json.loads(sys.stdin.readline())
client = Redis(**about)
done, count = [], 0
{drain}
"""
_RAW_LOOP = """
while count < messages:
    pipeline = client.pipeline(transaction=False)
    if done: pipeline.xack(stream, "g", *done)
    pipeline.xreadgroup("g", "c", {stream: ">"}, count=100, block=100)
    done = [entry for entry, _ in pipeline.execute()[-1][0][1]]
    count += len(done)
"""
_OUR_LOOP = """
from streamlab.queue import Worker
left = iter(range(messages - 1, -1, -1))
worker = Worker(client, stream, "g", lambda message: next(left) or worker.stop())
worker.run()
"""


def _memory(client: Redis, stream: str, messages: int, loop: str) -> float:
    """MB of a process that drains the stream by `loop`, at its high-water mark."""
    fill(client, stream, messages)
    about = client.connection_pool.connection_kwargs
    address = {key: about[key] for key in ("host", "port", "username", "password", "path") if about.get(key)}
    task = json.dumps([address, stream, messages])
    code = _MEMORY.replace("{drain}", loop) + PEAK + "print(peak)"
    done = subprocess.run([sys.executable, "-c", code], input=task, capture_output=True, check=True, text=True)
    return float(done.stdout)


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
