"""Real worker processes, really killed at each checkpoint, or ended by a signal: no message is lost."""

import signal

import pytest

from tests.queue.helpers import GROUP
from tests.queue.scenes import script
from tests.waiting import wait_until

# A worker that writes down each effect, and kills itself with SIGKILL when so many messages have passed a checkpoint.
VICTIM = """
checkpoint, threads, after = sys.argv[3:]
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
    note(message.id)

Worker(Redis.from_url(url), stream, "g", handler, consumer="victim", claim_after=0.3, retry_delay=0.05,
       threads=int(threads), observe=observe).run()
"""


@pytest.mark.parametrize("after", [3, 200], ids=["at the beginning", "while it reads ahead"])
@pytest.mark.parametrize("checkpoint", ["read", "started", "done", "acked", "failed", "retry", "claimed"])
def test_killed_at(q1, tmp_path, checkpoint, threads, after):
    effects = tmp_path / "effects"
    effects.touch()
    q1.make_group()
    ids = q1.add(400)
    if checkpoint == "claimed":
        q1.strand(300)
    with script(VICTIM, q1.server.url, q1.stream, effects, checkpoint, threads, after) as process:
        assert process.wait(20) == -signal.SIGKILL
    first = effects.read_text().split()
    held = {row["message_id"] for row in q1.client.xpending_range(q1.stream, GROUP, "-", "+", 1000)}

    second = []
    with q1.running(lambda m: second.append(m.id), claim_after=0.3):
        wait_until("everything is done", lambda: set(first) | set(second) == set(ids))
        wait_until("nothing is pending", lambda: q1.pending() == 0)
    repeated = set(first) & set(second)
    assert len(set(second)) == len(second)
    assert repeated <= held, "only what was not acknowledged may be done again"
    if checkpoint == "done":
        assert repeated, "killed between the effect and the acknowledgement: the effect is repeated"
    if checkpoint in ("read", "claimed"):
        assert held, "killed with messages in flight"


ORDERLY = """
def handler(message):
    print("started", flush=True)
    time.sleep(0.5)

Worker(Redis.from_url(url), stream, "g", handler, consumer="me").run()
print("left in order", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_is_in_flight(q1, number):
    ids = q1.add(10)
    with script(ORDERLY, q1.server.url, q1.stream) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert process.stdout.read().endswith("left in order\n")
        assert process.wait(10) == 0
    assert (q1.pending(), q1.consumers()) == (0, [])
    with q1.running():
        wait_until("another does what was not read", lambda: ids[-1] in q1.notes.ids("acked"))
    assert ids[0] not in q1.notes.ids("read")
