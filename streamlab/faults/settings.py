"""Settings of a running Redis that turn out to be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from redis.exceptions import ResponseError

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults.base import Family, Stage, positive
from streamlab.faults.redis import RedisFault
from streamlab.servers.settings import is_ours

# By run and setting: what it was before any fault, and over that what the faults set that go on, each with its number.
_values: WeakKeyDictionary[Stage, dict[str, list[tuple[int, str]]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class SetConfig(RedisFault):
    """CONFIG SET: somebody changes a setting, and later sets it back.

    Args:
        name: of the setting, as in redis.conf: "stream-node-max-entries".
        value: what it is set to, as text: "100".
        at: seconds after the first job is due.
        seconds: until the old value is set again.
    """

    kind: ClassVar[str] = "config"
    family: ClassVar[Family] = "operator"
    suffers: ClassVar[str] = "configured"

    name: str
    value: str
    seconds: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")
        for name, value in (("name", self.name), ("value", self.value)):
            if not isinstance(value, str):
                raise UsageError(f"fault 'config': {name}={value!r} must be text, as in redis.conf")
        if is_ours(self.name):
            raise UsageError(f"fault 'config': the lab would not find its server again with another {self.name!r}")

    def check(self, stage: Stage) -> None:
        """The server must have that setting, and take it while it runs."""
        super().check(stage)
        before: Any = stage.client.config_get(self.name)
        if list(before) != [self.name.lower()]:
            raise UnsupportedError(
                f"fault 'config': {stage.server.name} has no setting {self.name!r}: see CONFIG GET '*'"
            )
        try:
            stage.client.config_set(self.name, before[self.name.lower()])
        except ResponseError as error:
            raise UnsupportedError(
                f"fault 'config': {stage.server.name} does not change {self.name!r} while it runs ({error}): "
                "start it with that setting"
            ) from error

    def start(self, stage: Stage) -> dict[str, Any]:
        """Set it; `hit` is 0 where it had that value already."""
        before = _change(stage, self.index, self.name, self.value)
        after = stage.client.config_get(self.name)[self.name.lower()]
        return {"hit": int(after != before), "setting": self.name, "value": after, "before": before}

    def ends_after(self) -> float | None:
        """When it is set back."""
        return self.seconds

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Set it back."""
        _change_back(stage, self.index, self.name)
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Which setting."""
        return f"{self.name} was {facts['before']!r} and is {facts['value']!r} for {self.seconds:g} s (CONFIG SET)"


@dataclass(frozen=True)
class LimitMemory(RedisFault):
    """Redis reaches `maxmemory`, with the policy `noeviction`: it refuses what would need more memory, XADD first.

    Args:
        at: seconds after the first job is due.
        seconds: until there is room again.
        spare: bytes that it may still grow by.
    """

    kind: ClassVar[str] = "memory-limit"
    suffers: ClassVar[str] = "configured"

    seconds: float
    spare: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")
        if isinstance(self.spare, bool) or not isinstance(self.spare, int) or self.spare < 0:
            raise UsageError(f"fault 'memory-limit': spare={self.spare!r} must be a number of bytes, 0 or more")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Allow no more than is used now."""
        self.remember(_refused(stage))
        limit = stage.client.info("memory")["used_memory"] + self.spare
        _change(stage, self.index, "maxmemory-policy", "noeviction")
        _change(stage, self.index, "maxmemory", str(limit))
        return {"limit": limit}

    def ends_after(self) -> float | None:
        """When there is room again."""
        return self.seconds

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Set it back; `hit` counts the commands that were refused."""
        for name in ("maxmemory", "maxmemory-policy"):
            _change_back(stage, self.index, name)
        return {"hit": max(0, _refused(stage) - self.kept)}

    def said(self, facts: Mapping[str, Any]) -> str:
        """How much there is."""
        return f"Redis may use no more than {facts['limit']} bytes for {self.seconds:g} s (maxmemory, noeviction)"


def _change(stage: Stage, index: int, name: str, value: str) -> str:
    """Set it on behalf of fault `index`; what it was."""
    before: Any = stage.client.config_get(name)
    was = str(before[name.lower()])
    _values.setdefault(stage, {}).setdefault(name.lower(), [(-1, was)]).append((index, value))
    stage.client.config_set(name, value)
    return was


def _change_back(stage: Stage, index: int, name: str) -> None:
    """Set it to what another fault still wants, or to what it was before all of them."""
    values = _values[stage][name.lower()]
    values[:] = [item for item in values if item[0] != index]
    stage.client.config_set(name, values[-1][1])
    if len(values) == 1:
        del _values[stage][name.lower()]


def _refused(stage: Stage) -> int:
    """How many commands the server refused for want of memory since it was started."""
    errors: Any = stage.client.info("errorstats")
    return int(errors.get("errorstat_OOM", {}).get("count", 0))
