"""One run of one peer: read the task, time the jobs, print the answer.

The scripts of the peers import this module by its bare name: their environments have no streamlab. Standard library
only, for the same reason.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

PAYLOAD = "x" * 100  # of every job, so that no peer moves less than another
GROUP = "g"
BATCH = 100


class Run:
    """The task from standard input, and a stopwatch that stops at the last job.

    `url` of Redis has its password, `key` is for the stream or queue, `messages` is how many jobs to add and to handle.
    """

    def __init__(self) -> None:
        self.url: str
        self.key: str
        self.messages: int
        self.batch: bool  # the variant of a peer that has two
        self.__dict__.update(json.loads(sys.stdin.readline()))
        self._left = self.messages
        threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()

    def chunks(self, size: int) -> Iterator[range]:
        """Yield the numbers of the jobs, `size` at a time, for a producer that adds many at once."""
        for first in range(0, self.messages, size):
            yield range(first, min(first + size, self.messages))

    def start(self, distribution: str, settings: str) -> None:
        """Start the stopwatch, when all jobs are added; `settings` says in words how the worker is set up."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self._about = {"version": version(distribution), "python": python, "settings": settings}
        self._started = time.perf_counter()

    def handled(self, jobs: int = 1) -> None:
        """Count handled jobs; print the answer and end the process at the last one."""
        self._left -= jobs
        if self._left <= 0:
            seconds = time.perf_counter() - self._started
            print(json.dumps({"messages": self.messages, "seconds": seconds, **self._about}), flush=True)
            os._exit(0)  # each library has another way to stop a worker, and some take seconds


def add_entries(client: Any, run: Run) -> None:
    """Make the consumer group and add the jobs to the stream, for any client like redis-py's."""
    client.xgroup_create(run.key, GROUP, id="0", mkstream=True)
    for chunk in run.chunks(500):
        pipeline = client.pipeline(transaction=False)
        for number in chunk:
            pipeline.xadd(run.key, {"task_id": f"{number:032d}", "payload": PAYLOAD})
        pipeline.execute()


def _exit_with_parent(parent: int) -> None:
    """End the process when its parent was killed: most workers would wait for the lost Redis for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
