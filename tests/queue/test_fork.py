"""Forks: what was made before one works in parent and children, and nothing is shared that must not be."""

import signal

import pytest

from tests.queue.helpers import refuse
from tests.queue.scenes import script
from tests.waiting import wait_until

PRODUCE = """
producer = Producer(Redis.from_url(url), stream)
if sys.argv[2] == "used":
    producer.add({"n": "before"})

def work(who):
    for n in range(50):
        entry = producer.add({"n": f"{who}-{n}"})
        ((_, fields),) = Redis.from_url(url).xrange(stream, entry, entry)
        assert fields[b"n"] == f"{who}-{n}".encode(), "add() returned the entry ID of another message"
    producer.add_many({"n": f"{who}-{n}"} for n in range(50, 200))

children = [forked(lambda: work("first")), forked(lambda: work("second"))]
work("parent")
sys.exit(any([code_of(pid) for pid in children]))
"""


@pytest.mark.parametrize("used", ["unused", "used"])
def test_a_producer_made_before_a_fork(q, used):
    with script(PRODUCE, q.server.url, q.stream, used) as process:
        assert process.wait(20) == 0
    rows = [fields for _, fields in q.client.xrange(q.stream)]
    expected = [f"{who}-{n}" for who in ("first", "second", "parent") for n in range(200)]
    assert sorted(row["n"] for row in rows) == sorted(expected + ["before"] * (used == "used"))
    assert len({row["task_id"] for row in rows}) == len(rows)


WORK = """
def handler(message):
    time.sleep(0.002)
    note(os.getpid(), message.id)

worker = Worker(Redis.from_url(url), stream, "g", handler, consumer=sys.argv[3] or None)
children = [forked(worker.run), forked(worker.run)]
sys.stdin.read()
for pid in children:
    os.kill(pid, signal.SIGTERM)
sys.exit(any([code_of(pid) for pid in children]))
"""


@pytest.mark.parametrize("consumer", ["", "me"])
def test_a_worker_made_before_a_fork_has_a_name_in_each_child(q1, tmp_path, consumer):
    notes = tmp_path / "notes"
    notes.touch()
    q1.make_group()
    with script(WORK, q1.server.url, q1.stream, notes, consumer) as process:
        wait_until("two consumers with different names are there", lambda: len(q1.consumers()) == 2)
        ids = []

        def both_had_work():
            ids.extend(q1.add(20))
            return len({line.split()[0] for line in notes.read_text().splitlines()}) == 2

        wait_until("both children have had work", both_had_work, every=0.05)
        wait_until("all are handled", lambda: len(notes.read_text().splitlines()) >= len(ids))
        wait_until("all are acknowledged", lambda: q1.pending() == 0)
        process.stdin.close()
        assert process.wait(20) == 0
    assert sorted(line.split()[1] for line in notes.read_text().splitlines()) == sorted(ids), "each is done once"
    assert q1.consumers() == []


REDRIVE = """
letters = DeadLetters(Redis.from_url(url), stream, "g")
(letter,) = letters.read()

def work():
    assert [it.id for it in letters.read()] == [letter.id]
    assert len(letters.redrive(letter.id)) == 1

assert code_of(forked(work)) == 0
assert len(letters) == 0
"""


def test_dead_letters_opened_before_a_fork(q1):
    q1.make_group()
    q1.add(1)
    with q1.running(refuse):
        wait_until("it is dead-lettered", lambda: len(q1.letters) == 1)
    with script(REDRIVE, q1.server.url, q1.stream) as process:
        assert process.wait(20) == 0
    assert q1.client.xlen(q1.stream) == 2


FORKING_HANDLER = """
parent = os.getpid()

def handler(message):
    pid = os.fork() if int(message.fields["n"]) % 20 == 10 else None
    if pid != 0:
        note(message.id, code_of(pid) if pid else "quick")

try:
    Worker(Redis.from_url(url), stream, "g", handler, threads=int(sys.argv[3])).run()
except RuntimeError as error:
    if os.getpid() == parent:
        raise
    os._exit(7)
"""


def test_a_handler_that_forks_and_returns_in_the_child(q1, tmp_path, threads):
    """What was read and not yet handled when it forked is the parent's alone."""
    notes = tmp_path / "notes"
    notes.touch()
    ids = q1.add(200)
    with script(FORKING_HANDLER, q1.server.url, q1.stream, notes, threads) as process:
        wait_until("all are handled", lambda: len(notes.read_text().splitlines()) >= len(ids))
        wait_until("the parent has acknowledged all", lambda: q1.pending() == 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    done = [line.split() for line in notes.read_text().splitlines()]
    assert sorted(entry for entry, _ in done) == sorted(ids)
    codes = {code for _, code in done} - {"quick"}
    assert "0" not in codes, "no child takes its end for success"
    assert codes == {"7"} or threads > 1, "run() raised RuntimeError in each child"
    assert q1.consumers() == []
