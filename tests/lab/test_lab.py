"""Whole experiments, with real processes on real servers."""

import gc
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import streamlab as sl
from streamlab.errors import MissingError, ServerError, UsageError
from streamlab.queue import PermanentError
from tests.waiting import wait_until


def run(server, tmp_path, workload, **more):
    lab = sl.Lab(server)
    return lab.run(sl.Experiment(workload=workload, **more), out=tmp_path / "run")


def keys(server):
    with server.client() as client:
        return list(client.scan_iter(match=f"{server.prefix}*:tasks*"))


def test_a_kill_on_every_server(server, tmp_path):
    """Valid everywhere; what the dead worker held is what was claimed."""
    heard, seen = [], []
    lab = sl.Lab(server, say=heard.append)
    experiment = sl.Experiment(
        workload=sl.Sleep(count=60, rate=100.0, seconds=0.03),
        claim_after=0.4,
        threads=2,
        faults=[sl.Kill("worker-2", at=0.2)],
    )
    finished = lab.run(experiment, out=tmp_path / "run", progress=seen.append)
    verdict = finished.verdict
    assert verdict.verdict == "valid", verdict.reasons
    assert (verdict.counts["jobs"], verdict.counts["done"], verdict.counts["lost"]) == (60, 60, 0)
    (fault,) = finished.history.faults.to_dict("records")
    assert fault["target"] == "worker-2"
    held = fault["held"]
    assert held >= 1
    events = finished.history.events
    assert set(events[events["kind"] == "claimed"]["process"]) <= {"worker-1", "worker-3"}
    assert 1 <= verdict.counts["reclaimed"] <= held
    assert keys(server) == []
    assert any("killed worker-2" in line for line in heard)
    assert any("claimed" in line for line in heard)
    steps = [step.finished for step in seen]
    assert steps == sorted(steps)
    assert (steps[-1], seen[-1].total) == (60, 60)


def test_a_run_without_a_folder_owns_a_temporary_one(any_server, capsys):
    """And a lab that opens its server prints what happens."""
    experiment = sl.Experiment(workload=sl.Sleep(count=1, rate=1.0, seconds=0.0), workers=1, name="mine")
    with sl.Lab(any_server.url) as lab:
        repeats = lab.repeat(experiment, 2)
    assert "server: external" in capsys.readouterr().out
    first, second = (repeats.runs[seed].folder for seed in (1, 2))
    assert first != second
    assert "mine" in first.name
    kept = repeats.runs[2]
    del repeats
    gc.collect()
    assert (first.exists(), second.exists()) == (False, True)
    assert kept.verdict.verdict == "valid"


def test_a_worker_that_comes_back_takes_up_its_own(any_server, tmp_path):
    finished = run(
        any_server,
        tmp_path,
        sl.Sleep(count=40, rate=100.0, seconds=0.03),
        claim_after=20.0,
        faults=[sl.Kill("worker-1", at=0.2, restart_after=0.2)],
    )
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert finished.verdict.counts["reclaimed"] == 0
    events = finished.history.events
    own = events[events["kind"] == "own"]
    assert set(own["process"]) == {"worker-1"}
    assert set(own["incarnation"]) == {2}
    assert len(finished.history.faults.dropna(subset=["end"])) == 1
    for name in ("worker-1.1", "producer.1"):
        (finished.folder / f"events/{name}.csv").unlink()
        with pytest.raises(MissingError, match=f"{name}.csv"):
            _ = sl.Run(finished.folder).verdict


def test_a_function_from_a_cell_travels_to_the_workers(any_server, tmp_path, capsys):
    """Dead letters: one for each job that a closure of this test declares hopeless."""
    hopeless = {"3", "7"}

    def handler(message):
        time.sleep(0.05)
        if message.fields["job"] in hopeless:
            raise PermanentError("never")

    finished = run(any_server, tmp_path, sl.Call(handler, count=10, rate=200.0), workers=1)
    assert finished.verdict.counts["dead_lettered"] == 2
    assert finished.verdict.counts["done"] == 8
    assert "never" in str(finished.message(3))
    assert capsys.readouterr().out == "", "the caller's server: nothing is said unless asked"
    latency = finished.history.jobs["latency"].dropna()
    assert latency.iloc[0] < 0.2 < latency.iloc[-1], "from the due time: the last waited for those before it"


def test_a_handler_that_takes_its_worker_with_it_is_told(any_server, tmp_path):
    """The message kills every worker that meets it; the last one to die cannot dead-letter it."""
    heard = []
    lab = sl.Lab(any_server, say=heard.append)
    workload = sl.Call(lambda message: os._exit(7) if message.fields["job"] == "0" else None, count=5, rate=100.0)
    finished = lab.run(sl.Experiment(workload=workload, workers=2, claim_after=0.2, drain=0.8), out=tmp_path / "run")
    assert sum("ended by itself (status 7" in line for line in heard) == 2
    verdict = finished.verdict
    assert (verdict.verdict, verdict.exit_code) == ("invalid", 1)
    assert verdict.counts["stuck"] >= 1
    assert verdict.counts["lost"] == 0
    assert keys(any_server) == []


def test_a_folder_that_cannot_be_the_run_s_is_refused(any_server, tmp_path):
    (tmp_path / "file").touch()
    for out, said in ((tmp_path, "not empty"), (tmp_path / "file", "cannot be the run's folder")):
        with pytest.raises(UsageError, match=said):
            sl.Lab(any_server).run(sl.Experiment(workload=sl.Sleep(count=1)), out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_handler_that_breaks_its_process_at_birth_is_told(any_server, tmp_path):
    class Unloadable:
        def __reduce__(self):
            return (eval, ("1/0",))

    broken = Unloadable()
    with pytest.raises(ServerError, match=r"did not start \(ZeroDivisionError"):
        run(any_server, tmp_path, sl.Call(lambda message: broken, count=1, rate=1.0))
    assert not [
        child for child in psutil.Process().children(recursive=True) if "lab.forkserver" in str(child.cmdline())
    ]
    assert keys(any_server) == []


SCRIPT = """
import sys, streamlab as sl
lab = sl.Lab("process", say=lambda line: print(line, flush=True))
pause = sl.Pause("worker-1", at=0.2, seconds=100)
lab.run(sl.Experiment(workload=sl.Sleep(count=10_000, rate=100.0, seconds=0.01), faults=[pause]), out=sys.argv[1])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_lab_that_is_broken_off_leaves_its_record_and_nothing_else(tmp_path, number):
    """Not even a worker that stands still at that moment."""
    folder = tmp_path / "run"
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while b"SIGSTOP" not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 5, "three workers, a producer, a server"
        os.kill(process.pid, number)
        process.communicate(timeout=20)
    wait_until("every process of it is gone", lambda: not [child for child in below if child.is_running()])
    finished = sl.Run(folder)
    assert finished.verdict.verdict == "unknown"
    assert finished.verdict.counts["done"] > 0, "what was recorded is there"
    assert not (folder / "outcome.json").exists()


def test_a_run_broken_off_before_its_first_job_is_unknown(any_server, tmp_path):
    def broken_off(line):
        if "jobs" in line:  # told when all is prepared
            raise KeyboardInterrupt

    experiment = sl.Experiment(workload=sl.Sleep(count=1), workers=1)
    with pytest.raises(KeyboardInterrupt):
        sl.Lab(any_server, say=broken_off).run(experiment, out=tmp_path / "run")
    assert sl.Run(tmp_path / "run").verdict.verdict == "unknown"


def test_workers_never_load_what_only_readers_need():
    heavy = "{'pandas', 'numpy', 'matplotlib', 'IPython'}"
    code = f"import sys, streamlab.lab.process; print(*sorted(set(sys.modules) & {heavy}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""


def test_a_redis_that_goes_away_for_good_gets_one_line(tmp_path):
    from streamlab.servers import ProcessServer

    with ProcessServer() as server:
        lab = sl.Lab(server)
        experiment = sl.Experiment(workload=sl.Sleep(count=1000, rate=100.0, seconds=0.01), drain=1.0)

        def strike(how_far):
            if how_far.finished and server.alive():
                server.kill()

        with pytest.raises(ServerError, match="in the middle of the run"):
            lab.run(experiment, out=tmp_path / "run", progress=strike)
    assert sl.Run(tmp_path / "run").verdict.verdict == "unknown"
