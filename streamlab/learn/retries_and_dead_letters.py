"""The exercises of notebooks/04_retries_and_dead_letters.ipynb: read no further before you have tried them.

1. Again, and when, or never?
2. Bury a message in one step, and only one's own.
3. Send a dead letter back to work, but not for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.errors import UsageError
from streamlab.learn import scratch
from streamlab.learn.exercises import check
from streamlab.queue.errors import PermanentError

if TYPE_CHECKING:
    from streamlab.servers import Server

_TOO_MANY = 50  # commands after which an answer is going round in circles
_CIRCLES = f"{_TOO_MANY} commands for one message: it goes round in circles."
_IN_PARTS = "a pipeline with transaction=False saves round trips and is not one step: a death may cut it in two."


class _Watched(Redis):
    """A client, on the connections of another; something happens before its command number `at`, counted from 0."""

    def __init__(self, client: Redis, at: int, happens: Callable[[], object]) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._left, self._happens = at, happens
        self.happened = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send it, unless this is where one dies."""
        self._step()
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        """A transaction is one step."""
        if not transaction:
            raise UsageError(_IN_PARTS)
        pipe = super().pipeline(transaction, shard_hint)
        send = pipe.execute

        def execute(*args: Any, **options: Any) -> Any:
            self._step()
            return send(*args, **options)

        pipe.execute = execute  # type: ignore[method-assign]
        return pipe

    def _step(self) -> None:
        self._left -= 1
        if self._left == -1:
            self.happened = True
            self._happens()


# ---------------------------------------------------------------------------------------------------- solutions


def what_next(error: Exception, deliveries: int) -> Any:
    """Return "bury", or the seconds until the next delivery."""
    if isinstance(error, PermanentError) or deliveries >= 5:
        return "bury"
    return min(2 ** (deliveries - 1), 6)


def bury(client: Redis, stream: str, group: str, me: str, entry: str) -> Any:
    """Move my message to the stream `stream` + ":dead"; return the letter's ID, or None if it is not mine."""
    script = """
    if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return false end
    local fields = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1][2]
    local letter = redis.call('XADD', KEYS[2], '*', 'id', ARGV[3], unpack(fields))
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
    return letter
    """
    return client.eval(script, 2, stream, f"{stream}:dead", group, me, entry)


def redrive(client: Redis, dead: str, stream: str, letter: str) -> Any:
    """Send a letter back, at most twice in all; return the new entry's ID, or None if it stays or is gone."""
    script = """
    local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
    if not found then return false end
    local body, times = {'XADD', KEYS[2], '*'}, 0
    for i = 1, #found[2], 2 do
      if found[2][i] == 'redriven' then
        times = tonumber(found[2][i + 1])
      else
        body[#body + 1] = found[2][i]
        body[#body + 1] = found[2][i + 1]
      end
    end
    if times >= 2 then return false end
    body[#body + 1] = 'redriven'
    body[#body + 1] = times + 1
    redis.call('XDEL', KEYS[1], ARGV[1])
    return redis.call(unpack(body))
    """
    return client.eval(script, 2, dead, stream, letter)


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "04/1",
    solution=what_next,
    why="what cannot help is not tried; what may help is tried ever later, and not for ever.",
)
def decision(answer: Callable[..., Any]) -> str | None:
    """Again after 1, 2, 4, 6 seconds, and never after the fifth delivery, or after a permanent error."""
    if answer(PermanentError("no picture"), 1) != "bury":
        return "a PermanentError at the first delivery: no other delivery can help, so bury it at once."
    said = [answer(ConnectionError("reset by peer"), deliveries) for deliveries in (1, 2, 3, 4, 5, 6)]
    if said[0] == 2:
        return "after the first delivery it is 1 second: the doubling begins with the second."
    if said[3] == 8:
        return "8 seconds after the fourth delivery: nothing may wait longer than 6."
    if said[:4] != [1, 2, 4, 6]:
        return f"after deliveries 1 to 4 it says {said[:4]}; wanted were 1, 2, 4, and no more than 6 seconds."
    if said[4:] != ["bury", "bury"]:
        return f"five deliveries are allowed: when the fifth fails it said {said[4]!r}, when a sixth does {said[5]!r}."
    return None


@check(
    "04/2",
    solution=bury,
    why="the question whether it is mine, the letter and the XACK are one step: neither a death nor another owner fits "
    "in between.",
)
def buried(answer: Callable[..., Any], server: Server) -> str | None:
    """One letter for one message: at ease, after a death before each command, after a claim before each command."""
    return _moved(answer, server) or _killed_meanwhile(answer, server) or _claimed_meanwhile(answer, server)


def _moved(answer: Callable[..., Any], server: Server) -> str | None:
    with scratch.stream(server) as (client, key):
        [entry] = scratch.held(client, key, "me", 1)
        said = answer(client, key, scratch.GROUP, "me", entry)
        letters: Any = client.xrange(f"{key}:dead")
        if len(letters) != 1 or letters[0][1] != {"id": entry, "job": "0"}:
            return f"wanted is one letter with the message's fields and its id; in the dead letters is {letters!r}."
        if _owner(client, key):
            return "the letter is written and the message still pending: it is dead, and will be delivered again."
        if said != letters[0][0]:
            return f"return the letter's ID; it returned {said!r}."
        if answer(client, key, scratch.GROUP, "me", entry) or client.xlen(f"{key}:dead") != 1:
            return "called a second time it buried a message that was not pending any more."
    return None


def _killed_meanwhile(answer: Callable[..., Any], server: Server) -> str | None:
    for at in range(_TOO_MANY):
        with scratch.stream(server) as (client, key):
            [entry], mortal = scratch.held(client, key, "me", 1), _Watched(client, at, _die)
            with suppress(scratch.Killed):
                answer(mortal, key, scratch.GROUP, "me", entry)
            letter, pending = client.xlen(f"{key}:dead"), bool(_owner(client, key))
            if letter and pending:
                return f"killed after {at} command(s) it left a letter, and the message pending: torn."
            if not letter and not pending:
                return f"killed after {at} command(s) it left no letter, and nothing pending: lost."
            if not mortal.happened:
                return None
    return _CIRCLES


def _claimed_meanwhile(answer: Callable[..., Any], server: Server) -> str | None:
    for at in range(_TOO_MANY):
        with scratch.stream(server) as (client, key):
            [entry], taken = scratch.held(client, key, "me", 1), list[str]()
            watched = _Watched(client, at, partial(_claim, client, key, entry, taken))
            answer(watched, key, scratch.GROUP, "me", entry)
            if taken and (client.xlen(f"{key}:dead") or _owner(client, key) != "bob"):
                return (
                    f"bob claimed the message after {at} command(s) and works on it, and yet it was buried: "
                    "is it mine? must be asked in the same step."
                )
            if not watched.happened:
                return None
    return _CIRCLES


@check(
    "04/3",
    solution=redrive,
    why="a letter is in one of the two streams at any time, whoever dies or comes twice; the number that it carries "
    "ends its travels.",
)
def redriven(answer: Callable[..., Any], server: Server) -> str | None:
    """Sent back whole, once for each letter, twice in all."""
    hints = (
        probe(answer, server) for probe in (_sent_back, _sent_back_twice_in_all, _killed_halfway, _redriven_meanwhile)
    )
    return next(filter(None, hints), None)


def _sent_back(answer: Callable[..., Any], server: Server) -> str | None:
    with scratch.key(server) as (client, stream):
        dead = f"{stream}:dead"
        letter: Any = client.xadd(dead, {"id": "1-0", "job": "7"})
        said = answer(client, dead, stream, letter)
        new: Any = client.xrange(stream)
        if len(new) != 1 or new[0][1] != {"id": "1-0", "job": "7", "redriven": "1"}:
            return f"wanted is one new entry with the letter's fields and redriven=1; in the stream is {new!r}."
        if client.xlen(dead):
            return "the letter is back at work, and still among the dead: the next look sends it again."
        if said != new[0][0]:
            return f"return the new entry's ID; it returned {said!r}."
        if answer(client, dead, stream, letter) is not None or client.xlen(stream) != 1:
            return "a letter that is gone cannot be sent again: return None, and add nothing."
    return None


def _sent_back_twice_in_all(answer: Callable[..., Any], server: Server) -> str | None:
    with scratch.key(server) as (client, stream):
        dead = f"{stream}:dead"
        letter: Any = client.xadd(dead, {"id": "1-0", "redriven": "1", "job": "7"})
        answer(client, dead, stream, letter)
        new: Any = client.xrange(stream)
        if [fields for _, fields in new] != [{"id": "1-0", "job": "7", "redriven": "2"}] or client.xlen(dead):
            return "a letter with redriven=1 may go back once more, with redriven=2."
        letter = client.xadd(dead, {"id": "1-0", "redriven": "2", "job": "7"})
        if answer(client, dead, stream, letter) is not None or client.xlen(stream) != 1 or not client.xlen(dead):
            return "a letter with redriven=2 has had its chances: it stays where it is, and None is returned."
    return None


def _killed_halfway(answer: Callable[..., Any], server: Server) -> str | None:
    return _meanwhile(answer, server, "a death", lambda *_: _die())


def _redriven_meanwhile(answer: Callable[..., Any], server: Server) -> str | None:
    return _meanwhile(answer, server, "somebody else's redrive of the same letter", redrive)


def _meanwhile(
    answer: Callable[..., Any], server: Server, what: str, happens: Callable[[Redis, str, str, str], object]
) -> str | None:
    for at in range(_TOO_MANY):
        with scratch.key(server) as (client, stream):
            dead = f"{stream}:dead"
            letter: Any = client.xadd(dead, {"id": "1-0", "job": "7"})
            watched = _Watched(client, at, partial(happens, client, dead, stream, letter))
            with suppress(scratch.Killed):
                answer(watched, dead, stream, letter)
            there = client.xlen(dead) + client.xlen(stream)
            if there == 0:
                return f"{what} after {at} command(s), and the message is in neither stream: lost."
            if there > 1:
                return f"{what} after {at} command(s), and the message is there twice."
            if not watched.happened:
                return None
    return _CIRCLES


def _owner(client: Redis, stream: str) -> str:
    """Whose the pending entry is; empty if none is."""
    rows: Any = client.xpending_range(stream, scratch.GROUP, "-", "+", 1)
    return str(rows[0]["consumer"]) if rows else ""


def _claim(client: Redis, stream: str, entry: str, taken: list[str]) -> None:
    """Bob claims it; what he got is added to `taken`."""
    claimed: Any = client.xclaim(stream, scratch.GROUP, "bob", 0, [entry], justid=True)
    taken += claimed


def _die() -> None:
    raise scratch.Killed
