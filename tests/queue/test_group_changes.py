"""Somebody moves, destroys or replaces the group, or puts another key in the stream's place, in the middle of work."""

import threading

import pytest
from redis.exceptions import ResponseError

from streamlab.queue import DeadLetters, Worker
from tests.queue.helpers import GROUP, Notes, add, pending, running
from tests.queue.scenes import started
from tests.waiting import wait_until


@pytest.mark.parametrize("how", ["set back", "destroy", "destroy and create"])
def test_a_group_that_changes_under_slow_messages(client, stream, how):
    slow = add(client, stream, 2)
    release, running_now, seen = threading.Event(), [], []

    def handler(message):
        if message.id in slow:
            running_now.append(message.id)
            release.wait(20)
        seen.append(message.id)

    with started(Worker(client, stream, GROUP, handler, threads=4, claim_after=0.5)) as run:
        wait_until("both slow handlers run", lambda: len(running_now) >= 2)
        if how == "set back":
            client.xgroup_setid(stream, GROUP, "0")
        else:
            with client.pipeline() as together:
                together.xgroup_destroy(stream, GROUP)
                if how == "destroy and create":
                    together.xgroup_create(stream, GROUP, "0")
                together.execute()
        quick = add(client, stream, 40)
        wait_until("all quick ones are handled meanwhile", lambda: set(quick) <= set(seen))
        release.set()
        wait_until("all are handled", lambda: set(quick + slow) <= set(seen))
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
        late = add(client, stream, 4)
        wait_until("the worker goes on", lambda: set(late) <= set(seen))
        assert run.thread.is_alive()
    assert run.error is None


@pytest.mark.parametrize("threads", [1, 4])
def test_another_key_in_the_streams_place(client, stream, threads):
    add(client, stream, 2)
    begun, release = threading.Event(), threading.Event()

    def handler(message):
        begun.set()
        release.wait(20)

    with started(Worker(client, stream, GROUP, handler, threads=threads)) as run:
        assert begun.wait(10)
        client.set(stream, "text")
        release.set()
        error = run.ended()
    assert isinstance(error, ResponseError)
    assert "WRONGTYPE" in str(error)


def test_a_limit_of_deliveries_holds_among_own_messages_that_wait(client, stream, group):
    """Between 200 messages that wait for their retry are 200 that were delivered five times; the limit is three."""
    ids = add(client, stream, 400)
    client.xreadgroup(GROUP, "dead", {stream: ">"}, count=1000)
    stranded, own = ids[::2], ids[1::2]
    client.xclaim(stream, GROUP, "dead", 0, stranded, idle=100_000, retrycount=5)
    client.xclaim(stream, GROUP, "me", 0, own, retrycount=1)
    notes = Notes()

    def handler(message):
        raise ValueError("always")

    worker = Worker(
        client, stream, GROUP, handler, consumer="me", claim_after=30, retry_delay=20, max_deliveries=3, observe=notes
    )
    letters = DeadLetters(client, stream, GROUP)
    with started(worker) as run:
        wait_until("the stranded ones are dead-lettered", lambda: run.error or len(letters) >= 200)
        wait_until("the others wait", lambda: len(notes.ids("retry")) == 200)
    assert run.error is None
    assert notes.ids("started") == notes.ids("retry") == own
    dead = letters.read(count=1000)
    assert sorted(letter.message.id for letter in dead) == sorted(stranded)
    assert {letter.reason for letter in dead} == {"deliveries"}
    letters.close()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("how", ["destroy", "delete"])
def test_what_is_added_while_the_group_and_the_connection_are_gone(client, stream, how, threads):
    (old,) = add(client, stream, 1)
    seen = []
    with running(Worker(client, stream, GROUP, lambda m: seen.append(m.id), start="$", threads=threads)):
        wait_until("the group is there", lambda: client.xinfo_groups(stream))
        (first,) = add(client, stream, 1)
        wait_until("the worker is at work", lambda: seen == [first])
        with client.pipeline() as together:  # nothing comes between
            together.xgroup_destroy(stream, GROUP) if how == "destroy" else together.delete(stream)
            for n in range(5):
                together.xadd(stream, {"n": n})
            together.client_kill_filter(_type="normal", skipme=True)
            late = together.execute()[1:6]
        wait_until("all that was added meanwhile is handled", lambda: set(late) <= set(seen))
    assert how == "destroy" or old not in seen
