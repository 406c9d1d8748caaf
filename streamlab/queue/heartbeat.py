"""Heartbeats: a job that takes longer than `claim_after` stays its worker's, as long as the worker is alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

from redis.exceptions import RedisError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection
from streamlab.queue.errors import is_final
from streamlab.queue.executor import Executor
from streamlab.queue.keys import to_bytes
from streamlab.queue.message import Message

log = logging.getLogger(__name__)

_LONG = 10  # times `claim_after`: a handler that has run for so long without a timeout is worth a warning


def renew(connection: Connection, stream: str, group: str, consumer: str, ids: Collection[bytes]) -> set[bytes]:
    """Reset the idle time of those entries that still are the consumer's, without counting a delivery.

    Returns:
        The IDs that are not pending for it (any more): claimed by another, or acknowledged.
    """
    if not ids:
        return set()
    return set(connection.run(scripts.RENEW, *map(to_bytes, (stream, group, consumer)), *ids))


class Heartbeat:
    """A thread that renews what has been in flight for a while; a worker that is quick never needs it.

    Args:
        renew: resets the idle time of entries, on a connection of this thread.
        executor: has the messages in flight.
        ahead: gives what was read and not submitted yet, each with the monotonic time at which it was asked for.
        claim_after: seconds after which an idle message may be claimed; a quarter of it is between two heartbeats.
        handler_timeout: seconds after which a handler counts as hanging, and its message is no longer renewed; None:
            never, but a warning is logged after ten times `claim_after`.
        failed: told the error that ends this thread.
    """

    def __init__(
        self,
        renew: Callable[[Collection[bytes]], set[bytes]],
        executor: Executor,
        ahead: Callable[[], Sequence[tuple[Message, float]]],
        *,
        claim_after: float,
        handler_timeout: float | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._renew = renew
        self._executor = executor
        self._ahead = ahead
        self._age = claim_after / 4
        self._every = min(claim_after, handler_timeout or claim_after) / 4
        self._timeout = handler_timeout
        self._long = _LONG * claim_after
        self._warned: set[bytes] = set()  # messages for which the log has the warning
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self._beat()
        except BaseException as error:
            self._failed(error)

    def _beat(self) -> None:
        now = time.monotonic()
        running = self._executor.running()
        self._warned &= {message.key for message, _ in running}
        for message, since in running:
            if self._timeout is not None and now - since > self._timeout:
                log.error(
                    "the handler of message %s has run for %.3g s (handler_timeout=%g): no more heartbeats for it, "
                    "others may claim it",
                    message.id, now - since, self._timeout,
                )  # fmt: skip
                self._executor.abandon(message)
            elif self._timeout is None and now - since > self._long and message.key not in self._warned:
                self._warned.add(message.key)
                log.warning(
                    "the handler of message %s has run for %.3g s, heartbeats keep others from claiming it; "
                    "handler_timeout would end that",
                    message.id, now - since,
                )  # fmt: skip
        flights = self._executor.in_flight()
        if flights:  # else nothing makes progress, and others may claim what was read ahead, too
            flights = [*flights, *self._ahead()]
        ids = [message.key for message, known in flights if known < now - self._age]
        if not ids:
            return
        before = time.monotonic()
        try:
            lost = self._renew(ids)
        except RedisError as error:
            if is_final(error):
                raise
            log.warning("no heartbeat for %d message(s) (%s): trying again in %.3g s", len(ids), error, self._every)
        else:
            self._executor.confirm(before, lost)
