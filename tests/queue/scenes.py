"""What a few scenes share: a script that forks, and heartbeats seen from outside."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from tests.queue.helpers import GROUP, Queue
from tests.waiting import wait_until


def wait_for_heartbeats(q: Queue, count: int) -> None:
    """Wait until the idle time of the oldest pending entry has been reset `count` times."""
    idle = [0]

    def resets() -> int:
        idle.append(q.client.xpending_range(q.stream, GROUP, "-", "+", 1)[0]["time_since_delivered"])
        return sum(later < earlier for earlier, later in itertools.pairwise(idle))

    wait_until(f"{count} heartbeats have been sent", lambda: resets() >= count)


_PREAMBLE = """
import os, sys, signal, time, traceback
from redis import Redis
from streamlab.queue import *

url, stream = sys.stdin.readline().strip(), sys.argv[1]

def forked(work):
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid

def code_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def note(*words):
    with open(sys.argv[2], "a") as file:  # one short write: whole lines, whoever writes them
        file.write(" ".join(map(str, words)) + "\\n")
"""


@contextlib.contextmanager
def script(text: str, url: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script with `forked`, `code_of` and `note`, and the URL on its input; end it with all that it forked."""
    command = [sys.executable, "-c", _PREAMBLE + text, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            process.stdin.write(url + "\n")
            process.stdin.flush()
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
