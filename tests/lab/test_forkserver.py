"""Processes that are forked behave as if each had been started by itself."""

import os
import signal
import subprocess
import sys
from itertools import count

import psutil
import pytest

from streamlab.lab.forkserver import ForkServer
from tests.waiting import wait_until


class Task:
    """Pickled by reference: what it calls is looked up in the new process."""

    incarnation = 1

    def __init__(self, folder, name, code):
        self.folder = folder
        self.name = name
        self.code = code

    def run(self, orders):
        exec(self.code, {"orders": orders})


@pytest.fixture
def start(tmp_path):
    names = count()
    with ForkServer() as forkserver:
        yield lambda code: forkserver.start(Task(tmp_path, f"process-{next(names)}", code))


@pytest.fixture
def prints(start):
    def prints(code):
        process = start(code)
        assert process.poll(10) == 0
        return process.log.read_text()

    return prints


def test_exit_statuses_and_what_is_printed(start, prints):
    assert prints("print('heard')") == "heard\n"
    assert prints("import atexit; atexit.register(lambda: print('bye'))") == "bye\n"
    assert start("raise SystemExit(7)").poll(10) == 7
    broken = start("1 / 0")
    assert broken.poll(10) == 1
    assert "ZeroDivisionError" in broken.last_line()


def test_signals_reach_the_process_that_is_meant_and_none_after_its_end(start):
    first, second = start("import time; time.sleep(60)"), start("import time; time.sleep(60)")
    second.pause()
    assert second.still
    assert second.alive
    first.signal(signal.SIGTERM)
    assert first.poll(10) == -signal.SIGTERM
    first.signal(signal.SIGKILL)
    assert second.poll() is None
    second.signal(signal.SIGKILL)
    assert second.poll(10) == -signal.SIGKILL


def test_folder_environment_and_module_path_are_the_lab_s_of_that_moment(prints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMLAB_TEST", "later")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    printed = prints("import os, sys; print(os.getcwd(), os.environ['STREAMLAB_TEST'], sys.path[0])")
    assert printed.split() == [str(tmp_path), "later", str(tmp_path / "modules")]


def test_two_processes_share_no_random_numbers_no_group_and_no_file(start, prints):
    code = "import os, random; print(random.random(), os.getpgrp() == os.getpid(), sorted(os.listdir('/dev/fd')))"
    start("import time; time.sleep(60)")
    (one, own, *files), (two, same, *others) = (prints(code).split() for _ in range(2))
    assert one != two
    assert own == same == "True"
    assert files == others


LAB = """
import pathlib, sys, time
from streamlab.lab.forkserver import ForkServer
from tests.lab.test_forkserver import Task
forkserver = ForkServer()
code = "import time; from streamlab.lab.process import follow; follow(orders, print); time.sleep(60)"
process = forkserver.start(Task(pathlib.Path(sys.argv[1]), "process", code))
print(process.pid, forkserver._server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("with_server", [False, True])
def test_nothing_outlives_a_lab_that_is_killed(tmp_path, stopped, with_server):
    """Not even a process that stands still, nor when the fork server is killed, too."""
    command = [sys.executable, "-c", LAB, str(tmp_path)]
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
