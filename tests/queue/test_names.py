"""Names, clients and settings that cannot work are refused where they are given, with advice."""

import subprocess
import tempfile
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel

from streamlab.queue import DeadLetters, Producer, Worker
from tests.queue.helpers import GROUP, running
from tests.waiting import wait_until

NOWHERE = redis.Redis(port=1)  # never connected


def test_names_that_are_no_text():
    for name in (b"bytes", None, "", 7):
        for what, make in [
            ("stream", lambda name: Producer(NOWHERE, name)),
            ("stream", lambda name: Worker(NOWHERE, name, GROUP, print)),
            ("group", lambda name: Worker(NOWHERE, "s", name, print)),
            ("consumer", lambda name: Worker(NOWHERE, "s", GROUP, print, consumer=7 if name is None else name)),
            ("stream", lambda name: DeadLetters(NOWHERE, name, GROUP)),
            ("group", lambda name: DeadLetters(NOWHERE, "s", name)),
        ]:
            with pytest.raises(ValueError if name == "" else TypeError, match=what):
                make(name)


def test_clients_of_another_kind():
    for client, advice in [
        (redis.asyncio.Redis(port=1), "threads"),
        (object.__new__(redis.RedisCluster), "node"),
        (Sentinel([("127.0.0.1", 1)]), "master_for"),
        ("redis://127.0.0.1", r"redis\.Redis"),
        (None, r"redis\.Redis"),
    ]:
        for make in (Producer, lambda *it: Worker(*it, GROUP, print), lambda *it: DeadLetters(*it, GROUP)):
            with pytest.raises(TypeError, match=advice):
                make(client, "s")


def test_settings_that_cannot_be_meant():
    nan = float("nan")
    for wrong in [{"keep": -1}, {"patience": -1}, {"patience": 100}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Producer(NOWHERE, "s", **wrong)
    for name, values in {
        "batch": [0], "claim_after": [0, nan], "max_deliveries": [0], "retry_delay": [-1], "threads": [0],
        "handler_timeout": [0], "timeout": [nan, float("inf")],
    }.items():  # fmt: skip
        for value in values:
            with pytest.raises(ValueError, match=name):
                Worker(NOWHERE, "s", GROUP, print, **{name: value})


def test_a_client_of_a_unix_socket(any_server):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "socket"
        command = [any_server.binary.path, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                wait_until("the socket is there", path.exists)
                with redis.Redis.from_url(f"unix://{path}") as client:
                    seen, producer = [], Producer(client, "s")
                    entry = producer.add({"n": 1})
                    producer.close()
                    with running(Worker(client, "s", GROUP, lambda m: seen.append(m.id))):
                        wait_until("it is handled", lambda: seen == [entry])
            finally:
                process.kill()
