"""What an idle worker asks of Redis, and what it says of a Redis that may evict the stream."""

import time

import pytest

from tests.waiting import wait_until


@pytest.fixture
def short_reads():
    """Reads wait as long as everywhere."""


def test_an_idle_worker_asks_little(q1):
    """A bound on commands a second, counted while the clock runs, whatever the machine's load."""
    q1.add(1)
    with q1.running(claim_after=60):
        wait_until("it has begun, and nothing is left to do", lambda: q1.notes.ids("acked"))
        began, before = time.monotonic(), _commands(q1.client)
        wait_until("four seconds have passed", lambda: time.monotonic() - began > 4)
        sent, seconds = _commands(q1.client) - before - 1, time.monotonic() - began
    assert sent <= 2.5 * seconds, f"{sent} commands in {seconds:.1f} s"


def _commands(client):
    return client.info("stats")["total_commands_processed"]


@pytest.mark.parametrize(
    ("policy", "maxmemory", "warned"),
    [("allkeys-lru", 1 << 30, 1), ("noeviction", 1 << 30, 0), ("volatile-lru", 1 << 30, 0), ("allkeys-lru", 0, 0)],
)
def test_a_redis_that_may_evict_the_stream_is_told_once(q1, caplog, policy, maxmemory, warned):
    before = q1.client.config_get("maxmemory*")
    try:
        q1.client.config_set("maxmemory", maxmemory)
        q1.client.config_set("maxmemory-policy", policy)
        with q1.running():
            for _ in range(2):
                (entry,) = q1.add(1)
                wait_until("it is at work", lambda entry=entry: entry in q1.notes.ids("acked"))
                q1.client.client_kill_filter(_type="normal", skipme=True)  # it starts over, and does not repeat itself
    finally:
        q1.client.config_set("maxmemory-policy", before["maxmemory-policy"])
        q1.client.config_set("maxmemory", before["maxmemory"])
    told = [record.getMessage() for record in caplog.records if "evict" in record.getMessage()]
    assert len(told) == warned
    assert all(q1.stream in text and policy in text for text in told)
