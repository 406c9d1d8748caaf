"""The sampler samples what a server says, and makes nothing up where it says nothing."""

from __future__ import annotations

import threading
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from streamlab.history.sampler import Sampler
from streamlab.servers import Server
from tests.waiting import wait_until


def fake(*answers: Any) -> Mock:
    """A client that gives these answers, a tick one, then the last of them for ever; an exception is raised."""
    client = Mock()
    client.pipeline.return_value.execute.side_effect = chain(answers, repeat(answers[-1]))
    return client


def sampled(path: Path, client: Mock, ticks: int) -> pd.DataFrame:
    with Sampler(client, "jobs", "workers", path, hz=200):
        wait_until(f"{ticks} ticks", lambda: client.pipeline().execute.call_count >= ticks)
    return pd.read_csv(path, keep_default_na=False)


GOOD = [
    [{"name": b"worker-1", "pending": 3, "idle": 1500}, {"name": 'odd,\n"one"', "pending": 0, "idle": 0}],
    [{"name": b"others", "pending": 99, "lag": 99}, {"name": b"workers", "pending": 3, "lag": 7}],
    1234567,
]


def test_a_line_a_value(tmp_path: Path) -> None:
    table = sampled(tmp_path / "samples.csv", fake(GOOD), 1)
    first = table[table["time_ns"] == table["time_ns"].iloc[0]]
    assert first.drop(columns="time_ns").values.tolist() == [
        ["pending", "worker-1", 3],
        ["idle", "worker-1", 1.5],
        ["pending", 'odd,\n"one"', 0],
        ["idle", 'odd,\n"one"', 0],
        ["group_pending", "", 3],
        ["lag", "", 7],
        ["length", "", 1234567],
    ]


def test_what_redis_does_not_say_is_a_gap(tmp_path: Path) -> None:
    client = fake(GOOD, RedisConnectionError("gone"), OSError("gone"), GOOD, RedisConnectionError("gone"))
    table = sampled(tmp_path / "away.csv", client, 5)
    assert table["time_ns"].nunique() == 2
    for n, lag in enumerate(({"lag": None}, {})):
        answer = [ResponseError("NOGROUP"), [{"name": "workers", "pending": 3, **lag}], 12]
        table = sampled(tmp_path / f"{n}.csv", fake(answer), 1)
        assert set(table["metric"]) == {"group_pending", "length"}


def test_stop_joins_and_may_come_first_or_twice(tmp_path: Path) -> None:
    Sampler(fake(GOOD), "jobs", "workers", tmp_path / "never.csv").stop()
    sampler = Sampler(fake(GOOD), "jobs", "workers", tmp_path / "samples.csv").start()
    sampler.stop()
    sampler.stop()
    assert not any(thread.name == "sampler" for thread in threading.enumerate())


def test_a_real_server(any_server: Server, tmp_path: Path) -> None:
    stream, path = f"{any_server.prefix}sampler", tmp_path / "samples.csv"
    with any_server.client() as client:
        client.xgroup_create(stream, "workers", "0", mkstream=True)
        for n in range(5):
            client.xadd(stream, {"job": n})
        client.xreadgroup("workers", "worker-1", {stream: ">"}, count=2)
        with Sampler(any_server.client(), stream, "workers", path, hz=100):
            wait_until("a sample", lambda: path.read_text().count("length") >= 2)
        client.delete(stream)
    values = pd.read_csv(path, keep_default_na=False).groupby(["metric", "consumer"])["value"].last()
    found = [values[key] for key in (("pending", "worker-1"), ("group_pending", ""), ("length", ""), ("lag", ""))]
    assert found == [2, 2, 5, 3]
