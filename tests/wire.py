"""A wire that a test can cut: a TCP relay on loopback that may swallow the reply to a chosen command."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Wire:
    """Relays to a server. `cut_replies(b"XADD", 2)` breaks the connection after the next two XADDs reached it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._command = b""
        self._left = 0
        self.cuts = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut_replies(self, command: bytes, times: int) -> None:
        with self._lock:
            self._command, self._left = command, times

    def lead_to(self, host: str, port: int) -> None:
        """Lead new connections to another server; old ones stay where they are."""
        self._target = (host, port)

    def _start(self, function: object, *args: object) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                doomed = threading.Event()
                self._start(self._relay, near, far, doomed, True)
                self._start(self._relay, far, near, doomed, False)

    def _relay(self, source: socket.socket, sink: socket.socket, doomed: threading.Event, requests: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if requests:
                    with self._lock:
                        if self._left and self._command in data and not doomed.is_set():
                            self._left -= 1
                            self.cuts += 1
                            doomed.set()  # before the request goes on: its reply cannot slip through
                elif doomed.is_set():
                    # The server answers, so the command took effect; nobody will hear of it. A long pipeline is let
                    # through to its end first.
                    source.settimeout(0.1)
                    continue
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for end in self._sockets:
            end.close()
