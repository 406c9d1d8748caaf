"""The configuration file of a server that the lab starts, as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from streamlab.errors import UsageError

Persistence = Literal["none", "rdb", "aof-always", "aof-everysec", "aof-no"]

# What makes a server private. Who wants them otherwise wants another server.
_OURS = (
    *("bind", "port", "tls-port", "unixsocket", "protected-mode", "requirepass", "user", "aclfile"),
    *("dir", "logfile", "pidfile", "daemonize", "include"),
)


def is_ours(name: str) -> bool:
    """Whether a setting decides where the server is and who may talk to it."""
    return name.lower() in _OURS


def config_text(ours: Mapping[str, str], persistence: str, settings: Mapping[str, str] | None) -> str:
    """Return a configuration file: where the server lives, how it keeps data, and the user's `settings` last.

    A setting is written as in redis.conf: `{"maxmemory": "10mb", "save": "900 1"}`. Raises `UsageError` for one
    that would take the server out of its private place, or is no single line.
    """
    if persistence not in get_args(Persistence):
        raise UsageError(f"unknown persistence {persistence!r}: say {', '.join(get_args(Persistence))}")
    lines = [f"{name} {value}" for name, value in ours.items()]
    # Redis's own schedule of snapshots, a line each since 6.2 takes no more; and none at all.
    lines += ["save 3600 1", "save 300 100", "save 60 10000"] if persistence == "rdb" else ['save ""']
    lines += [f"appendonly {'yes' if persistence.startswith('aof-') else 'no'}"]
    if persistence.startswith("aof-"):
        lines += [f"appendfsync {persistence.removeprefix('aof-')}"]
    for name, value in (settings or {}).items():
        if is_ours(name):
            raise UsageError(f"the setting {name!r} is the lab's own: leave it out, or bring your own Redis by its URL")
        if not name.strip() or any(char in f"{name}{value}" for char in "\r\n\0"):
            raise UsageError(
                f"the setting {name!r} is not one line of redis.conf: write it like {{'maxmemory': '10mb'}}"
            )
        lines.append(f"{name} {value}" if str(value) else f'{name} ""')
    return "\n".join([*lines, ""])


def refused_setting(log: str) -> str | None:
    """Return how a server's log says that it does not take its configuration, or None if it does not say so."""
    if named := re.search(r">>> '(.*)'\s*\n(.*)", log):
        # A name that it does not know might be a module's, until no module claims it.
        why = "unknown to it" if "Module Configuration" in named[2] else named[2].strip()
        return f"{named[1]!r} ({why})"
    return "one that is unknown to it" if "Module Configuration detected" in log else None
