"""An experiment as data: it prints, it compares, it is a TOML file."""

from __future__ import annotations

import dataclasses
import inspect
import re
import reprlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from msgspec import Meta

from streamlab import faults as fault_kinds
from streamlab import scenarios, workloads
from streamlab.errors import DataError, MissingError, UsageError
from streamlab.faults import Fault
from streamlab.schema import Checked, build
from streamlab.servers import Persistence
from streamlab.workloads import Workload

_FUNCTION = re.compile(r"[\w.]+:\w+")
_Seconds = Annotated[float, Meta(ge=0, le=3600)]


@dataclass(frozen=True, kw_only=True)
class Experiment(Checked):
    """What to do, and what to break meanwhile.

    Attributes:
        workload: what the jobs are, how many, and how many come a second.
        workers: worker processes; they are called "worker-1", "worker-2", ...
        claim_after: seconds without a sign of life after which a message may be taken over.
        max_deliveries: after so many deliveries without success a message becomes a dead letter.
        retry_delay: seconds before a message that failed is tried again.
        batch: messages that a worker reads at a time, at most.
        threads: messages that one worker works on at once.
        faults: what is broken, and when.
        chaos: so many faults more, chosen by the seed from those that leave the data of Redis intact.
        drain: seconds that the queue has to empty itself after the last job was added and the last fault ended.
        seed: of everything that chance decides beforehand. The same seed gives the same jobs at the same due times and
            the same faults; which worker gets which job is up to the scheduler.
        name: for the folder and the pictures.
        question: what the experiment is to find out, for its reader.
        guarantee: what the verdict is about: "at-least-once", "at-most-once", "effectively-once", "ordered-per-key" or
            "bounded-recovery"; `streamlab.check` defines each.
        recovery_within: seconds that a recovery may take, for "bounded-recovery"; 0: not set.
        keys: so many different values has the field `key` of the messages (the job's number modulo `keys`); 0: there is
            no such field.
        worker: the worker under study, where it is not the project's own: a function, or "module:function", called as
            `work(client, stream, group, consumer, handle)` in each worker process. It reads, claims and acknowledges
            with plain redis-py, and calls `handle(entry_id, fields)` to do the work of a message.
        producer: the same for adding: `add(client, stream, fields)`, which returns the entry's ID.
        wire: let every connection go through the lab's proxy, which writes down what Redis answered, also where no
            fault needs it. Somebody else's worker always goes through it.
        persistence: of the Redis: "none", "rdb", "aof-always", "aof-everysec", "aof-no"; "": whatever it has.
    """

    workload: Workload
    workers: Annotated[int, Meta(ge=1, le=64)] = 3
    claim_after: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    max_deliveries: Annotated[int, Meta(ge=1, le=1000)] = 4
    retry_delay: _Seconds = 0.2
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 100
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    faults: Sequence[Fault] = ()
    chaos: Annotated[int, Meta(ge=0, le=1000)] = 0
    drain: _Seconds = 30.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    name: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="1 to 64 letters, digits, '.', '_' or '-'")
    ] = "experiment"
    question: str = ""
    guarantee: str = "at-least-once"
    recovery_within: _Seconds = 0.0
    keys: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    worker: str | Callable[..., object] = ""
    producer: str | Callable[..., object] = ""
    wire: bool = False
    persistence: Literal["", Persistence] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.workload, Workload):
            raise UsageError(f"workload = {self.workload!r}, expected one such as ResizeImages(count=120, rate=40)")
        for name in ("worker", "producer"):
            value = getattr(self, name)
            if not callable(value) and not (isinstance(value, str) and (not value or _FUNCTION.fullmatch(value))):
                raise UsageError(f"{name} = {reprlib.repr(value)}, expected a function or 'module:function'")
        if self.guarantee != "at-least-once":
            from streamlab.check import GUARANTEES  # brings pandas

            if self.guarantee not in GUARANTEES:
                raise UsageError(f"guarantee = {self.guarantee!r}, expected one of {', '.join(GUARANTEES)}")
        if self.guarantee == "bounded-recovery" and not self.recovery_within:
            raise UsageError("guarantee = 'bounded-recovery' needs recovery_within, in seconds")
        if not isinstance(self.faults, Sequence) or not all(isinstance(fault, Fault) for fault in self.faults):
            raise UsageError(f"faults = {self.faults!r}, expected a list of faults such as [Kill('worker-2', at=1.5)]")
        object.__setattr__(self, "faults", tuple(self.faults))  # so that two equal experiments compare equal
        for fault in self.faults:
            fault.check_target([f"worker-{number}" for number in range(1, self.workers + 1)])

    def but(self, **changes: Any) -> Self:
        """Return the same experiment with other settings, its own or its workload's: `but(workers=5, rate=80)`."""
        own = {field.name for field in dataclasses.fields(self)}
        of_workload = [field.name for field in dataclasses.fields(self.workload)]
        for name in changes:
            if name not in own and name not in of_workload:
                raise UsageError(f"there is no setting {name!r}; there are: {', '.join([*sorted(own), *of_workload])}")
        mine = {name: value for name, value in changes.items() if name in own}
        workload = mine.pop("workload", self.workload)
        workload = dataclasses.replace(workload, **{name: changes[name] for name in changes.keys() - own})
        return dataclasses.replace(self, workload=workload, **mine)

    def all_faults(self) -> list[Fault]:
        """All faults: those that are named, and those that the seed chooses."""
        if not self.chaos:
            return list(self.faults)
        from streamlab.faults.chaos import chaos

        seconds = self.workload.count / self.workload.rate
        return [*self.faults, *chaos(self.seed, self.chaos, seconds, custom=bool(self.worker))]

    def to_toml(self) -> str:
        """As the text of a TOML file, in which all faults are named; UsageError for a function."""
        for name in ("worker", "producer"):
            if callable(getattr(self, name)):
                raise UsageError(f"{name} is a function, which no file can hold: name it, as in 'module:function'")
        workloads.to_table(self.workload)  # refuses what no file can hold
        return self.record()

    def record(self) -> str:
        """For the history: all faults are named, and of a function it has the source, to be read and not to be run."""
        functions = any(callable(getattr(self.workload, field.name)) for field in dataclasses.fields(self.workload))
        workload = (
            {"kind": self.workload.name} | _values(self.workload) if functions else workloads.to_table(self.workload)
        )
        faults = [fault.table() for fault in self.all_faults()]
        return tomli_w.dumps(_values(self) | {"workload": workload, "faults": faults, "chaos": 0})

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Experiment:
        """From plain data; UsageError names the key that is wrong and what was expected."""
        faults = table.get("faults", [])
        if not isinstance(table.get("workload"), Mapping):
            raise UsageError("missing the table [workload]")
        if not isinstance(faults, (list, tuple)) or not all(isinstance(fault, Mapping) for fault in faults):
            raise UsageError("faults must be tables: [[faults]]")
        made = {
            "workload": workloads.from_table(table["workload"]),
            "faults": tuple(fault_kinds.from_table(it, f"faults[{n}]") for n, it in enumerate(faults)),
        }
        return build(cls, {**table, **made})

    @classmethod
    def load(cls, path: str | Path, settings: Sequence[str] = ()) -> Experiment:
        """From a TOML file.

        Args:
            path: the file.
            settings: other values for some keys, as in "workers=5" or "workload.rate=200"; the value as TOML has it.

        Raises:
            MissingError: the file cannot be read.
            DataError: it is not an experiment; names file and key.
            UsageError: one of `settings` is not.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MissingError(f"{path} cannot be read: {getattr(error, 'strerror', '') or error}") from error
        try:
            table = tomllib.loads(text)
            found = cls.from_table(table)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{path}: expected TOML: {error}") from error
        except UsageError as error:
            raise DataError(f"{path}: {error}") from error
        for setting in settings:
            _set(table, setting)
        return cls.from_table(table) if settings else found


def _set(table: dict[str, Any], setting: str) -> None:
    """Put one "key=value" into the table."""
    key, equals, value = setting.partition("=")
    *outer, name = key.strip().split(".")
    try:
        parsed = tomllib.loads("value = " + value.replace("\n", " "))["value"]
    except tomllib.TOMLDecodeError as error:
        quoted = f"; a text keeps its quotes in the shell as in --set '{key}=\"...\"'" if equals else ""
        raise UsageError(f"--set {setting}: expected key=value, the value as TOML has it{quoted}") from error
    place: Any = table
    for part in outer:
        place = place.get(part) if isinstance(place, dict) else None
    if not equals or not isinstance(place, dict):
        raise UsageError(f"--set {setting}: expected a key of the experiment and its value, as in workload.rate=200")
    place[name] = parsed


def _values(it: Experiment | Workload) -> dict[str, Any]:
    values = {field.name: getattr(it, field.name) for field in dataclasses.fields(it)}
    return {name: _source(value) if callable(value) else value for name, value in values.items()}


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(function)


def scenario(name: str) -> Experiment:
    """An experiment that comes with the package: `scenario("zombie")`. Raises MissingError, with what there is."""
    return Experiment.load(scenarios.find(name))
