"""What may be a handler: a call must do the work, not make something that would do it."""

import asyncio
import functools

import pytest

import streamlab as sl
from streamlab.queue import Worker
from tests.queue.helpers import GROUP
from tests.waiting import wait_until


async def coroutine(message):
    raise AssertionError("nobody runs it")


def generator(message):
    yield message


async def async_generator(message):
    yield message


class AsyncCall:
    async def __call__(self, message):
        raise AssertionError("nobody runs it")


def test_a_handler_whose_call_does_nothing_is_refused(q1):
    partial = functools.partial(functools.partial(coroutine))
    for handler in (coroutine, generator, async_generator, partial, AsyncCall()):
        with pytest.raises(TypeError, match=r"async|generator"):
            Worker(q1.client, "s", GROUP, handler)
        with pytest.raises(TypeError, match=r"async|generator"):
            sl.Call(handler, count=1)


def test_what_a_handler_returns_is_run_or_a_failure(q1, threads):
    """A coroutine is run once a message; a generator, which nobody iterates, counts as a failure."""
    ids = q1.add(12)
    ran = []

    async def body(message):
        await asyncio.sleep(0)
        ran.append(message.id)

    def returns_it(message):
        return {ids[3]: generator, ids[7]: async_generator}.get(message.id, body)(message)

    with q1.running(returns_it, threads=threads, max_deliveries=2, retry_delay=0.02):
        wait_until("ten are acknowledged", lambda: len(q1.notes.ids("acked")) == 10)
        wait_until("two are dead-lettered", lambda: len(q1.letters) == 2)
    assert sorted(ran) == sorted(set(ids) - {ids[3], ids[7]}) == sorted(q1.notes.ids("done"))
    assert sorted(letter.message.id for letter in q1.letters.read()) == [ids[3], ids[7]]
    assert all("generator" in letter.error for letter in q1.letters.read()), "the error says why"
    assert q1.pending() == 0
