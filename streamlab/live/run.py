"""A run that goes on until somebody stops it, with faults that somebody presses."""

from __future__ import annotations

import atexit
import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack
from queue import SimpleQueue

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError, UsageError
from streamlab.faults import Fault
from streamlab.history.metrics import LiveMetrics, Mark, Metrics
from streamlab.lab.experiment import Experiment
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.lab import Folder
from streamlab.lab.session import Session, explained
from streamlab.servers import Server
from streamlab.workloads import Sleep

_LINES = 200  # that the log keeps
_PATIENCE = 10.0  # seconds that the producer has for what it is adding, and `break_off` for the end


def default_experiment() -> Experiment:
    """Workers that are half busy, each with a few messages."""
    workload = Sleep(count=1_000_000, rate=20.0, seconds=0.3)
    return Experiment(name="live", workload=workload, workers=3, threads=4, claim_after=2.0)


def start(
    server: AbstractContextManager[Server],
    experiment: Experiment,
    folder: Folder,
    say: Callable[[str], None],
    at_most: float,
) -> LiveRun:
    """Begin a live run, and return when its first job is about to be due; see `Lab.live`."""
    if isinstance(at_most, bool) or not isinstance(at_most, (int, float)) or not 0 < at_most < math.inf:
        raise UsageError(f"at_most={at_most!r}: expected seconds, more than 0")
    with ExitStack() as opened:
        opened.enter_context(folder)
        forkserver, redis = opened.enter_context(ForkServer()), opened.enter_context(server)
        opened.enter_context(explained(redis, folder.path))
        live = LiveRun(redis, experiment, folder, say=say, at_most=at_most, forkserver=forkserver)
        opened.enter_context(live)
        live.prepare()
        threading.Thread(target=live.run_until_stopped, args=(opened.pop_all(),), name="live run", daemon=True).start()
    return live


class LiveRun(Session):
    """A session in a thread of its own, whose jobs keep coming until somebody stops it.

    Other threads use what stands before `run_until_stopped`, and nothing of what it inherits but data.

    Attributes:
        log: the last lines of what happened, each with its time (s).
        seconds: how long it has gone on.
        states: of each worker 'running', 'slow', 'paused', 'killed', 'ended' (by itself) or 'stopped' (with the run);
            of 'redis' 'running' or 'stands still', while the run goes on.
        owner: of the folder; see `Run`.
        over: done when the run is over; its exception is a ServerError where the run failed on the way.
    """

    def __init__(
        self,
        server: Server,
        experiment: Experiment,
        folder: Folder,
        *,
        say: Callable[[str], None],
        at_most: float,
        forkserver: ForkServer,
    ) -> None:
        self.log: deque[tuple[float, str]] = deque(maxlen=_LINES)
        self.seconds = 0.0
        self._listener, self._at_most = say, at_most
        experiment = dataclasses.replace(experiment, wire=True)
        self.owner = folder
        super().__init__(server, experiment, folder.path, say=self._log, progress=None, forkserver=forkserver)
        self.workers = self.context.workers()
        self.states = dict.fromkeys([*self.workers, "redis"], "running")
        self.over: Future[None] = Future()  # not the thread's `join`: after Ctrl-C in it Python takes it for ended
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping, self._broken_off = threading.Event(), threading.Event()
        self._reading = threading.Lock()

    @property
    def state(self) -> str:
        """'running', 'stopping' (no more jobs are added) or 'stopped'."""
        return "stopped" if self.over.done() else "stopping" if self._stopping.is_set() else "running"

    @property
    def marks(self) -> list[Mark]:
        """The faults so far."""
        return [Mark(it.record.name, it.record.family, it.start, it.end) for it in list(self.schedule.strikes)]

    def look(self) -> Metrics:
        """The last seconds of it. Costs Redis nothing: see `streamlab.history.metrics`."""
        with self._reading:
            return self._meters.at(self.seconds)

    def press(self, fault: Fault) -> None:
        """Do this now, whatever time the fault says.

        Raises UsageError or UnsupportedError for what cannot be done here, UsageError when the run is over.
        """
        fault.check(self.context)
        self._request(lambda: self.schedule.add(dataclasses.replace(fault, at=self.seconds), planned=False))

    def restart(self, worker: str) -> None:
        """Start the next process of a dead worker. Raises UsageError where there is no such worker."""
        if worker not in self.workers:
            raise UsageError(f"no worker is called {worker!r}; there are: {', '.join(self.workers)}")
        self._request(lambda: self._restart(worker))

    def _request(self, action: Callable[[], None]) -> None:
        if self.state != "running":
            raise UsageError("this run is over: begin another with lab.live()")
        self._requests.put(action)

    def end(self) -> None:
        """Add no more jobs, and let the queue drain; do not wait."""
        self._stopping.set()

    def break_off(self) -> None:
        """End it at once, without waiting for the messages that were added: its verdict is `unknown`."""
        self._broken_off.set()
        self.end()
        wait([self.over], _PATIENCE)

    # -------------------------------------------------------------------------------------- in the run's thread

    def run_until_stopped(self, opened: ExitStack) -> None:
        """Run; then close what was opened for it."""
        failure: BaseException | None = None
        try:
            with opened:
                self._run()
        except BaseException as error:
            failure = None if self._broken_off.is_set() else error
        self.end()
        self.states = dict.fromkeys(self.workers, "stopped")
        atexit.unregister(self.break_off)
        self.over.set_exception(failure) if failure else self.over.set_result(None)

    def prepare(self) -> None:
        super().prepare()
        self._meters = LiveMetrics(self.folder, self.start_ns)
        atexit.register(self.break_off)

    def step(self) -> None:
        if self._broken_off.is_set():
            raise StreamlabError("it was ended before its queue was empty")
        super().step()
        self.seconds = self._now()
        alive = {name: "running" if self.context.alive(name) else "ended" for name in self.workers}
        self.states = alive | {"redis": "running"} | self.schedule.states

    def _run(self) -> None:
        it = self.experiment
        self.say(f"{it.workload.rate:g} jobs a second for {it.workers} workers, until somebody stops it")
        while self.producing and self.state == "running":
            if self.seconds > self._at_most:
                self.say(f"{self._at_most:g} s are over: the run stops by itself")
                break
            self._do_requests()
            self.step()
        self.end()
        self._end_arrivals()
        with self._reading:
            self._meters.read()
        workload = dataclasses.replace(it.workload, count=max(1, self._meters.offered))
        self.experiment = dataclasses.replace(it, workload=workload)  # only now it is known how many jobs there are
        self.write_experiment()
        self.finish()

    def _do_requests(self) -> None:
        while not self._requests.empty():
            try:
                self._requests.get()()
            except (StreamlabError, RedisError) as error:
                self.say(f"that could not be done: {error}")

    def _restart(self, worker: str) -> None:
        if self.context.alive(worker):
            self.say(f"{worker} runs: there is nothing to restart")
            return
        self._orphans.pop(worker, None)  # it may recover itself what it left pending
        self.schedule.end_kill(worker)
        if not self.context.alive(worker):  # it had ended by itself
            self.context.spawn(worker)
        self.say(f"restarted {worker}: it first recovers its own pending messages")

    def _end_arrivals(self) -> None:
        """End the faults, then the jobs: the producer needs a Redis that answers."""
        dead = [name for name in self.workers if not self.context.alive(name)]
        self.schedule.heal()
        self._orphans.clear()
        restarted = [name for name in dead if self.context.alive(name)]
        self.say("no more jobs: faults end" + (f", {', '.join(restarted)} restarted" if restarted else ""))
        self.context.arrive(None)
        deadline = time.monotonic() + _PATIENCE
        while self.producing and time.monotonic() < deadline:
            self.step()

    def _now(self) -> float:
        return max(0.0, (time.monotonic_ns() - self.start_ns) / 1e9)

    def _log(self, line: str) -> None:
        self.log.append((self.seconds, line))
        self._listener(line)
