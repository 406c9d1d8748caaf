"""How long the messages of a dead worker wait, from its last read until the last of them is done."""

from __future__ import annotations

import math
import secrets
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from streamlab.bench import Pair
from streamlab.bench.raw import GROUP, fill
from streamlab.queue import Message, Producer, Worker

if TYPE_CHECKING:
    from streamlab.servers import Server

_CLAIM_AFTER = 1.0  # seconds
_BUSY = 1000  # messages a second
_AT_MOST = 60  # seconds


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: the time that stranded messages take, and the earliest at which they may be claimed."""
    cases = [(stranded, busy) for busy in (False, True) for stranded in (1, 100, 10_000)]
    return [
        Pair(
            f"recovery of {stranded:,} stranded, {'busy' if busy else 'quiet'} stream",
            "s",
            "claim_after",
            lambda: _CLAIM_AFTER,
            partial(_recovery, server, stranded, busy),
        )
        for stranded, busy in [*cases, (10 * messages, False)]
    ]


def _recovery(server: Server, stranded: int, busy: bool) -> float:
    """Seconds from the last read of a consumer that never comes back; infinity if more than `_AT_MOST`."""
    stream = f"{server.prefix}{secrets.token_hex(4)}"
    left = stranded
    recovered = threading.Event()

    def handler(message: Message) -> None:
        nonlocal left
        if "payload" in message.fields:  # not one of the traffic
            left -= 1
            if not left:
                recovered.set()

    def traffic() -> None:
        with server.client() as client:
            producer = Producer(client, stream)
            while not recovered.wait(0.02):
                producer.add_many({"n": n} for n in range(_BUSY // 50))
            producer.close()

    with server.client(socket_timeout=60) as client:
        fill(client, stream, stranded)
        while client.xreadgroup(GROUP, "dead", {stream: ">"}, count=10_000):
            died = time.monotonic()
        worker = Worker(client, stream, GROUP, handler, claim_after=_CLAIM_AFTER)
        threads = [threading.Thread(target=run) for run in (worker.run, traffic)[: 1 + busy]]
        for thread in threads:
            thread.start()
        took = time.monotonic() - died if recovered.wait(_AT_MOST) else math.inf
        recovered.set()
        worker.stop()
        for thread in threads:
            thread.join()
        client.unlink(stream)
    return took
