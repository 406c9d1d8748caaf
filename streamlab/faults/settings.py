"""Settings of a running Redis that turn out to be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults.base import RunContext
from streamlab.faults.redis import RedisFault
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import Positive
from streamlab.servers.settings import is_ours


@dataclass(frozen=True)
class SetConfig(RedisFault, kind="config", family="operator"):
    """CONFIG SET: somebody changes a setting, and later sets it back. `hit` is 0 where it had that value already.

    Args:
        name: of the setting, as in redis.conf: "stream-node-max-entries".
        value: what it is set to, as text: "100".
        seconds: until the old value is set again.
    """

    name: str
    value: str
    seconds: Positive = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if is_ours(self.name):
            raise UsageError(f"SetConfig: the lab would not find its server again with another {self.name!r}")

    def check(self, context: RunContext) -> None:
        super().check(context)
        before: Any = context.client.config_get(self.name)
        if list(before) != [self.name.lower()]:
            raise UnsupportedError(f"SetConfig: {context.server.name} has no setting {self.name!r}: see CONFIG GET '*'")
        try:
            context.client.config_set(self.name, before[self.name.lower()])
        except ResponseError as error:
            raise UnsupportedError(
                f"SetConfig: {context.server.name} does not change {self.name!r} while it runs ({error}): "
                "start it with that setting"
            ) from error

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        with _changed(context, record.index, self.name, self.value) as (before, after):
            record.hit = int(after != before)
            record.said = f"{self.name} was {before!r} and is {after!r} for {self.seconds:g} s (CONFIG SET)"
            yield


@dataclass(frozen=True, kw_only=True)
class LimitMemory(RedisFault, kind="memory-limit"):
    """Redis reaches `maxmemory`, with the policy `noeviction`: it refuses what would need more memory, XADD first.

    `hit` counts the commands that were refused.

    Args:
        seconds: until there is room again.
    """

    seconds: Positive

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        refused = _refused(context)
        limit = context.client.info("memory")["used_memory"]
        record.said = f"Redis may use no more than {limit} bytes for {self.seconds:g} s (maxmemory, noeviction)"
        with (
            _changed(context, record.index, "maxmemory-policy", "noeviction"),
            _changed(context, record.index, "maxmemory", str(limit)),
        ):
            yield
        record.hit = max(0, _refused(context) - refused)


@contextmanager
def _changed(context: RunContext, index: int, name: str, value: str) -> Iterator[tuple[str, str]]:
    """Change a setting on behalf of fault `index`: its value before and now.

    In the end it is what another fault still wants, or what it was before all of them.
    """
    ask: Any = context.client
    before = str(ask.config_get(name)[name.lower()])
    wanted = context.settings.setdefault(name.lower(), [(-1, before)])
    wanted.append((index, value))
    try:
        ask.config_set(name, value)
        yield before, str(ask.config_get(name)[name.lower()])
    finally:
        wanted[:] = [item for item in wanted if item[0] != index]
        ask.config_set(name, wanted[-1][1])
        if len(wanted) == 1:
            del context.settings[name.lower()]


def _refused(context: RunContext) -> int:
    """How many commands the server has refused for want of memory since it was started."""
    errors: Any = context.client.info("errorstats")
    return int(errors.get("errorstat_OOM", {}).get("count", 0))
