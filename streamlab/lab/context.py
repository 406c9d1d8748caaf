"""What the faults of a run can reach: its processes, its Redis, its proxy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from streamlab.history.log import EventLog
from streamlab.lab.arrivals import Arrivals
from streamlab.lab.experiment import Experiment
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.process import Produce, Work, imported
from streamlab.lab.supervisor import Supervisor, WorkerProcess
from streamlab.servers import Server, connect

if TYPE_CHECKING:
    from streamlab.faults.proxy import Proxy

GROUP = "workers"


class RunContext:
    """The processes, the Redis and the proxy of one run.

    Args:
        server: the Redis.
        experiment: what is to be done.
        folder: the run's folder.
        stream: the run's stream.
        event_log: the lab's.
        forkserver: forks the processes; it is closed with the context.

    Attributes:
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
        stream: str,
        *,
        event_log: EventLog,
        forkserver: ForkServer,
    ) -> None:
        self.server = server
        self.experiment = experiment
        self.stream = stream
        self.group = GROUP
        self.custom = bool(experiment.worker)
        for function in (experiment.worker, experiment.producer):
            if function:
                imported(function)  # what cannot be imported here cannot be imported there
        self._folder = folder
        self.witnesses: list[EventLog] = []
        self.settings: dict[str, list[tuple[int, str]]] = {}
        self._orders: dict[str, dict[int, dict[str, Any]]] = {}
        self._twins: dict[str, str] = {}  # process: consumer
        self._stopped: dict[str, set[int]] = {}  # the faults that want a worker to stand still
        self.supervisor = Supervisor(forkserver, event_log)
        faults = experiment.all_faults()
        needed = experiment.wire or self.custom or any(fault.needs_wire for fault in faults)
        self.proxy: Proxy | None = self._make_proxy() if needed else None
        self.client: redis.Redis = self.connect()

    def _make_proxy(self) -> Proxy:
        from streamlab.faults.proxy import Proxy  # brings asyncio, which most runs do without

        return Proxy(lambda: self.server.url, self._witness, stream=self.stream)  # a dead letter is no job

    def connect(self) -> redis.Redis:
        """Return one more client of the lab's own."""
        return connect(self.server.url)

    def close(self) -> None:
        """End what still runs."""
        self.supervisor.close()
        if self.proxy:
            self.proxy.close()
        for event_log in self.witnesses:
            event_log.close()
        self.client.close()

    # ------------------------------------------------------------------------------------- for the faults

    def workers(self) -> list[str]:
        """Their names."""
        return [f"worker-{number}" for number in range(1, self.experiment.workers + 1)]

    def alive(self, worker: str) -> bool:
        """Whether its process runs now."""
        return self.supervisor[worker].alive

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
        self.supervisor[worker].pause()
        if self.proxy:
            self.proxy.flush()

    def resume(self, worker: str, by: int) -> bool:
        """SIGCONT it where this was the last fault that wanted it to stand; False: somebody else had done so before."""
        wanted = self._stopped.get(worker, set())
        stood = by not in wanted or self.supervisor[worker].still  # a new process was never stopped
        wanted.discard(by)
        if not wanted:
            self.supervisor[worker].resume()
        return stood

    def kill(self, worker: str) -> None:
        """SIGKILL it."""
        self.supervisor.kill(worker)

    def spawn(self, worker: str) -> None:
        """Start its next incarnation."""
        self.start_worker(worker, self.supervisor[worker].task.incarnation + 1)

    def twin(self, worker: str) -> str:
        """Start a second process that calls itself by this worker's name."""
        name = f"{worker}-twin"
        life = self.supervisor[name].task.incarnation + 1 if name in self._twins else 1
        self._twins[name] = worker
        self.start_worker(name, life, consumer=worker)
        return name

    def order(self, worker: str, index: int, order: Mapping[str, Any] | None) -> None:
        """Tell its process what to do to its messages; None: no longer."""
        orders = self._orders.setdefault(worker, {})
        orders.pop(index, None)
        if order is not None:
            orders[index] = dict(order)
        self.supervisor[worker].order((index, order))

    # ------------------------------------------------------------------------------------ for the session

    def everybody(self) -> list[str]:
        """The names of all worker processes, those of the same consumer name too."""
        return [*self.workers(), *self._twins]

    def doomed(self, worker: str) -> bool:
        """Whether the worker was told to die."""
        return any(order["do"] == "crash" for order in self._orders.get(worker, {}).values())

    def start_worker(self, name: str, incarnation: int = 1, consumer: str = "") -> None:
        """Start a worker's process. An order to crash was for the process before it."""
        self._stopped.pop(name, None)
        orders = self._orders.get(name, {})
        self._orders[name] = {index: order for index, order in orders.items() if order["do"] != "crash"}
        names = ("claim_after", "max_deliveries", "retry_delay", "batch", "threads")
        self.supervisor.start(
            Work(
                **self._task(name, incarnation),
                consumer=consumer or name,
                orders=self._orders[name],
                settings={key: getattr(self.experiment, key) for key in names},
                work=self.experiment.worker,
            )
        )

    def start_producer(self, arrivals: Arrivals) -> WorkerProcess:
        """Start the producer, which waits for the start of the clock."""
        it = self.experiment
        return self.supervisor.start(
            Produce(**self._task("producer", 1), arrivals=arrivals, keys=it.keys, add=it.producer)
        )

    def arrive(self, rate: float | None) -> None:
        """Tell the producer of a live run how many jobs a second come from now on; None: no more."""
        self.supervisor["producer"].order(rate)

    def _task(self, name: str, incarnation: int) -> dict[str, Any]:
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
