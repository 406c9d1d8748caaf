"""Which fault when: the fault schedule of a run, carried out step by step."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError
from streamlab.faults.base import OLDEST, ONE, Fault, RunContext
from streamlab.history.fault_record import FaultRecord
from streamlab.history.log import EventLog

_ASKING = ("redis", "operator")  # families that ask Redis for something at their end, too
_PATIENCE = 2.0  # seconds that a fault may wait for a moment at which it would hit something


@dataclass(eq=False)
class Strike:
    """A fault of the schedule, and how far it is. Times are seconds since the first job was due.

    Attributes:
        fault: with its target settled.
        record: what is known of it.
        asked: since when it waits for its moment.
        start: when it began.
        due: when it is to end; infinity: with the run, if nobody ends it before; None: it is never undone.
        end: when it ended.
    """

    fault: Fault
    record: FaultRecord
    asked: float | None = None
    start: float = math.inf
    due: float | None = None
    end: float | None = None
    steps: Iterator[None] = dataclasses.field(default_factory=lambda: iter(()))

    @property
    def running(self) -> bool:
        """Whether it goes on, and will be ended."""
        return self.due is not None and self.end is None


class FaultSchedule:
    """Carries out faults at their times. Call `step` often; it waits for Redis's own restart, and else only a moment.

    Each start and end is an event `fault_on` or `fault_off`, with the `FaultRecord` as its note. A fault that could not
    be carried out is a `warning`, and the checker misses it; one that could not be ended as planned says so in its
    record, as a `doubt`. While one blocks Redis no other begins: nobody could look what it would hit.

    Args:
        faults: what is planned; `add` adds to it during the run.
        context: what they reach.
        event_log: where it is written down.
        seed: settles beforehand whom a fault means by `one`.

    Raises UsageError or UnsupportedError for a fault that cannot be done here.
    """

    def __init__(self, faults: Sequence[Fault], context: RunContext, event_log: EventLog, seed: int = 1) -> None:
        self._context = context
        self._event_log = event_log
        self._seed = seed
        self._now = 0.0
        self._count = 0
        self._waiting: list[Strike] = []
        #: What has begun so far, in this order.
        self.strikes: list[Strike] = []
        for fault in faults:
            self.add(fault)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to start or to end."""
        return not self._waiting and not self.running

    @property
    def running(self) -> list[Strike]:
        """What goes on at this moment, the latest last."""
        return [strike for strike in self.strikes if strike.running]

    @property
    def blocked(self) -> bool:
        """Whether Redis answers nobody at this moment, because of a fault."""
        return any(strike.fault.blocks_redis for strike in self.running)

    @property
    def states(self) -> dict[str, str]:
        """What running faults have made of whom, in a word: of workers by name, and of 'redis'."""
        return {it.record.target or "redis": it.fault.state for it in self.running if it.fault.state}

    def add(self, fault: Fault, *, planned: bool = True) -> None:
        """Add a fault. `planned=False`: somebody pressed it, and no doubt follows where it hits nothing."""
        fault.check(self._context)
        if getattr(fault, "target", "") == ONE:
            chance = random.Random(f"fault {self._count} {self._seed}")
            fault = dataclasses.replace(fault, target=chance.choice(self._context.workers()))  # type: ignore[call-arg]
        record = FaultRecord(
            fault=fault.kind,
            index=self._count,
            family=fault.family,
            target=getattr(fault, "target", ""),
            planned=planned,
            inside=fault.inside,
            kills=fault.kills,
        )
        self._count += 1
        self._waiting.append(Strike(fault, record))
        self._waiting.sort(key=lambda strike: strike.fault.at)

    def step(self, now: float) -> list[Strike]:
        """Do what is due at `now`, in seconds since the first job was due; what has begun."""
        self._now, begun = now, []
        for strike in list(self._waiting):
            if now < strike.fault.at or self.blocked:
                break
            if self._aim(strike):
                self._waiting.remove(strike)
                if self._begin(strike):
                    begun.append(strike)
        over = [strike for strike in self.running if strike.due is not None and now >= strike.due]
        self._end([strike for strike in over if strike.fault.blocks_redis])
        blocked = self.blocked  # a fault whose end needs Redis waits
        self._end([it for it in over if it.running and not (blocked and it.fault.family in _ASKING)])
        return begun

    def end_kill(self, worker: str) -> None:
        """End now what has killed this worker, so that it is started again."""
        self._end([it for it in self.running if it.record.kills and it.record.target == worker])

    def heal(self) -> None:
        """End whatever still goes on, the latest first, and forget what never began."""
        self._waiting.clear()
        self._end(self.running[::-1])

    def _aim(self, strike: Strike) -> bool:
        """Settle the target, and tell whether to strike now; what cannot be hit in time is struck at anyway."""
        strike.asked = self._now if strike.asked is None else strike.asked
        waited = self._now - strike.asked
        late = waited >= _PATIENCE
        aimed = strike.fault.relaxed() if waited >= _PATIENCE / 2 else strike.fault
        try:
            if getattr(aimed, "target", "") == OLDEST:
                owner = self._context.oldest()
                if not owner and not late:
                    return False
                aimed = dataclasses.replace(aimed, target=owner)  # type: ignore[call-arg]
            if not (aimed.ready(self._context, strike.record) or late):
                return False
        except RedisError:  # away, because of another fault: nobody can tell now
            if not late:
                return False
        strike.fault, strike.record.target = aimed, getattr(aimed, "target", "")
        return True

    def _begin(self, strike: Strike) -> bool:
        strike.start, began = self._now, time.monotonic_ns()
        strike.steps = strike.fault.strike(self._context, strike.record)
        try:
            next(strike.steps)
        except (RedisError, StreamlabError, OSError) as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # what it had begun could not be undone, either
                raise error.__context__ from None
            self._event_log.write("warning", note=f"{strike.record.fault} could not be done: {error}")
            return False
        self.strikes.append(strike)
        self._event_log.write("fault_on", note=strike.record.note(), time_ns=began)
        lasts = strike.fault.lasts
        forever = None if strike.record.planned else math.inf  # what was pressed ends with the run at the latest
        strike.due = forever if lasts is None else self._now + lasts
        if lasts == 0:
            self._end([strike])
        return True

    def _end(self, strikes: Sequence[Strike]) -> None:
        for strike in strikes:
            try:
                next(strike.steps, None)
            except (RedisError, StreamlabError, OSError) as error:
                self._event_log.write("warning", note=f"{strike.record.fault} could not be undone: {error}")
                strike.record.doubt = f"its end went wrong ({error})"
            strike.end = self._now
            self._event_log.write("fault_off", note=strike.record.note())
