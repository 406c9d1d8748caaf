"""A live run and its dashboard without a browser: real processes, a real Redis, real widgets."""

import re
import signal
import subprocess
import sys
import threading
from html import unescape

import psutil
import pytest

import streamlab as sl
from streamlab.errors import ServerError, UnsupportedError, UsageError
from streamlab.faults import FreezeRedis
from streamlab.servers import ExternalServer, ProcessServer
from tests.waiting import wait_until


class Screen:
    """What somebody sees of a dashboard, and what they press."""

    def __init__(self, dashboard):
        self.dashboard = dashboard

    def widgets(self, kind, parent=None):
        for child in getattr(parent or self.dashboard.widget, "children", ()):
            yield from [child] if type(child).__name__ == kind else self.widgets(kind, child)

    def text(self):
        found = (it.value for it in self.widgets("HTML"))
        return " ".join(unescape(re.sub("<[^>]*>", " ", "\n".join(found))).split())

    def button(self, name):
        return next(it for it in self.widgets("Button") if f"streamlab-{name}" in it.get_state()["_dom_classes"])

    def pending(self, worker):
        return int(re.search(rf"{worker} \w+ , (\d+) pending", self.text())[1])

    def press(self, name):
        wait_until(f"{name} can be pressed", lambda: not self.button(name).disabled)
        self.button(name).click()

    def sees(self, text, timeout=10):
        wait_until(f"{text!r} is shown", lambda: text in self.text(), timeout=timeout)


@pytest.fixture
def begin(any_server, tmp_path):
    """Begins live runs, and sees to it that none is left."""
    labs = []

    def live(server=any_server, *, rate=40.0, count=100_000, workload=None, at_most=60.0, **more):
        labs.append(sl.Lab(server))
        workload = workload or sl.Sleep(count=count, rate=rate, seconds=0.1)
        it = sl.Experiment(**{"workload": workload, "claim_after": 1.0, "threads": 4, "name": "live"} | more)
        return labs[-1].live(it, out=tmp_path / f"run-{len(labs)}", at_most=at_most)

    yield live
    for lab in labs:
        lab.close()
    assert not [it for it in psutil.Process().children(recursive=True) if "lab.forkserver" in str(it.cmdline())]
    with any_server.client() as client:
        assert not list(client.scan_iter(match=f"{any_server.prefix}*:tasks*"))


def test_what_is_pressed_happens_is_shown_and_is_in_the_history(begin):
    dashboard = begin()
    screen = Screen(dashboard)
    assert screen.button("restart-worker-2").disabled, "what runs cannot be restarted"
    wait_until("worker-2 works", lambda: screen.pending("worker-2") > 0)
    screen.press("kill-worker-2")
    screen.sees("worker-2 killed")
    assert screen.button("kill-worker-2").disabled
    wait_until("the others claim what it held", lambda: screen.pending("worker-2") == 0)
    screen.press("restart-worker-2")
    screen.sees("worker-2 running")
    wait_until("it works again", lambda: screen.pending("worker-2") > 0)
    for name, state in (("slow", "slow"), ("pause", "paused")):
        screen.press(f"{name}-worker-1")
        screen.sees(f"worker-1 {state}")
    screen.press("cut-worker-3")
    screen.press("freeze-redis")
    screen.sees("Redis stands still")
    screen.sees("Redis running")
    (slider,) = screen.widgets("FloatSlider")
    for rate in range(1, 91):  # a key held down
        slider.value = rate
    screen.sees("from now on 90 messages a second")
    dashboard.set_rate(0)
    wait_until("nothing is added", lambda: dashboard.live.look().added[-1] == 0)
    dashboard.set_rate(150)
    assert (slider.value, slider.max) == (150, 200)
    wait_until("much is added", lambda: dashboard.live.look().added[-1] > 110)
    next(it for it in screen.widgets("Button") if it.description == "Stop").click()
    screen.sees("valid : ", timeout=30)
    run = dashboard.stop()
    assert run.verdict.verdict == "valid", run.verdict.reasons
    (picture,) = screen.widgets("Image")
    assert bytes(picture.value).startswith(b"\x89PNG")
    assert all(it.disabled for it in screen.widgets("Button"))
    faults = run.history.faults
    assert list(faults["fault"])[:6] == ["kill", "slow", "pause", "reset", "redis-freeze", "rate"]
    assert 3 <= list(faults["fault"]).count("rate") < 30, "not each position of the slider"
    assert list(faults["target"])[-3:] == ["90/s", "0/s", "150/s"]
    assert not any(record.planned for record in faults["record"])
    assert faults["end"].notna().all(), "also the kill ends, when the worker is restarted"
    assert faults["held"].iloc[0] > 0
    counts, look = run.verdict.counts, dashboard.live.look()
    assert run.history.experiment["workload"]["count"] == counts["jobs"] == look.offered
    assert look.finished == counts["done"]
    assert counts["reclaimed"] > 0
    screen.button("kill-worker-1").click()  # a click that was on its way
    assert "this run is over" in dashboard.live.log[-1][1]


def test_a_stop_in_the_middle_of_faults_does_not_wait_for_their_end(begin):
    dashboard = begin(faults=[sl.Kill("worker-3", at=0.2)])
    dashboard.press(sl.Pause("worker-1", at=0, seconds=300))
    dashboard.press("kill", "worker-2")
    states = {"worker-1": "paused", "worker-2": "killed", "worker-3": "ended"}
    wait_until("one is paused, two are dead", lambda: dashboard.live.states.items() >= states.items())
    dashboard.press(FreezeRedis(at=0, seconds=300))
    wait_until("Redis stands still", lambda: dashboard.live.states["redis"] == "stands still")
    run = dashboard.stop()
    assert run.verdict.verdict == "valid", run.verdict.reasons
    faults = run.history.faults
    planned = {(record.name, record.planned) for record in faults["record"]}
    assert planned == {
        ("kill worker-3", True),
        ("kill worker-2", False),
        ("pause worker-1", False),
        ("redis-freeze", False),
    }
    ended = faults[[not record.planned for record in faults["record"]]]
    assert (ended["end"] - ended["start"] < 30).all()
    assert any("worker-2 restarted" in line for _, line in dashboard.live.log)


def test_ctrl_c_in_stop_leaves_it_stopping(begin):
    """Python takes a thread in whose `join` it was interrupted for ended: the verdict came too early, and for good."""
    dashboard = begin(workers=1, threads=1)  # it does 10 a second of 40
    wait_until("there is a backlog", lambda: dashboard.live.look().offered > 15)

    def interrupt():
        wait_until("somebody stops it", lambda: dashboard.live.state == "stopping")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    somebody = threading.Thread(target=interrupt)
    somebody.start()
    with pytest.raises(KeyboardInterrupt):
        dashboard.stop()
    somebody.join()
    assert dashboard.live.state == "stopping"
    assert dashboard.stop().verdict.verdict == "valid"


def test_it_stops_after_its_time_with_its_last_job_or_when_its_dashboard_is_closed(begin):
    timed, counted, closed = begin(at_most=0.5, workers=1), begin(count=10, workers=1), begin()
    assert closed._repr_mimebundle_().keys() == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    closed.press(sl.Fail("worker-1", at=1e9))  # its time is now
    closed.press("kill", "worker-3")
    wait_until("both have begun", lambda: len(closed.live.marks) == 2)
    closed.press("restart", "worker-3")
    wait_until("worker-3 is back", lambda: closed.live.states["worker-3"] == "running")
    closed.set_rate(0)
    wait_until("nothing is pending", lambda: set(closed.live.look().held.values()) == {0})
    empty = closed.live.seconds
    wait_until("a claim would have been said", lambda: closed.live.seconds > empty + 0.5)
    closed.widget.close()
    for it in (timed, counted, closed):
        wait_until("it has stopped", lambda it=it: it.live.state == "stopped", timeout=20)
        assert it.stop().verdict.verdict == "valid", it.stop().verdict.reasons
    assert counted.stop().verdict.counts["jobs"] == 10
    lines = [line for _, line in closed.live.log]
    assert "pressed: kill worker-3" in lines
    assert not any("others have claimed" in line for line in lines), "it recovers itself what it held"
    (text,) = closed._repr_mimebundle_().values()  # where there are no widgets it says how to use it
    assert all(how in text for how in ("stopped, ", ".press(", ".set_rate(", ".stop()"))


def test_what_cannot_be_done_is_refused_at_once_and_said_in_the_dashboard(begin, any_server):
    with ExternalServer(any_server.url) as guest:
        dashboard = begin(guest, workers=1)
        screen = Screen(dashboard)
        freeze = screen.button("freeze-redis")
        assert freeze.disabled
        assert "somebody else's Redis" in freeze.tooltip
        assert not screen.button("cut-worker-1").disabled
        freeze.click()
        screen.sees("somebody else's Redis")
        with pytest.raises(UnsupportedError, match="somebody else's Redis"):
            dashboard.press("freeze")
        for wrong, said in (
            (("explode",), "no button 'explode'; there are: kill, restart, pause, slow, cut, freeze"),
            (("kill",), "no worker is called ''"),
            (("restart", "worker-9"), "no worker is called 'worker-9'"),
            ((sl.Kill("worker-9", at=0),), "no worker is called 'worker-9'"),
        ):
            with pytest.raises(UsageError, match=said):
                dashboard.press(*wrong)
        for rate in (-1, float("nan"), 1e9, "many", True):
            with pytest.raises(UsageError, match="messages a second"):
                dashboard.set_rate(rate)
        dashboard.press("restart", "worker-1")
        screen.sees("worker-1 runs: there is nothing to restart")


class Unloadable:
    def __call__(self, message):
        pass

    def __reduce__(self):
        return (eval, ("1/0",))


def test_what_goes_wrong_at_the_start_is_raised_by_it(begin):
    with pytest.raises(ServerError, match="did not start"):
        begin(workload=sl.Call(Unloadable(), count=1, rate=1.0))
    for at_most in (0, -1, float("inf"), "long", True):
        with pytest.raises(UsageError, match="at_most"):
            begin(at_most=at_most)


def test_a_redis_that_is_gone_ends_the_run_and_both_dashboard_and_stop_say_so(begin):
    with ProcessServer() as server:
        dashboard = begin(server, workers=1)
        wait_until("messages are done", lambda: dashboard.live.look().finished > 5)
        server.kill()
        Screen(dashboard).sees("in the middle of the run", timeout=20)
        with pytest.raises(ServerError, match="in the middle of the run"):
            dashboard.stop()
        assert "stopped" in Screen(dashboard).text()
    verdict = sl.Run(dashboard.live.folder).verdict
    assert verdict.verdict == "unknown"
    assert verdict.counts["done"] > 0


def test_one_live_run_at_a_time_and_none_outlives_its_lab(any_server, tmp_path):
    with sl.Lab(any_server) as lab:
        experiment = sl.Experiment(workload=sl.Sleep(count=10_000, rate=50.0, seconds=0.05), workers=2)
        dashboard = lab.live(experiment, out=tmp_path / "first")
        assert set(dashboard.live.states) == {"worker-1", "worker-2", "redis"}
        with pytest.raises(UsageError, match="still goes on: press Stop"):
            lab.live(out=tmp_path / "second")
        assert not (tmp_path / "second").exists()
    assert dashboard.live.state == "stopped"
    assert dashboard.stop().verdict.verdict == "unknown", "it was broken off"


SCRIPT = """
import sys, time, streamlab as sl
dashboard = sl.Lab(sl.open_server("process")).live(out=sys.argv[1])
while dashboard.live.look().finished < 10:
    time.sleep(0.05)
"""


def test_the_end_of_python_is_the_end_of_all(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stderr=subprocess.PIPE)
    below = set()

    def ended():
        if process.poll() is None:
            below.update(psutil.Process(process.pid).children(recursive=True))
        return process.poll() is not None

    with process:
        wait_until("it ends by itself", ended, timeout=40)
        assert (process.returncode, process.stderr.read()) == (0, b"")
    assert len(below) >= 3, "a worker, a producer, a server"
    wait_until("every process of it is gone", lambda: not [it for it in below if it.is_running()])
    run = sl.Run(folder)
    assert run.verdict.verdict == "unknown", "nobody waited for the last messages"
    assert run.verdict.counts["done"] >= 10
    assert run.history.events["note"].str.contains("broken off").any(), "in order, while Redis was still there"
