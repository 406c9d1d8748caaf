"""Event logs that remember, and a client that is no more than a socket."""

from __future__ import annotations

import socket
from urllib.parse import unquote, urlsplit


class Log:
    """Keeps events as (kind, entry, job, deliveries, note)."""

    def __init__(self):
        self.all = []

    def write(self, kind, *, entry="", job=-1, deliveries=0, note=""):
        self.all.append((kind, entry, job, deliveries, note))

    def of(self, kind):
        return [(entry, job, deliveries, note) for it, entry, job, deliveries, note in self.all if it == kind]

    @property
    def kinds(self):
        return [kind for kind, *_ in self.all]


class Logs(dict):
    """Opens an event log of each process and incarnation."""

    def __call__(self, process, incarnation):
        return self.setdefault((process, incarnation), Log())

    @property
    def wire(self):
        return self["wire", 1]


def said(*commands):
    """Commands as they go over the wire."""
    return b"".join(
        b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        for words in ([str(word).encode() for word in command] for command in commands)
    )


class Raw(socket.socket):
    """A connection to a URL, signed in, that sends and receives bytes."""

    def __init__(self, url, *, sign_in=True):
        super().__init__()
        parts = urlsplit(url)
        self.settimeout(10)
        try:
            self.connect((parts.hostname, parts.port))
        except OSError:
            self.close()
            raise
        if sign_in:
            self.ask(["AUTH", unquote(parts.password)], reply=b"+OK\r\n")

    def ask(self, *commands, reply):
        """Send commands, and get this reply."""
        self.sendall(said(*commands))
        assert self.exactly(len(reply)) == reply

    def exactly(self, size):
        """Receive so many bytes."""
        data = b""
        while len(data) < size and (more := self.recv(size - len(data))):
            data += more
        return data

    def upto(self, end):
        """All that comes, up to these bytes or to the end of the connection."""
        data = b""
        while not data.endswith(end) and (more := self.recv(65536)):
            data += more
        return data

    def silent(self, seconds=0.1):
        """Whether nothing comes for a while."""
        self.settimeout(seconds)
        try:
            self.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.settimeout(10)
        return False


def in_redis(direct, name):
    """How many connections have this name."""
    return sum(row["name"] == name for row in direct.client_list())
