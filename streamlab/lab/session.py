"""One run while it lasts: prepared, run, healed, drained, written down."""

from __future__ import annotations

import os
import pickle
import platform
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.exceptions import ConnectionError, RedisError

from streamlab.errors import UnsupportedError
from streamlab.faults import Fault, Kill, Pause, Plan
from streamlab.files import write_json
from streamlab.lab.child import Produce, Work
from streamlab.lab.crew import Crew
from streamlab.lab.experiment import Experiment
from streamlab.observe.journal import Journal
from streamlab.observe.probe import Probe
from streamlab.queue import DeadLetters
from streamlab.queue.keys import dead_stream, failures_hash
from streamlab.servers import Server

GROUP = "workers"
_TICK = 0.01  # seconds between two looks at the clock
_HEAD_START = 0.2  # seconds between "all are ready" and the first job


@dataclass(frozen=True)
class Progress:
    """How far a run is: messages added so far, and messages that are done with (acknowledged, by whatever outcome)."""

    added: int
    finished: int
    total: int


class Session:
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
        self._last = Progress(0, 0, experiment.workload.count)
        self._orphans: dict[str, float] = {}  # dead workers that still hold messages, and since when (monotonic)

    # ----------------------------------------------------------------------------------------- the Stage

    def workers(self) -> list[str]:
        """Their names."""
        return [f"worker-{number}" for number in range(1, self.experiment.workers + 1)]

    def alive(self, worker: str) -> bool:
        """Whether its process runs now."""
        return self.crew[worker].alive

    def pending(self, worker: str) -> int:
        """How many entries Redis holds for it."""
        rows: Any = self.client.xinfo_consumers(self.stream, GROUP)
        return next((int(row["pending"]) for row in rows if row["name"] == worker), 0)

    def freeze(self, worker: str) -> None:
        """SIGSTOP it, and wait until it stands still."""
        self.crew[worker].freeze()

    def thaw(self, worker: str) -> None:
        """SIGCONT it."""
        self.crew[worker].thaw()

    def kill(self, worker: str) -> None:
        """SIGKILL it."""
        self.crew.kill(worker)

    def spawn(self, worker: str) -> None:
        """Start its next incarnation."""
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
            f"{it.workload.count} jobs for {it.workers} workers, {it.workload.rate:g}/s, "
            "due at times that no slow queue can move"
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
            self._tell_deaths()
        time.sleep(_TICK)

    def _tell_deaths(self) -> None:
        """Workers that ended by themselves: the handler took them with it, or the machine did."""
        for child in self.crew.dead():
            text = f"{child.task.name} ended by itself (status {child.process.returncode}: {child.last_words()})"
            self.journal.write("warning", note=text)
            self.say(f"{text}; see {child.log}")

    def _tell(self, fault: Fault, facts: dict[str, Any]) -> None:
        if isinstance(fault, Kill):
            self.say(
                f"killed {fault.target} (SIGKILL) while it held {facts['held']} message(s): "
                "they stay pending, until somebody claims them"
            )
            if facts["held"] and fault.restart_after is None:
                self._orphans[fault.target] = time.monotonic()
        elif isinstance(fault, Pause):
            self.say(
                f"stopped {fault.target} (SIGSTOP) for {fault.seconds:g} s while it held {facts['held']} message(s): "
                "it will not know that it was away"
            )

    def _tell_claims(self) -> None:
        """Say when the last message of a dead worker has found a new owner."""
        for worker, since in list(self._orphans.items()):
            with suppress(RedisError):
                if not self.pending(worker):
                    del self._orphans[worker]
                    self.say(
                        f"the others have claimed all that {worker} held, {self.experiment.claim_after:g} s after its "
                        f"last sign of life ({time.monotonic() - since:.1f} s after its death)"
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
            look = self.client.pipeline(transaction=True)  # at one moment
            look.xlen(self.stream)
            look.xinfo_groups(self.stream)
            length, groups = look.execute()
            group = next(row for row in groups if row["name"] == GROUP)
            finished = length - int(group.get("lag") or 0) - int(group["pending"])
        except (RedisError, StopIteration):
            if self.plan.finished and not self.server.alive():  # nobody is going to bring it back
                raise ConnectionError("the server is gone") from None
            return self._last
        self._last = Progress(length, finished, self.experiment.workload.count)
        return self._last

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
        pending, undelivered = self._pending(), self._undelivered()
        return {
            "ended": ended,
            "ended_ns": time.monotonic_ns(),
            "stream": self.stream,
            "group": GROUP,
            "length": int(self.client.xlen(self.stream)),
            "pending": pending,
            "undelivered": undelivered,
            "jobs": self._jobs([*pending, *undelivered]),
            "dead": dead,
        }

    def _jobs(self, entries: Sequence[str]) -> dict[str, int]:
        """The job numbers of entries that are left, as far as those still exist."""
        found: dict[str, int] = {}
        for entry in entries:
            rows: Any = self.client.xrange(self.stream, min=entry, max=entry)
            if rows:
                found[entry] = int(rows[0][1].get("job", -1))
        return found

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
