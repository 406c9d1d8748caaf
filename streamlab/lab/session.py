"""One run while it lasts: prepared, run, healed, drained, written down."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.exceptions import ConnectionError, RedisError

from streamlab.errors import ServerError, UnsupportedError
from streamlab.faults import FaultSchedule
from streamlab.history.files import write_json, write_whole
from streamlab.history.sampler import Sampler
from streamlab.lab.context import GROUP, RunContext
from streamlab.lab.experiment import Experiment
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.progress import Progress, Watcher
from streamlab.lab.snapshot import Snapshot
from streamlab.servers import OwnServer, Server, connect

_TICK = 0.01  # seconds between two looks at the clock
_HEAD_START = 0.1  # seconds between "all are ready" and the first job


def _load_readers() -> None:
    """Import what judges and draws a run: pandas, matplotlib."""
    importlib.import_module("streamlab.report")
    importlib.import_module("streamlab.plot")


@contextmanager
def explained(server: Server, folder: Path) -> Iterator[None]:
    """Say in one line that Redis failed in the middle of a run."""
    try:
        yield
    except RedisError as error:
        raise ServerError(
            f"{server.description} failed in the middle of the run ({error}): what was recorded until then is in "
            f"{folder}; look whether it still runs"
        ) from error


class Session:
    """One run while it lasts.

    Args:
        server: the Redis.
        experiment: what is to be done.
        folder: where its history goes.
        say: told in one line what happens.
        progress: told about ten times a second how far it is, or None.
        forkserver: forks the processes of this run; it is closed with the session.
    """

    def __init__(
        self,
        server: Server,
        experiment: Experiment,
        folder: Path,
        *,
        say: Callable[[str], None],
        progress: Watcher | None,
        forkserver: ForkServer,
    ) -> None:
        self.server = server
        self.experiment = experiment
        self.folder = folder
        self.say = say
        self.progress = progress or (lambda _: None)
        self.context = RunContext(server, experiment, folder, forkserver)
        self.stream, self.event_log = self.context.stream, self.context.event_log
        try:
            self.schedule = FaultSchedule(experiment.all_faults(), self.context, self.event_log, experiment.seed)
        except BaseException:
            self.context.close()
            shutil.rmtree(folder / "events")  # nothing has happened
            raise
        self.snapshot = Snapshot(self.context.client, self.stream, GROUP)
        self.sampler = Sampler(connect(server.url), self.stream, GROUP, folder / "samples.csv")
        self.start_ns = 0
        self._told = 0.0
        self._last = Progress(0, experiment.workload.count)
        self._orphans: dict[str, float] = {}  # dead workers that still hold messages, and since when (monotonic)

    def run(self) -> None:
        """Prepare, run, heal, drain; then write down what is left."""
        self.prepare()
        it = self.experiment
        self.say(
            f"{it.workload.count} jobs for {it.workers} workers, {it.workload.rate:g}/s, "
            "due at times that no slow queue can move"
        )
        readers = threading.Thread(target=_load_readers, name="load readers", daemon=True)
        while self.producing or not self.schedule.finished:
            self.step()
            # An import holds up its process: no fault should be late for it, nor what the proxy passes on.
            if self.schedule.finished and self.context.proxy is None and readers.ident is None:
                readers.start()
        self.finish()

    @property
    def producing(self) -> bool:
        """Whether the producer is at work."""
        return self.context.processes["producer"].alive

    def write_experiment(self) -> None:
        """Write down what is to be done."""
        write_whole(self.folder / "experiment.toml", self.experiment.record().encode())

    def prepare(self) -> None:
        """Start everything; the first job is due a moment later."""
        self._phase("prepare")
        self.write_experiment()
        self.start_ns = time.monotonic_ns()  # until it is known better: from here on the folder is a history
        write_json(self.folder / "environment.json", self._environment())
        self.experiment.workload.prepare(self.folder)
        self.context.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        producer = self.context.start_producer()
        for name in self.context.workers():
            self.context.spawn(name)
        self.context.wait_ready()
        self.start_ns = time.monotonic_ns() + int(_HEAD_START * 1e9)
        write_json(self.folder / "environment.json", self._environment())
        self.sampler.start()
        self._phase("run")
        producer.order(self.start_ns)

    def step(self) -> None:
        """What is due now; a hundredth of a second."""
        for strike in self.schedule.step((time.monotonic_ns() - self.start_ns) / 1e9):
            record = strike.record
            self.say(record.said)
            if record.kills and record.held and strike.fault.lasts is None and record.target in self.context.workers():
                self._orphans[record.target] = time.monotonic()
        if time.monotonic() - self._told > 0.1:
            self._told = time.monotonic()
            self._tell_deaths()
            if not self.schedule.blocked:  # else we would wait for an answer, and the next fault for us
                self.progress(self._how_far())
                self._tell_claims()
        time.sleep(_TICK)

    def finish(self) -> None:
        """Heal, drain, stop everything, and write down what is left."""
        producer = self.context.processes["producer"]
        self.context.stop(producer)
        if producer.returncode:
            self.event_log.write("warning", note=f"the producer failed: {producer.last_line()}")
        self.schedule.heal()
        self._phase("drain")
        self.say("all jobs are added: waiting until nothing is unread and nothing is pending")
        drained = self._drain()
        self._tell_claims()
        self._phase("stop")
        self.context.stop(*self.context.processes.values())
        self.sampler.stop()
        write_json(self.folder / "outcome.json", self._outcome("drained" if drained else "timed out"))

    def _tell_deaths(self) -> None:
        """Workers that ended by themselves: the handler took them with it, or the machine did."""
        for child in self.context.dead():
            if self.context.doomed(child.task.name):
                continue
            text = f"{child.task.name} ended by itself (status {child.returncode}: {child.last_line()})"
            self.event_log.write("warning", note=text)
            self.say(f"{text}; see {child.log}")

    def _tell_claims(self) -> None:
        """Say when the last message of a dead worker has found a new owner."""
        for worker, since in list(self._orphans.items()):
            with suppress(RedisError):
                if not self.context.pending(worker):
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
                if self.snapshot.empty():
                    self.progress(self._how_far())
                    return True
            if time.monotonic() > deadline:
                return False
            self.step()

    def _how_far(self) -> Progress:
        try:
            look = self.context.client.pipeline(transaction=True)  # at one moment
            look.xlen(self.stream)
            look.xinfo_groups(self.stream)
            length, groups = look.execute()
            group = next(row for row in groups if row["name"] == GROUP)
            finished = length - int(group.get("lag") or 0) - int(group["pending"])
        except (RedisError, StopIteration):
            broken = any(it.fault.family == "redis" for it in self.schedule.running)
            if not broken and not self.server.alive():  # nobody is going to bring it back
                raise ConnectionError("the server is gone") from None
            return self._last
        self._last = Progress(max(finished, 0), self.experiment.workload.count, added=length)
        return self._last

    def _outcome(self, ended: str) -> dict[str, Any]:
        effects = self.experiment.workload.effects(self.folder)
        return {
            "ended": ended,
            "ended_ns": time.monotonic_ns(),
            **self.snapshot.outcome(self.folder),
            "effects_counted": effects is not None,
            "effects": effects or {},
            "idempotent": self.experiment.workload.idempotent,
            "files": self._files(),
        }

    def _files(self) -> dict[str, int]:
        """How long each file of facts is, so that one that is lost or cut later is missed; 0: it still grows."""
        sizes = {}
        growing = {event_log.path for event_log in (self.event_log, *self.context.witnesses)}
        for path in [
            *sorted(self.folder.glob("events/*")),
            *sorted(self.folder.glob("*.csv")),
            self.folder / "experiment.toml",
        ]:
            sizes[path.relative_to(self.folder).as_posix()] = 0 if path in growing else path.stat().st_size
        return sizes

    def _environment(self) -> dict[str, Any]:
        return {
            "start_ns": self.start_ns,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "server": {
                "kind": self.server.kind,
                "flavour": self.server.flavour,
                "version": self.server.version,
                "persistence": self.server.persistence,
                "features": sorted(self.server.features),
            },
            "versions": {name: version(name) for name in ("streamlab", "redis", "hiredis")},
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        }

    def _phase(self, name: str) -> None:
        self.event_log.write("phase", note=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.event_log.write("warning", note=f"the run was broken off: {kind.__name__}: {error}")
        with suppress(RedisError, UnsupportedError):
            self.schedule.heal()  # what was done to the server must not outlast the run
        self.sampler.stop()
        if isinstance(self.server, OwnServer):
            (self.folder / "server.log").write_text(self.server.log(), encoding="utf-8")
        self.context.close()
        if kind is not None:
            self.say(f"what was recorded until then is in {self.folder}")
