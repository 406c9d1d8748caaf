"""What a fault is: something that is done to the system at a planned time, and undone or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_origin, get_type_hints

from streamlab.errors import UsageError

if TYPE_CHECKING:
    from redis import Redis

    from streamlab.faults.proxy import Proxy
    from streamlab.servers import Server

Family = Literal["worker", "wire", "redis", "operator"]

#: What a target may be besides a name: one worker that the seed chooses beforehand, all of them, or the owner of the
#: oldest pending entry at the moment at which the fault strikes.
ONE, ALL, OLDEST = "one", "all", "oldest"
#: Who has connections, and is no worker.
PRODUCER = "producer"


class Stage(Protocol):
    """What a fault can reach. The lab provides it."""

    server: Server
    #: The lab's own client; what is done to the workers' connections does not touch it.
    client: Redis
    stream: str
    group: str
    #: The lab's proxy; None where no fault of the plan needs it.
    proxy: Proxy | None
    #: Whether the worker under study is not the project's own, so that nothing inside it takes orders.
    foreign: bool

    def workers(self) -> list[str]:
        """The names of the workers of this run."""

    def alive(self, worker: str) -> bool:
        """Whether the worker's process runs now."""

    def pending(self, worker: str) -> int:
        """How many entries are pending for the worker, asked of Redis."""

    def oldest(self) -> str:
        """The owner of the oldest pending entry, asked of Redis; '' where nothing is pending."""

    def freeze(self, worker: str, by: int) -> None:
        """SIGSTOP the worker's process on behalf of fault `by`, and wait until it stands still."""

    def thaw(self, worker: str, by: int) -> bool:
        """SIGCONT it, unless another fault still wants it to stand; whether it stood still until now."""

    def kill(self, worker: str) -> None:
        """SIGKILL the worker's process and wait for its end."""

    def spawn(self, worker: str) -> None:
        """Start the worker's next incarnation, under the same name; the orders that it had still hold."""

    def twin(self, worker: str) -> str:
        """Start one more process with this worker's consumer name; the name of the process."""

    def order(self, worker: str, index: int, order: Mapping[str, Any] | None) -> None:
        """Tell the worker's process what to do to its messages on behalf of fault `index`; None takes it back."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The base of all faults. A fault is data: it prints, it compares, it is saved with the experiment.

    Attributes:
        at: seconds after the first job is due.
    """

    kind: ClassVar[str]
    family: ClassVar[Family]
    #: Whether every connection of the run must go through the lab's proxy.
    needs_wire: ClassVar[bool] = False
    #: Whether Redis answers nobody while it lasts: who asks all the same waits.
    stills: ClassVar[bool] = False

    at: float
    #: Its number in the plan, which sets it.
    index: int = field(default=-1, init=False, compare=False, repr=False)
    #: What `start` found, for `stop`.
    kept: Any = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not is_seconds(self.at):
            raise UsageError(f"fault {self.kind!r}: at={self.at!r} must be seconds from the start, 0 or more")

    def check(self, stage: Stage) -> None:
        """Refuse before the run what cannot be done in it, by raising UsageError or UnsupportedError."""

    def ready(self, stage: Stage) -> bool:
        """Whether this is a moment at which the fault would hit something; asked from `at` on, for 2 s at most."""
        return True

    def start(self, stage: Stage) -> dict[str, Any]:
        """Do it. Returns what is worth knowing about it, for the history: `held` or `hit` count what it met.

        `doubt`, here or in what `stop` returns, says in words that it had no effect; the run is then `unknown`.
        """
        raise NotImplementedError

    def remember(self, found: Any) -> None:
        """Remember until `stop` what is there now."""
        object.__setattr__(self, "kept", found)

    def ends_after(self) -> float | None:
        """Seconds from start to stop; 0 for what is over at once, None for what is never undone."""
        return 0.0

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Undo it. Returns what is known only now."""
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """What has just been done, in one line for whoever watches."""
        target = facts.get("target") or ""
        return f"{self.kind} {target}".strip() + _lasting(self.ends_after())

    def table(self) -> dict[str, Any]:
        """The fault as plain data; `from_table` reads it again."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        return {"kind": self.kind} | {name: value for name, value in values.items() if value is not None}


def check_target(fault: Fault, stage: Stage, *others: str) -> None:
    """Refuse a target that names nobody; `others` are names that are good for this fault besides the workers'."""
    _check_among([*stage.workers(), *others], fault)


def check_name(fault: Fault, workers: Sequence[str]) -> None:
    """Refuse, as soon as it is known who the workers are, a target that names nobody at all."""
    target = getattr(fault, "target", ONE)
    _check_among(workers if target != PRODUCER else [*workers, PRODUCER], fault)


def _check_among(names: Sequence[str], fault: Fault) -> None:
    target = getattr(fault, "target", ONE)
    if target not in (ONE, ALL, OLDEST, *names):
        raise UsageError(
            f"fault {fault.kind!r}: target: no worker is called {target!r}; there are: {', '.join(names)}, "
            f"and {ONE}, {ALL}, {OLDEST}"
        )


def targets(target: str, stage: Stage) -> list[str]:
    """The workers that a target means, once `one` and `oldest` have been settled; none where that is nobody."""
    return stage.workers() if target == ALL else [target] if target else []


def is_seconds(value: object) -> bool:
    """Whether it is a finite number, 0 or more."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def positive(fault: Fault, *names: str) -> None:
    """Refuse values that are not numbers above 0."""
    for name in names:
        value = getattr(fault, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise UsageError(f"fault {fault.kind!r}: {name}={value!r} must be a number above 0")


def _lasting(seconds: float | None) -> str:
    return f" for {seconds:g} s" if seconds else ""


def from_table(table: Mapping[str, Any], kinds: Mapping[str, type[Fault]]) -> Fault:
    """A fault from its data; UsageError names the key that is wrong and what was expected."""
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise UsageError(f"fault of unknown kind {kind!r}; there are: {', '.join(sorted(kinds))}")
    known = {field.name: field for field in dataclasses.fields(kinds[kind]) if field.init}
    hints = get_type_hints(kinds[kind])
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"fault {kind!r}: unknown key {name!r}; there are: {', '.join(known)}")
        declared = hints[name]
        if declared is bool:
            fits, expected = isinstance(value, bool), "true or false"
        elif declared is str or get_origin(declared) is Literal:
            fits, expected = isinstance(value, str), "text"
        elif declared in (int, int | None):
            fits, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
        else:
            fits, expected = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        if not fits:
            raise UsageError(f"fault {kind!r}: {name} = {value!r}, expected {expected}")
    try:
        return kinds[kind](**values)
    except TypeError as error:
        missing = [name for name, field in known.items() if name not in values and field.default is dataclasses.MISSING]
        raise UsageError(f"fault {kind!r}: missing {', '.join(missing)}") from error
