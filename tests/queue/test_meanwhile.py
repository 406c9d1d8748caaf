"""A handler that runs while its message is taken away, or that hangs: what the log says, and who goes on."""

import logging
import re
import threading
import time

import pytest

from streamlab.queue import DeadLetters, PermanentError, Worker
from tests.queue.helpers import GROUP, add, consumers, pending, running
from tests.queue.scenes import wait_for_heartbeats
from tests.waiting import wait_until


def lines(caplog, entry):
    return [record for record in caplog.records if entry in record.getMessage()]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("how", "error"),
    [("delconsumer", RuntimeError), ("xack", RuntimeError), ("xdel", RuntimeError), ("xack", PermanentError)],
)
def test_a_failed_message_that_nobody_will_try_again(client, stream, caplog, how, error, threads):
    (lost,) = add(client, stream, 1)
    started, release, attempts, done = threading.Event(), threading.Event(), [], []

    def handler(message):
        if message.id != lost:
            return done.append(message.id)
        attempts.append(message.id)
        started.set()
        release.wait(20)
        raise error("too late")

    with running(Worker(client, stream, GROUP, handler, consumer="me", threads=threads, retry_delay=0.02)):
        assert started.wait(10)
        if how == "delconsumer":
            client.xgroup_delconsumer(stream, GROUP, "me")
        elif how == "xack":
            client.xack(stream, GROUP, lost)
        else:
            client.xdel(stream, lost)
        release.set()
        wait_until("the log names the message", lambda: lines(caplog, lost))
        (other,) = add(client, stream, 1)
        wait_until("the worker goes on", lambda: done == [other])
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    (line,) = lines(caplog, lost)
    assert re.search(r"not (try|tried|try it) again", line.getMessage())
    assert attempts == [lost]
    letters = DeadLetters(client, stream, GROUP)
    assert len(letters) == 0
    letters.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_hangs_too_long_loses_its_message(client, stream, caplog, threads):
    (entry,) = add(client, stream, 1)
    release, first, second = threading.Event(), [], []

    def hang(message):
        first.append(message.id)
        if message.id == entry:
            release.wait(20)

    more = {"claim_after": 0.3, "max_deliveries": 100}
    hanging = Worker(client, stream, GROUP, hang, consumer="one", threads=threads, handler_timeout=0.6, **more)
    with running(hanging):
        wait_until("the first worker has it", lambda: first)
        with running(Worker(client, stream, GROUP, lambda m: second.append(m.id), consumer="two", **more)):
            wait_until("the second worker has done it", lambda: second == [entry])
            wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
            release.set()
        (late,) = add(client, stream, 1)
        wait_until("the first worker goes on", lambda: late in first)
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    assert first.count(entry) == 1
    (line,) = lines(caplog, entry)
    assert line.levelno >= logging.WARNING
    assert "handler_timeout" in line.getMessage()
    assert consumers(client, stream) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_runs_very_long_is_told_once(client, stream, caplog, threads):
    (entry,) = add(client, stream, 1)
    begun, release = [], threading.Event()

    def slow(message):
        begun.append((message.id, time.time()))
        release.wait(20)

    with running(Worker(client, stream, GROUP, slow, claim_after=0.1, threads=threads)):
        wait_until("it is begun", lambda: begun)
        wait_until("the log warns", lambda: lines(caplog, entry))
        wait_for_heartbeats(client, stream, 5)  # the message stays this worker's, and the log silent
        release.set()
        wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
    (line,) = lines(caplog, entry)
    assert line.levelno == logging.WARNING
    ((handled, since),) = begun
    assert handled == entry
    assert line.created - since > 0.9, "ten times claim_after"
