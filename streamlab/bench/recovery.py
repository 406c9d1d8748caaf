"""How long the messages of a dead worker wait, from its SIGKILL until the last of them is done."""

from __future__ import annotations

import itertools
import math
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamlab.bench.pair import Pair
from streamlab.bench.queue import fill
from streamlab.queue import Message, Producer, Worker

if TYPE_CHECKING:
    from streamlab.servers import Server

_GROUP = "g"
_CLAIM_AFTER = 1.0  # seconds
_BUSY = 1000  # messages a second
#: Reads so many entries as consumer "dead", says so, and waits to be killed.
_DOOMED = """
import sys
from redis import Redis
url, stream, group, count = sys.stdin.readline().split()
client = Redis.from_url(url)
client.xreadgroup(group, "dead", {stream: ">"}, count=int(count))
print("read", flush=True)
sys.stdin.read()
"""


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: the time from SIGKILL to the last stranded message done, and `claim_after` + 0.1 s + 5 %."""
    many = 10 * messages
    return [
        Pair(
            f"recovery of {many:,} stranded, all idle long enough",
            "messages/s",
            "90,000 a second",
            lambda: 90_000.0,
            lambda: _sweep(server, many),
            "at least 1",
        ),
        *_prompt(server),
    ]


def _prompt(server: Server) -> list[Pair]:
    return [
        Pair(
            f"recovery of {stranded:,} stranded, {'busy' if busy else 'quiet'} stream",
            "s",
            "claim_after + 0.1 s + 5 %",
            lambda: 1.05 * _CLAIM_AFTER + 0.1,
            lambda stranded=stranded, busy=busy: _recovery(server, stranded, busy),  # type: ignore[misc]
            "at most 1",
        )
        for busy in (False, True)
        for stranded in (1, 100, 10_000)
    ]


def _sweep(server: Server, stranded: int) -> float:
    """Messages a second from the worker's start to the last of them handled."""
    stream = f"{server.prefix}{secrets.token_hex(4)}"
    left = itertools.count(stranded - 1, -1)
    ended = 0.0

    def handler(message: Message) -> None:
        nonlocal ended
        if next(left) == 0:
            ended = time.perf_counter()
            worker.stop()

    with server.client(socket_timeout=60) as client:
        fill(client, stream, stranded)
        while client.xreadgroup(_GROUP, "dead", {stream: ">"}, count=10_000):
            pass
        time.sleep(0.1)  # what was read last is idle long enough, too
        worker = Worker(client, stream, _GROUP, handler, claim_after=0.1)
        started = time.perf_counter()
        worker.run()
        client.unlink(stream)
    return stranded / (ended - started)


def _recovery(server: Server, stranded: int, busy: bool) -> float:
    stream = f"{server.prefix}{secrets.token_hex(4)}"
    seen: set[str] = set()
    last = 0.0

    def handler(message: Message) -> None:
        nonlocal last
        if message.id in doomed:
            seen.add(message.id)
            last = time.monotonic()

    with server.client(socket_timeout=60) as client:
        fill(client, stream, stranded)
        doomed = {entry for entry, _ in client.xrange(stream)}
        dead = subprocess.Popen(
            [sys.executable, "-c", _DOOMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert dead.stdin is not None
        assert dead.stdout is not None
        dead.stdin.write(f"{server.url} {stream} {_GROUP} {stranded}\n")
        dead.stdin.flush()
        assert dead.stdout.readline() == "read\n"
        worker = Worker(client, stream, _GROUP, handler, claim_after=_CLAIM_AFTER)
        thread = threading.Thread(target=worker.run)
        with _traffic(server, stream, busy):
            dead.kill()
            killed = time.monotonic()
            thread.start()
            while seen != doomed and time.monotonic() < killed + 30:
                time.sleep(0.01)
            worker.stop()
            thread.join()
        dead.wait()
        dead.stdin.close()
        dead.stdout.close()
        client.unlink(stream)
    return last - killed if seen == doomed else math.inf  # not within 30 s


@contextmanager
def _traffic(server: Server, stream: str, busy: bool) -> Iterator[None]:
    """New messages all the time, or none."""
    stop = threading.Event()

    def add() -> None:
        with server.client() as client:
            producer = Producer(client, stream)
            while not stop.wait(0.02):
                producer.add_many({"n": n} for n in range(_BUSY // 50))
            producer.close()

    thread = threading.Thread(target=add)
    if busy:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if busy:
            thread.join()
