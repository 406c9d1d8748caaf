"""The lab's proxy: every process of a run reaches Redis through a listener, on whose connections toxics act."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio import connection as redis_connection

from streamlab.errors import UsageError
from streamlab.faults.proxy.connection import Connection, Direction
from streamlab.faults.proxy.resp import Session
from streamlab.faults.proxy.tap import Process, Tap
from streamlab.faults.proxy.toxics import Toxic
from streamlab.history.log import EventLog

T = TypeVar("T")

#: Opens the event log of a process and its incarnation: ("wire", 1) is the proxy's own.
EventLogs = Callable[[str, int], EventLog]

_HOST, _CALL_S, _TLS_HANDSHAKE_S = "127.0.0.1", 5.0, 10.0


class Proxy:
    """Stands between every process and Redis: breaks connections as faults ask, and records what it saw.

        with Proxy(lambda: server.url) as proxy:
            client = connect(proxy.listen("worker-1"))
            proxy.add("mine", Hold(processes=["worker-1"], direction="replies"))
            ...                                      # Redis gets requests of worker-1, which gets no replies
            proxy.remove("mine")                     # now it does

    It runs in a thread of its own. The methods may be called from any other, and have taken effect when they return.
    The event logs remain the caller's: close them after the proxy.

    Args:
        upstream: returns Redis's redis://, rediss:// or unix:// URL; called for each connection, in another thread.
        event_logs: opens the proxy's own event log and those of custom workers. None: nothing is recorded.
        stream: the key whose entries are recorded; "": those of every stream.

    Raises what `upstream` does, and ValueError for a URL that cannot be read.
    """

    def __init__(self, upstream: Callable[[], str], event_logs: EventLogs | None = None, *, stream: str = "") -> None:
        self._upstream = upstream
        self._url = upstream()  # for user, password and database, which do not change
        _local_url(self._url, 0)
        self._event_logs = event_logs
        self._tap = Tap(event_logs("wire", 1) if event_logs is not None else None, stream)
        self._toxics: dict[Hashable, Toxic] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._failures: list[BaseException] = []
        self._closed = False
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="proxy", daemon=True)
        self._thread.start()
        started.result()

    def listen(self, process: str, incarnation: int = 1, *, custom: bool = False) -> str:
        """Listen for a process, and return the URL under which it reaches Redis, its password included.

        The port is how the proxy knows who is at a connection's other end.

        For a `custom` worker, its events (`read`, `own`, `claimed`, `acked`, `deleted`) are written to a log in its
        name at the moment at which a reply's bytes reach it.
        """
        log = self._event_logs(process, incarnation) if custom and self._event_logs is not None else None
        return _local_url(self._url, self._call(self._listen, Process(process, log)))

    def add(self, key: Hashable, toxic: Toxic) -> None:
        """Add a toxic. `key` is for `remove`; another toxic of this key is removed first."""
        self._call(self._replace, key, toxic)

    def remove(self, key: Hashable) -> int:
        """Remove a toxic and return how much it has met; 0 where there is none.

        Bytes that were held go on. Connections that lost bytes are reset: what would follow could not be understood.
        """
        return self._call(self._replace, key, None)

    def reset(self, processes: Collection[str] = ()) -> int:
        """Reset the connections of these processes, or of all, on both sides; return how many there were."""
        return self._call(self._reset, processes)

    def flush(self) -> None:
        """Wait until what the processes have sent so far has been passed on."""
        self._call(self._flush)

    def close(self) -> None:
        """End everything. Raises the first error from inside, such as an event log's full disk."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if failure := self._tap.failure or next(iter(self._failures), None):
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Call something in the proxy's thread, and wait for it."""
        if self._closed:
            raise UsageError("this proxy is closed: open a new one")
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._loop).result(_CALL_S)

    # ----------------------------------------------------------------------------------- in the proxy's thread

    def _run(self, started: Future[None]) -> None:
        # Not asyncio.run: it starts a thread to end the others, which Python refuses from 3.12 on while it shuts down.
        loop = asyncio.new_event_loop()
        with ThreadPoolExecutor(thread_name_prefix="proxy dials") as dialers:  # whose end is waited for
            loop.set_default_executor(dialers)
            try:
                loop.run_until_complete(self._serve(started))
            finally:
                loop.close()

    async def _serve(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(
            lambda _, context: self._failures.append(context.get("exception") or RuntimeError(context["message"]))
        )
        self._stop = asyncio.Event()
        started.set_result(None)
        await self._stop.wait()
        # A connection that is being accepted while its server is closed stays open for ever: first let there be none.
        while len(asyncio.all_tasks()) > 1 or self._connections:
            await self._reset(())
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()

    async def _listen(self, process: Process) -> int:
        server = await self._loop.create_server(lambda: self._accept(process), _HOST, 0, backlog=1024)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _accept(self, process: Process) -> Direction:
        toxics = self._toxics_of(process)  # which the session shares: it changes in place
        connection = Connection(process, toxics, Session(process, self._tap, toxics), self._dial, self._connections)
        return connection.upstream

    def _toxics_of(self, process: Process) -> list[Toxic]:
        return [it for it in self._toxics.values() if not it.processes or process.name in it.processes]

    async def _replace(self, key: Hashable, toxic: Toxic | None) -> int:
        old = self._toxics.pop(key, None)
        if toxic:
            self._toxics[key] = toxic
        for connection in list(self._connections):
            connection.replace_toxics(self._toxics_of(connection.process))
        return old.hit if old else 0

    async def _reset(self, processes: Collection[str]) -> int:
        meant = [it for it in self._connections if not processes or it.process.name in processes]
        for connection in meant:
            connection.reset()
        return len(meant)

    async def _flush(self) -> None:
        for _ in range(3):  # each lets the loop look at all sockets once
            await asyncio.sleep(0)

    async def _dial(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Connect to Redis. Raises OSError where nobody answers, and what `upstream` raises."""
        pool = redis_connection.ConnectionPool.from_url(await asyncio.to_thread(self._upstream))
        to = pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(to, redis_connection.UnixDomainSocketConnection):
            await self._loop.create_unix_connection(protocol, to.path)
            return
        assert isinstance(to, redis_connection.Connection)
        tls = to.ssl_context.get() if isinstance(to, redis_connection.SSLConnection) else None
        timeout = _TLS_HANDSHAKE_S if tls else None
        await self._loop.create_connection(protocol, to.host, to.port, ssl=tls, ssl_handshake_timeout=timeout)


def _local_url(url: str, port: int) -> str:
    """Return the URL of a listener that stands for `url`: with its user, password, database and options."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    database = redis_connection.parse_url(url).get("db", 0)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "db" and not name.startswith("ssl_")]
    return f"redis://{login}{at}{_HOST}:{port}/{database}{'?' if options else ''}{urlencode(options)}"
