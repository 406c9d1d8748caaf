"""Adding messages, so that what was added is known: exactly, or declared unknown."""

import itertools
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamlab.queue import scripts
from streamlab.queue.connection import Command, Connection, Part, PerProcess, checked_client
from streamlab.queue.errors import (
    NotSentError,
    OutcomeUnknownError,
    RefusedError,
    ReplyLostError,
    is_elsewhere,
    is_refused_by_acl,
)
from streamlab.queue.keys import checked_name, to_bytes

_CHUNK = 500  # messages in one round trip
_CHUNK_BYTES = 1 << 20  # bytes in one round trip; a server limits what it buffers of a command
# A server remembers the last 100 IDMP IDs of a producer (stream-idmp-maxsize). So that a whole chunk can be sent again,
# each hundred of it comes from a producer of its own.
_IDMP_WINDOW = 100
_PAUSE = 0.05  # seconds between two attempts
_BUFFERED = 1 << 16  # bytes that a socket takes at once, whatever the other side thinks of them
_REFUSALS = 3  # connections that break while the same message is being sent: then it is the message

_Task = tuple[str, list[Part]]  # task ID, and the names and values of the message


class _Identity:
    """What a producer has in one process; see `PerProcess`."""

    def __init__(self, client: Redis) -> None:
        self.connection = Connection(client)
        self.name = secrets.token_hex(8)
        self.numbers = itertools.count()
        self.lock = threading.Lock()

    def next_id(self) -> str:
        return f"{self.name}-{next(self.numbers)}"


class Producer:
    """Adds messages to a stream, each with a `task_id`.

    Args:
        client: a `redis.Redis`; the producer makes a connection of its own with its address and credentials.
        stream: key of the stream.
        keep: trim the stream as it grows, to about this many entries; entries that some group has not finished with
            are kept whatever their number. None: never trim.
        patience: seconds to go on trying while Redis is away. It must be less than the 100 s for which a server
            remembers IDMP IDs.

    A lost reply is where producers go wrong: the message may be in the stream, or not. Where the server has
    XADD IDMP (Redis 8.6), the producer sends it again and the server drops the second. Where it has not, nothing
    is repeated: `OutcomeUnknownError` names the tasks in question, and the caller decides.

    It may be used from several threads, and from processes forked after it was made.

    Raises TypeError for a client or a name of another kind, ValueError for a setting out of its range.

    >>> producer = Producer(client, "images")                                     # doctest: +SKIP
    >>> producer.add({"image_path": "photos/cat.jpg"})                            # doctest: +SKIP
    '1795482250248-0'
    """

    def __init__(self, client: Redis, stream: str, *, keep: int | None = None, patience: float = 10.0) -> None:
        if keep is not None and keep < 0:
            raise ValueError(f"keep={keep}: a number of entries, 0 or more, or None")
        if not 0 <= patience < 100:
            raise ValueError(f"patience={patience}: seconds, 0 or more and less than 100")
        self.stream = checked_name("stream", stream)
        checked_client(client)
        self._mine = PerProcess(lambda: _Identity(client))
        self._key = to_bytes(stream)
        self._keep = keep
        self._patience = patience
        self._since_trim = 0
        self._idmp = True  # until the server answers that it does not know it

    def add(self, fields: Mapping[str, Part], *, task_id: str | None = None) -> str:
        """Add one message and return its entry ID.

        Args:
            fields: names and values of the message: text, bytes and numbers.
            task_id: stored as the field of that name; by default one that is unique. It is a label, on every server:
                two messages with one `task_id` are two messages.

        Raises:
            OutcomeUnknownError: the reply was lost and the server cannot tell a repetition from a new message.
            NotSentError: Redis stayed away for `patience` seconds; nothing was added.
            RefusedError: Redis answered with an error (out of memory, not a stream, ...); nothing was added.
            NoPermissionError: the user lacks a permission, which the text names; nothing was added.
            TypeError: a name or value that is no text, bytes or number.
        """
        mine = self._mine()
        with mine.lock:
            return self._add(mine, [_task(fields, mine, task_id)])[0]

    def add_many(self, rows: Iterable[Mapping[str, Part]]) -> list[str]:
        """Add messages in few round trips and return their entry IDs, in order.

        Raises:
            OutcomeUnknownError, NotSentError, RefusedError, NoPermissionError, TypeError: as `add`. The first three
                say in `added` what is in the stream, and the first in `unknown` what may be; all messages behind
                those are not.
        """
        mine = self._mine()
        with mine.lock:
            added: list[str] = []
            for chunk in _chunks(_task(row, mine) for row in rows):
                try:
                    added += self._add(mine, chunk)
                except (OutcomeUnknownError, NotSentError, RefusedError) as error:
                    error.added[:0] = added
                    raise
            return added

    def close(self) -> None:
        """Drop the connection."""
        self._mine().connection.close()

    def _add(self, mine: _Identity, tasks: Sequence[_Task]) -> list[str]:
        """Add all of these or none."""
        idmp_ids = [mine.next_id() for _ in tasks] if self._idmp else []
        deadline = time.monotonic() + self._patience
        unsure = ""  # how an attempt ended that may have added them; IDMP makes it safe to try again
        broken = 0
        while True:
            try:
                entries = self._attempt(mine, tasks, idmp_ids if self._idmp else [])
                break
            except RedisError as error:
                last = error
            if isinstance(last, ReplyLostError):
                unsure = str(last)
            elif isinstance(last, NotSentError):
                size = sum(map(_size, tasks))
                broken += "writing to socket" in str(last) and size > _BUFFERED
                if broken == _REFUSALS:
                    text = (
                        f"Redis closes the connection whenever these {len(tasks)} message(s) of {size} bytes are sent"
                    )
                    limits = "over a limit of the server (proto-max-bulk-len, client-query-buffer-limit)"
                    raise RefusedError(f"{text}: {limits}") from last
            elif self._idmp and "Invalid stream ID" in str(last):
                self._idmp = False  # an older server takes the word for an entry ID
                if not unsure:
                    continue
            elif not (unsure or is_elsewhere(last)):
                if is_refused_by_acl(last) or not isinstance(last, ResponseError):
                    raise last
                raise RefusedError(str(last)) from last
            over = time.monotonic() > deadline
            if unsure and (over or not self._idmp):
                text = f"no reply to XADD ({unsure}): {len(tasks)} message(s) may be in the stream, or not"
                raise OutcomeUnknownError(text, unknown=[task for task, _ in tasks]) from last
            if over:
                raise NotSentError(str(last)) from last
            time.sleep(_PAUSE)
        self._trim(mine.connection, len(tasks))
        return [entry.decode() for entry in entries]

    def _attempt(self, mine: _Identity, tasks: Sequence[_Task], idmp_ids: Sequence[str]) -> list[Any]:
        commands: list[Command] = []
        for place, (_, body) in enumerate(tasks):
            once = ("IDMP", f"{mine.name}-{place // _IDMP_WINDOW}", idmp_ids[place]) if idmp_ids else ()
            commands.append(("XADD", self._key, *once, "*", *body))
        if len(commands) == 1:
            return [mine.connection.call(*commands[0])]
        return mine.connection.transaction(*commands)  # so that Redis cannot run out of memory half-way

    def _trim(self, connection: Connection, added: int) -> None:
        if self._keep is None:
            return
        self._since_trim += added
        if self._since_trim >= max(100, self._keep // 10):  # the cost of looking, spread over many messages
            self._since_trim = 0
            connection.call("EVAL", scripts.TRIM, 1, self._key, self._keep)


def _task(fields: Mapping[str, Part], identity: _Identity, task_id: str | None = None) -> _Task:
    """Convert a message exactly, or raise TypeError."""
    if not isinstance(fields, Mapping):
        raise TypeError(f"{fields!r} is no message: it must be a mapping of names to values")
    if "task_id" in fields:
        task_id = str(fields["task_id"])
        body: list[Part] = []
    else:
        task_id = task_id or identity.next_id()
        body = ["task_id", _part(task_id, "value", "task_id")]
    for name, value in fields.items():
        body.append(name if type(name) is str and name.isascii() else _part(name, "name", name))
        body.append(value if type(value) is str and value.isascii() else _part(value, "value", name))
    return task_id, body


def _part(value: object, what: str, name: object) -> Part:
    """Convert one name or value: by what it is, not by how its class prints it (numpy's numbers, enumerations)."""
    if isinstance(value, str):
        # Surrogates are how Message.fields gives back bytes that are not UTF-8: they become those bytes again.
        return to_bytes(value)
    if isinstance(value, bytes):
        return b"".join([value])
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    raise TypeError(f"{what} of field {name!r} is {value!r}: a message holds text, bytes and numbers only")


def _size(task: _Task) -> int:
    return sum(map(len, task[1]))  # type: ignore[arg-type]


def _chunks(tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
    """Pack tasks by number and bytes; one that is larger than a chunk goes alone."""
    chunk: list[_Task] = []
    weight = 0
    for task in tasks:
        size = _size(task)
        if chunk and (len(chunk) == _CHUNK or weight + size > _CHUNK_BYTES):
            yield chunk
            chunk, weight = [], 0
        chunk.append(task)
        weight += size
    if chunk:
        yield chunk
