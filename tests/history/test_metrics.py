"""What can be read of a run while it is being written."""

import pytest

from streamlab.history.log import EventLog
from streamlab.history.metrics import SECONDS, STEP, LiveMetrics

NS = 1_000_000_000


@pytest.fixture
def run(tmp_path):
    """A folder with two event logs that are still open."""
    with EventLog(tmp_path, "producer") as producer, EventLog(tmp_path, "worker-1") as worker:
        yield tmp_path, producer, worker


def at(seconds):
    return round((100 + seconds) * NS)


def add(producer, job, seconds):
    producer.write("adding", job=job, due_ns=at(seconds), time_ns=at(seconds))
    producer.write("added", job=job, due_ns=at(seconds), time_ns=at(seconds), entry=f"{job + 1}-0")


def done(worker, job, seconds, kind="done"):
    worker.write(kind, job=job, entry=f"{job + 1}-0", time_ns=at(seconds))


def test_latency_and_rate_of_the_last_second(run):
    folder, producer, worker = run
    live = LiveMetrics(folder, at(0))
    for job in range(8):
        add(producer, job, job / 4)
        done(worker, job, job / 4 + 0.1)
    look = live.at(2.0)
    assert look.time == [step * STEP for step in range(8)]
    assert look.added[-1] == look.done[-1] == 4
    assert look.p50[-1] == pytest.approx(0.1)
    assert (look.offered, look.finished, look.claimed) == (8, 8, 0)
    assert look.oldest[-1] is None


def test_a_second_look_takes_what_is_new_and_nothing_twice(run):
    folder, producer, worker = run
    live = LiveMetrics(folder, at(0))
    for job in range(3000):  # more than one block
        add(producer, job, 0.1)
    assert live.at(1.0).offered == 3000
    done(worker, 5, 2.0)
    done(worker, 5, 2.1)  # done twice is done once
    done(worker, 6, 2.2, kind="claimed")
    look = live.at(3.0)
    assert (look.offered, look.finished, look.claimed) == (3000, 1, 1)
    assert look.p99[-4] == pytest.approx(1.9)
    assert look.oldest[-1] == pytest.approx(2.9)


def test_the_next_process_of_a_worker_is_found(run):
    folder, producer, _ = run
    live = LiveMetrics(folder, at(0))
    add(producer, 0, 0.1)
    live.at(1.0)
    with EventLog(folder, "worker-1", 2) as second, EventLog(folder, "wire") as wire:
        done(second, 0, 1.1)
        wire.write("wire_claimed", entry="1-0", time_ns=at(1.1))
        assert live.at(2.0).finished == 1
    assert live.at(2.5).finished == 1, "closed, and cut to what was written"


def test_samples_come_in_whole_lines_and_gaps_are_gaps(run):
    folder, _, _ = run
    live = LiveMetrics(folder, at(0))
    assert live.at(0.5).lag == [None, None]
    path = folder / "samples.csv"
    path.write_text(f'time_ns,metric,consumer,value\n{at(0.6)},pending,"a,b",3\n{at(0.6)},lag,,7\n{at(0.65)},lag,,1')
    assert live.at(1.0).lag == [None, None, 7, None]
    with path.open("a") as file:
        file.write(f'2\n{at(1.1)},pending,"a,b",4\n')
    look = live.at(1.5)
    assert look.pending == {"a,b": [None, None, 3, None, 4, None]}
    assert look.held == {"a,b": 4}
    assert look.lag == [None, None, 12, None, None, None]


def test_what_is_long_ago_is_forgotten(run):
    folder, producer, worker = run
    live = LiveMetrics(folder, at(0))
    add(producer, 0, 0.1)
    done(worker, 0, 0.2)
    look = live.at(1000.0)
    assert len(look.time) == SECONDS / STEP
    assert look.time[-1] + STEP == 1000
    assert set(look.added) == {0}
    assert look.offered == look.finished == 1
    assert len(live._steps) < 2 * SECONDS / STEP


def test_what_was_refused_or_buried_waits_no_longer(run):
    folder, producer, worker = run
    live = LiveMetrics(folder, at(0))
    add(producer, 0, 0.1)
    producer.write("adding", job=1, due_ns=at(0.1), time_ns=at(0.1))
    producer.write("refused", job=1, due_ns=at(0.1), time_ns=at(0.2))
    assert live.at(1.0).oldest[-1] == pytest.approx(0.9)
    done(worker, 0, 1.1, kind="dead")
    look = live.at(2.0)
    assert look.oldest[-1] is None
    assert look.finished == 0
