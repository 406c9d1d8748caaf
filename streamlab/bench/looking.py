"""What it costs to look: the event log of a worker, the sampler of a group, and a history that is read again."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlab.bench import Pair
from streamlab.bench.raw import GROUP, answer_of, fill
from streamlab.history.files import write_json
from streamlab.history.log import EventLog
from streamlab.history.sampler import Sampler
from streamlab.queue import Message, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from streamlab.servers import Server

_MESSAGES, _WORK = 1000, 0.001  # seconds of work a message
_SAMPLED = 3.0  # seconds


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: with looking and without; and much to look at, with little."""
    drain, sample = partial(_drain, server), partial(_sample, server)
    a_million, a_tenth = partial(_read_again, 250_000), partial(_read_again, 25_000)  # jobs of four or five events
    return [
        Pair(
            "draining at 1 ms a message, event log on", "messages/s", "event log off",
            partial(drain, log=False), partial(drain, log=True),
        ),
        Pair(
            "the sampler at 20 Hz, PEL of 1,000,000", "% of the server's time", "PEL of 1,000",
            partial(sample, 1_000), partial(sample, 1_000_000),
        ),
        Pair(
            "a million events loaded, judged, drawn", "s", "100,000 events",
            lambda: a_tenth()[0], lambda: a_million()[0],
        ),
        Pair("the same, memory", "MB", "100,000 events", lambda: a_tenth()[1], lambda: a_million()[1]),
    ]  # fmt: skip


@contextmanager
def _stream(server: Server) -> Iterator[tuple[Redis, str, str]]:
    """Give a client, the name of a stream, and a folder; the last two are removed."""
    stream = f"{server.prefix}{secrets.token_hex(4)}"
    with server.client(socket_timeout=60) as client, tempfile.TemporaryDirectory(prefix="streamlab-") as folder:
        try:
            yield client, stream, folder
        finally:
            client.unlink(stream)


def _drain(server: Server, *, log: bool) -> float:
    """Messages a second of our worker."""
    count = 0

    def handler(message: Message) -> None:
        nonlocal count
        until = time.perf_counter() + _WORK
        while time.perf_counter() < until:
            pass
        count += 1
        if count == _MESSAGES:
            worker.stop()

    with _stream(server) as (client, stream, folder), EventLog(folder, "worker-1", stream=stream) as written:
        fill(client, stream, _MESSAGES)
        worker = Worker(client, stream, GROUP, handler, observe=written.observe if log else None)
        started = time.perf_counter()
        worker.run()
        return _MESSAGES / (time.perf_counter() - started)


def _sample(server: Server, entries: int) -> float:
    """Percent of its time that the server spends on the sampler's commands."""
    with _stream(server) as (client, stream, folder):
        fill(client, stream, entries)
        while client.xreadgroup(GROUP, "c", {stream: ">"}, count=10_000):
            pass
        before, started = _microseconds(client), time.perf_counter()
        with Sampler(server.client(), stream, GROUP, Path(folder) / "samples.csv"):
            time.sleep(_SAMPLED)
        return (_microseconds(client) - before) / 1e4 / (time.perf_counter() - started)


def _microseconds(client: Redis) -> float:
    stats: Any = client.info("commandstats")
    asked = ("xinfo|consumers", "xinfo|groups", "xlen")
    return float(sum(stats.get(f"cmdstat_{name}", {"usec": 0})["usec"] for name in asked))


_READ_AGAIN = """
import json, sys, time
from streamlab.bench.raw import peak
from streamlab.report import Run
started = time.perf_counter()
run = Run(json.loads(sys.stdin.readline()))
assert run.verdict.verdict == "valid", run.verdict
run.save_pictures()
print([time.perf_counter() - started, peak()])
"""


def _read_again(jobs: int) -> list[float]:
    """Seconds and megabytes of a process that loads, judges and draws the history of a made-up run."""
    with tempfile.TemporaryDirectory(prefix="streamlab-") as folder:
        _write_history(Path(folder), jobs)
        found: list[float] = answer_of([sys.executable, "-c", _READ_AGAIN], folder)
        return found


def _write_history(folder: Path, jobs: int) -> None:
    """Three workers, and every job is done."""
    start = 1_000_000_000
    (folder / "experiment.toml").write_text("")
    write_json(folder / "environment.json", {"start_ns": start})
    with EventLog(folder, "producer") as producer:
        workers = [EventLog(folder, f"worker-{number}") for number in (1, 2, 3)]
        for job in range(jobs):
            at = start + job * 100_000
            entry = f"{1_700_000_000_000 + job}-0"
            producer.write("added", job=job, entry=entry, due_ns=at, time_ns=at)
            for step, kind in enumerate(("read", "started", "done", "acked")):
                workers[job % 3].write(kind, job=job, entry=entry, deliveries=1, time_ns=at + 1000 * (step + 1))
        for worker in workers:
            worker.close()
    empty: dict[str, Any] = {"pending": {}, "undelivered": [], "dead": [], "length": jobs, "stream": "s"}
    write_json(folder / "outcome.json", {"ended": "drained", "ended_ns": start, "group": GROUP, **empty})
