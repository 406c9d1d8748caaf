"""Processes that are forked behave as if each had been started by itself."""

import os
import pickle
import signal
import subprocess
import sys

import psutil
import pytest

from streamlab.lab.forkserver import ForkServer
from streamlab.lab.process import context, send
from tests.waiting import wait_until


class Task:
    """Pickled by reference: what it calls is looked up in the new process."""

    def __init__(self, code):
        self.code = code

    def run(self, orders):
        exec(self.code, {"orders": orders})


@pytest.fixture
def forkserver():
    with ForkServer() as forkserver:
        yield forkserver


@pytest.fixture
def start(forkserver, tmp_path):
    def start(code, log="log"):
        with (tmp_path / log).open("wb") as file:
            process = forkserver.fork(file)
        send(process.orders, pickle.dumps(context()))
        send(process.orders, pickle.dumps(Task(code)))
        return process

    return start


def test_exit_statuses_and_what_is_printed(start, tmp_path):
    assert start("print('heard')").poll(10) == 0
    assert (tmp_path / "log").read_text() == "heard\n"
    assert start("raise SystemExit(7)").poll(10) == 7
    assert start("1 / 0").poll(10) == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()
    assert start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").poll(10) == -signal.SIGKILL
    assert start("import atexit; atexit.register(lambda: print('bye'))").poll(10) == 0
    assert (tmp_path / "log").read_text() == "bye\n"


@pytest.mark.parametrize("handles", [True, False], ids=["by handle", "by the server"])
def test_signals_reach_the_process_that_is_meant_and_none_after_its_end(start, handles, monkeypatch):
    """Where the system has no handles of processes, signals go by way of the server."""
    if not handles:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    first, second = start("import time; time.sleep(60)"), start("import time; time.sleep(60)", "other")
    first.signal(signal.SIGTERM)
    assert first.poll(10) == -signal.SIGTERM
    first.signal(signal.SIGKILL)
    assert second.poll() is None
    second.signal(signal.SIGKILL)
    assert second.poll(10) == -signal.SIGKILL


def test_folder_environment_and_module_path_are_the_lab_s_of_that_moment(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMLAB_TEST", "later")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    assert start("import os, sys; print(os.getcwd(), os.environ['STREAMLAB_TEST'], sys.path[0])").poll(10) == 0
    assert (tmp_path / "log").read_text().split() == [str(tmp_path), "later", str(tmp_path / "modules")]


def test_two_processes_draw_other_numbers_and_are_in_groups_of_their_own(start, tmp_path):
    code = "import os, random; print(random.random(), os.getpgrp() == os.getpid())"
    for log in ("one", "two"):
        assert start(code, log).poll(10) == 0
    (one, own), (two, same) = ((tmp_path / log).read_text().split() for log in ("one", "two"))
    assert one != two
    assert own == same == "True"


def test_a_process_holds_no_file_of_another(start, tmp_path):
    start("import time; time.sleep(60)", "first")
    assert start("import os; print(sorted(os.listdir('/dev/fd')))", "second").poll(10) == 0
    assert start("import os; print(sorted(os.listdir('/dev/fd')))", "third").poll(10) == 0
    assert (tmp_path / "second").read_text() == (tmp_path / "third").read_text()


LAB = """
import pickle, sys, time
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.process import context, send
from tests.lab.test_forkserver import Task
forkserver = ForkServer()
with open(sys.argv[1], "wb") as log:
    process = forkserver.fork(log)
send(process.orders, pickle.dumps(context()))
code = "import time; from streamlab.lab.process import follow; follow(orders, print); time.sleep(60)"
send(process.orders, pickle.dumps(Task(code)))
print(process.pid, forkserver._server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("with_server", [False, True])
def test_nothing_outlives_a_lab_that_is_killed(tmp_path, stopped, with_server):
    """Not even a process that stands still, nor when the fork server is killed, too."""
    command = [sys.executable, "-c", LAB, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        process, server = map(psutil.Process, map(int, lab.stdout.readline().split()))
        if stopped:
            process.suspend()
            wait_until("it stands still", lambda: process.status() == psutil.STATUS_STOPPED)
        if with_server:
            os.kill(server.pid, signal.SIGKILL)
        lab.kill()
    for each in (process, server):
        wait_until("it is gone", lambda each=each: not each.is_running() or each.status() == psutil.STATUS_ZOMBIE)
