"""A run that goes on until somebody stops it, with faults that somebody presses."""

from __future__ import annotations

import atexit
import dataclasses
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError, UsageError
from streamlab.faults import Fault
from streamlab.history.metrics import LiveMetrics, Mark, Metrics
from streamlab.lab.experiment import Experiment
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.livesession import BrokenOffError, LiveSession, Rate
from streamlab.lab.session import failed
from streamlab.servers import Server
from streamlab.workloads import Sleep

if TYPE_CHECKING:
    from streamlab.report import Run

_LINES = 200  # that are kept of what was said
_PATIENCE = 10.0  # seconds that a run which is broken off has for its end


def usual() -> Experiment:
    """What a control room shows where nobody says what: workers that are half busy, each with a few messages."""
    workload = Sleep(count=1_000_000, rate=20.0, seconds=0.3)
    return Experiment(name="live", workload=workload, workers=3, threads=4, claim_after=2.0)


class LiveRun:
    """A run that goes on, in a thread of its own. All methods may be called from any thread.

        live = LiveRun(lambda: nullcontext(server), experiment, Path("runs/mine")).start()
        live.press(Kill("worker-2", at=0))
        live.look().held
        live.stop().verdict

    Args:
        server: opens the Redis, for as long as the run goes on.
        experiment: what to do. The workload's count is how many jobs there are at most. Faults that it has are planned.
        folder: where the history goes.
        say: told in one line what happens.
        at_most: seconds after which the run stops by itself.
        owner: of the folder; see `Run`.
    """

    def __init__(
        self,
        server: Callable[[], AbstractContextManager[Server]],
        experiment: Experiment,
        folder: Path,
        say: Callable[[str], None] = lambda _: None,
        at_most: float = 600.0,
        *,
        owner: object = None,
    ) -> None:
        if isinstance(at_most, bool) or not isinstance(at_most, (int, float)) or not 0 < at_most < math.inf:
            raise UsageError(f"at_most={at_most!r}: expected seconds, more than 0")
        self.experiment = dataclasses.replace(experiment, wire=True)
        self.folder = folder
        self._owner = owner
        self.rate = experiment.workload.rate
        self._server = server
        self._told = say
        self._ended = 0.0
        self._at_most = at_most
        self._said: deque[tuple[float, str]] = deque(maxlen=_LINES)
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # `over` says what the thread's `join` cannot: after Ctrl-C in it Python takes the thread for ended.
        self._ready, self._stop, self._broken_off, self._over = (threading.Event() for _ in range(4))
        self._session: LiveSession | None = None
        self._meters: LiveMetrics | None = None
        self._looking = threading.Lock()
        self._states: dict[str, str] = {}
        self._error: BaseException | None = None
        self._result: Run | None = None
        self._thread = threading.Thread(target=self._live, name="live run", daemon=True)

    def start(self) -> Self:
        """Begin; returns when the first job is about to be due. Raises what `Lab.run` does."""
        atexit.register(self.break_off)
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:  # Ctrl-C: nobody will have it in his hands
            self.break_off()
            raise
        if self._error and self._meters is None:
            raise self._error
        return self

    @property
    def workers(self) -> list[str]:
        """Their names."""
        return self._session.context.workers() if self._session else []

    @property
    def running(self) -> bool:
        """Whether it goes on, be it only to finish what has been added."""
        return self._thread.ident is not None and not self._over.is_set()

    @property
    def stopping(self) -> bool:
        """Whether somebody or something has ended it, and nothing is added any more."""
        return self._stop.is_set()

    @property
    def said(self) -> Sequence[tuple[float, str]]:
        """The last lines of what happened, each with its time (s)."""
        return list(self._said)

    @property
    def states(self) -> dict[str, str]:
        """Of each worker 'running', 'slow', 'paused', 'killed', 'ended' (by itself) or 'stopped' (with the run).

        Of 'redis' 'running' or 'stands still'; nothing once the run is over.
        """
        return self._states

    @property
    def marks(self) -> list[Mark]:
        """The faults so far."""
        strikes = self._session.schedule.strikes if self._session else []
        return [Mark(it.record.name, it.record.family, it.start, it.end) for it in strikes]

    @property
    def seconds(self) -> float:
        """How long it has gone on, until it ended."""
        return self._ended or (max(0.0, self._session.now()) if self._session else 0.0)

    def press(self, fault: Fault) -> None:
        """Do this to it now, whatever the fault says of its time.

        Raises UsageError or UnsupportedError for what cannot be done here, UsageError when the run is over.
        """
        session = self._going_on()
        fault = dataclasses.replace(fault, at=max(0.0, session.now()))
        fault.check(session.context)
        self._asked.put(lambda: session.schedule.add(fault, planned=False))
        if not isinstance(fault, Rate):
            self.say(f"pressed: {fault.kind} {getattr(fault, 'target', '')}".rstrip())

    def restart(self, worker: str) -> None:
        """Start the next process of a worker that is dead. Raises UsageError for one that there is not."""
        session = self._going_on()
        if worker not in self.workers:
            raise UsageError(f"no worker is called {worker!r}; there are: {', '.join(self.workers)}")
        self._asked.put(lambda: self._restart(session, worker))

    def set_rate(self, rate: float) -> None:
        """So many messages a second from now on; 0: none. Raises UsageError for what is no rate."""
        self.press(Rate(rate, at=0))
        self.rate = float(rate)

    def refusal(self, fault: Fault) -> str:
        """Why this cannot be done here; '' for what can."""
        try:
            fault.check(self._going_on().context)
        except StreamlabError as error:
            return str(error)
        return ""

    def look(self) -> Metrics:
        """The last seconds of it. Costs Redis nothing: see `streamlab.history.metrics`."""
        if self._meters is None:
            raise UsageError("this run has not begun: start() it first")
        with self._looking:
            return self._meters.at(self.seconds)

    def say(self, line: str) -> None:
        """Tell whoever listens."""
        self._said.append((self.seconds, line))
        self._told(line)

    def wait(self, seconds: float) -> None:
        """Wait until it is over, and no longer than this."""
        self._over.wait(seconds)

    def end(self) -> None:
        """Ask it to stop, and do not wait."""
        self._stop.set()

    def stop(self) -> Run:
        """Stop adding, let the queue empty itself, and return what can be known about the run.

        Raises ServerError where the run failed on the way. After Ctrl-C it goes on stopping; call it again.
        """
        self.end()
        self._over.wait()
        if self._error:
            raise self._error
        from streamlab.report import Run  # brings pandas

        self._result = self._result or Run(self.folder, owner=self._owner)
        return self._result

    def break_off(self) -> None:
        """End it at once, without waiting for the messages that were added: its verdict is `unknown`."""
        self.end()
        self._broken_off.set()
        if self.running:
            self._over.wait(_PATIENCE)

    # ---------------------------------------------------------------------------------- in the run's own thread

    def _live(self) -> None:
        try:
            with self._server() as server:
                self._run_on(server)
        except BrokenOffError:
            pass
        except BaseException as error:  # whoever waits for this thread is to hear of it
            self._error = error
        finally:
            self.end()
            self._ended = self.seconds
            self._states = dict.fromkeys(self.workers, "stopped")
            self._ready.set()
            atexit.unregister(self.break_off)
            self._over.set()

    def _run_on(self, server: Server) -> None:
        try:
            with (
                ForkServer() as forkserver,
                LiveSession(
                    self._broken_off,
                    server,
                    self.experiment,
                    self.folder,
                    say=self.say,
                    progress=lambda _: None,
                    forkserver=forkserver,
                ) as session,
            ):
                self._session = session
                self._run(session)
        except RedisError as error:
            raise failed(server, error, self.folder) from error

    def _run(self, session: LiveSession) -> None:
        session.prepare()
        meters = self._meters = LiveMetrics(self.folder, session.start_ns)
        self._states = session.states()
        self.say(f"{self.rate:g} jobs a second for {self.experiment.workers} workers, until somebody stops it")
        self._ready.set()
        while session.producing and not self.stopping:
            if session.now() > self._at_most:
                self.say(f"{self._at_most:g} s are over: the run stops by itself")
                break
            self._obey()
            session.step()
            self._states = session.states()
        self.end()
        self.say("no more jobs: faults that go on are ended")
        session.end_arrivals()
        with self._looking:
            meters.read()
        session.settle(meters.offered)
        session.finish()

    def _obey(self) -> None:
        with suppress(queue.Empty):
            while True:
                order = self._asked.get_nowait()
                try:
                    order()
                except (StreamlabError, RedisError) as error:
                    self.say(f"that could not be done: {error}")

    def _restart(self, session: LiveSession, worker: str) -> None:
        if session.context.alive(worker):
            self.say(f"{worker} runs: there is nothing to restart")
        else:
            session.restart(worker)
            self.say(f"restarted {worker}: first it looks at what it holds itself")

    def _going_on(self) -> LiveSession:
        if self._session is None or not self.running or self.stopping:
            raise UsageError("this run is over: begin another with lab.live()")
        return self._session
