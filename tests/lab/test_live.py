"""A run that goes on, without a screen: real processes, a real server, faults pressed while it runs."""

import signal
import subprocess
import sys
import threading
from contextlib import nullcontext

import psutil
import pytest

import streamlab as sl
from streamlab.errors import ServerError, UnsupportedError, UsageError
from streamlab.faults.redis import FreezeRedis
from streamlab.faults.wire import Reset
from streamlab.lab.live import LiveRun
from streamlab.servers import ExternalServer, ProcessServer
from tests.waiting import wait_until


def children():
    return [it for it in psutil.Process().children(recursive=True) if "lab.forkserver" in str(it.cmdline())]


def keys(server):
    with server.client() as client:
        return list(client.scan_iter(match=f"{server.prefix}*:tasks*"))


@pytest.fixture
def live(any_server, tmp_path):
    """Starts live runs, and sees to it that none is left."""
    begun = []

    def begin(server=any_server, *, at_most=60.0, rate=40.0, count=100_000, **more):
        workload = sl.Sleep(count=count, rate=rate, seconds=0.1)
        settings = {"workload": workload, "claim_after": 1.0, "threads": 4, "name": "live"} | more
        folder = tmp_path / f"run-{len(begun)}"
        experiment = sl.Experiment(**settings)
        folder.mkdir()
        begun.append(LiveRun(lambda: nullcontext(server), experiment, folder, at_most=at_most))
        return begun[-1].start()

    yield begin
    for run in begun:
        run.break_off()
    assert not children()
    assert not keys(any_server)


def held(live, worker):
    return live.look().held.get(worker, 0)


def test_what_is_pressed_happens_and_is_in_the_history(live):
    it = live()
    wait_until("messages are done", lambda: it.look().finished > 20)
    it.press(sl.Kill("worker-2", at=1e9, holding=1))  # its time is now
    wait_until("worker-2 is dead", lambda: it.states["worker-2"] == "killed")
    wait_until("what it held is seen pending", lambda: held(it, "worker-2") > 0)
    wait_until("the others have claimed it", lambda: held(it, "worker-2") == 0)
    assert it.states["worker-2"] == "killed"
    it.restart("worker-2")
    wait_until("it is there again", lambda: it.states["worker-2"] == "running")
    wait_until("and works", lambda: held(it, "worker-2") > 0)
    it.press(Reset("worker-1", at=0))
    it.press(FreezeRedis(at=0, seconds=0.3))
    wait_until("Redis stands still", lambda: it.states["redis"] == "stands still")
    wait_until("Redis is back", lambda: it.states["redis"] == "running")
    it.press(sl.Slow("worker-3", at=0, by=0.2, seconds=0.5))
    wait_until("worker-3 is slow", lambda: it.states["worker-3"] == "slow")
    it.set_rate(0)
    wait_until("nothing is added", lambda: it.look().added[-1] == 0)
    it.set_rate(120)
    wait_until("much is added", lambda: it.look().added[-1] > 80)
    run = it.stop()
    assert run.verdict.verdict == "valid", run.verdict.reasons
    faults = run.history.faults
    assert list(faults["name"]) == [mark.name for mark in it.marks]
    assert list(faults["fault"]) == ["kill", "reset", "redis-freeze", "slow", "rate", "rate"]
    assert [record.planned for record in faults["record"]] == [False] * 6
    assert faults["end"].notna().all(), "also the kill has an end: when it was restarted"
    assert faults["held"].iloc[0] > 0
    assert list(faults["target"].iloc[-2:]) == ["0/s", "120/s"]
    counts = run.verdict.counts
    assert run.history.experiment["workload"]["count"] == counts["jobs"] == it.look().offered
    assert it.look().finished == counts["done"]
    assert counts["reclaimed"] > 0
    added = run.history.jobs["added"]
    quiet, busy = faults["start"].iloc[-2:]
    assert not added.between(quiet + 0.05, busy).any()
    assert any("pressed: kill worker-2" in line for _, line in it.said)
    assert run is it.stop()


def test_a_stop_in_the_middle_of_faults_does_not_wait_for_their_end(live):
    it = live()
    it.press(sl.Pause("worker-1", at=0, seconds=300))
    it.press(sl.Kill("worker-2", at=0))
    wait_until("one is paused", lambda: it.states["worker-1"] == "paused")
    wait_until("another dead", lambda: it.states["worker-2"] == "killed")
    it.press(FreezeRedis(at=0, seconds=300))
    wait_until("Redis stands still", lambda: it.states["redis"] == "stands still")
    run = it.stop()
    assert not it.running
    assert run.verdict.verdict == "valid", run.verdict.reasons
    faults = run.history.faults
    assert sorted(faults["fault"]) == ["kill", "pause", "redis-freeze"]
    assert (faults["end"] - faults["start"] < 30).all()


def test_ctrl_c_in_stop_leaves_it_stopping(live):
    """Python takes a thread in whose `join` it was interrupted for ended: the verdict came too early, and for good."""
    it = live(workers=1, threads=1)  # it does 10 a second of 40
    wait_until("there is a backlog", lambda: it.look().offered > 30)

    def interrupt():
        wait_until("somebody stops it", lambda: it.stopping)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    somebody = threading.Thread(target=interrupt)
    somebody.start()
    with pytest.raises(KeyboardInterrupt):
        it.stop()
    somebody.join()
    assert it.running
    assert it.stop().verdict.verdict == "valid"


def test_it_stops_by_itself_after_its_time_or_with_its_last_job(live):
    timed, counted = live(at_most=0.5, workers=1), live(count=10, workers=1)
    for it in (timed, counted):
        it.wait(20)
        assert not it.running
        assert it.stop().verdict.verdict == "valid"
    assert counted.stop().verdict.counts["jobs"] == 10


def test_planned_faults_are_planned_and_pressed_ones_that_hit_nothing_are_no_doubt(live):
    it = live(faults=[sl.Kill("worker-1", at=0.2)], workers=2)
    wait_until("the plan is carried out", lambda: it.states["worker-1"] == "ended")
    it.set_rate(0)
    wait_until("nobody holds anything", lambda: it.look().held and not any(it.look().held.values()))
    it.press(sl.Kill("worker-2", at=0))
    wait_until("it dies with empty hands", lambda: it.states["worker-2"] == "killed")
    run = it.stop()
    assert run.verdict.verdict == "valid", run.verdict.reasons
    planned = [record.planned for record in run.history.faults["record"]]
    assert planned == [True, False, False]
    assert run.history.faults["held"].iloc[-1] == 0


def test_what_cannot_be_done_is_refused_at_once(live, any_server):
    with ExternalServer(any_server.url) as guest:
        it = live(guest, workers=1)
        freeze = FreezeRedis(at=0, seconds=1)
        assert "somebody else's Redis" in it.refusal(freeze)
        assert it.refusal(Reset("worker-1", at=0)) == ""
        with pytest.raises(UnsupportedError, match="somebody else's Redis"):
            it.press(freeze)
        with pytest.raises(UsageError, match="no worker is called 'worker-9'"):
            it.press(sl.Kill("worker-9", at=0))
        with pytest.raises(UsageError, match="no worker is called 'worker-9'"):
            it.restart("worker-9")
        with pytest.raises(UsageError, match="messages a second"):
            it.set_rate(-1)
        assert it.rate == 40
        it.restart("worker-1")
        wait_until("it is said", lambda: any("worker-1 runs" in line for _, line in it.said))
        it.stop()
        with pytest.raises(UsageError, match="over"):
            it.press(sl.Kill("worker-1", at=0))


@pytest.mark.parametrize("at_most", [0, -1, float("inf"), "long", True])
def test_a_time_that_cannot_be_meant(at_most, tmp_path):
    experiment = sl.Experiment(workload=sl.Sleep(count=1, rate=1.0))
    with pytest.raises(UsageError, match="at_most"):
        LiveRun(nullcontext, experiment, tmp_path, at_most=at_most)


def test_what_goes_wrong_at_the_start_is_raised_by_it(live):
    with pytest.raises(UsageError, match="no worker is called 'producer'"):
        live(faults=[sl.Kill("producer", at=1)])

    class Unloadable:
        def __reduce__(self):
            return (eval, ("1/0",))

    broken = Unloadable()
    with pytest.raises(ServerError, match=r"did not start \(ZeroDivisionError"):
        live(workload=sl.Call(lambda message: broken, count=1, rate=1.0))


def test_a_redis_that_is_gone_ends_the_run_and_stop_says_so(live):
    with ProcessServer() as server:
        it = live(server, workers=1)
        wait_until("messages are done", lambda: it.look().finished > 5)
        server.kill()
        it.wait(20)
        assert not it.running
        with pytest.raises(ServerError, match="in the middle of the run"):
            it.stop()
    verdict = sl.Run(it.folder).verdict
    assert verdict.verdict == "unknown"
    assert verdict.counts["done"] > 0


SCRIPT = """
import sys, streamlab as sl
room = sl.Lab(sl.open_server("process")).live(out=sys.argv[1], workers=1)
while room.live.look().finished < 10:
    room.live.wait(0.05)
"""


def test_the_end_of_python_is_the_end_of_all(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stderr=subprocess.PIPE)
    with process:
        below = set()

        def ended():
            if process.poll() is None:
                below.update(psutil.Process(process.pid).children(recursive=True))
            return process.poll() is not None

        wait_until("it ends by itself", ended, timeout=40)
        assert (process.returncode, process.stderr.read()) == (0, b"")
    assert len(below) >= 3, "a worker, a producer, a server"
    wait_until("every process of it is gone", lambda: not [it for it in below if it.is_running()])
    run = sl.Run(folder)
    assert run.verdict.verdict == "unknown", "nobody waited for the last messages"
    assert run.verdict.counts["done"] >= 10
    assert run.history.events["note"].str.contains("broken off").any(), "in order, while Redis was still there"
