"""What the queue is compared with: the fastest loops on raw redis-py. Nothing else is imported: memory is measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streamlab.errors import StreamlabError

GROUP = "g"
BATCH = 100
PAYLOAD = "x" * 100  # with the names and a task ID about 150 bytes a message
_PIPELINE = 500


def fill(client: Any, stream: str, messages: int) -> float:
    """Make the group, add by pipelines of 500, and return messages a second."""
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    started = time.perf_counter()
    for first in range(0, messages, _PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + _PIPELINE, messages)):
            pipeline.xadd(stream, {"task_id": f"{number:032d}", "payload": PAYLOAD})
        pipeline.execute()
    return messages / (time.perf_counter() - started)


def drain(client: Any, stream: str, messages: int, handler: Callable[[Any], object]) -> float:
    """XACK of the last batch and XREADGROUP of the next in one round trip; a call for each message.

    Returns messages a second.
    """
    done: list[Any] = []
    count = 0
    started = time.perf_counter()
    while count < messages:
        pipeline = client.pipeline(transaction=False)
        if done:
            pipeline.xack(stream, GROUP, *done)
        pipeline.xreadgroup(GROUP, "c", {stream: ">"}, count=BATCH, block=100)
        done = []
        for entry, fields in pipeline.execute()[-1][0][1]:
            handler(fields)
            done.append(entry)
        count += len(done)
    client.xack(stream, GROUP, *done)
    return messages / (time.perf_counter() - started)


def peak() -> float:
    """Return the high-water mark (MB) of this process's memory.

    On Linux `ru_maxrss` would not do: it keeps through exec the mark of the process that started this one.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / (1 << 10)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def answer_of(command: Sequence[str | Path], given: object = None) -> Any:
    """Run a command within five minutes with `given` as JSON on its standard input; return its last line, JSON too.

    Without `given` there is no answer. A command line would show the password of a URL. Raises `StreamlabError` if the
    command fails.
    """
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C reaches this process alone, which then kills the child and what the child started.
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        output, errors = child.communicate(json.dumps(given) + "\n", 300)
    except subprocess.TimeoutExpired:
        raise StreamlabError(f"{command[-1]} did not finish within 300 s") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise StreamlabError((errors.strip() or f"exit status {child.returncode}").splitlines()[-1])
    return None if given is None else json.loads(output.splitlines()[-1])
