"""Somebody moves, destroys or replaces the group, or puts another key in the stream's place, in the middle of work."""

import threading

import pytest
from redis.exceptions import ResponseError

from streamlab.queue import Worker
from tests.queue.helpers import GROUP, Notes, add, pending, running, started
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

    with running(Worker(client, stream, GROUP, handler, threads=4, claim_after=0.5)):
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
        assert "WRONGTYPE" in str(run.ended())
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        Worker(client, stream, GROUP, print).run()  # from the start


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("how", ["destroy", "delete"])
def test_what_is_added_while_the_group_and_the_connection_are_gone(client, stream, how, threads):
    """The group is made again at 0, although `start` says "$"; between two runs, too."""
    (old,) = add(client, stream, 1)
    seen, notes = [], Notes()
    worker = Worker(client, stream, GROUP, lambda m: seen.append(m.id), start="$", threads=threads, observe=notes)
    with running(worker):
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
    assert 1 <= len(notes.ids("healed")) <= 3, "it does not spin"
    client.delete(stream)
    (entry,) = add(client, stream, 1)
    with running(worker):
        wait_until("what was added before the second run is handled", lambda: entry in seen)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_primary_that_is_a_replica_for_a_while(client, stream, caplog, threads):
    """A read that blocks ends with UNBLOCKED; the data are still there, and the group is not taken for gone."""
    seen, notes = [], Notes()
    add(client, stream, 1)
    worker = Worker(
        client, stream, GROUP, lambda m: seen.append(m.id), start="$", claim_after=30, threads=threads, observe=notes
    )
    with running(worker):
        wait_until("the group is there", lambda: client.xinfo_groups(stream))
        ids = add(client, stream, 5)
        wait_until("it is at work", lambda: set(notes.ids("acked")) == set(ids))
        try:
            client.replicaof("127.0.0.1", 1)  # nobody there: the data stay
            wait_until("the worker has found out", lambda: "trying again" in caplog.text)
        finally:
            client.replicaof("NO", "ONE")
        ids += add(client, stream, 5)
        wait_until("all are handled", lambda: set(notes.ids("acked")) == set(ids))
    assert sorted(seen) == sorted(ids), "each once"
    assert notes.ids("healed") == []
    assert "was gone" not in caplog.text
