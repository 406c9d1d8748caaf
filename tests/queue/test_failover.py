"""Failover behind one address: worker and producer go on at the new primary, and nothing is lost or told falsely."""

import contextlib
import threading

import pytest
from redis import Redis

from streamlab.queue import Producer
from streamlab.servers import ProcessServer
from tests.queue.helpers import Queue
from tests.waiting import wait_until
from tests.wire import Wire

PASSWORD = "pw"


class Pair:
    """A primary `a` with its replica `b`, and a client that reaches whichever the wire leads to."""

    def __init__(self, stack):
        self.a, self.b = (self._server(stack) for _ in range(2))
        self._wire = stack.enter_context(Wire("127.0.0.1", port(self.a)))
        self.client = stack.enter_context(Redis(port=self._wire.port, password=PASSWORD, decode_responses=True))
        self.b.replicaof("127.0.0.1", port(self.a))
        wait_until("the replica is up", lambda: self.b.info("replication").get("master_link_status") == "up")

    def _server(self, stack):
        client = stack.enter_context(stack.enter_context(ProcessServer()).client())
        client.acl_setuser("default", enabled=True, passwords=[f"+{PASSWORD}"])
        client.config_set("masterauth", PASSWORD)
        client.config_set("repl-diskless-sync-delay", 0)
        return client

    def fail_over(self):
        offset = self.a.info("replication")["master_repl_offset"]
        wait_until("the replica has it all", lambda: self.b.info("replication")["slave_repl_offset"] >= offset)
        self.b.replicaof("NO", "ONE")
        self._wire.lead_to("127.0.0.1", port(self.b))
        self.a.replicaof("127.0.0.1", port(self.b))


def port(client):
    return client.connection_pool.connection_kwargs["port"]


@pytest.fixture
def pair():
    with contextlib.ExitStack() as stack:
        yield Pair(stack)


@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_goes_on_at_the_new_primary(pair, caplog, busy, threads):
    q, at_a, at_b = (Queue(None, client, "s") for client in (pair.client, pair.a, pair.b))
    begun, release = threading.Event(), threading.Event()

    def handler(message):
        if message.fields["slow"] == "yes":
            begun.set()
            release.wait(20)
        q.seen.append(message.id)

    ids = at_a.add(5, slow="no")
    with q.running(handler, threads=threads, claim_after=1):
        wait_until("it is at work", lambda: set(q.notes.ids("acked")) == set(ids))
        if busy:
            ids += at_a.add(1, slow="yes")
            assert begun.wait(10)
        pair.fail_over()
        release.set()
        ids += at_b.add(5, slow="no")
        wait_until("all are handled", lambda: set(q.seen) == set(ids))
        wait_until("nothing is pending at the new primary", lambda: at_b.pending() == 0)
    assert q.notes.ids("healed") == []
    assert "was gone" not in caplog.text


def test_a_producer_goes_on_at_the_new_primary(pair):
    producer = Producer(pair.client, "s")
    ids = [producer.add({"n": 0})]
    pair.fail_over()
    ids += [producer.add({"n": n}) for n in range(1, 6)]
    ids += producer.add_many({"n": n} for n in range(6, 10))
    producer.close()
    assert [(entry, fields["n"]) for entry, fields in pair.b.xrange("s")] == [(e, str(n)) for n, e in enumerate(ids)]
