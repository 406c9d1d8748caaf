"""How `run` ends: by an error that is no Exception, after `stop`, and not by a second call beside the first."""

import asyncio
import threading
import time

import pytest

from streamlab.queue import Worker
from tests.queue.helpers import GROUP, add, pending, running, started
from tests.waiting import wait_until


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, BaseException])
def test_an_error_that_ends_the_worker(client_of_any, any_stream, error, threads):
    client, stream = client_of_any, any_stream
    ids = add(client, stream, 12)
    done = []

    def handler(message):
        if message.id in ids[::3]:
            raise error("enough")
        done.append(message.id)

    with started(Worker(client, stream, GROUP, handler, consumer="one", threads=threads, claim_after=0.2)) as run:
        assert type(run.ended()) is error
    assert not set(done) & set(ids[::3])
    first = list(done)
    with running(Worker(client, stream, GROUP, lambda m: done.append(m.id), consumer="two", claim_after=0.2)):
        wait_until("a second worker has done all that is left", lambda: set(done) == set(ids))
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    assert len(done) <= len(ids) + len(first)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_worker_runs_again_after_stop(client_of_any, any_stream, threads):
    seen = []
    worker = Worker(client_of_any, any_stream, GROUP, lambda m: seen.append(m.id), threads=threads)
    name = worker.consumer
    for _ in range(3):
        with running(worker):
            (entry,) = add(client_of_any, any_stream, 1)
            wait_until("it is handled", lambda entry=entry: entry in seen)
    assert len(seen) == 3
    assert worker.consumer == name
    worker.stop()
    worker.run()  # stopped before it began: it returns


def test_a_worker_does_not_run_twice_at_once(client_of_any, any_stream):
    seen = []
    worker = Worker(client_of_any, any_stream, GROUP, lambda m: seen.append(m.id))
    with running(worker):
        (first,) = add(client_of_any, any_stream, 1)
        wait_until("it is at work", lambda: seen == [first])
        with started(worker) as second:
            assert isinstance(second.ended(), RuntimeError)
            (late,) = add(client_of_any, any_stream, 1)
            wait_until("the first goes on", lambda: seen == [first, late])


def test_waiting_for_the_last_handler_takes_no_processor(client_of_any, any_stream):
    """The thread that called `run` has it: the others wait until it returns, and do not keep each other awake."""
    last, others, held = threading.Event(), threading.Event(), []

    def handler(message):
        held.append(message.id)
        (last if threading.current_thread().name == "worker under test" else others).wait(20)

    add(client_of_any, any_stream, 4)
    worker = Worker(client_of_any, any_stream, GROUP, handler, threads=4)
    with running(worker):
        wait_until("each thread has a message", lambda: len(held) == 4)
        worker.stop()
        others.set()
        began, used = time.monotonic(), time.process_time()
        wait_until("a second has passed", lambda: time.monotonic() - began > 1)
        used = time.process_time() - used
        last.set()
    assert used < 0.7, f"{used:.2f} s of processor time"
