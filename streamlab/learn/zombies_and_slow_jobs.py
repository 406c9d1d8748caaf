"""The exercises of notebooks/05_zombies_and_slow_jobs.ipynb: read no further before you have tried them.

1. Which effects are the same when they are made again?
2. A heartbeat that renews what is one's own, and takes nothing back.
3. An amount is added once for an entry, whoever is killed or comes back.
4. A write that an older owner cannot undo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import check

if TYPE_CHECKING:
    from streamlab.servers import Server

_HOUR = 3_600_000
_STEPS = 50  # commands after which an answer is going round in circles
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


class _Watched(Redis):
    """A client, on the connections of another; told before each command that it sends by itself."""

    def __init__(self, client: Redis, before: Callable[[], object]) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._before = before

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Let the other thing happen, then send it."""
        self._before()
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Any:
        """Commands that leave together count as one."""
        self._before()
        return super().pipeline(transaction, shard_hint)


# ---------------------------------------------------------------------------------------------------- solutions


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


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "05/1",
    solution=set(_REPEATABLE),
    why="an effect bears a repetition where it says how things are, under a name that follows from the job; not "
    "where it says what is to be added.",
)
def same_again(answer: Any) -> str | None:
    """The letters of the effects that bear a repetition."""
    if not isinstance(answer, (set, frozenset, list, tuple, str)):
        return 'the letters are asked for, such as {"a", "b"}.'
    said = {letter for letter in answer if letter not in " ,"}
    if unknown := said - _REPEATABLE.keys() - _NOT_REPEATABLE.keys():
        return f"there is no {', '.join(sorted(map(str, unknown)))}."
    if wrong := sorted(said & _NOT_REPEATABLE.keys()):
        return f"not {wrong[0]}: {_NOT_REPEATABLE[wrong[0]]}."
    if missing := _REPEATABLE.keys() - said:
        return f"right so far; {len(missing)} more of them are the same when done twice."
    return None


@check(
    "05/2",
    solution=beat,
    why="XCLAIM takes from anybody, so it must be asked before it whose the entry is, and nothing may come between the "
    "two: a script.",
)
def steals_nothing(answer: Callable[..., Any], server: Server) -> str | None:
    """My entries, another's, and one that is acknowledged; then another that claims between two commands."""
    with scratch.stream(server) as (client, stream):
        mine, others, done = (
            scratch.held(client, stream, name, count) for name, count in (("me", 3), ("other", 2), ("me", 1))
        )
        asked = [*mine[:2], others[0], *done]
        for name, ids in (("me", mine), ("other", others)):
            scratch.age(client, stream, name, ids, _HOUR)
        client.xack(stream, scratch.GROUP, *done)
        said = answer(client, stream, scratch.GROUP, "me", asked)
        after = scratch.pending(client, stream)
    if hint := _list_is_wrong(after, mine, others):
        return hint
    if not isinstance(said, (list, tuple, set)) or sorted(map(str, said)) != sorted([others[0], *done]):
        return f"return the IDs that are not mine (any more), as a list; it returned {said!r}."
    return _nobody_robbed(answer, server)


def _list_is_wrong(after: dict[str, Any], mine: list[str], others: list[str]) -> str | None:
    """What a heartbeat for two of mine and one of the others must not have done, and what it must."""
    if set(after) != {*mine, *others}:
        return "an entry came back, or left the list: a heartbeat acknowledges nothing, and needs no FORCE."
    if any(after[entry]["consumer"] != "other" for entry in others):
        return "it took an entry that another worker holds: XCLAIM with min-idle 0 takes from anybody."
    idle = {entry: row["time_since_delivered"] for entry, row in after.items()}
    if any(idle[entry] > _HOUR // 2 for entry in mine[:2]):
        return "my entries are as idle as before: anybody may claim them."
    if any(idle[entry] < _HOUR // 2 for entry in (mine[2], *others)):
        return "it set the idle time of an entry that was not asked for, or not mine."
    if any(after[entry]["times_delivered"] != 1 for entry in mine):
        return "it counted a delivery: after some heartbeats this looks like a poison message. What does JUSTID do?"
    return None


def _nobody_robbed(answer: Callable[..., Any], server: Server) -> str | None:
    """Another worker claims the entry before the n-th command of the answer, for each n."""
    for moment in range(1, _STEPS):
        with scratch.stream(server) as (client, stream):
            [entry] = scratch.held(client, stream, "me", 1)
            sent = 0

            def claim(client: Redis = client, stream: str = stream, entry: str = entry, moment: int = moment) -> None:
                nonlocal sent
                sent += 1
                if sent == moment:
                    client.xclaim(stream, scratch.GROUP, "other", 0, [entry])

            answer(_Watched(client, claim), stream, scratch.GROUP, "me", [entry])
            if sent < moment:
                return None
            if scratch.pending(client, stream)[entry]["consumer"] == "me":
                return (
                    "another worker claimed between your look and your XCLAIM, and was robbed: both must be one step. "
                    "What can do two commands in one?"
                )
    return f"{_STEPS} commands for one entry: it goes round in circles."


@check(
    "05/3",
    solution=deposit,
    why="XACK answers 1 once for an entry; in one script with the payment it is the condition and the note at the same "
    "time.",
)
def added_once(answer: Callable[..., Any], server: Server) -> str | None:
    """Two entries; a second call for the first; and a death, or another worker, before each command."""
    with scratch.stream(server) as (client, stream):
        account = f"{stream}:account"
        entries = scratch.held(client, stream, "me", 2)
        said = [answer(client, stream, scratch.GROUP, entry, account) for entry in entries]
        if (balance := _number(client, account)) != 20:
            return f"two entries of 10 each: the account holds {balance}, not 20."
        if scratch.pending(client, stream):
            return "an entry is still pending: acknowledge it in the same step."
        said.append(answer(client, stream, scratch.GROUP, entries[0], account))
        if _number(client, account) != 20:
            return "a zombie called it again for an entry that was done, and the amount was added twice."
        if [bool(one) for one in said] != [True, True, False] or None in said:
            return f"return whether this call added it: True, True, and False for the repetition; it returned {said}."
    for moment in range(1, _STEPS):
        done, hint = _interrupted(answer, server, moment)
        if hint or done:
            return hint
    return f"{_STEPS} commands for one entry: it goes round in circles."


def _interrupted(answer: Callable[..., Any], server: Server, moment: int) -> tuple[bool, str | None]:
    """Somebody else handles the entry before the n-th command; then this one dies, or goes on. True: it has no n-th."""
    for dies in (True, False):
        with scratch.stream(server) as (client, stream):
            [entry] = scratch.held(client, stream, "me", 1)
            arguments = (stream, scratch.GROUP, entry, f"{stream}:account")
            sent = 0

            def strike(client: Redis = client, arguments: Any = arguments, dies: bool = dies) -> None:
                nonlocal sent
                sent += 1
                if sent != moment:
                    return
                if dies:
                    raise scratch.Killed
                answer(client, *arguments)

            try:
                answer(_Watched(client, strike), *arguments)
            except scratch.Killed:
                if scratch.pending(client, stream):  # only then will anybody look at it again
                    answer(client, *arguments)
            if sent < moment:
                return True, None
            if (balance := _number(client, f"{stream}:account")) != 10:
                what = "killed before" if dies else "stopped before"
                then = "then claimed" if dies else "while another did it, then woken up"
                return False, f"{what} its command number {moment}, {then}: the account holds {balance}, not 10."
    return False, None


@check(
    "05/4",
    solution=fenced_write,
    why="the resource compares and writes in one step, and compares numbers as numbers.",
)
def older_cannot_undo(answer: Callable[..., Any], server: Server) -> str | None:
    """Tokens up, equal, down; of one and of two digits; and a younger owner before each command."""
    with scratch.stream(server) as (client, stream):
        key = f"{stream}:store"
        for token, value, right in ((8, "a", True), (9, "b", True), (9, "c", True), (8, "d", False), (10, "e", True)):
            said = answer(client, key, token, value)
            stored: Any = client.hgetall(key)
            wrote = stored.get("value") == value
            if wrote != right and token == 10:
                return "token 10 came after token 9 and was refused: text is compared letter by letter; tonumber(...)."
            if wrote != right and right:
                return f"token {token} was refused though no higher one was there (equal is the same owner again)."
            if wrote != right:
                return "token 8 came after token 9 and overwrote it: that is the zombie."
            if said is None or bool(said) != right:
                return f"return whether it was written; for token {token} it returned {said!r}."
            if right and stored.get("token") != str(token):
                return f"the field token holds {stored.get('token')!r} after a write with token {token}."
    return _younger_comes(answer, server)


def _younger_comes(answer: Callable[..., Any], server: Server) -> str | None:
    for moment in range(1, _STEPS):
        with scratch.stream(server) as (client, stream):
            key, sent = f"{stream}:store", 0

            def younger(client: Redis = client, key: str = key, moment: int = moment) -> None:
                nonlocal sent
                sent += 1
                if sent == moment:
                    client.hset(key, mapping={"token": 7, "value": "younger"})

            answer(_Watched(client, younger), key, 6, "older")
            if sent < moment:
                return None
            if client.hget(key, "value") != "younger":
                return (
                    "token 7 was written between your look and your write with token 6, and is gone: one step, please."
                )
    return f"{_STEPS} commands for one write: it goes round in circles."


def _number(client: Redis, key: str) -> int:
    text: Any = client.get(key)
    return int(text or 0)
