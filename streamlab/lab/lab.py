"""One experiment from start to clean-up."""

from __future__ import annotations

import atexit
import os
import pickle
import platform
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.exceptions import RedisError

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults import Fault, Kill, Plan
from streamlab.files import write_json
from streamlab.lab.child import Produce, Work
from streamlab.lab.crew import Crew
from streamlab.lab.experiment import Experiment
from streamlab.observe.journal import Journal
from streamlab.observe.probe import Probe
from streamlab.queue import DeadLetters
from streamlab.queue.keys import dead_stream, failures_hash
from streamlab.servers import Server, open_server

if TYPE_CHECKING:
    from streamlab.run import Run

GROUP = "workers"
_TICK = 0.01  # seconds between two looks at the clock
_HEAD_START = 0.2  # seconds between "all are ready" and the first job


@dataclass(frozen=True)
class Progress:
    """How far a run is: messages added so far, and messages that are done with (acknowledged, by whatever outcome)."""

    added: int
    finished: int
    total: int


def _silent(_: object) -> None:
    """Nobody listens."""


class Lab:
    """A Redis of its own, and experiments on it.

        lab = Lab()
        run = lab.run(Experiment(workload=ResizeImages(count=300, rate=100), faults=[Kill("worker-2", at=1.5)]))
        run.verdict

    Args:
        server: "auto" (a container if Docker answers, else a private process), "process", "container", a URL, or a
            `Server`, which stays the caller's to stop.
        say: told in one line what happens, and why; `print` does.

    The server is stopped by `close`, at the end of a `with` block, or when Python ends.
    """

    def __init__(self, server: str | Server = "auto", *, say: Callable[[str], None] = _silent) -> None:
        self.server = open_server(server, say=say)
        self._say = say
        self._ours = not isinstance(server, Server)
        if self._ours:
            atexit.register(self.close)

    def run(
        self,
        experiment: Experiment,
        *,
        out: str | Path | None = None,
        progress: Callable[[Progress], None] = _silent,
    ) -> Run:
        """Do an experiment, and return what can be known about it.

        Args:
            experiment: what to do.
            out: folder for the history; it must be new or empty. None: a new one in `runs/`.
            progress: told about ten times a second how far it is.

        Raises:
            UsageError: a fault that names no worker, a folder that is in use.
            ServerError: Redis or a worker did not come up.
            KeyboardInterrupt: after everything was stopped; what was recorded stays in the folder.
        """
        folder = _new_folder(out, experiment.name)
        with _Session(self.server, experiment, folder, self._say, progress) as session:
            session.run()
        from streamlab.run import Run  # brings pandas, which takes longer to load than most mistakes to find

        return Run(folder)

    def close(self) -> None:
        """Stop the server, if it is the lab's own."""
        if self._ours:
            self.server.stop()
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Session:
    """One run while it lasts. It is also the `Stage` that faults act on."""

    def __init__(
        self,
        server: Server,
        experiment: Experiment,
        folder: Path,
        say: Callable[[str], None],
        progress: Callable[[Progress], None],
    ) -> None:
        self.server = server
        self.experiment = experiment
        self.folder = folder
        self.say = say
        self.progress = progress
        if "autoclaim" not in server.features:
            raise UnsupportedError(
                f"{server.description} has no XAUTOCLAIM: streamlab needs Redis 6.2 or newer, or Valkey"
            )
        self.stream = f"{server.prefix}{secrets.token_hex(4)}:tasks"
        self.client: redis.Redis = server.client()
        self.journal = Journal(folder, "lab", 1, self.stream)
        self.crew = Crew(self.journal)
        self.plan = Plan(experiment.faults, self, self.journal)
        self.probe = Probe(server.client(), self.stream, GROUP, folder / "samples.csv")
        self._start_ns = 0
        self._told = 0.0
        self._orphans: dict[str, float] = {}  # dead workers that still hold messages, and since when (monotonic)

    # ----------------------------------------------------------------------------------------- the Stage

    def workers(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self.experiment.workers + 1)]

    def alive(self, worker: str) -> bool:
        return self.crew[worker].alive

    def pending(self, worker: str) -> int:
        rows: Any = self.client.xinfo_consumers(self.stream, GROUP)
        return next((int(row["pending"]) for row in rows if row["name"] == worker), 0)

    def freeze(self, worker: str) -> None:
        self.crew[worker].freeze()

    def thaw(self, worker: str) -> None:
        self.crew[worker].thaw()

    def kill(self, worker: str) -> None:
        self.crew.kill(worker)

    def spawn(self, worker: str) -> None:
        self.crew.start(self._work(worker, self.crew[worker].task.incarnation + 1))

    # ------------------------------------------------------------------------------------------- the run

    def run(self) -> None:
        """Prepare, run, heal, drain; then write down what is left."""
        self._phase("prepare")
        (self.folder / "experiment.toml").write_text(self.experiment.record(), encoding="utf-8")
        self.experiment.workload.prepare(self.folder)
        self.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        producer = self.crew.start(Produce(**self._task("producer", 1), schedule=self.experiment.schedule()))
        for name in self.workers():
            self.crew.start(self._work(name, 1))
        self.crew.wait_ready()
        self._start_ns = time.monotonic_ns() + int(_HEAD_START * 1e9)
        write_json(self.folder / "environment.json", self._environment())
        self.probe.start()
        self._phase("run")
        it = self.experiment
        self.say(
            f"{it.workload.count} jobs for {it.workers} workers, {it.workload.rate:g}/s at random times that were set "
            "beforehand: a slow queue cannot slow down what it is asked"
        )
        producer.tell(pickle.dumps(self._start_ns))
        while producer.alive or not self.plan.finished:
            self._step()
        self.crew.stop("producer")
        if producer.process.returncode:
            self.journal.write("warning", note=f"the producer failed: {producer.last_words()}")
        self.plan.heal()
        self._phase("drain")
        self.say("all jobs are added: waiting until nothing is unread and nothing is pending")
        drained = self._drain()
        self._tell_claims()
        self._phase("stop")
        for name in self.workers():
            self.crew.stop(name)
        self.probe.stop()
        write_json(self.folder / "outcome.json", self._outcome("drained" if drained else "timed out"))

    def _step(self) -> None:
        now = (time.monotonic_ns() - self._start_ns) / 1e9
        for fault, facts in self.plan.step(now):
            self._tell(fault, facts)
        if time.monotonic() - self._told > 0.1:
            self._told = time.monotonic()
            self.progress(self._how_far())
            self._tell_claims()
        time.sleep(_TICK)

    def _tell(self, fault: Fault, facts: dict[str, Any]) -> None:
        if not isinstance(fault, Kill):
            self.say(f"fault: {fault}")
            return
        held = facts["held"]
        self.say(
            f"killed {fault.target} (SIGKILL) while it held {held} message(s): they stay in its pending entries list, "
            "and Redis hands them to nobody by itself"
        )
        if held and fault.restart_after is None:
            self._orphans[fault.target] = time.monotonic()

    def _tell_claims(self) -> None:
        """Say when the last message of a dead worker has found a new owner."""
        for worker, since in list(self._orphans.items()):
            with suppress(RedisError):
                if not self.pending(worker):
                    del self._orphans[worker]
                    self.say(
                        f"claimed: {time.monotonic() - since:.1f} s after {worker} died the others have taken over "
                        f"everything it held (XAUTOCLAIM of what was idle for {self.experiment.claim_after:g} s)"
                    )

    def _drain(self) -> bool:
        """Wait until the group has read everything and nothing is pending; False when the budget is used up."""
        deadline = time.monotonic() + self.experiment.drain
        while True:
            with suppress(RedisError):
                if not self._undelivered(1) and not self._pending_total():
                    self.progress(self._how_far())
                    return True
            if time.monotonic() > deadline:
                return False
            self._step()

    def _work(self, name: str, incarnation: int) -> Work:
        names = ("claim_after", "max_deliveries", "retry_delay", "batch", "threads")
        settings = {key: getattr(self.experiment, key) for key in names}
        return Work(**self._task(name, incarnation), settings=settings)

    def _task(self, name: str, incarnation: int) -> dict[str, Any]:
        return {
            "url": self.server.url,
            "stream": self.stream,
            "group": GROUP,
            "folder": self.folder.resolve(),
            "name": name,
            "incarnation": incarnation,
            "workload": self.experiment.workload,
        }

    # ------------------------------------------------------------------------------------- what Redis says

    def _group(self) -> dict[str, Any]:
        rows: Any = self.client.xinfo_groups(self.stream)
        return next(row for row in rows if row["name"] == GROUP)

    def _pending_total(self) -> int:
        return int(self._group()["pending"])

    def _undelivered(self, count: int | None = None) -> list[str]:
        last = self._group()["last-delivered-id"]
        rows: Any = self.client.xrange(self.stream, min=f"({last}", count=count)
        return [entry for entry, _ in rows]

    def _how_far(self) -> Progress:
        try:
            length = int(self.client.xlen(self.stream))
            group = self._group()
            finished = length - int(group.get("lag") or 0) - int(group["pending"])
        except (RedisError, StopIteration):
            return Progress(0, 0, self.experiment.workload.count)
        return Progress(length, finished, self.experiment.workload.count)

    def _outcome(self, ended: str) -> dict[str, Any]:
        letters = DeadLetters(self.client, self.stream, GROUP)
        dead: list[dict[str, Any]] = []
        after = "0-0"
        while rows := letters.read(after=after, count=1000):
            after = rows[-1].id
            for row in rows:
                job = int(row.message.fields.get("job", -1))
                dead.append({"entry": row.message.id, "job": job, "reason": row.reason, "error": row.error})
        letters.close()
        return {
            "ended": ended,
            "ended_ns": time.monotonic_ns(),
            "stream": self.stream,
            "group": GROUP,
            "length": int(self.client.xlen(self.stream)),
            "pending": self._pending(),
            "undelivered": self._undelivered(),
            "dead": dead,
        }

    def _pending(self) -> dict[str, str]:
        pending: dict[str, str] = {}
        after = "-"
        while True:
            rows: Any = self.client.xpending_range(self.stream, GROUP, min=after, max="+", count=1000)
            if not rows:
                return pending
            pending |= {row["message_id"]: row["consumer"] for row in rows}
            after = f"({rows[-1]['message_id']}"

    def _environment(self) -> dict[str, Any]:
        return {
            "start_ns": self._start_ns,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "server": {
                "kind": self.server.kind,
                "flavour": self.server.flavour,
                "version": self.server.version,
                "features": sorted(self.server.features),
            },
            "versions": {name: version(name) for name in ("streamlab", "redis", "hiredis")},
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        }

    def _phase(self, name: str) -> None:
        self.journal.write("phase", note=name)

    # ----------------------------------------------------------------------------------------- clean-up

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.journal.write("warning", note=f"the run was broken off: {kind.__name__}: {error}")
        self.crew.close()
        self.probe.stop()
        if "log" in self.server.abilities:
            (self.folder / "server.log").write_text(self.server.log(), encoding="utf-8")
        self.journal.close()
        with suppress(RedisError):
            self.client.delete(self.stream, dead_stream(self.stream, GROUP), failures_hash(self.stream, GROUP))
        self.client.close()


def _new_folder(out: str | Path | None, name: str) -> Path:
    """A folder of the run's own."""
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = Path("runs") / f"{name}-{stamp}-{secrets.token_hex(2)}"
    else:
        folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder} cannot be the run's folder: {error.strerror or error}") from error
    if not empty:
        raise UsageError(f"{folder} is not empty: name a new folder, or remove it first")
    return folder
