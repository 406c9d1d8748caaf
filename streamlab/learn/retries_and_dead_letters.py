"""The exercises of notebooks/04_retries_and_dead_letters.ipynb: read no further before you have tried them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.queue.errors import PermanentError
from streamlab.servers import Server


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


@check("04/1", what_next, "what cannot help is not tried; what may help is tried ever later, and not for ever.")
def decision(answer: Answer) -> Iterator[str]:
    """Ask for 1, 2, 4, 6 seconds, and for the end after the fifth delivery or a permanent error."""
    if answer(PermanentError("no picture"), 1) != "bury":
        yield "a PermanentError at the first delivery: no other delivery can help, so bury it at once."
    said = [answer(ConnectionError("reset by peer"), deliveries) for deliveries in (1, 2, 3, 4, 5, 6)]
    if said[0] == 2:
        yield "after the first delivery it is 1 second: the doubling begins with the second."
    if said[3] == 8:
        yield "8 seconds after the fourth delivery: nothing may wait longer than 6."
    if said[:4] != [1, 2, 4, 6]:
        yield f"after deliveries 1 to 4 it says {said[:4]}; wanted were 1, 2, 4, and no more than 6 seconds."
    if said[4:] != ["bury", "bury"]:
        yield f"five deliveries are allowed: when the fifth fails it said {said[4]!r}, when a sixth does {said[5]!r}."


@check(
    "04/2",
    bury,
    "the question whether it is mine, the letter and the XACK are one step: neither a death nor another owner fits "
    "in between.",
)
def buried(answer: Answer, server: Server) -> Iterator[str]:
    """Ask for one letter for one message: at ease, with a death, and with a claim before each command."""
    with scratch.stream(server) as (client, stream):
        [entry] = scratch.deliver(client, stream, "me", 1)
        said = answer(client, stream, scratch.GROUP, "me", entry)
        letters: Any = client.xrange(f"{stream}:dead")
        if len(letters) != 1 or letters[0][1] != {"id": entry, "job": "0"}:
            yield f"wanted is one letter with the message's fields and its id; in the dead letters is {letters!r}."
        if scratch.pending(client, stream):
            yield "the letter is written and the message still pending: it is dead, and will be delivered again."
        if said != letters[0][0]:
            yield f"return the letter's ID; it returned {said!r}."
        if answer(client, stream, scratch.GROUP, "me", entry) or client.xlen(f"{stream}:dead") != 1:
            yield "called a second time it buried a message that was not pending any more."

    def killed(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        [entry] = scratch.deliver(client, stream, "me", 1)
        watched.call(answer, stream, scratch.GROUP, "me", entry)
        letter, pending = client.xlen(f"{stream}:dead"), bool(scratch.pending(client, stream))
        if letter and pending:
            yield f"killed after {watched.at} command(s) it left a letter, and the message pending: torn."
        if not letter and not pending:
            yield f"killed after {watched.at} command(s) it left no letter, and nothing pending: lost."

    def robbed(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        [entry], taken = scratch.deliver(client, stream, "me", 1), list[Any]()
        watched.happens = lambda: taken.extend(client.xclaim(stream, scratch.GROUP, "bob", 0, [entry], justid=True))
        watched.call(answer, stream, scratch.GROUP, "me", entry)
        if taken and (client.xlen(f"{stream}:dead") or scratch.owner(client, stream, entry) != "bob"):
            yield (
                f"bob claimed the message after {watched.at} command(s) and works on it, and yet it was buried: "
                "is it mine? must be asked in the same step."
            )

    yield from scratch.at_each_command(server, killed)
    yield from scratch.at_each_command(server, robbed)


@check(
    "04/3",
    redrive,
    "a letter is in one of the two streams at any time, no matter which process dies or repeats; the number that it "
    "carries ends its travels.",
)
def redriven(answer: Answer, server: Server) -> Iterator[str]:
    """Ask for letters sent back whole, each once, twice in all; with a death or another redrive before each command."""
    with scratch.key(server) as (client, stream):
        dead = f"{stream}:dead"
        letter: Any = client.xadd(dead, {"id": "1-0", "job": "7"})
        said = answer(client, dead, stream, letter)
        new: Any = client.xrange(stream)
        if len(new) != 1 or new[0][1] != {"id": "1-0", "job": "7", "redriven": "1"}:
            yield f"wanted is one new entry with the letter's fields and redriven=1; in the stream is {new!r}."
        if client.xlen(dead):
            yield "the letter is back at work, and still among the dead: the next look sends it again."
        if said != new[0][0]:
            yield f"return the new entry's ID; it returned {said!r}."
        if answer(client, dead, stream, letter) is not None or client.xlen(stream) != 1:
            yield "a letter that is gone cannot be sent again: return None, and add nothing."
        client.delete(stream)
        answer(client, dead, stream, client.xadd(dead, {"id": "1-0", "redriven": "1", "job": "7"}))
        new = client.xrange(stream)
        if [fields for _, fields in new] != [{"id": "1-0", "job": "7", "redriven": "2"}] or client.xlen(dead):
            yield "a letter with redriven=1 may go back once more, with redriven=2."
        letter = client.xadd(dead, {"id": "1-0", "redriven": "2", "job": "7"})
        if answer(client, dead, stream, letter) is not None or client.xlen(stream) != 1 or not client.xlen(dead):
            yield "a letter with redriven=2 has had its chances: it stays where it is, and None is returned."
    for what, other in (("a death", None), ("somebody else's redrive of the same letter", redrive)):
        yield from scratch.at_each_command(server, _meanwhile(answer, what, other))


def _meanwhile(answer: Answer, what: str, other: Answer | None) -> Callable[..., Iterator[str]]:
    def attempt(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        dead = f"{stream}:dead"
        client.delete(stream)
        letter: Any = client.xadd(dead, {"id": "1-0", "job": "7"})
        if other:
            watched.happens = lambda: other(client, dead, stream, letter)
        watched.call(answer, dead, stream, letter)
        there = client.xlen(dead) + client.xlen(stream)
        if there != 1:
            where = "there twice" if there else "in neither stream: lost"
            yield f"{what} after {watched.at} command(s), and the message is {where}."

    return attempt
