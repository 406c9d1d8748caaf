"""A free port on loopback, from a range where nobody gets one by chance."""

from __future__ import annotations

import random
import socket

from streamlab.errors import ServerError

# Below the ports that Linux (from 32768) and macOS (from 49152) lend to outgoing connections. In their range a client
# that keeps trying to reach a killed server is, sooner or later, lent that server's own port: it then connects to
# itself, and the server cannot come back.
_RANGE = range(20000, 32768)
_TRIES = 100


def free_port() -> int:
    """Return a port that was free a moment ago; whoever binds it must be ready to ask for another."""
    for port in random.sample(_RANGE, _TRIES):
        with socket.socket() as probe:
            # As redis-server does: what only lingers from an earlier connection is no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"no free port among {_TRIES} tried from {_RANGE.start} on: end what holds them (`ss -ltn`)")
