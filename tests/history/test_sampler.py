"""The sampler samples what a server says, and makes nothing up where it says nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from streamlab.history.sampler import Sampler
from streamlab.servers import Server
from tests.waiting import wait_until


class FakeRedis:
    """Answers a script, a tick an item, then its last item for ever; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def pipeline(self, transaction: bool) -> Self:
        assert not transaction
        return self

    def xinfo_consumers(self, stream: str, group: str) -> None:
        assert (stream, group) == ("jobs", "workers")

    def xinfo_groups(self, stream: str) -> None: ...

    def xlen(self, stream: str) -> None: ...

    def execute(self, raise_on_error: bool) -> Any:
        assert not raise_on_error
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def sampled(path: Path, fake: Any, ticks: int) -> tuple[pd.DataFrame, Sampler]:
    with Sampler(fake, "jobs", "workers", path, hz=200) as sampler:
        wait_until(f"{ticks} ticks", lambda: fake.asked >= ticks)
    return pd.read_csv(path, keep_default_na=False), sampler


GOOD = [
    [{"name": b"worker-1", "pending": 3, "idle": 1500}, {"name": 'odd,\n"one"', "pending": 0, "idle": 0}],
    [{"name": b"others", "pending": 99, "lag": 99}, {"name": b"workers", "pending": 3, "lag": 7}],
    1234567,
]


def test_a_line_a_value(tmp_path: Path) -> None:
    table, sampler = sampled(tmp_path / "samples.csv", FakeRedis(GOOD), 1)
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
    assert sampler.missed == 0


def test_redis_away_is_a_gap(tmp_path: Path) -> None:
    fake = FakeRedis(GOOD, RedisConnectionError("gone"), OSError("gone"), GOOD, RedisConnectionError("gone"))
    table, sampler = sampled(tmp_path / "samples.csv", fake, 5)
    assert table["time_ns"].nunique() == 2
    assert sampler.missed == fake.asked - 2


@pytest.mark.parametrize("lag", [{"lag": None}, {}])
def test_no_lag_is_no_value(tmp_path: Path, lag: dict[str, None]) -> None:
    answer = [ResponseError("NOGROUP"), [{"name": "workers", "pending": 3, **lag}], 12]
    table, _ = sampled(tmp_path / "samples.csv", FakeRedis(answer), 1)
    assert set(table["metric"]) == {"group_pending", "length"}


def test_stop_joins_and_may_come_first_or_twice(tmp_path: Path) -> None:
    Sampler(FakeRedis(GOOD), "jobs", "workers", tmp_path / "never.csv").stop()  # type: ignore[arg-type]
    sampler = Sampler(FakeRedis(GOOD), "jobs", "workers", tmp_path / "samples.csv").start()  # type: ignore[arg-type]
    sampler.stop()
    sampler.stop()
    assert not any(thread.name == "sampler" for thread in threading.enumerate())


def test_a_real_server(server: Server, tmp_path: Path) -> None:
    stream = f"{server.prefix}sampler"
    client = server.client()
    path = tmp_path / "samples.csv"
    try:
        client.xgroup_create(stream, "workers", "0", mkstream=True)
        for n in range(5):
            client.xadd(stream, {"job": n})
        client.xreadgroup("workers", "worker-1", {stream: ">"}, count=2)
        with Sampler(server.client(), stream, "workers", path, hz=100):
            wait_until("a sample", lambda: path.read_text().count("length") >= 2)
        values = pd.read_csv(path, keep_default_na=False).groupby(["metric", "consumer"])["value"].last()
        assert values["pending", "worker-1"] == 2
        assert values["group_pending", ""] == 2
        assert values["length", ""] == 5
        if "lag" in server.features:
            assert values["lag", ""] == 3
    finally:
        client.delete(stream)
        client.close()
