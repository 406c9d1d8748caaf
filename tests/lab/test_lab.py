"""Whole experiments, with real processes on real servers."""

import gc
import os
import signal
import subprocess
import sys

import psutil
import pytest

import streamlab as sl
from streamlab.errors import DataError, MissingError, ServerError, UsageError
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
    heard = []
    lab = sl.Lab(server, say=heard.append)
    experiment = sl.Experiment(
        workload=sl.Sleep(count=60, rate=100.0, seconds=0.03),
        claim_after=0.4,
        threads=2,
        faults=[sl.Kill("worker-2", at=0.2)],
    )
    finished = lab.run(experiment, out=tmp_path / "run")
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


def test_who_is_told(any_server, tmp_path, capsys):
    """A lab that opens its server prints what happens; one on the caller's server says nothing unless asked."""
    once = sl.Experiment(workload=sl.Sleep(count=1, rate=10.0, seconds=0.0))
    sl.Lab(any_server).run(once)
    assert capsys.readouterr().out == ""
    with sl.Lab(any_server.url) as lab:
        lab.run(once)
    assert "server: external" in capsys.readouterr().out


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


def test_nobody_claims_and_the_verdict_says_so(any_server, tmp_path):
    finished = run(
        any_server,
        tmp_path,
        sl.Sleep(count=30, rate=100.0, seconds=0.03),
        claim_after=60.0,
        drain=0.5,
        faults=[sl.Kill("worker-1", at=0.1)],
    )
    verdict = finished.verdict
    assert (verdict.verdict, verdict.exit_code) == ("invalid", 1)
    assert verdict.counts["stuck"] >= 1
    assert verdict.counts["lost"] == 0
    assert keys(any_server) == []


def test_a_kill_that_hits_nothing_is_unknown(any_server, tmp_path):
    finished = run(
        any_server, tmp_path, sl.Sleep(count=5, rate=100.0, seconds=0.0), faults=[sl.Kill("worker-1", at=0.5)]
    )
    assert (finished.verdict.verdict, finished.verdict.exit_code) == ("unknown", 2)


def test_a_function_from_a_cell_travels_to_the_workers(any_server, tmp_path):
    """Dead letters: one for each job that a closure of this test declares hopeless."""
    hopeless = {"3", "7"}

    def handler(message):
        if message.fields["job"] in hopeless:
            raise PermanentError("never")

    finished = run(any_server, tmp_path, sl.Call(handler, count=10, rate=200.0))
    assert finished.verdict.counts["dead_lettered"] == 2
    assert finished.verdict.counts["done"] == 8
    assert "never" in str(finished.message(3))


def test_photographs_are_really_resized(any_server, tmp_path):
    from PIL import Image

    finished = run(any_server, tmp_path, sl.ResizeImages(count=8, rate=100.0))
    thumbnails = list((finished.folder / "thumbnails").iterdir())
    assert len(thumbnails) == 8
    with Image.open(thumbnails[0]) as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize("target", ["worker-4", "worker-0", "producer", ""])
def test_a_fault_that_names_nobody_is_refused_before_the_run(any_server, tmp_path, target):
    with pytest.raises(UsageError, match="no worker is called"):
        run(any_server, tmp_path, sl.Sleep(count=1, rate=1.0, seconds=0.0), faults=[sl.Kill(target, at=1)])


def test_a_folder_in_use_is_refused(any_server, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        run(any_server, tmp_path, sl.Sleep(count=1, rate=1.0, seconds=0.0))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_a_file_where_the_folder_should_be(any_server, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(UsageError, match="cannot be the run's folder"):
        run(any_server, tmp_path, sl.Sleep(count=1, rate=1.0, seconds=0.0))


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
lab.run(sl.Experiment(workload=sl.Sleep(count=10_000, rate=100.0, seconds=0.01), faults=FAULTS), out=sys.argv[1],
        progress=lambda p: p.finished and print("working", flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("faults", ["[]", "[sl.Pause('worker-1', at=0.2, seconds=100)]"])
def test_a_lab_that_is_broken_off_leaves_its_record_and_nothing_else(tmp_path, number, faults):
    """A worker that stands still at that moment neither."""
    folder, sign = tmp_path / "run", b"working" if faults == "[]" else b"SIGSTOP"
    script = SCRIPT.replace("FAULTS", faults)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        while sign not in process.stdout.readline():
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

    with pytest.raises(KeyboardInterrupt):
        sl.Lab(any_server, say=broken_off).run(sl.Experiment(workload=sl.Sleep(count=1)), out=tmp_path / "run")
    assert sl.Run(tmp_path / "run").verdict.verdict == "unknown"


def test_what_is_lost_of_a_history_is_missed(any_server, tmp_path):
    folder = run(any_server, tmp_path, sl.Sleep(count=5, rate=100.0, seconds=0.0), workers=1).folder
    for name in ("events/worker-1.1.csv", "events/producer.1.csv", "entries.csv", "experiment.toml"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-64])
        with pytest.raises(DataError, match=name):
            _ = sl.Run(folder).verdict
        (folder / name).unlink()
        with pytest.raises(MissingError, match=name):
            _ = sl.Run(folder).verdict
        (folder / name).write_bytes(whole)
    assert sl.Run(folder).verdict.verdict == "valid"


def test_workers_never_load_what_only_readers_need():
    heavy = "{'pandas', 'numpy', 'matplotlib', 'IPython'}"
    code = f"import sys, streamlab.lab.process; print(*sorted(set(sys.modules) & {heavy}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""


def test_progress_never_goes_back_and_reaches_the_end(any_server, tmp_path):
    seen = []
    lab = sl.Lab(any_server)
    lab.run(
        sl.Experiment(workload=sl.Sleep(count=50, rate=100.0, seconds=0.01)), out=tmp_path / "run", progress=seen.append
    )
    finished = [step.finished for step in seen]
    assert finished == sorted(finished)
    assert (finished[-1], seen[-1].total) == (50, 50)


def test_latency_counts_from_the_due_time(any_server, tmp_path):
    """One worker, jobs of 50 ms, ten a 100 ms: the last ones wait for all before them, and the numbers must say so."""
    finished = run(any_server, tmp_path, sl.Sleep(count=20, rate=100.0, seconds=0.05), workers=1)
    latency = finished.history.jobs["latency"].to_numpy()
    assert latency[-1] > 0.5
    assert latency[0] < latency[-1]


def test_a_run_without_a_folder_owns_a_temporary_one(any_server):
    lab, experiment = sl.Lab(any_server), sl.Experiment(workload=sl.Sleep(count=1, rate=1.0, seconds=0.0), name="mine")
    repeats = lab.repeat(experiment, 2)
    first, second = (repeats.runs[seed].folder for seed in (1, 2))
    assert first != second
    assert "mine" in first.name
    kept = repeats.runs[2]
    del repeats
    gc.collect()
    assert (first.exists(), second.exists()) == (False, True)
    assert kept.verdict.verdict == "valid"


def test_a_handler_that_takes_its_worker_with_it_is_told(any_server, tmp_path):
    """The message kills every worker that meets it; the last one to die cannot bury it."""
    import os

    heard = []
    lab = sl.Lab(any_server, say=heard.append)
    workload = sl.Call(lambda message: os._exit(7) if message.fields["job"] == "0" else None, count=5, rate=100.0)
    finished = lab.run(sl.Experiment(workload=workload, workers=2, claim_after=0.2, drain=2.0), out=tmp_path / "run")
    assert sum("ended by itself (status 7" in line for line in heard) == 2
    assert finished.verdict.verdict == "invalid"
    assert len(finished.verdict.stuck) >= 1


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
