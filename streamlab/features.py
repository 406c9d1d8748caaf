"""What a server can do with streams, asked of the server itself: Valkey and Redis number their versions apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from streamlab.errors import PermissionRefusedError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis import Redis

#: Each feature, the Redis version that brought it, and what it is good for.
FEATURES = {
    "streams": ("5.0", "streams and consumer groups"),
    "autoclaim": ("6.2", "XAUTOCLAIM: claim what is idle, by a cursor"),
    "deleted_ids": ("7.0", "XAUTOCLAIM reports pending entries that were deleted"),
    "lag": ("7.0", "XINFO GROUPS tells how many entries a group has not read"),
    "waitaof": ("7.2", "WAITAOF: wait until a write is on disk"),
    "ackdel": ("8.2", "XACKDEL: acknowledge and delete in one step"),
    "acked_trim": ("8.2", "trimming that spares what a group has not acknowledged"),
    "claim": ("8.4", "XREADGROUP CLAIM: idle pending entries first, then new ones"),
    "idmp": ("8.6", "XADD IDMP: a producer's retry adds nothing twice"),
    "nack": ("8.8", "XNACK: hand a message back at once"),
    "maxcount": ("8.10", "MAXCOUNT and MAXSIZE on XREADGROUP"),
}

# Each command names a key that does not exist, and none of them creates it: a server that knows the command answers
# nil, an empty result, NOGROUP or "no such key"; one that does not answers with a complaint about the command itself.
_PROBES = {
    "streams": ("XLEN", "{key}"),
    "autoclaim": ("XAUTOCLAIM", "{key}", "g", "c", "0", "0-0"),
    "waitaof": ("WAITAOF", "0", "0", "0"),
    "ackdel": ("XACKDEL", "{key}", "g", "KEEPREF", "IDS", "1", "1-1"),
    "acked_trim": ("XADD", "{key}", "NOMKSTREAM", "MAXLEN", "~", "1", "ACKED", "*", "f", "v"),
    "claim": ("XREADGROUP", "GROUP", "g", "c", "CLAIM", "1", "STREAMS", "{key}", ">"),
    "idmp": ("XADD", "{key}", "NOMKSTREAM", "IDMP", "p", "i", "*", "f", "v"),
    "nack": ("XNACK", "{key}", "g", "SILENT", "IDS", "1", "1-1"),
    "maxcount": ("XREADGROUP", "GROUP", "g", "c", "MAXCOUNT", "1", "STREAMS", "{key}", ">"),
}

# How a server that understood the whole command complains about the missing key or group. The list is of what is
# understood, since the complaints about what is not are many: an unknown option of XADD is "an invalid stream ID".
_UNDERSTOOD = ("nogroup", "no such key", "key to exist")

_MUST_HAVE = ("streams", "autoclaim")
_TEMPORARY_S = 60


def probe(client: Redis, key: str) -> frozenset[str]:
    """Return the names in `FEATURES` that this server has and this user may use.

    `key` is a name that nobody else uses, say `"streamlab:3f9c2a1b:probe"`. Most features are asked for with a key
    that does not exist and is not made. Two of them show only on a real stream: one is made under `key`, with an
    expiry of a minute should this process die, and removed. The client may decode responses or not, and speak
    RESP2 or RESP3.

    Raises `PermissionRefusedError` where the user may not run the commands that every queue needs; what else
    is refused counts as not there.
    """
    found = {name for name, command in _PROBES.items() if _understands(client, name, command, f"{key}:missing")}
    if found.issuperset(_MUST_HAVE):
        found |= _shown_by_a_stream(client, f"{key}:temporary")
    return frozenset(found)


def require_streams(features: Collection[str], where: str = "this server") -> None:
    """Raise `UnsupportedError` unless streams, groups and XAUTOCLAIM are among `features`.

    `where` names the server in the message: `require_streams(server.features, server.safe_url)`.
    """
    missing = [name for name in _MUST_HAVE if name not in features]
    if missing:
        lacks = "streams" if "streams" in missing else "XAUTOCLAIM"
        raise UnsupportedError(
            f"streamlab needs Redis 6.2 or newer or any Valkey; {where} lacks {lacks}: "
            "upgrade it, name another server, or use --server process"
        )


def _understands(client: Redis, name: str, command: tuple[str, ...], key: str) -> bool:
    ask: Any = client.execute_command
    try:
        ask(*(part.format(key=key) for part in command))
    except NoPermissionError as error:
        if name in _MUST_HAVE:
            raise PermissionRefusedError(
                f"this Redis user may not run {command[0]} on keys such as {key!r}: grant it +@stream and the keys "
                "streamlab:* (ACL SETUSER), or name another user in the URL"
            ) from error
        return False
    except ResponseError as error:
        return any(phrase in str(error).lower() for phrase in _UNDERSTOOD)
    return True


def _shown_by_a_stream(client: Redis, key: str) -> set[str]:
    """Make a stream with one entry, pending and deleted, and look at what is said about it."""
    found = set()
    ask: Any = client
    try:
        with client.pipeline(transaction=True) as together:
            together.xgroup_create(key, "g", id="0", mkstream=True)
            together.expire(key, _TEMPORARY_S)
            together.execute()
        entry = client.xadd(key, {"f": "v"})
        client.xreadgroup("g", "c", {key: ">"})
        if any(str(name) in ("lag", "b'lag'") for group in ask.xinfo_groups(key) for name in group):
            found.add("lag")
        client.xdel(key, entry)
        reply = ask.execute_command("XAUTOCLAIM", key, "g", "c", "0", "0-0")
        if len(reply) > 2 and reply[2]:
            found.add("deleted_ids")
    except ResponseError:
        pass  # not allowed to, or out of memory: what was seen so far holds
    finally:
        client.unlink(key)
    return found
