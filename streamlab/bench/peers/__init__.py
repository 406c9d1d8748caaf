"""Other queue libraries on Redis draining jobs that do nothing, against a raw redis-py loop.

Each runs in an environment of its own with pinned versions, made with pip when it is missing. A peer that waits for a
round trip for each job or batch runs up to three times as fast where the kernel puts it on the same core as Redis:
run `taskset -c 0 streamlab bench peers` to put all on one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from streamlab.bench import Pair
from streamlab.bench.raw import answer_of
from streamlab.errors import StreamlabError, UsageError
from streamlab.servers import OwnServer, Server


class Peer(NamedTuple):
    """A peer's function in peer_run.py, the jobs of a run (2 to 5 s of work), and the pins of its environment.

    Without pins it runs in streamlab's own environment. `python` is the oldest 3.x that it runs on; `settings` says
    in words how the worker is set up.
    """

    name: str
    messages: int
    settings: str
    pins: tuple[str, ...] = ()
    python: int = 11


# Every peer on redis-py gets the parser that streamlab has. saq and repid do not accept redis-py 8, and import
# typing_extensions without requiring it.
_REDIS = ("redis==8.1.0", "hiredis==3.5.0")
_REDIS_7 = ("redis==7.4.1", "hiredis==3.5.0", "typing-extensions==4.16.0")
_FASTSTREAM = ("faststream==0.7.8", *_REDIS)
_RAW = Peer("raw", 800_000, "XACK of the last batch and XREADGROUP COUNT 100 in one round trip")
_PEERS = (
    Peer("streamlab", 800_000, "defaults: 1 thread, batches of 100, with recovery, heartbeat, dead letters"),
    Peer("walrus", 500_000, "consumer group, read(count=100) then ack(*ids)", ("walrus==0.9.8", *_REDIS)),
    Peer("faststream", 10_000, "consumer group, COUNT 100, handler takes a message", _FASTSTREAM),
    Peer("faststream_batch", 150_000, "consumer group, COUNT 100, handler takes a batch", _FASTSTREAM),
    Peer(
        "taskiq", 8_000, "stream, defaults: 100 tasks at a time, COUNT 100, no results",
        ("taskiq-redis==1.2.4", "taskiq==0.13.0", *_REDIS),
    ),
    Peer("saq", 6_000, "list, defaults: 10 jobs at a time, results kept for 10 min", ("saq==0.26.4", *_REDIS_7)),
    Peer("huey", 8_000, "list, defaults: 1 thread; BRPOP before the work: at most once", ("huey==3.5.4", *_REDIS)),
    Peer("repid", 25_000, "stream, defaults: 1,000 tasks at a time, no recovery", ("repid==2.1.4", *_REDIS_7)),
    Peer(
        "ardiq", 40_000, "stream, defaults: 16 jobs at a time, results kept for 5 min",
        ("ardiq==1.2.0", "msgpack==1.2.4"), python=12,
    ),
)  # fmt: skip


def pairs(server: Server, messages: int) -> list[Pair]:
    """What is compared: each library, and the raw loop; how many jobs is the peer's own matter."""
    if not isinstance(server, OwnServer):
        raise UsageError("bench peers empties its Redis before each run: use --server process or container")

    def on(peer: Peer, python: str) -> Callable[[], float]:
        def rate() -> float:
            with server.client(socket_timeout=60) as client:
                client.flushall()  # some peers choose keys that no prefix reaches
            script = Path(__file__).with_name("peer_run.py")
            return peer.messages / float(answer_of([python, "-B", script], [peer.name, server.url, peer.messages]))

        return rate

    found = []
    for peer in _PEERS:
        what = f"{peer.pins[0].replace('==', ' ') if peer.pins else peer.name} ({peer.settings})"
        try:
            ours = on(peer, _environment(peer))
        except StreamlabError as error:
            print(f"{what} is left out: {error}", file=sys.stderr)
            continue
        found.append(Pair(what, "messages/s", f"raw redis-py ({_RAW.settings})", on(_RAW, sys.executable), ours))
    return found


def _environment(peer: Peer) -> str:
    """Return the Python of the peer's environment, which is made if it is missing or has other pins."""
    if not peer.pins:
        return sys.executable
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home, pins = cache / "streamlab" / "peers" / peer.name.partition("_")[0], "\n".join(peer.pins)
    python, stamp = home / "bin" / "python", home / "pins.txt"
    if not (stamp.exists() and stamp.read_text() == pins):
        answer_of([_interpreter(peer.python), "-m", "venv", "--clear", home])
        answer_of([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *peer.pins])
        stamp.write_text(pins)
    return str(python)


def _interpreter(oldest: int) -> str:
    """Return a Python 3 of at least that minor version: this one, or one on PATH."""
    for python in (sys.executable, *(f"python3.{minor}" for minor in range(oldest, oldest + 4))):
        with suppress(StreamlabError, OSError):  # a command of pyenv on PATH fails for a version that is not selected
            answer_of([python, "-c", f"import sys, venv; sys.exit(sys.version_info < (3, {oldest}))"])
            return python
    raise StreamlabError(f"needs Python 3.{oldest} or newer, and none is on PATH")
