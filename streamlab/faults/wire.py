"""What can be done to the wire between a process and Redis. All of it happens in the lab's proxy; see `proxy.Proxy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from streamlab.errors import UsageError
from streamlab.faults.base import PRODUCER, Family, Fault, Stage, check_target, is_seconds, positive, targets
from streamlab.faults.proxy import toxics
from streamlab.faults.proxy.toxics import DirectionName, Toxic

if TYPE_CHECKING:
    from streamlab.faults.proxy import Proxy

_WAYS = {"both": "both ways", "requests": "to Redis", "replies": "from Redis"}


@dataclass(frozen=True)
class WireFault(Fault):
    """The base of faults of the wire. `target` may also be "producer"; "all" means all workers.

    What they met is in the note of `fault_off` as `hit`: bytes, connections or replies, as each says.
    """

    family: ClassVar[Family] = "wire"
    needs_wire: ClassVar[bool] = True

    target: str

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers, or the producer."""
        check_target(self, stage, PRODUCER)

    def start(self, stage: Stage) -> dict[str, Any]:
        """Begin it; whom it concerns."""
        if names := self._names(stage):
            self._proxy(stage).add(self._key, self._toxic(names))
        return {"processes": names}

    def stop(self, stage: Stage) -> dict[str, Any]:
        """End it, and say what it met."""
        return {"hit": self._proxy(stage).remove(self._key)}

    def _toxic(self, names: list[str]) -> Toxic:
        """What the proxy shall do to these processes."""
        raise NotImplementedError

    def _names(self, stage: Stage) -> list[str]:
        return targets(self.target, stage)

    @property
    def _key(self) -> object:
        return "fault", self.index

    @staticmethod
    def _proxy(stage: Stage) -> Proxy:
        if stage.proxy is None:
            raise UsageError("this run has no proxy for faults of the wire to act in: set wire = true")
        return stage.proxy


@dataclass(frozen=True)
class Lasting(WireFault):
    """The base of those that last for `seconds`, and concern the bytes of one direction or of both."""

    seconds: float = field(kw_only=True)
    direction: DirectionName = field(default="both", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")
        if self.direction not in get_args(DirectionName):
            raise UsageError(
                f"fault {self.kind!r}: direction={self.direction!r}, expected one of "
                f"{', '.join(get_args(DirectionName))}"
            )

    def ends_after(self) -> float | None:
        """When the wire is whole again."""
        return self.seconds

    def said(self, facts: Mapping[str, Any]) -> str:
        """What becomes of whose bytes."""
        return f"{facts['target'] or 'nobody'}: {self._what()} {_WAYS[self.direction]}, for {self.seconds:g} s"

    def _what(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Delay(Lasting):
    """Bytes take longer, and stay in order: Redis is far away. `hit` counts bytes.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
        delay: seconds that bytes take longer in each direction: an answer comes twice as much later.
        jitter: seconds by which that varies, up and down.
        seconds: how long this lasts.
        direction: "requests" (to Redis), "replies" (from it), or "both".
        seed: chooses the jitter.
    """

    kind: ClassVar[str] = "delay"
    delay: float = field(kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    seed: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "delay")
        if not is_seconds(self.jitter) or not 0 <= self.jitter <= self.delay:
            raise UsageError(f"fault 'delay': jitter={self.jitter!r} must be seconds from 0 to delay={self.delay:g}")

    def _toxic(self, names: list[str]) -> Toxic:
        seed = f"{self.seed} {self.index}"
        return toxics.Latency(
            processes=names, direction=self.direction, latency=self.delay, jitter=self.jitter, seed=seed
        )

    def _what(self) -> str:
        return f"bytes are {self.delay:g} s late" + (f", give or take {self.jitter:g} s," if self.jitter else "")


@dataclass(frozen=True)
class Throttle(Lasting):
    """So many bytes a second, and no more: a modem, a crowded network. `hit` counts bytes.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
        bytes_per_second: of each direction of each connection.
        seconds: how long this lasts.
        direction: "requests" (to Redis), "replies" (from it), or "both".
    """

    kind: ClassVar[str] = "throttle"
    bytes_per_second: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "bytes_per_second")

    def _toxic(self, names: list[str]) -> Toxic:
        return toxics.Bandwidth(processes=names, direction=self.direction, rate=self.bytes_per_second)

    def _what(self) -> str:
        return f"{self.bytes_per_second:g} bytes/s"


@dataclass(frozen=True)
class Hold(Lasting):
    """Bytes wait on the way, and arrive when it is over: a partition that heals. `hit` counts bytes.

    Connections stay open, and nobody is told anything, not even that the other side is gone. What arrives late acts
    late: that is when zombies act. A cut connection is another matter; see `Reset`.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
        seconds: how long this lasts.
        direction: "requests" (to Redis), "replies" (from it), or "both".
    """

    kind: ClassVar[str] = "hold"

    def _toxic(self, names: list[str]) -> Toxic:
        return toxics.Hold(processes=names, direction=self.direction)

    def _what(self) -> str:
        return "bytes are held"


@dataclass(frozen=True)
class Drop(Lasting):
    """Bytes vanish on the way, and nobody is told: a firewall that forgot a connection. `hit` counts bytes.

    With "replies", Redis does all that it is asked, and the process hears nothing of it. When it is over, connections
    that lost bytes are reset, since nobody could make sense of what would follow.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
        seconds: how long this lasts.
        direction: "requests" (to Redis), "replies" (from it), or "both".
    """

    kind: ClassVar[str] = "drop"

    def _toxic(self, names: list[str]) -> Toxic:
        return toxics.Drop(processes=names, direction=self.direction)

    def _what(self) -> str:
        return "bytes vanish"


@dataclass(frozen=True)
class Reset(WireFault):
    """Connections are reset (RST), and may be made again at once. `hit` counts connections.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
    """

    kind: ClassVar[str] = "reset"

    def start(self, stage: Stage) -> dict[str, Any]:
        """Reset them."""
        names = self._names(stage)
        return {"processes": names, "hit": self._proxy(stage).reset(names) if names else 0}

    def stop(self, stage: Stage) -> dict[str, Any]:
        """It was over at once."""
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Whose connections are reset."""
        return f"{facts['target'] or 'nobody'}: {facts['hit']} connection(s) reset"


@dataclass(frozen=True)
class Refuse(WireFault):
    """Redis cannot be reached: connections are reset, and new ones too, as soon as they are made.

    `hit` counts connections: those that were reset, and in the end also those that were tried meanwhile.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
        seconds: how long this lasts.
    """

    kind: ClassVar[str] = "refuse"
    seconds: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")

    def start(self, stage: Stage) -> dict[str, Any]:
        """First let nobody in, then throw everybody out."""
        facts = super().start(stage)
        names = facts["processes"]
        self.remember(self._proxy(stage).reset(names) if names else 0)
        return facts | {"hit": self.kept}

    def ends_after(self) -> float | None:
        """When Redis can be reached again."""
        return self.seconds

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Let them in again."""
        return {"hit": (self.kept or 0) + super().stop(stage)["hit"]}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Who is shut out."""
        return f"{facts['target'] or 'nobody'} cannot reach Redis for {self.seconds:g} s"

    def _toxic(self, names: list[str]) -> Toxic:
        return toxics.Refuse(processes=names)


@dataclass(frozen=True)
class CutReply(WireFault):
    """Redis does what it is asked, and its reply is lost: it is withheld, and the connection is closed.

    `hit` counts replies; each is an event `wire_cut`. Commands that a script calls are not seen.

    Args:
        target: the worker's name, or "producer", "one", "all" (the workers), "oldest".
        at: seconds after the first job is due.
        command: whose reply, such as "XACK".
        nth: the first that is cut, 1 for the very next; all the target's connections are counted together.
        times: how many in a row are cut.
        seconds: how long it waits for them at most.
    """

    kind: ClassVar[str] = "cut-reply"
    command: str = field(kw_only=True)
    nth: int = field(default=1, kw_only=True)
    times: int = field(default=1, kw_only=True)
    seconds: float = field(default=5.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "nth", "times", "seconds")
        for name in ("nth", "times"):
            if not isinstance(getattr(self, name), int):
                raise UsageError(f"fault 'cut-reply': {name}={getattr(self, name)!r} must be a whole number, 1 or more")
        if not isinstance(self.command, str) or not self.command.isalpha():
            raise UsageError(f"fault 'cut-reply': command={self.command!r}, expected one word such as 'XACK'")

    def ends_after(self) -> float | None:
        """When it waits no longer."""
        return self.seconds

    def said(self, facts: Mapping[str, Any]) -> str:
        """Whose reply will be cut."""
        which = f"reply {self.nth}" + (f" to {self.nth + self.times - 1}" if self.times > 1 else "")
        return f"{facts['target'] or 'nobody'} will not get {which} to {self.command.upper()}"

    def _toxic(self, names: list[str]) -> Toxic:
        return toxics.CutReply(processes=names, command=self.command, nth=self.nth, times=self.times)
