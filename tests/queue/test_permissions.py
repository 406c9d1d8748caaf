"""Access control lists: a missing permission ends in an error that names it, and the documented rules are enough."""

import secrets
import threading
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from streamlab.queue import DeadLetters, PermanentError, Producer
from tests.queue.helpers import GROUP
from tests.queue.scenes import wait_for_heartbeats
from tests.waiting import wait_until

PRODUCER = "~STREAM +xadd +multi +exec +eval +xlen +xinfo|groups +xpending +xrange +xtrim"
WORKER = (
    "~STREAM ~{STREAM}:* +xgroup|create +xgroup|createconsumer +xgroup|delconsumer +xreadgroup +xack +xautoclaim "
    "+xclaim +xpending +xinfo|consumers +eval +multi +exec +xadd +xrevrange +xdel +hget +hset +hdel +expire +info"
)
OPERATOR = "~STREAM ~{STREAM}:* ~STREAM:* +xlen +xrange +xrevrange +xdel +xadd +multi +exec +eval"


@pytest.fixture
def user(server, client, stream):
    """Make a user with these rules, in which STREAM stands for the stream's name; return a client with its name."""
    made = []

    def make(rules):
        name, parts = f"user-{secrets.token_hex(4)}", urlsplit(server.url)
        client.execute_command("ACL", "SETUSER", name, "on", ">pw", *rules.replace("STREAM", stream).split())
        made.append(Redis(host=parts.hostname, port=parts.port, username=name, password="pw"))
        return made[-1]

    yield make
    for it in made:
        it.close()
        client.acl_deluser(it.connection_pool.connection_kwargs["username"])


@pytest.mark.parametrize("missing", ["xautoclaim", "xgroup", "xreadgroup", "xack", "eval", "keys"])
def test_a_worker_without_a_permission_says_which(q, user, missing, threads):
    q.make_group()
    rules = "~STREAM +@all" if missing == "keys" else f"~* +@all -{missing}"
    q.add(3)

    def handler(message):
        if missing == "keys":
            raise ValueError("its error is to be kept under a key")

    with q.started(handler, client=user(rules), claim_after=0.3, retry_delay=0.02, threads=threads) as run:
        error = run.ended()
    assert isinstance(error, NoPermissionError)
    assert (f"{{{q.stream}}}:" if missing == "keys" else missing) in str(error).lower()


def test_a_producer_without_a_permission_says_which(q, user):
    producer = Producer(user("~* +@all -xadd"), q.stream)
    for add_some in (lambda: producer.add({"n": 1}), lambda: producer.add_many([{"n": 1}, {"n": 2}])):
        with pytest.raises(NoPermissionError, match=r"(?i)xadd"):
            add_some()
    producer.close()
    producer = Producer(user("~other +@all"), q.stream)
    with pytest.raises(NoPermissionError, match=q.stream):
        producer.add({"n": 1})
    producer.close()
    assert q.client.exists(q.stream) == 0


def test_the_documented_rules_are_enough(q, user, threads):
    producer, letters = Producer(user(PRODUCER), q.stream, keep=10), DeadLetters(user(OPERATOR), q.stream, GROUP)
    release, refused = threading.Event(), {"dead"}

    def handler(message):
        kind = message.fields["kind"]
        if kind == "long":
            release.wait(20)
        if kind in refused:
            raise PermanentError("no")
        if kind == "failing" or (kind == "retry" and message.deliveries == 1):
            raise ValueError("not now")

    stranded, deleted = producer.add_many([{"kind": "stranded"}, {"kind": "deleted"}])
    q.make_group()
    assert q.strand(2) == [stranded, deleted]
    q.client.xdel(q.stream, deleted)
    limits = {"claim_after": 0.4, "retry_delay": 0.02, "max_deliveries": 2}
    with q.running(handler, client=user(WORKER), threads=threads, **limits):
        wait_until("the stranded one is recovered", lambda: stranded in q.notes.ids("acked"))
        wait_until("the deleted one is noticed", lambda: q.notes.ids("deleted") == [deleted])
        ids = producer.add_many([{"kind": "retry"}, {"kind": "dead"}, {"kind": "dead"}, {"kind": "failing"}])
        wait_until("the retry succeeds", lambda: ids[0] in q.notes.ids("acked"))
        wait_until("the others are dead-lettered", lambda: len(letters) == 3)
        producer.add({"kind": "long"})
        wait_until("the long one is begun", lambda: q.pending() == 1)
        wait_for_heartbeats(q, 3)
        release.set()
        wait_until("it is done", lambda: q.pending() == 0)

        first, second, _ = letters.read()
        refused.clear()
        (new,) = letters.redrive(first.id)
        assert letters.discard(second.id) == 1
        assert len(letters) == 1
        wait_until("the redriven one is handled", lambda: new in q.notes.ids("acked"))
        for _ in range(2):
            ids = producer.add_many({"kind": "many"} for _ in range(100))
            wait_until("all of them are handled", lambda ids=ids: set(ids) <= set(q.notes.ids("acked")))
        producer.add_many({"kind": "many"} for _ in range(100))
        wait_until("the stream was trimmed", lambda: q.client.xlen(q.stream) < 150)
    assert q.consumers() == ["dead"]
    letters.close()
    producer.close()
