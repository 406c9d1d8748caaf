"""A message as a handler gets it, and the checkpoints that an observer is told."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

LOST = float("-inf")


class Message:
    """One delivery of one entry.

    Attributes:
        key: the entry ID as Redis sent it, in bytes; `id` is the same as text.
        raw: names and values in turn, as Redis sent them.
        deliveries: how often the entry has been delivered, this time included, as Redis counts. Not exact: a
            failover or a restart from an append-only file may have forgotten some.
        ours: for the worker: when (monotonic) it last knew that the entry is pending for it; `LOST` if it is not.
    """

    __slots__ = ("_fields", "deliveries", "key", "ours", "raw")

    def __init__(self, key: bytes, raw: list[bytes], deliveries: int = 1, ours: float = 0.0) -> None:
        self.key = key
        self.raw = raw
        self.deliveries = deliveries
        self.ours = ours
        self._fields: dict[str, str] | None = None

    @property
    def id(self) -> str:
        return self.key.decode()

    @property
    def fields(self) -> dict[str, str]:
        """The entry's fields as text, decoded on first use: a handler that does not ask does not pay.

        A message is untrusted: bytes that are not UTF-8 come as surrogates (PEP 383) instead of an error that
        would take the whole batch down, and `value.encode("utf-8", "surrogateescape")` gives them back. Of a
        field that stands twice, the last value counts; `raw` has both.
        """
        if self._fields is None:
            try:
                text: Iterator[str] = map(bytes.decode, self.raw)
                self._fields = dict(zip(text, text))  # noqa: B905 - Redis sends pairs; strict=True costs 8 % of a drain
            except UnicodeDecodeError:
                text = iter([item.decode("utf-8", "surrogateescape") for item in self.raw])
                self._fields = dict(zip(text, text, strict=True))
        return self._fields

    def __repr__(self) -> str:
        return f"Message({self.id}, {self.fields}, deliveries={self.deliveries})"


#: Called with each message. To return is success.
Handler = Callable[[Message], object]
#: Asks Redis which messages still are the consumer's, resets their idle time, and notes in `ours` which are not.
Renew = Callable[[Sequence[Message]], None]


class Observer(Protocol):
    """Called by a worker at each checkpoint of its messages.

    `kind` is one of read, claimed, own, started, done, acked, failed, retry, dead, disowned, deleted, healed,
    reconnected. `messages` are those that it happened to (none for the last two), `note` says more where there is more.
    Called from the worker's threads: it must be quick, and safe to call from several threads.
    """

    def __call__(self, kind: str, messages: Sequence[Message], note: str = "") -> None: ...
