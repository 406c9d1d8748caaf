"""A handler that runs while its message is taken away, or that hangs: what the log says, and who goes on."""

import logging
import re
import threading

import pytest

from streamlab.queue import PermanentError
from tests.queue.helpers import GROUP, Waiting
from tests.queue.scenes import wait_for_heartbeats
from tests.waiting import wait_until


def lines(caplog, entry):
    return [record for record in caplog.records if entry in record.getMessage()]


@pytest.mark.parametrize(
    ("how", "error"),
    [("delconsumer", RuntimeError), ("xack", RuntimeError), ("xdel", RuntimeError), ("xack", PermanentError)],
)
def test_a_failed_message_that_nobody_will_try_again(q, caplog, how, error, threads):
    (lost,) = q.add(1)
    waiting = Waiting(lost)

    def handler(message):
        waiting(message)
        if message.id == lost:
            raise error("too late")

    with q.running(handler, consumer="me", threads=threads, retry_delay=0.02):
        wait_until("it is begun", lambda: waiting.since)
        if how == "delconsumer":
            q.client.xgroup_delconsumer(q.stream, GROUP, "me")
        elif how == "xack":
            q.client.xack(q.stream, GROUP, lost)
        else:
            q.client.xdel(q.stream, lost)
        waiting.release.set()
        wait_until("the log names the message", lambda: lines(caplog, lost))
        (other,) = q.add(1)
        wait_until("the worker goes on", lambda: waiting.begun == [lost, other])
        wait_until("nothing is pending", lambda: q.pending() == 0)
    (line,) = lines(caplog, lost)
    assert re.search(r"not (try|tried|try it) again", line.getMessage())
    assert len(q.letters) == 0


@pytest.mark.parametrize("error", [RuntimeError, PermanentError])
def test_a_failed_message_that_another_has_claimed(q, error):
    (entry,) = q.add(1)
    waiting = Waiting()

    def handler(message):
        waiting(message)
        raise error("too late")

    with q.running(handler):
        wait_until("it is begun", lambda: waiting.since)
        q.client.xclaim(q.stream, GROUP, "other", 0, [entry])
        waiting.release.set()
        wait_until("it is left to the other", lambda: q.notes.ids("disowned") == [entry])
    assert [row["consumer"] for row in q.client.xpending_range(q.stream, GROUP, "-", "+", 9)] == ["other"]
    assert (q.notes.ids("retry"), len(q.letters)) == ([], 0)


@pytest.mark.parametrize("threads", [1, 2])  # with more, the same worker may claim it again
def test_a_handler_that_hangs_too_long_loses_its_message(q1, caplog, threads):
    (entry,) = q1.add(1)
    hang, second = Waiting(entry), []
    more = {"claim_after": 0.3, "max_deliveries": 100}
    with q1.running(hang, consumer="one", threads=threads, handler_timeout=0.6, **more):
        wait_until("the first worker has it", lambda: hang.since)
        with q1.running(lambda m: second.append(m.id), consumer="two", **more):
            wait_until("the second worker has done it", lambda: second == [entry])
            wait_until("it is acknowledged", lambda: q1.pending() == 0)
            hang.release.set()
        (late,) = q1.add(1)
        wait_until("the first worker goes on", lambda: late in hang.begun)
        wait_until("nothing is pending", lambda: q1.pending() == 0)
    assert hang.begun.count(entry) == 1
    (line,) = lines(caplog, entry)
    assert line.levelno >= logging.WARNING
    assert "handler_timeout" in line.getMessage()
    assert q1.consumers() == []


def test_a_long_job_stays_its_workers_own_and_is_told_once(q1, caplog, threads):
    (entry,) = q1.add(1)
    slow, others = Waiting(entry), []
    with q1.running(slow, claim_after=0.2, threads=threads):
        wait_until("it is begun", lambda: slow.since)
        with q1.running(others.append, claim_after=0.2):
            wait_until("the log warns", lambda: lines(caplog, entry))
            wait_for_heartbeats(q1, 5)  # the message stays this worker's, and the log silent
            slow.release.set()
            wait_until("it is acknowledged", lambda: q1.pending() == 0)
    assert (slow.begun, others) == ([entry], [])
    (line,) = lines(caplog, entry)
    assert line.levelno == logging.WARNING
    assert line.created - slow.since > 1.9, "ten times claim_after"


def test_a_zombie_does_not_start_what_it_has_lost(q1):
    """While a handler runs, another consumer claims all that this one has in flight."""
    ids = q1.add(30)
    handled, hand_over = [], threading.Event()

    def handler(message):
        handled.append(message.id)
        if len(handled) == 16:  # the batch has grown by then
            mine = [row["message_id"] for row in q1.client.xpending_range(q1.stream, GROUP, "-", "+", 50, "zombie")]
            q1.client.xclaim(q1.stream, GROUP, "other", 0, mine)
            hand_over.wait(0.5)  # longer than it takes a heartbeat to find out

    with q1.running(handler, consumer="zombie", claim_after=0.4):
        wait_until("what it lost is noticed", lambda: q1.notes.ids("disowned"))
        wait_until("what nobody else does is claimed back", lambda: set(handled) == set(ids))
        wait_until("all is acknowledged", lambda: q1.pending() == 0)
    lost = set(q1.notes.ids("disowned"))
    assert [q1.notes.of(entry)[:3] for entry in lost] == [["read", "disowned", "claimed"]] * len(lost)
