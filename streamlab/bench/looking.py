"""What it costs to look: the event log of a worker, the sampler of a group, and a history that is read again."""

from __future__ import annotations

import multiprocessing
import secrets
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlab.bench.pair import PEAK, Pair
from streamlab.bench.queue import drain_raw, fill
from streamlab.history.files import write_json
from streamlab.history.log import EventLog
from streamlab.history.sampler import Sampler
from streamlab.queue import Message, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from streamlab.servers import Server

_GROUP = "g"
_SLOW_MESSAGES = 1000
_SAMPLED = 3.0  # seconds
_JOBS = 250_000  # with four or five events each a little over a million


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: with looking and without."""
    slow, quick = _SLOW_MESSAGES, messages
    return [
        Pair(
            "draining at 1 ms a message, event log on", "messages/s", "event log off",
            lambda: _drain(server, slow, 0.001, log=False),
            lambda: _drain(server, slow, 0.001, log=True),
            "at least 0.97",
        ),
        Pair(
            "draining, no-op handler, event log on", "messages/s", "raw redis-py, no event log",
            lambda: _drain_raw(server, quick),
            lambda: _drain(server, quick, 0, log=True),
            "at least 0.5",
        ),
        Pair(
            "the sampler at 20 Hz, PEL of 1,000,000", "% of the server's time", "PEL of 1,000",
            lambda: _sample(server, 1_000),
            lambda: _sample(server, 1_000_000),
            "at most 1 %",
        ),
        Pair(
            "a million events loaded, judged, drawn", "s", "the 10 s that it may take",
            lambda: 10.0,
            lambda: _read_again()[0],
            "at most 1",
        ),
        Pair(
            "the same, memory", "MB", "the 2,000 MB that it may take",
            lambda: 2000.0,
            lambda: _read_again()[1],
            "at most 1",
        ),
    ]  # fmt: skip


@contextmanager
def _stream(server: Server) -> Iterator[tuple[Redis, str]]:
    stream = f"{server.prefix}{secrets.token_hex(4)}"
    with server.client(socket_timeout=60) as client:
        try:
            yield client, stream
        finally:
            client.unlink(stream)


def _drain(server: Server, messages: int, seconds: float, *, log: bool) -> float:
    """Messages a second of our worker, each of which takes `seconds` of work."""
    count = 0

    def handler(message: Message) -> None:
        nonlocal count
        until = time.perf_counter() + seconds
        while seconds and time.perf_counter() < until:
            pass
        count += 1
        if count == messages:
            worker.stop()

    with _stream(server) as (client, stream), tempfile.TemporaryDirectory(prefix="streamlab-") as folder:
        fill(client, stream, messages)
        with EventLog(folder, "worker-1", stream=stream) as written:
            worker = Worker(client, stream, _GROUP, handler, observe=written.observe if log else None)
            started = time.perf_counter()
            worker.run()
            return messages / (time.perf_counter() - started)


def _drain_raw(server: Server, messages: int) -> float:
    with _stream(server) as (client, stream):
        return drain_raw(client, stream, messages)


def _sample(server: Server, entries: int) -> float:
    """Percent of its time that the server spends on the sampler's commands."""
    with _stream(server) as (client, stream), tempfile.TemporaryDirectory(prefix="streamlab-") as folder:
        fill(client, stream, entries)
        while client.xreadgroup(_GROUP, "c", {stream: ">"}, count=10_000):
            pass
        before = _microseconds(client)
        started = time.perf_counter()
        with Sampler(server.client(), stream, _GROUP, Path(folder) / "samples.csv"):
            time.sleep(_SAMPLED)
        took = time.perf_counter() - started
        return 100 * (_microseconds(client) - before) / 1e6 / took


def _microseconds(client: Redis) -> float:
    stats: Any = client.info("commandstats")
    return float(
        sum(stats.get(f"cmdstat_{name}", {"usec": 0})["usec"] for name in ("xinfo|consumers", "xinfo|groups", "xlen"))
    )


def _read_again() -> tuple[float, float]:
    """Seconds and megabytes of a process that loads, judges and draws a million events."""
    with tempfile.TemporaryDirectory(prefix="streamlab-") as folder:
        _write_history(Path(folder))
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_load_judge_draw, args=(folder, theirs))
        process.start()
        found: tuple[float, float] = ours.recv()
        process.join()
        return found


def _load_judge_draw(folder: str, answer: Any) -> None:
    from streamlab.report import Run

    started = time.perf_counter()
    run = Run(folder)
    assert run.verdict.verdict == "valid", run.verdict
    run.save_pictures()
    took = time.perf_counter() - started
    measured: dict[str, float] = {}
    exec(PEAK, measured)
    answer.send((took, measured["peak"]))


def _write_history(folder: Path) -> None:
    """A made-up run of three workers in which every job is done."""
    start = 1_000_000_000
    (folder / "experiment.toml").write_text("")
    write_json(folder / "environment.json", {"start_ns": start})
    with EventLog(folder, "producer") as producer:
        workers = [EventLog(folder, f"worker-{number}") for number in (1, 2, 3)]
        for job in range(_JOBS):
            at = start + job * 100_000
            entry = f"{1_700_000_000_000 + job}-0"
            producer.write("added", job=job, entry=entry, due_ns=at, time_ns=at)
            for step, kind in enumerate(("read", "started", "done", "acked")):
                workers[job % 3].write(kind, job=job, entry=entry, deliveries=1, time_ns=at + 1000 * (step + 1))
        for worker in workers:
            worker.close()
    empty: dict[str, Any] = {
        "pending": {},
        "undelivered": [],
        "dead": [],
        "length": _JOBS,
        "stream": "s",
        "group": _GROUP,
    }
    write_json(folder / "outcome.json", {"ended": "drained", "ended_ns": start, **empty})
