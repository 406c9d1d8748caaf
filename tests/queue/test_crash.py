"""Real worker processes, really killed at each checkpoint: no message is lost, and what is done twice is known."""

import subprocess
import sys

import pytest

from streamlab.queue import Producer, Worker
from tests.queue.helpers import GROUP, Notes, pending, running
from tests.waiting import wait_until

# A worker that writes down each effect, and kills itself with SIGKILL when so many messages have passed a checkpoint.
SCRIPT = """
import os, signal, sys
from redis import Redis
from streamlab.queue import Worker

stream, checkpoint, threads, effects, after = sys.argv[1:]
url = sys.stdin.readline().strip()
passed = 0

def observe(kind, messages, note=""):
    global passed
    if kind == checkpoint:
        passed += len(messages)
        if passed >= int(after):
            os.kill(os.getpid(), signal.SIGKILL)

def handler(message):
    if checkpoint in ("failed", "retry") and message.deliveries == 1:
        raise RuntimeError("first time")
    with open(effects, "a") as file:
        file.write(message.id + "\\n")

Worker(Redis.from_url(url), stream, "g", handler, consumer="victim", claim_after=0.3, retry_delay=0.05,
       threads=int(threads), observe=observe).run()
"""


@pytest.mark.parametrize("after", [3, 200], ids=["at the beginning", "while it reads ahead"])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("checkpoint", ["read", "started", "done", "acked", "failed", "retry", "claimed"])
def test_killed_at(any_server, client_of_any, any_stream, tmp_path, checkpoint, threads, after):
    client, stream = client_of_any, any_stream
    effects = tmp_path / "effects"
    effects.touch()
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    producer = Producer(client, stream)
    ids = producer.add_many({"n": n} for n in range(400))
    if checkpoint == "claimed":
        client.xreadgroup(GROUP, "earlier victim", {stream: ">"}, count=300)
    command = [sys.executable, "-c", SCRIPT, stream, checkpoint, str(threads), str(effects), str(after)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write(any_server.url + "\n")
        process.stdin.flush()

        try:
            wait_until("it has killed itself", lambda: process.poll() is not None)
        finally:
            process.kill()
        assert process.returncode == -9
    producer.close()
    first = effects.read_text().split()
    held = {row["message_id"] for row in client.xpending_range(stream, GROUP, "-", "+", 1000)}

    second, notes = [], Notes()
    worker = Worker(client, stream, GROUP, lambda m: second.append(m.id), claim_after=0.3, observe=notes)
    with running(worker):
        wait_until("everything is done", lambda: set(first) | set(second) == set(ids))
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    repeated = set(first) & set(second)
    assert len(set(second)) == len(second)
    assert repeated <= held, "only what was not acknowledged may be done again"
    if checkpoint == "done":
        assert repeated, "killed between the effect and the acknowledgement: the effect is repeated"
    if checkpoint in ("read", "claimed"):
        assert held, "killed with messages in hand"
