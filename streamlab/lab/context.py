"""What the faults of a run can reach: its processes, its Redis, its proxy."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.exceptions import RedisError

from streamlab.errors import ServerError
from streamlab.history.log import EventLog
from streamlab.lab.experiment import Experiment
from streamlab.lab.forkserver import ForkServer, WorkerProcess
from streamlab.lab.process import Produce, Task, Work, imported
from streamlab.queue.keys import dead_stream, failures_hash
from streamlab.servers import Server, connect

if TYPE_CHECKING:
    from streamlab.faults.proxy import Proxy

GROUP = "workers"
_START = 30.0  # seconds that the processes may take to come up: the machine may be busy


class RunContext:
    """The processes, the Redis and the proxy of one run.

    Args:
        server: the Redis.
        experiment: what is to be done.
        folder: the run's folder.
        forkserver: forks the processes; it is closed with the context.

    Attributes:
        stream: the run's stream.
        event_log: the lab's; each start and end of a process is written to it.
        processes: the latest of each name.
        client: the lab's own; what is done to the workers' connections does not touch it.
        proxy: the lab's proxy; None where neither a fault, nor a custom worker, nor the experiment asks for it.
        custom: whether the worker under study is not the project's own, so that it says less of what it does.
        settings: what faults want of Redis's settings, by name: each fault's number and value, the original first.
        witnesses: the event logs of what the proxy saw.
    """

    def __init__(
        self,
        server: Server,
        experiment: Experiment,
        folder: Path,
        forkserver: ForkServer,
    ) -> None:
        for function in (experiment.worker, experiment.producer):
            if function:
                imported(function)  # what cannot be imported here cannot be imported there
        self.server = server
        self.experiment = experiment
        self.stream = f"{server.prefix}{secrets.token_hex(4)}:tasks"
        self.group = GROUP
        self.custom = bool(experiment.worker)
        self.client: Redis = connect(server.url)
        self.event_log = EventLog(folder, "lab", 1, self.stream)
        self._folder = folder
        self.witnesses: list[EventLog] = []
        self.settings: dict[str, list[tuple[int, str]]] = {}
        self._orders: dict[str, dict[int, dict[str, Any]]] = {}
        self._stopped: dict[str, set[int]] = {}  # the faults that want a worker to stand still
        self.processes: dict[str, WorkerProcess] = {}
        self._forkserver = forkserver
        self.proxy: Proxy | None = None
        if experiment.wire or self.custom or any(fault.needs_wire for fault in experiment.all_faults()):
            from streamlab.faults.proxy import Proxy  # brings asyncio, which most runs do without

            self.proxy = Proxy(lambda: self.server.url, self._witness, stream=self.stream)  # a dead letter is no job

    def close(self) -> None:
        """End what still runs, and remove the run's keys."""
        self._forkserver.close()  # a worker that lives would make the stream anew
        with suppress(RedisError):
            self.client.delete(self.stream, dead_stream(self.stream, GROUP), failures_hash(self.stream, GROUP))
        if self.proxy:
            self.proxy.close()
        for event_log in (*self.witnesses, self.event_log):
            event_log.close()
        self.client.close()

    # ------------------------------------------------------------------------------------- for the faults

    def workers(self) -> list[str]:
        """Their names."""
        return [f"worker-{number}" for number in range(1, self.experiment.workers + 1)]

    def alive(self, worker: str) -> bool:
        """Whether its process runs now."""
        return self.processes[worker].alive

    def pending(self, worker: str) -> int:
        """How many entries Redis holds for it."""
        rows: Any = self.client.xinfo_consumers(self.stream, GROUP)
        return next((int(row["pending"]) for row in rows if row["name"] == worker), 0)

    def oldest(self) -> str:
        """Who has the oldest pending entry; '' for nobody."""
        rows: Any = self.client.xpending_range(self.stream, GROUP, min="-", max="+", count=1)
        return str(rows[0]["consumer"]) if rows else ""

    def pause(self, worker: str, by: int) -> None:
        """SIGSTOP it, and wait until it stands still and what it has sent has left the proxy."""
        self._stopped.setdefault(worker, set()).add(by)
        self.processes[worker].pause()
        if self.proxy:
            self.proxy.flush()

    def resume(self, worker: str, by: int) -> bool:
        """SIGCONT it where this was the last fault that wanted it to stand; False: somebody else had done so before."""
        wanted = self._stopped.get(worker, set())
        stood = by not in wanted or self.processes[worker].still  # a new process was never stopped
        wanted.discard(by)
        if not wanted:
            self.processes[worker].signal(signal.SIGCONT)
        return stood

    def kill(self, worker: str) -> None:
        """SIGKILL it."""
        self.processes[worker].signal(signal.SIGKILL)
        self.processes[worker].end()
        self.event_log.write("worker_exit", note=f"{worker}: killed")

    def spawn(self, worker: str, consumer: str = "") -> None:
        """Start its first or its next incarnation. An order to crash was for the process before it."""
        self._stopped.pop(worker, None)
        orders = self._orders.get(worker, {})
        self._orders[worker] = {index: order for index, order in orders.items() if order["do"] != "crash"}
        names = ("claim_after", "max_deliveries", "retry_delay", "batch", "threads")
        self._start(
            Work(
                **self._task(worker),
                consumer=consumer or worker,
                orders=self._orders[worker],
                settings={key: getattr(self.experiment, key) for key in names},
                work=self.experiment.worker,
            )
        )

    def twin(self, worker: str) -> str:
        """Start a second process that calls itself by this worker's name."""
        name = f"{worker}-twin"
        self.spawn(name, consumer=worker)
        return name

    def order(self, worker: str, index: int, order: Mapping[str, Any] | None) -> None:
        """Tell its process what to do to its messages; None: no longer."""
        orders = self._orders.setdefault(worker, {})
        orders.pop(index, None)
        if order is not None:
            orders[index] = dict(order)
        self.processes[worker].order((index, order))

    def arrive(self, rate: float | None) -> None:
        """Tell the producer how many jobs a second are due from now on; None: no more."""
        self.processes["producer"].order(rate)

    # ------------------------------------------------------------------------------------ for the session

    def doomed(self, worker: str) -> bool:
        """Whether the worker was told to die."""
        return any(order["do"] == "crash" for order in self._orders.get(worker, {}).values())

    def start_producer(self) -> WorkerProcess:
        """Start the producer, which waits for the start of the clock."""
        it = self.experiment
        return self._start(Produce(**self._task("producer"), seed=it.seed, keys=it.keys, add=it.producer))

    def wait_ready(self) -> None:
        """Wait until all are at work. Raises ServerError with the last line of one that died on the way."""
        deadline = time.monotonic() + _START
        for name, process in self.processes.items():
            while not process.ready:
                if not process.alive:
                    raise ServerError(f"{name} did not start ({process.last_line()}); see {process.log}")
                if time.monotonic() > deadline:
                    raise ServerError(f"{name} did not start within {_START:g} s; see {process.log}")
                time.sleep(0.002)

    def stop(self, *processes: WorkerProcess) -> None:
        """Send SIGTERM, and wait until the processes have finished what is in flight."""
        running = [process for process in processes if process.alive]
        for process in running:
            process.signal(signal.SIGTERM)
        for process in running:
            process.end()
            self.event_log.write("worker_exit", note=f"{process.task.name}: status {process.returncode}")

    def dead(self) -> list[WorkerProcess]:
        """Return the processes that failed without being told to end, each once."""
        return [process for process in self.processes.values() if self._has_ended(process) and process.returncode]

    def _has_ended(self, process: WorkerProcess) -> bool:
        """Whether it has ended by itself, and this is the first look at it since."""
        if process.alive or process.ended:
            return False
        process.ended = True
        self.event_log.write("worker_exit", note=f"{process.task.name}: status {process.returncode}")
        return True

    def _start(self, task: Task) -> WorkerProcess:
        """Start a process in the place of the earlier one of its name, which must have ended."""
        if task.name in self.processes:
            self._has_ended(self.processes[task.name])
        process = self.processes[task.name] = self._forkserver.start(task)
        self.event_log.write("worker_up", note=f"{task.name}: pid {process.pid}, incarnation {task.incarnation}")
        return process

    def _task(self, name: str) -> dict[str, Any]:
        incarnation = self.processes[name].task.incarnation + 1 if name in self.processes else 1
        custom = self.custom and name != "producer"
        url = self.proxy.listen(name, incarnation, custom=custom) if self.proxy else self.server.url
        return {
            "url": url,
            "stream": self.stream,
            "group": GROUP,
            "folder": self._folder.resolve(),
            "name": name,
            "incarnation": incarnation,
            "workload": self.experiment.workload,
        }

    def _witness(self, process: str, incarnation: int) -> EventLog:
        """Return an event log for what the proxy sees: its own, or in the name of a worker that keeps none."""
        event_log = EventLog(
            self._folder, process, incarnation, self.stream, witness="" if process == "wire" else "wire"
        )
        self.witnesses.append(event_log)
        return event_log
