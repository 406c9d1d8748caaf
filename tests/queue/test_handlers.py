"""What may be a handler: a call must do the work, not make something that would do it."""

import asyncio
import functools

import pytest

import streamlab as sl
from streamlab.queue import DeadLetters, Worker
from tests.queue.helpers import GROUP, Notes, add, pending, running
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


NO_HANDLERS = {
    "async def": coroutine,
    "generator": generator,
    "async generator": async_generator,
    "partial of async": functools.partial(functools.partial(coroutine)),
    "async __call__": AsyncCall(),
}


@pytest.mark.parametrize("handler", NO_HANDLERS.values(), ids=NO_HANDLERS)
def test_a_handler_whose_call_does_nothing_is_refused(client_of_any, handler):
    with pytest.raises(TypeError, match=r"async|generator"):
        Worker(client_of_any, "s", GROUP, handler)
    with pytest.raises(TypeError, match=r"async|generator"):
        sl.Call(handler, count=1)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_coroutine_that_a_handler_returns_is_run_once_a_message(client_of_any, any_stream, threads):
    ids = add(client_of_any, any_stream, 10)
    ran, notes = [], Notes()

    def returns_it(message):
        return body(message)

    async def body(message):
        await asyncio.sleep(0)
        ran.append(message.id)

    worker = Worker(client_of_any, any_stream, GROUP, returns_it, threads=threads, observe=notes)
    with running(worker):
        wait_until("all are acknowledged", lambda: len(notes.ids("acked")) == 10)
    assert sorted(ran) == sorted(ids)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_generator_that_a_handler_returns_is_a_failure(client_of_any, any_stream, function, threads):
    ids = add(client_of_any, any_stream, 3)
    letters, notes = DeadLetters(client_of_any, any_stream, GROUP), Notes()

    def returns_it(message):
        return function(message)

    worker = Worker(
        client_of_any, any_stream, GROUP, returns_it,
        threads=threads, max_deliveries=2, retry_delay=0.02, observe=notes,
    )  # fmt: skip
    with running(worker):
        wait_until("all are dead-lettered", lambda: len(letters) == 3)
    assert sorted(letter.message.id for letter in letters.read()) == sorted(ids)
    assert all("generator" in letter.error for letter in letters.read()), "the error says why"
    assert notes.ids("done") == notes.ids("acked") == []
    assert pending(client_of_any, any_stream) == 0
    letters.close()
