"""Names and clients that cannot work are refused where they are given, with advice."""

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

MAKERS = {
    "Producer stream": lambda name: Producer(NOWHERE, name),
    "Worker stream": lambda name: Worker(NOWHERE, name, GROUP, print),
    "Worker group": lambda name: Worker(NOWHERE, "s", name, print),
    "DeadLetters stream": lambda name: DeadLetters(NOWHERE, name, GROUP),
    "DeadLetters group": lambda name: DeadLetters(NOWHERE, "s", name),
}


@pytest.mark.parametrize("name", [b"bytes", None, "", 7], ids=repr)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_name_that_is_no_text(make, name):
    with pytest.raises(ValueError if name == "" else TypeError, match=r"stream|group"):
        make(name)


@pytest.mark.parametrize("name", [b"bytes", "", 7], ids=repr)
def test_a_consumer_that_is_no_text(name):
    with pytest.raises(ValueError if name == "" else TypeError, match="consumer"):
        Worker(NOWHERE, "s", GROUP, print, consumer=name)


CLIENTS = {
    "asyncio": (redis.asyncio.Redis(port=1), "threads"),
    "cluster": (object.__new__(redis.RedisCluster), "node"),
    "sentinel": (Sentinel([("127.0.0.1", 1)]), "master_for"),
    "text": ("redis://127.0.0.1", r"redis\.Redis"),
    "none": (None, r"redis\.Redis"),
}


@pytest.mark.parametrize(("client", "advice"), CLIENTS.values(), ids=CLIENTS)
def test_a_client_of_another_kind(client, advice):
    for make in (
        lambda: Producer(client, "s"),
        lambda: Worker(client, "s", GROUP, print),
        lambda: DeadLetters(client, "s", GROUP),
    ):
        with pytest.raises(TypeError, match=advice):
            make()


def test_a_client_of_a_unix_socket(any_server):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "socket"
        command = [any_server.binary.path, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                wait_until("the socket is there", path.exists)
                with redis.Redis.from_url(f"unix://{path}") as client:
                    seen = []
                    producer = Producer(client, "s")
                    entry = producer.add({"n": 1})
                    producer.close()
                    with running(Worker(client, "s", GROUP, lambda m: seen.append(m.id))):
                        wait_until("it is handled", lambda: seen == [entry])
            finally:
                process.kill()
