"""What a fault is: something that is done to the system at a planned time, and undone or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from redis import Redis

from streamlab.errors import UsageError
from streamlab.faults.proxy import Proxy
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import Checked, Seconds
from streamlab.servers import Server

Family = Literal["worker", "wire", "redis", "operator"]

#: What a target may be besides a name: one worker that the seed chooses beforehand, all of them, or the owner of the
#: oldest pending entry at the moment at which the fault strikes.
ONE, ALL, OLDEST = "one", "all", "oldest"
#: Has connections, and is no worker.
PRODUCER = "producer"


class RunContext(Protocol):
    """What a fault may reach of a run; `lab.context` says what each does."""

    server: Server
    client: Redis
    proxy: Proxy | None
    stream: str
    group: str
    custom: bool
    settings: dict[str, list[tuple[int, str]]]

    def workers(self) -> list[str]: ...
    def alive(self, worker: str) -> bool: ...
    def pending(self, worker: str) -> int: ...
    def oldest(self) -> str: ...
    def pause(self, worker: str, by: int) -> None: ...
    def resume(self, worker: str, by: int) -> bool: ...
    def kill(self, worker: str) -> None: ...
    def spawn(self, worker: str) -> None: ...
    def twin(self, worker: str) -> str: ...
    def order(self, worker: str, index: int, order: Mapping[str, Any] | None) -> None: ...
    def arrive(self, rate: float | None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Fault(Checked):
    """The base of all faults. A fault is data: it prints, it compares, it is saved with the experiment.

    Attributes:
        at: seconds after the first job is due.
    """

    kind: ClassVar[str]
    family: ClassVar[Family]
    #: Who can be a target besides the workers.
    others: ClassVar[tuple[str, ...]] = ()
    #: Whether every connection of the run must go through the lab's proxy.
    needs_wire: ClassVar[bool] = False
    #: Whether Redis answers nobody while it lasts, so that nothing else can begin.
    blocks_redis: ClassVar[bool] = False
    #: For `FaultRecord`.
    inside: ClassVar[bool] = False
    kills: ClassVar[bool] = False
    #: What the dashboard says of its target while it lasts.
    state: ClassVar[str] = ""
    #: What happens, for a reader; its fields and the target, as `whom`, are filled in.
    says: ClassVar[str] = ""

    at: Seconds

    def __init_subclass__(cls, **declared: Any) -> None:
        """Set what a class declares of itself: `class Kill(WorkerFault, kind="kill", kills=True)`."""
        for name, value in declared.items():
            setattr(cls, name, value)

    @property
    def lasts(self) -> float | None:
        """Seconds from its start to its end, its `seconds` as a rule; 0 = over at once, None = never undone."""
        seconds: float | None = getattr(self, "seconds", 0.0)
        return seconds

    def check(self, context: RunContext) -> None:
        """Refuse before the run what cannot be done in it, by raising UsageError or UnsupportedError."""
        self.check_target(context.workers())

    def check_target(self, workers: Sequence[str]) -> None:
        """Refuse a target that names nobody."""
        names = [*workers, *self.others]
        target = getattr(self, "target", ONE)
        if target not in (ONE, ALL, OLDEST, *names):
            raise UsageError(
                f"{type(self).__name__}: target: no worker is called {target!r}; there are: {', '.join(names)}, "
                f"and {ONE}, {ALL}, {OLDEST}"
            )

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        """Whether this is a moment at which the fault would hit something; asked from `at` on, for 2 s at most."""
        return True

    def relaxed(self) -> Fault:
        """What it is content with when the moment that it asks for has not come for 1 s."""
        return self

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        """Do it, yield once, and undo it after `lasts` seconds. Fills in the record on both sides of the yield.

        An error on the way in means that the fault could not be done: what is half done is undone by `finally`.
        """
        raise NotImplementedError

    def sentence(self, record: FaultRecord) -> str:
        """What happens, for a reader."""
        return self.says.format(whom=record.whom, **vars(self))

    def table(self) -> dict[str, Any]:
        """The fault as plain data; `faults.from_table` reads it again."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"kind": self.kind} | {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class TargetedFault(Fault):
    """The base of faults that hit somebody.

    Attributes:
        target: a worker's name, "worker-1" and so on, or "one", "all", "oldest"; where a class says so, "producer".
    """

    target: str

    def targets(self, context: RunContext) -> list[str]:
        """The workers that it means, once `one` and `oldest` have been settled; none where that is nobody."""
        return context.workers() if self.target == ALL else [self.target] if self.target else []
