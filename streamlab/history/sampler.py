"""What Redis says of the group, asked at a fixed rate from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from streamlab.history.log import field

if TYPE_CHECKING:
    from redis import Redis


class Sampler:
    """Sample a consumer group into a CSV file, `samples.csv` in the run's folder, until `stop`.

        with Sampler(server.client(), "jobs", "workers", "out/run-1/samples.csv"):
            ...

    A line a value: `time_ns` (CLOCK_MONOTONIC, when the answer came), `metric`, `consumer` ('' = none), `value`. The
    metrics are 'pending' (messages) and 'idle' (seconds) of each consumer, and 'group_pending', 'lag' and 'length'
    (messages). What the server does not answer, or answers with null, has no line: a gap, never a zero.

    The three commands cost the server a few microseconds whatever the PEL's size; XPENDING with IDLE, or XINFO STREAM
    FULL, would not. The client is the sampler's own: its `socket_timeout` says how long a stalled server is waited for.
    """

    def __init__(self, client: Redis, stream: str, group: str, path: str | Path, hz: float = 20) -> None:
        self._client = client
        self._stream = stream
        self._group = group
        self._interval = 1 / hz
        self._halt = Event()
        self._file = Path(path).open("xb", buffering=0)  # noqa: SIM115
        self._thread = Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> Self:
        """Begin to sample, at once and then every 1/hz seconds."""
        self._file.write(b"time_ns,metric,consumer,value\n")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take no more samples; returns when the last one is in the file."""
        self._halt.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._file.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        due = monotonic()
        while not self._halt.wait(max(0.0, due - monotonic())):
            self._sample()
            # Ticks keep to the schedule; those that a slow answer swallowed are a gap, not made up for.
            while due <= monotonic():
                due += self._interval

    def _sample(self) -> None:
        ask = self._client.pipeline(transaction=False)
        ask.xinfo_consumers(self._stream, self._group)
        ask.xinfo_groups(self._stream)
        ask.xlen(self._stream)
        try:
            consumers, groups, length = ask.execute(raise_on_error=False)
        except (RedisError, OSError):
            return
        now = monotonic_ns()
        values = self._values(consumers, groups, length)
        self._file.write("".join(f"{now},{metric},{consumer},{value}\n" for metric, consumer, value in values).encode())

    def _values(self, consumers: Any, groups: Any, length: Any) -> Iterator[tuple[str, str, float]]:
        """Each answer on its own: where the group is gone (NOGROUP) the length still counts."""
        if isinstance(consumers, list):
            for row in consumers:
                name = field(_text(row["name"])).decode()
                yield "pending", name, row["pending"]
                yield "idle", name, row["idle"] / 1000
        if isinstance(groups, list):
            for row in groups:
                if _text(row["name"]) == self._group:
                    yield "group_pending", "", row["pending"]
                    if row.get("lag") is not None:  # null after XDEL or XTRIM; missing before Redis 7.0
                        yield "lag", "", row["lag"]
        if isinstance(length, int):
            yield "length", "", length


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
