"""The exercises of notebooks/05_zombies_and_slow_jobs.ipynb: read no further before you have tried them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.servers import Server

_REPEATABLE = {
    "a": "SET writes the same value again",
    "c": "a set holds a member once",
    "d": "the name follows from the job, and the file behind it is the same",
    "h": "NX keeps the first time",
}
_NOT_REPEATABLE = {
    "b": "INCRBY: the second time takes another 100 away",
    "e": "XADD with `*` makes another entry, and ada gets two mails",
    "f": "a list holds the same value as often as it is pushed",
    "g": "the second time writes a later time: it is no longer that of the first",
}


def beat(client: Redis, stream: str, group: str, me: str, ids: list[str]) -> list[str]:
    """Reset the idle time of those entries that are pending for `me`. Return the IDs of the others, as a list."""
    in_one_step = """
        local lost = {}
        for i = 3, #ARGV do
          if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
            redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
          else
            lost[#lost + 1] = ARGV[i]
          end
        end
        return lost
    """
    return list(client.eval(in_one_step, 1, stream, group, me, *ids))


def deposit(client: Redis, stream: str, group: str, entry: str, account: str) -> bool:
    """Add 10 to the number at `account` once for this entry, and acknowledge it. Return whether this call did."""
    in_one_step = """
        if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
        redis.call('INCRBY', KEYS[2], 10)
        return 1
    """
    return bool(client.eval(in_one_step, 2, stream, account, group, entry))


def fenced_write(client: Redis, key: str, token: int, value: str) -> bool:
    """Write unless a higher token was there already; return whether it was written. Several may write at once."""
    in_one_step = """
        if tonumber(redis.call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then return 0 end
        redis.call('HSET', KEYS[1], 'token', ARGV[1], 'value', ARGV[2])
        return 1
    """
    return bool(client.eval(in_one_step, 1, key, token, value))


@check(
    "05/1",
    set(_REPEATABLE),
    "an effect bears a repetition where it says how things are, under a name that follows from the job; not "
    "where it says what is to be added.",
)
def same_again(answer: Any) -> Iterator[str]:
    """Ask for the letters of the effects that bear a repetition."""
    if not isinstance(answer, (set, frozenset, list, tuple, str)):
        yield 'the letters are asked for, such as {"a", "b"}.'
        return
    said = {letter for letter in answer if letter not in " ,"}
    if unknown := said - _REPEATABLE.keys() - _NOT_REPEATABLE.keys():
        yield f"there is no {', '.join(sorted(map(str, unknown)))}."
    if wrong := sorted(said & _NOT_REPEATABLE.keys()):
        yield f"not {wrong[0]}: {_NOT_REPEATABLE[wrong[0]]}."
    if missing := _REPEATABLE.keys() - said:
        yield f"right so far; {len(missing)} more of them are the same when done twice."


@check(
    "05/2",
    beat,
    "XCLAIM takes from anybody, so it must be asked before it whose the entry is, and nothing may come between the "
    "two: a script.",
)
def steals_nothing(answer: Answer, server: Server) -> Iterator[str]:
    """Try it on my entries, another's, and one that is acknowledged; then another worker claims before any command."""
    with scratch.stream(server) as (client, stream):
        mine, others, done = (scratch.deliver(client, stream, *it) for it in (("me", 3), ("other", 2), ("me", 1)))
        for name, ids in (("me", mine), ("other", others)):
            scratch.age(client, stream, name, ids)
        client.xack(stream, scratch.GROUP, *done)
        said = answer(client, stream, scratch.GROUP, "me", [*mine[:2], others[0], *done])
        after = scratch.pending(client, stream)
    if set(after) != {*mine, *others}:
        yield "an entry came back, or left the list: a heartbeat acknowledges nothing, and needs no FORCE."
    if any(after[entry]["consumer"] != "other" for entry in others):
        yield "it took an entry that another worker holds: XCLAIM with min-idle 0 takes from anybody."
    idle = {entry: row["time_since_delivered"] for entry, row in after.items()}
    if any(idle[entry] > scratch.HOUR // 2 for entry in mine[:2]):
        yield "my entries are as idle as before: anybody may claim them."
    if any(idle[entry] < scratch.HOUR // 2 for entry in (mine[2], *others)):
        yield "it set the idle time of an entry that was not asked for, or not mine."
    if any(after[entry]["times_delivered"] != 1 for entry in mine):
        yield "it counted a delivery: after some heartbeats this looks like a poison message. What does JUSTID do?"
    if not isinstance(said, (list, tuple, set)) or sorted(map(str, said)) != sorted([others[0], *done]):
        yield f"return the IDs that are not mine (any more), as a list; it returned {said!r}."

    def robbed(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        [entry] = scratch.deliver(client, stream, "me", 1)
        watched.happens = lambda: client.xclaim(stream, scratch.GROUP, "other", 0, [entry])
        watched.call(answer, stream, scratch.GROUP, "me", [entry])
        if watched.happened and scratch.owner(client, stream, entry) == "me":
            yield (
                "another worker claimed between your look and your XCLAIM, and was robbed: both must be one step. "
                "What can do two commands in one?"
            )

    yield from scratch.at_each_command(server, robbed)


@check(
    "05/3",
    deposit,
    "XACK answers 1 once for an entry; in one script with the payment it is the condition and the note at the same "
    "time.",
)
def added_once(answer: Answer, server: Server) -> Iterator[str]:
    """Try it on two entries, with a second call for the first; with a death, or another worker, before any command."""
    with scratch.stream(server) as (client, stream):
        account = f"{stream}:account"
        entries = scratch.deliver(client, stream, "me", 2)
        said = [answer(client, stream, scratch.GROUP, entry, account) for entry in entries]
        if (balance := _number(client, account)) != 20:
            yield f"two entries of 10 each: the account holds {balance}, not 20."
        if scratch.pending(client, stream):
            yield "an entry is still pending: acknowledge it in the same step."
        said.append(answer(client, stream, scratch.GROUP, entries[0], account))
        if _number(client, account) != 20:
            yield "a zombie called it again for an entry that was done, and the amount was added twice."
    if [bool(one) for one in said] != [True, True, False] or None in said:
        yield f"return whether this call added it: True, True, and False for the repetition; it returned {said}."
    for dies in (True, False):
        yield from scratch.at_each_command(server, _again(answer, dies))


def _again(answer: Answer, dies: bool) -> Callable[..., Iterator[str]]:
    """Return an attempt: another worker handles the entry, after the first has died, or before the first goes on."""

    def attempt(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        [entry] = scratch.deliver(client, stream, "me", 1)
        arguments = (stream, scratch.GROUP, entry, f"{stream}:account")
        if not dies:
            watched.happens = lambda: answer(client, *arguments)
        watched.call(answer, *arguments)
        if watched.died and scratch.pending(client, stream):  # only then anybody looks at it again
            answer(client, *arguments)
        if (balance := _number(client, f"{stream}:account")) != 10:
            what = "killed" if dies else "stopped"
            then = "then claimed" if dies else "while another did it, then woken up"
            yield f"{what} before its command number {watched.at + 1}, {then}: the account holds {balance}, not 10."

    return attempt


def _number(client: Redis, key: str) -> int:
    text: Any = client.get(key)
    return int(text or 0)


@check("05/4", fenced_write, "the resource compares and writes in one step, and compares numbers as numbers.")
def older_cannot_undo(answer: Answer, server: Server) -> Iterator[str]:
    """Write with tokens up, equal and down, of one and of two digits; and with a younger owner before any command."""
    with scratch.key(server) as (client, key):
        for token, value, right in ((8, "a", True), (9, "b", True), (9, "c", True), (8, "d", False), (10, "e", True)):
            said = answer(client, key, token, value)
            stored: Any = client.hgetall(key)
            wrote = stored.get("value") == value
            if wrote != right and token == 10:
                yield "token 10 came after token 9 and was refused: text is compared letter by letter; tonumber(...)."
            if wrote != right and right:
                yield f"token {token} was refused though no higher one was there (equal is the same owner again)."
            if wrote != right:
                yield "token 8 came after token 9 and overwrote it: that is the zombie."
            if said is None or bool(said) != right:
                yield f"return whether it was written; for token {token} it returned {said!r}."
            if right and stored.get("token") != str(token):
                yield f"the field token holds {stored.get('token')!r} after a write with token {token}."

    def younger(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        key = f"{stream}:store"
        watched.happens = lambda: client.hset(key, mapping={"token": 7, "value": "younger"})
        watched.call(answer, key, 6, "older")
        if watched.happened and client.hget(key, "value") != "younger":
            yield "token 7 was written between your look and your write with token 6, and is gone: one step, please."

    yield from scratch.at_each_command(server, younger)
