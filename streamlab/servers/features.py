"""What a server can do with streams, asked of the server itself: Valkey and Redis number their versions apart."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from streamlab.errors import PermissionRefusedError, UnsupportedError

if TYPE_CHECKING:
    from redis import Redis

#: Each feature, the Redis version that brought it, what it is good for, and a command that shows it.
#
# The command names a key that does not exist, and does not create it: a server that knows the command answers nil, an
# empty result, NOGROUP or "no such key"; one that does not answers with a complaint about the command itself.
FEATURES = {
    "streams": ("5.0", "streams and consumer groups", "XLEN {key}"),
    "autoclaim": ("6.2", "XAUTOCLAIM: claim what is idle, by a cursor", "XAUTOCLAIM {key} g c 0 0-0"),
    "deleted_ids": ("7.0", "XAUTOCLAIM reports pending entries that were deleted", ""),
    "lag": ("7.0", "XINFO GROUPS tells how many entries a group has not read", ""),
    "waitaof": ("7.2", "WAITAOF: wait until a write is on disk", "WAITAOF 0 0 0"),
    "ackdel": ("8.2", "XACKDEL: acknowledge and delete in one step", "XACKDEL {key} g KEEPREF IDS 1 1-1"),
    "acked_trim": (
        "8.2",
        "trimming that spares what a group has not acknowledged",
        "XADD {key} NOMKSTREAM MAXLEN ~ 1 ACKED * f v",
    ),
    "claim": (
        "8.4",
        "XREADGROUP CLAIM: idle pending entries first, then new ones",
        "XREADGROUP GROUP g c CLAIM 1 STREAMS {key} >",
    ),
    "idmp": ("8.6", "XADD IDMP: a producer's retry adds nothing twice", "XADD {key} NOMKSTREAM IDMP p i * f v"),
    "nack": ("8.8", "XNACK: hand a message back at once", "XNACK {key} g SILENT IDS 1 1-1"),
    "maxcount": ("8.10", "MAXCOUNT and MAXSIZE on XREADGROUP", "XREADGROUP GROUP g c MAXCOUNT 1 STREAMS {key} >"),
}

# How a server that understood the whole command complains about the missing key or group. The list is of what is
# understood, since the complaints about what is not are many: an unknown option of XADD is "an invalid stream ID".
_UNDERSTOOD = ("nogroup", "no such key", "key to exist")

_NEEDED = {"streams": "streams", "autoclaim": "XAUTOCLAIM"}


def probe(client: Redis, key: str) -> frozenset[str]:
    """Return the names in `FEATURES` that this server has and this user may use.

    `key` is a name that nobody else uses, say `"streamlab:3f9c2a1b:probe"`. Nothing is left under it. The client may
    decode responses or not, and speak RESP2 or RESP3.

    Raises `PermissionRefusedError` where the user may not run the commands that every queue needs; what else
    is refused counts as not there.
    """
    ask: Any
    commands = {name: command.format(key=key).split() for name, (*_, command) in FEATURES.items() if command}
    with client.pipeline(transaction=False) as ask:
        for command in commands.values():
            ask.execute_command(*command)
        answers = dict(zip(commands, ask.execute(raise_on_error=False), strict=True))
    for name in _NEEDED:
        if isinstance(answers[name], NoPermissionError):
            raise PermissionRefusedError(
                f"this Redis user may not run {commands[name][0]} on keys such as {key!r}: grant it +@stream "
                "and the keys streamlab:* (ACL SETUSER), or name another user in the URL"
            ) from answers[name]
    return frozenset({name for name, answer in answers.items() if _understood(answer)} | _shown_by_a_group(client, key))


def require_streams(features: Collection[str], where: str) -> None:
    """Raise `UnsupportedError` unless streams, groups and XAUTOCLAIM are among the `features` of the server `where`."""
    for name, lacks in _NEEDED.items():
        if name not in features:
            raise UnsupportedError(
                f"streamlab needs Redis 6.2 or newer or any Valkey; {where} lacks {lacks}: "
                "upgrade it, name another server, or use --server process"
            )


def _understood(answer: object) -> bool:
    return not isinstance(answer, ResponseError) or any(phrase in str(answer).lower() for phrase in _UNDERSTOOD)


def _shown_by_a_group(client: Redis, key: str) -> set[str]:
    """Make a stream with a group, look at what is said about it, and remove it: all or nothing."""
    ask: Any
    with client.pipeline(transaction=True) as ask:
        ask.xgroup_create(key, "g", mkstream=True)
        ask.execute_command("XINFO", "GROUPS", key)
        ask.execute_command("XAUTOCLAIM", key, "g", "c", "0", "0-0")
        ask.unlink(key)
        try:
            _, groups, claimed, _ = ask.execute()
        except ResponseError:  # not allowed to, or out of memory
            return set()
    found = {"lag"} if "'lag'" in str(groups) else set()
    return found | {"deleted_ids"} if len(claimed) > 2 else found
