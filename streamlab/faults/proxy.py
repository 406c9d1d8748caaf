"""The lab's proxy: every process of a run reaches Redis through a port of its own, on which things can go wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

from streamlab.errors import UsageError
from streamlab.faults.address import dial, stand_in
from streamlab.faults.door import Door
from streamlab.faults.trouble import Trouble
from streamlab.faults.witness import Speaker, Witness, Writer

T = TypeVar("T")

#: Gives the journal of a process and its incarnation: ("wire", 1) is the proxy's own.
Journals = Callable[[str, int], Writer]

_PATIENCE_S = 5.0


class Wire:
    """Carries every process's conversation with Redis, breaks it where a fault says so, and writes down what it saw.

        with Wire(lambda: server.url) as wire:
            client = connect(wire.open("worker-1"))
            wire.impose("mine", Held(processes=["worker-1"], direction="replies"))
            ...                                      # Redis hears worker-1, and worker-1 hears nothing
            wire.lift("mine")                        # now it does

    It lives in a thread of its own; the methods may be called from any other, and have taken effect when they return.
    The writers that `journals` gave remain the caller's: close them after the wire.

    Args:
        upstream: says where Redis is, as a redis://, rediss:// or unix:// URL; asked afresh for each connection, from
            another thread.
        journals: gives the writers of events: the proxy's own, and those of `foreign` processes. None: nothing is
            written.
        stream: the key whose entries are written down; "": those of every stream.
        group: the group whose deliveries are; "": every group's.

    Raises what `upstream` does, and ValueError for a URL that cannot be read.
    """

    def __init__(
        self, upstream: Callable[[], str], journals: Journals | None = None, *, stream: str = "", group: str = ""
    ) -> None:
        self._upstream = upstream
        self._url = upstream()  # for user, password and database, which do not change
        stand_in(self._url, 0)
        self._journals: Journals = (lambda process, incarnation: _Nothing()) if journals is None else journals
        self._witness = Witness(self._journals("wire", 1), stream, group)
        self._writers: dict[tuple[str, int], Writer] = {}
        self._troubles: dict[Hashable, Trouble] = {}
        self._doors: list[Door] = []
        self._failures: list[BaseException] = []
        self._closed = False
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="wire", daemon=True)
        self._thread.start()
        started.result()

    def open(self, name: str, incarnation: int = 1, foreign: bool = False) -> str:
        """Open a port for a process, and return the URL under which it finds Redis there, its password included.

        Of a `foreign` process, what it learns is written down in its name (`read`, `own`, `claimed`, `acked`,
        `deleted`), at the moment at which the bytes reach it.
        """
        writer = None
        if foreign:
            key = (name, incarnation)
            if key not in self._writers:
                self._writers[key] = self._journals(*key)
            writer = self._writers[key]
        return stand_in(self._url, self._ask(self._open, Speaker(name, writer)))

    def impose(self, key: Hashable, trouble: Trouble) -> None:
        """Begin a trouble. `key` is for `lift`; what it meant before is lifted first."""
        self._ask(self._change, key, trouble)

    def lift(self, key: Hashable) -> int:
        """End a trouble and return how much it met; 0 for one that is not there.

        Bytes that were held go on. Connections that lost some are reset: what would follow could not be understood.
        """
        return self._ask(self._change, key, None)

    def reset(self, processes: Collection[str] = ()) -> int:
        """End the connections of these processes, or of all, by RST on both sides; how many there were."""
        return self._ask(self._reset, processes)

    def settle(self) -> None:
        """Wait until what the processes have sent so far has been passed on."""
        self._ask(self._settle)

    def close(self) -> None:
        """End everything; twice is once. Raises the first error from inside, such as a journal's full disk."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if failure := self._witness.failure or next(iter(self._failures), None):
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------ in the wire's thread

    def _serve(self, started: Future[None]) -> None:
        # Not asyncio.run: it starts a thread to end the others, which Python refuses from 3.12 on while it shuts down.
        loop = asyncio.new_event_loop()
        with ThreadPoolExecutor(thread_name_prefix="wire dials") as dialers:  # whose end is waited for
            loop.set_default_executor(dialers)
            try:
                loop.run_until_complete(self._live(started))
            finally:
                loop.close()

    async def _live(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._failed)
        self._stop = asyncio.Event()
        started.set_result(None)
        await self._stop.wait()
        # asyncio leaves behind a connection that is half-way in when its server is closed: first let nobody be that.
        while len(asyncio.all_tasks()) > 1 or any(door.relays for door in self._doors):
            await self._reset(())
            await asyncio.sleep(0)
        for door in self._doors:
            door.close()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failures.append(context.get("exception") or RuntimeError(context["message"]))

    def _ask(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Have the wire's thread do something, and wait for it."""
        if self._closed:
            raise UsageError("this wire is closed: open a new one")
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._loop).result(_PATIENCE_S)

    async def _open(self, speaker: Speaker) -> int:
        door = Door(speaker, self._witness, self._dial)
        door.befall(self._troubles.values())
        self._doors.append(door)
        return await door.open()

    async def _change(self, key: Hashable, trouble: Trouble | None) -> int:
        old = self._troubles.pop(key, None)
        if trouble:
            self._troubles[key] = trouble
        for door in self._doors:
            door.befall(self._troubles.values())
        return old.hit if old else 0

    async def _reset(self, processes: Collection[str]) -> int:
        return sum(door.reset() for door in self._doors if not processes or door.speaker.name in processes)

    async def _settle(self) -> None:
        for _ in range(3):  # each lets the loop look at all sockets once
            await asyncio.sleep(0)

    async def _dial(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        await dial(await asyncio.to_thread(self._upstream), protocol)


class _Nothing:
    """The journal of a wire that keeps none."""

    def write(self, kind: str, *, entry: str = "", job: int = -1, deliveries: int = 0, note: str = "") -> None:
        """Forget it."""
