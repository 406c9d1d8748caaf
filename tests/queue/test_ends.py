"""How `run` ends: by an error that is no Exception, after `stop`, and not by a second call beside the first."""

import asyncio
import threading
import time

import pytest

from tests.queue.helpers import running, started
from tests.waiting import wait_until


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, BaseException])
def test_an_error_that_ends_the_worker(q1, error, threads):
    ids = q1.add(12)
    done, raised = [], []

    def handler(message):
        if threads == 1 or threading.current_thread().name != "worker under test":  # another than called `run`
            raised.append(message.id)
            raise error("enough")
        time.sleep(0.01)
        done.append(message.id)

    with q1.started(handler, consumer="one", threads=threads, claim_after=0.2) as run:
        assert type(run.ended()) is error
    assert raised
    assert not set(done) & set(raised)
    first = list(done)
    with q1.running(lambda m: done.append(m.id), consumer="two", claim_after=0.2):
        wait_until("a second worker has done all that is left", lambda: set(done) == set(ids))
        wait_until("nothing is pending", lambda: q1.pending() == 0)
    assert len(done) <= len(ids) + len(first)


def test_a_worker_runs_again_after_stop(q1, threads):
    worker = q1.worker(threads=threads)
    name = worker.consumer
    for _ in range(3):
        with running(worker):
            (entry,) = q1.add(1)
            wait_until("it is handled", lambda entry=entry: entry in q1.seen)
    assert len(q1.seen) == 3
    assert worker.consumer == name
    worker.stop()
    worker.run()  # stopped before it began: it returns


def test_a_worker_does_not_run_twice_at_once(q1):
    worker = q1.worker()
    with running(worker):
        (first,) = q1.add(1)
        wait_until("it is at work", lambda: q1.seen == [first])
        with started(worker) as second:
            assert isinstance(second.ended(), RuntimeError)
            (late,) = q1.add(1)
            wait_until("the first goes on", lambda: q1.seen == [first, late])


def test_waiting_for_the_last_handler_takes_no_processor(q1):
    """The thread that called `run` has it: the others wait until it returns, and do not keep each other awake."""
    last, others, held = threading.Event(), threading.Event(), []

    def handler(message):
        held.append(message.id)
        (last if threading.current_thread().name == "worker under test" else others).wait(20)

    q1.add(4)
    worker = q1.worker(handler, threads=4)
    with running(worker):
        wait_until("each thread has a message", lambda: len(held) == 4)
        worker.stop()
        others.set()
        began, used = time.monotonic(), time.process_time()
        wait_until("a second has passed", lambda: time.monotonic() - began > 1)
        used = time.process_time() - used
        last.set()
    assert used < 0.7, f"{used:.2f} s of processor time"
