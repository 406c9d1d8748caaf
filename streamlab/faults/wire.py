"""What can be done to the wire between a process and Redis. All of it happens in the lab's proxy; see `proxy.Proxy`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from streamlab.errors import UsageError
from streamlab.faults.base import PRODUCER, RunContext, TargetedFault
from streamlab.faults.proxy import Proxy, toxics
from streamlab.faults.proxy.toxics import DirectionName, Toxic
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import Count, Positive, Seconds

_WAYS = {"both": "both ways", "requests": "to Redis", "replies": "from Redis"}


@dataclass(frozen=True)
class WireFault(TargetedFault, family="wire", others=(PRODUCER,), needs_wire=True):
    """The base of faults of the wire. `target` may also be "producer"; "all" means all workers.

    `hit` counts bytes, connections or replies, as each says.
    """

    #: What it adds to the proxy.
    makes: ClassVar[type[Toxic]]
    #: Whether it begins with a reset of the connections.
    resets: ClassVar[bool] = False

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        proxy, names, key = proxy_of(context), self.targets(context), ("fault", record.index)
        record.said = self.sentence(record)
        try:
            if names:
                proxy.add(key, self.toxic(names))
                record.hit = proxy.reset(names) if self.resets else None
            yield
        finally:
            record.hit = (record.hit or 0) + proxy.remove(key)

    def toxic(self, names: list[str]) -> Toxic:
        """What the proxy shall do to these processes; its settings are called as the fault's."""
        known = {field.name for field in dataclasses.fields(self.makes)}
        return self.makes(processes=names, **{name: value for name, value in vars(self).items() if name in known})


def proxy_of(context: RunContext) -> Proxy:
    """The lab's proxy. Raises UsageError where the run has none."""
    if context.proxy is None:
        raise UsageError("this run has no proxy for faults of the wire to act in: set wire = true")
    return context.proxy


@dataclass(frozen=True, kw_only=True)
class Lasting(WireFault):
    """The base of those that concern the bytes of one direction or of both. `hit` counts bytes.

    Args:
        seconds: how long this lasts.
        direction: "requests" (to Redis), "replies" (from it), or "both".
    """

    seconds: Positive
    direction: DirectionName = "both"

    def sentence(self, record: FaultRecord) -> str:
        return f"{record.whom}: {super().sentence(record)} {_WAYS[self.direction]}, for {self.seconds:g} s"


@dataclass(frozen=True, kw_only=True)
class Delay(Lasting, kind="delay", makes=toxics.Latency, says="bytes are {delay:g} s late, give or take {jitter:g} s,"):
    """Bytes take longer, and stay in order: Redis is far away.

    Args:
        delay: seconds that bytes take longer in each direction: an answer comes twice as much later.
        jitter: seconds by which that varies, up and down.
    """

    delay: Positive
    jitter: Seconds = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jitter > self.delay:
            raise UsageError(f"Delay: jitter = {self.jitter:g}, expected seconds from 0 to delay = {self.delay:g}")


@dataclass(frozen=True, kw_only=True)
class Throttle(Lasting, kind="throttle", makes=toxics.Bandwidth, says="{bytes_per_second:g} bytes/s"):
    """So many bytes a second, and no more: a modem, a crowded network.

    Args:
        bytes_per_second: of each direction of each connection.
    """

    bytes_per_second: Positive


@dataclass(frozen=True, kw_only=True)
class Hold(Lasting, kind="hold", makes=toxics.Hold, says="bytes are held"):
    """Bytes wait on the way, and arrive when it is over: a partition that heals.

    Connections stay open, and nobody is told anything, not even that the other side is gone. What arrives late acts
    late: that is when zombies act. A cut connection is another matter; see `Reset`.
    """


@dataclass(frozen=True, kw_only=True)
class Drop(Lasting, kind="drop", makes=toxics.Drop, says="bytes vanish"):
    """Bytes vanish on the way, and nobody is told: a firewall that forgot a connection.

    With "replies", Redis does all that it is asked, and the process hears nothing of it. When it is over, connections
    that lost bytes are reset, since nobody could make sense of what would follow.
    """


@dataclass(frozen=True)
class Reset(WireFault, kind="reset"):
    """Connections are reset (RST), and may be made again at once. `hit` counts connections."""

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        names = self.targets(context)
        record.hit = proxy_of(context).reset(names) if names else 0
        record.said = f"{record.whom}: {record.hit} connection(s) reset"
        yield


@dataclass(frozen=True, kw_only=True)
class Refuse(
    WireFault, kind="refuse", makes=toxics.Refuse, says="{whom} cannot reach Redis for {seconds:g} s", resets=True
):
    """Redis cannot be reached: connections are reset, and new ones too, as soon as they are made.

    `hit` counts connections: those that were reset, and in the end also those that were tried meanwhile.

    Args:
        seconds: how long this lasts.
    """

    seconds: Positive


@dataclass(frozen=True, kw_only=True)
class CutReply(
    WireFault,
    kind="cut-reply",
    makes=toxics.CutReply,
    says="{whom} will not get {times} reply(s) to {command}, from number {nth} on",
):
    """Redis does what it is asked, and its reply is lost: it is withheld, and the connection is closed.

    `hit` counts replies; each is an event `wire_cut`. Commands that a script calls are not seen.

    Args:
        command: whose reply, such as "XACK".
        nth: the first that is cut, 1 for the very next; all the target's connections are counted together.
        times: how many in a row are cut.
        seconds: how long it waits for them at most.
    """

    command: Annotated[str, Meta(pattern="^[A-Za-z]+$", description="one word such as 'XACK'")]
    nth: Count = 1
    times: Count = 1
    seconds: Positive = 5.0
