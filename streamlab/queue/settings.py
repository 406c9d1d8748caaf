"""What the parts of one worker know of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamlab.queue.keys import dead_stream, failures_hash, to_bytes
from streamlab.queue.message import Message, Observer

_LEAST = {"batch": 1, "max_deliveries": 1, "threads": 1, "retry_delay": 0.0}
_LEAST |= dict.fromkeys(("claim_after", "handler_timeout", "timeout"), 0.02)


@dataclass
class Settings:
    """A worker's settings; `Worker` says what each means. Raises ValueError for one that is out of its range."""

    stream: str
    group: str
    consumer: str
    batch: int
    claim_after: float
    max_deliveries: int
    retry_delay: float
    threads: int
    handler_timeout: float | None
    timeout: float
    observe: Observer | None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be {least} or more")
        self.names = to_bytes(self.stream), to_bytes(self.group), to_bytes(self.consumer)  # as Redis gets them
        self.dead = to_bytes(dead_stream(self.stream, self.group))
        self.failures = to_bytes(failures_hash(self.stream, self.group))

    def tell(self, kind: str, messages: Sequence[Message], note: str = "") -> None:
        """Tell the observer, if there is one."""
        if self.observe is not None:
            self.observe(kind, messages, note)
