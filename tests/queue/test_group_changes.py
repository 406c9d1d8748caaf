"""Somebody moves, destroys or replaces the group, or puts another key in the stream's place, in the middle of work."""

import pytest
from redis.exceptions import ResponseError

from tests.queue.helpers import GROUP, Waiting, running
from tests.waiting import wait_until


@pytest.mark.parametrize("how", ["set back", "destroy", "destroy and create"])
def test_a_group_that_changes_under_slow_messages(q, how):
    slow = q.add(2)
    handler = Waiting(*slow)
    with q.running(handler, threads=4, claim_after=0.5):
        wait_until("both slow handlers run", lambda: len(handler.begun) >= 2)
        if how == "set back":
            q.client.xgroup_setid(q.stream, GROUP, "0")
        else:
            with q.client.pipeline() as together:
                together.xgroup_destroy(q.stream, GROUP)
                if how == "destroy and create":
                    together.xgroup_create(q.stream, GROUP, "0")
                together.execute()
        quick = q.add(40)
        wait_until("all quick ones are handled meanwhile", lambda: set(quick) <= set(handler.done))
        handler.release.set()
        wait_until("all are handled", lambda: set(quick + slow) <= set(handler.done))
        wait_until("nothing is pending", lambda: q.pending() == 0)
        late = q.add(4)
        wait_until("the worker goes on", lambda: set(late) <= set(handler.done))
    assert q.notes.ids("reconnected") == [], "Redis was there all the time"


def test_another_key_in_the_streams_place(q, threads):
    q.add(2)
    handler = Waiting()
    with q.started(handler, threads=threads) as run:
        wait_until("it is begun", lambda: handler.begun)
        q.client.set(q.stream, "text")
        handler.release.set()
        assert "WRONGTYPE" in str(run.ended())
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        q.worker(print).run()  # from the start


@pytest.mark.parametrize("how", ["destroy", "delete"])
def test_what_is_added_while_the_group_and_the_connection_are_gone(q, how, threads):
    """The group is made again at 0, although `start` says "$"; between two runs, too."""
    (old,) = q.add(1)
    worker = q.worker(start="$", threads=threads)
    with running(worker):
        wait_until("the group is there", q.group_exists)
        (first,) = q.add(1)
        wait_until("the worker is at work", lambda: q.seen == [first])
        with q.client.pipeline() as together:  # nothing comes between
            together.xgroup_destroy(q.stream, GROUP) if how == "destroy" else together.delete(q.stream)
            for n in range(5):
                together.xadd(q.stream, {"n": n})
            together.client_kill_filter(_type="normal", skipme=True)
            late = together.execute()[1:6]
        wait_until("all that was added meanwhile is handled", lambda: set(late) <= set(q.seen))
    assert how == "destroy" or old not in q.seen
    assert 1 <= len(q.notes.ids("healed")) <= 3, "it does not spin"
    q.client.delete(q.stream)
    (entry,) = q.add(1)
    with running(worker):
        wait_until("what was added before the second run is handled", lambda: entry in q.seen)


def test_a_primary_that_is_a_replica_for_a_while(q, caplog, threads):
    """A read that blocks ends with UNBLOCKED; the data are still there, and the group is not taken for gone."""
    q.add(1)
    with q.running(start="$", claim_after=30, threads=threads):
        wait_until("the group is there", q.group_exists)
        ids = q.add(5)
        wait_until("it is at work", lambda: set(q.notes.ids("acked")) == set(ids))
        try:
            q.client.replicaof("127.0.0.1", 1)  # nobody there: the data stay
            wait_until("the worker has found out", lambda: "trying again" in caplog.text)
        finally:
            q.client.replicaof("NO", "ONE")
        ids += q.add(5)
        wait_until("all are handled", lambda: set(q.notes.ids("acked")) == set(ids))
    assert sorted(q.seen) == sorted(ids), "each once"
    assert q.notes.ids("healed") == []
    assert "was gone" not in caplog.text
