"""The queue against raw redis-py."""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

from redis import Redis

from streamlab.bench import Pair
from streamlab.bench.raw import BATCH, GROUP, PAYLOAD, answer_of, drain, fill
from streamlab.queue import Message, Producer, Worker
from streamlab.servers import Server

_THREADS = 16
_WINDOW = 64  # messages for the threads of raw redis-py
_IO = 0.002  # seconds that a handler waits
_PACE = 0.005  # seconds between two messages when latency is measured
_SAMPLES = 300  # at most; fewer with few messages

_Measure = Callable[[Redis, str, int], float]


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

    raw, few, per_s = "raw redis-py", min(messages, 10_000), "messages/s"
    reading, waiting = (lambda message: message.fields), (lambda message: time.sleep(_IO))
    raw_memory, our_memory = (on(partial(_memory, server.url, loop)) for loop in (_RAW_LOOP, _OUR_LOOP))
    reads, threaded = partial(_drain, work=reading), partial(_drain, threads=_THREADS)
    waits = partial(_drain, work=waiting, threads=_THREADS)
    return [
        Pair("draining, no-op handler", per_s, raw, on(_drain_raw), on(_drain)),
        Pair("draining, handler reads the fields", per_s, raw, on(_drain_raw), on(reads)),
        Pair("draining, 16 threads, no-op handler", per_s, "1 thread", on(_drain), on(threaded)),
        Pair("draining, 16 threads, 2 ms of I/O", per_s, f"16 threads on {raw}", on(_wait_raw, few), on(waits, few)),
        Pair("adding many", per_s, raw, on(fill), on(_add_ours)),
        Pair("XADD to handler, median", "ms", raw, on(_latency_raw), on(_latency_ours)),
        Pair("memory of a worker process", "MB", raw, raw_memory, our_memory),
    ]


def _add_ours(client: Redis, stream: str, messages: int) -> float:
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    producer = Producer(client, stream)
    started = time.perf_counter()
    producer.add_many({"task_id": f"{number:032d}", "payload": PAYLOAD} for number in range(messages))
    took = time.perf_counter() - started
    producer.close()
    return messages / took


def _drain_raw(client: Redis, stream: str, messages: int) -> float:
    fill(client, stream, messages)
    return drain(client, stream, messages, lambda fields: None)


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
    worker = Worker(client, stream, GROUP, counting, threads=threads)
    started = time.perf_counter()
    worker.run()
    return messages / (ended - started)


def _wait_raw(client: Redis, stream: str, messages: int) -> float:
    """A window of messages shared by the threads, without a barrier between batches."""

    def work(entry: str) -> str:
        time.sleep(_IO)
        return entry

    fill(client, stream, messages)
    window: deque[Future[str]] = deque()
    read: Callable[..., Any] = client.xreadgroup
    started = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        while rows := read(GROUP, "c", {stream: ">"}, count=_WINDOW):
            window.extend(pool.submit(work, entry) for entry, _ in rows[0][1])
            if done := [window.popleft().result() for _ in range(len(window) - _WINDOW)]:
                client.xack(stream, GROUP, *done)
        client.xack(stream, GROUP, *[one.result() for one in window])
    return messages / (time.perf_counter() - started)


#: A process that drains what is there, and says how much memory it took.
_MEMORY = """
import json, sys
from redis import Redis
from streamlab.bench import raw
url, stream, messages = json.loads(sys.stdin.readline())
client = Redis.from_url(url)
{loop}
print(raw.peak())
"""
_RAW_LOOP = "raw.drain(client, stream, messages, lambda fields: None)"
_OUR_LOOP = """
from streamlab.queue import Worker
left = iter(range(messages - 1, -1, -1))
worker = Worker(client, stream, raw.GROUP, lambda message: next(left) or worker.stop())
worker.run()
"""


def _memory(url: str, loop: str, client: Redis, stream: str, messages: int) -> float:
    """MB of a process that drains the stream by `loop`, at its high-water mark."""
    fill(client, stream, messages)
    return float(answer_of([sys.executable, "-c", _MEMORY.replace("{loop}", loop)], [url, stream, messages]))


def _latency(client: Redis, stream: str, messages: int, consume: Callable[[Callable[[str], bool]], None]) -> float:
    """Median milliseconds from just before XADD to the handler's start, 200 messages/s on a quiet stream."""
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    took: list[float] = []
    samples = min(_SAMPLES, messages // 20)

    def is_last(sent: str) -> bool:
        took.append(time.perf_counter() - float(sent))
        return len(took) == samples

    thread = threading.Thread(target=consume, args=(is_last,))
    thread.start()
    due = time.perf_counter() + 0.2
    for _ in range(samples):
        time.sleep(max(0.0, due - time.perf_counter()))
        client.xadd(stream, {"sent": repr(time.perf_counter()), "payload": PAYLOAD})
        due += _PACE
    thread.join()
    return 1000 * median(took)


def _latency_raw(client: Redis, stream: str, messages: int) -> float:
    def consume(is_last: Callable[[str], bool]) -> None:
        goes_on = True
        while goes_on:
            reply: Any = client.xreadgroup(GROUP, "c", {stream: ">"}, count=BATCH, block=100)
            for entry, fields in reply[0][1] if reply else []:
                goes_on = not is_last(fields["sent"])
                client.xack(stream, GROUP, entry)

    return _latency(client, stream, messages, consume)


def _latency_ours(client: Redis, stream: str, messages: int) -> float:
    def consume(is_last: Callable[[str], bool]) -> None:
        def handler(message: Message) -> None:
            if is_last(message.fields["sent"]):
                worker.stop()

        worker = Worker(client, stream, GROUP, handler)
        worker.run()

    return _latency(client, stream, messages, consume)
