"""A handler that runs while its message is taken away, or that hangs: what the log says, and who goes on."""

import logging
import re
import threading
import time

import pytest

from streamlab.queue import DeadLetters, PermanentError, Worker
from tests.queue.helpers import GROUP, Notes, add, consumers, pending, running
from tests.queue.scenes import wait_for_heartbeats
from tests.waiting import wait_until


def lines(caplog, entry):
    return [record for record in caplog.records if entry in record.getMessage()]


class Waiting:
    """A handler that waits for `release` where the message is the first that was added."""

    def __init__(self, slow):
        self.slow, self.handled = slow, []
        self.release, self.since = threading.Event(), 0.0

    def __call__(self, message):
        self.handled.append(message.id)
        if message.id == self.slow:
            self.since = time.time()
            self.release.wait(20)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("how", "error"),
    [("delconsumer", RuntimeError), ("xack", RuntimeError), ("xdel", RuntimeError), ("xack", PermanentError)],
)
def test_a_failed_message_that_nobody_will_try_again(client, stream, caplog, how, error, threads):
    (lost,) = add(client, stream, 1)
    waiting = Waiting(lost)

    def handler(message):
        waiting(message)
        if message.id == lost:
            raise error("too late")

    with running(Worker(client, stream, GROUP, handler, consumer="me", threads=threads, retry_delay=0.02)):
        wait_until("it is begun", lambda: waiting.since)
        if how == "delconsumer":
            client.xgroup_delconsumer(stream, GROUP, "me")
        elif how == "xack":
            client.xack(stream, GROUP, lost)
        else:
            client.xdel(stream, lost)
        waiting.release.set()
        wait_until("the log names the message", lambda: lines(caplog, lost))
        (other,) = add(client, stream, 1)
        wait_until("the worker goes on", lambda: waiting.handled == [lost, other])
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    (line,) = lines(caplog, lost)
    assert re.search(r"not (try|tried|try it) again", line.getMessage())
    letters = DeadLetters(client, stream, GROUP)
    assert len(letters) == 0
    letters.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_hangs_too_long_loses_its_message(client, stream, caplog, threads):
    (entry,) = add(client, stream, 1)
    hang, second = Waiting(entry), []
    more = {"claim_after": 0.3, "max_deliveries": 100}
    with running(Worker(client, stream, GROUP, hang, consumer="one", threads=threads, handler_timeout=0.6, **more)):
        wait_until("the first worker has it", lambda: hang.since)
        with running(Worker(client, stream, GROUP, lambda m: second.append(m.id), consumer="two", **more)):
            wait_until("the second worker has done it", lambda: second == [entry])
            wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
            hang.release.set()
        (late,) = add(client, stream, 1)
        wait_until("the first worker goes on", lambda: late in hang.handled)
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    assert hang.handled.count(entry) == 1
    (line,) = lines(caplog, entry)
    assert line.levelno >= logging.WARNING
    assert "handler_timeout" in line.getMessage()
    assert consumers(client, stream) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_job_stays_its_workers_own_and_is_told_once(client, stream, caplog, threads):
    (entry,) = add(client, stream, 1)
    slow, others = Waiting(entry), []
    with running(Worker(client, stream, GROUP, slow, claim_after=0.2, threads=threads)):
        wait_until("it is begun", lambda: slow.since)
        with running(Worker(client, stream, GROUP, others.append, claim_after=0.2)):
            wait_until("the log warns", lambda: lines(caplog, entry))
            wait_for_heartbeats(client, stream, 5)  # the message stays this worker's, and the log silent
            slow.release.set()
            wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
    assert (slow.handled, others) == ([entry], [])
    (line,) = lines(caplog, entry)
    assert line.levelno == logging.WARNING
    assert line.created - slow.since > 1.9, "ten times claim_after"


def test_a_zombie_does_not_start_what_it_has_lost(client, stream):
    """While a handler runs, another consumer claims all that this one has in flight."""
    ids = add(client, stream, 30)
    handled, notes, hand_over = [], Notes(), threading.Event()

    def handler(message):
        handled.append(message.id)
        if len(handled) == 16:  # the batch has grown by then
            mine = [row["message_id"] for row in client.xpending_range(stream, GROUP, "-", "+", 50, "zombie")]
            client.xclaim(stream, GROUP, "other", 0, mine)
            hand_over.wait(0.5)  # longer than it takes a heartbeat to find out

    with running(Worker(client, stream, GROUP, handler, consumer="zombie", claim_after=0.4, observe=notes)):
        wait_until("what it lost is noticed", lambda: notes.ids("disowned"))
        wait_until("what nobody else does is claimed back", lambda: set(handled) == set(ids))
        wait_until("all is acknowledged", lambda: pending(client, stream) == 0)
    lost = set(notes.ids("disowned"))
    assert [notes.of(entry)[:3] for entry in lost] == [["read", "disowned", "claimed"]] * len(lost)
