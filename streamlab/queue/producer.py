"""Adding messages, so that what was added is known: exactly, or declared unknown."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from streamlab.queue.errors import NotSentError, OutcomeUnknownError, RefusedError, ReplyLostError
from streamlab.queue.link import Link, Value
from streamlab.queue.trim import trim_finished

_CHUNK = 500  # messages in one round trip
# A server remembers the last 100 IDMP IDs of a producer (stream-idmp-maxsize). So that a whole chunk can be sent again,
# each hundred of it comes from a producer of its own.
_IDMP_WINDOW = 100
_PAUSE = 0.05  # seconds between two attempts

T = TypeVar("T")


class Producer:
    """Adds messages to a stream, each with a `task_id`.

    Args:
        client: any redis-py client; the producer makes a connection of its own with its address and credentials.
        stream: key of the stream.
        keep: trim the stream as it grows, to about this many entries; entries that some group has not finished with
            are kept whatever their number (see `trim_finished`). None: never trim.
        patience: seconds to go on trying while Redis is away. It must be less than the 100 s for which a server
            remembers IDMP IDs.

    A lost reply is where producers go wrong: the message may be in the stream, or not. Where the server has
    XADD IDMP (Redis 8.6), the producer sends it again and the server drops the second. Where it has not, nothing
    is repeated: `OutcomeUnknownError` names the tasks in question, and the caller decides.

    >>> producer = Producer(client, "images")                                     # doctest: +SKIP
    >>> producer.add({"image_path": "photos/cat.jpg"})                            # doctest: +SKIP
    '1795482250248-0'
    """

    def __init__(self, client: Redis, stream: str, *, keep: int | None = None, patience: float = 10.0) -> None:
        if keep is not None and keep < 0:
            raise ValueError(f"keep={keep}: a number of entries, 0 or more, or None")
        if not 0 <= patience < 100:
            raise ValueError(f"patience={patience}: seconds, 0 or more and less than 100")
        self.stream = stream
        self._link = Link(client)
        self._keep = keep
        self._patience = patience
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._since_trim = 0
        self._idmp: bool | None = None
        self._lock = threading.Lock()

    def add(self, fields: Mapping[str, Value], *, task_id: str | None = None) -> str:
        """Add one message and return its entry ID.

        Raises:
            OutcomeUnknownError: the reply was lost and the server cannot tell a repetition from a new message.
            NotSentError: Redis stayed away for `patience` seconds; nothing was added.
            RefusedError: Redis answered with an error (out of memory, not a stream, ...); nothing was added.
            TypeError: a value that is not text, bytes or a number.
        """
        with self._lock:
            return self._add([(task_id or self._task_id(), fields)])[0]

    def add_many(self, rows: Iterable[Mapping[str, Value]]) -> list[str]:
        """Add messages in few round trips and return their entry IDs, in order.

        Raises:
            OutcomeUnknownError, NotSentError, RefusedError, TypeError: as `add`. The first three say in `added` what is
                in the stream, and the first in `unknown` what may be; all messages behind those are not.
        """
        with self._lock:
            added: list[str] = []
            for chunk in _chunks(((self._task_id(), row) for row in rows), _CHUNK):
                try:
                    added += self._add(chunk)
                except (OutcomeUnknownError, NotSentError, RefusedError) as error:
                    error.added[:0] = added
                    raise
            return added

    def close(self) -> None:
        """Drop the connection."""
        self._link.close()

    def _task_id(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    def _add(self, tasks: Sequence[tuple[str, Mapping[str, Value]]]) -> list[str]:
        """Add all of these or none."""
        idmp = self._has_idmp()
        commands = [
            self._xadd(task_id, fields, f"{self._name}-{place // _IDMP_WINDOW}" if idmp else "")
            for place, (task_id, fields) in enumerate(tasks)
        ]
        if len(tasks) > 1:  # so that Redis cannot run out of memory half-way
            commands = [("MULTI",), *commands, ("EXEC",)]
        deadline = time.monotonic() + self._patience
        while True:
            try:
                replies = self._exchange(commands)
                break
            except NotSentError:
                if time.monotonic() > deadline:
                    raise
            except ReplyLostError as error:
                if not idmp or time.monotonic() > deadline:
                    text = f"no reply to XADD ({error}): {len(tasks)} message(s) may be in the stream, or not"
                    raise OutcomeUnknownError(text, unknown=[task for task, _ in tasks]) from error
            time.sleep(_PAUSE)
        self._trim(len(tasks))
        return [entry.decode() for entry in replies]

    def _exchange(self, commands: Sequence[tuple[Value, ...]]) -> list[bytes]:
        self._link.send(*commands)
        replies = [self._link.receive() for _ in commands]
        if len(commands) > 1 and isinstance(replies[-1], list):
            replies = replies[-1]  # EXEC's; those before it only say that the commands were queued
        for reply in replies:
            if isinstance(reply, BusyLoadingError):
                raise NotSentError("Redis is loading its data")
            if isinstance(reply, RedisError):
                raise RefusedError(str(reply)) from reply
        return replies

    def _xadd(self, task_id: str, fields: Mapping[str, Value], idmp_producer: str) -> tuple[Value, ...]:
        body: list[Value] = [] if "task_id" in fields else ["task_id", task_id]
        for name, value in fields.items():
            if isinstance(value, bool) or not isinstance(value, (str, bytes, int, float)):
                raise TypeError(f"field {name!r} is {value!r}: a message holds text, bytes and numbers only")
            body.append(name)
            # Surrogates are how Message.fields gives back bytes that are not UTF-8: they become those bytes again.
            body.append(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)
        once = ("IDMP", idmp_producer, task_id) if idmp_producer else ()
        return ("XADD", self.stream, *once, "*", *body)

    def _has_idmp(self) -> bool:
        """Asked of the server once, with a command that adds nothing: NOMKSTREAM on a key that does not exist."""
        if self._idmp is None:
            nowhere = f"{self.stream}:{secrets.token_hex(4)}"
            try:
                self._link.call("XADD", nowhere, "NOMKSTREAM", "IDMP", "p", "i", "*", "f", "v")
                self._idmp = True
            except BusyLoadingError:
                raise NotSentError("Redis is loading its data") from None
            except ResponseError:
                self._idmp = False
        return self._idmp

    def _trim(self, added: int) -> None:
        if self._keep is None:
            return
        self._since_trim += added
        if self._since_trim >= max(100, self._keep // 10):  # the cost of looking, spread over many messages
            self._since_trim = 0
            trim_finished(self._link, self.stream, self._keep)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
