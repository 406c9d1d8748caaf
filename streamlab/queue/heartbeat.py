"""Heartbeats: a job that takes longer than `claim_after` stays its worker's, as long as the worker is alive."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection
from streamlab.queue.errors import is_final
from streamlab.queue.executor import Executor
from streamlab.queue.message import LOST, Message, Renew
from streamlab.queue.settings import Settings

log = logging.getLogger(__name__)

_LONG = 10  # times `claim_after`: a handler that has run for so long without a timeout is worth a warning


def renew(connection: Connection, settings: Settings, messages: Sequence[Message]) -> None:
    """Renew messages of the consumer: see `message.Renew`."""
    before = time.monotonic()
    keys = [message.key for message in messages]
    lost = set(connection.call("EVAL", scripts.RENEW, 1, *settings.names, *keys)) if keys else ()
    for message in messages:
        message.ours = LOST if message.key in lost else before


class Heartbeat:
    """A thread that renews what has been in flight for a quarter of `claim_after`; a quick worker never needs it.

    `ahead` gives the messages that were read and not submitted to the executor yet.
    """

    def __init__(
        self, settings: Settings, executor: Executor, ahead: Callable[[], list[Message]], renew: Renew
    ) -> None:
        self._executor = executor
        self._ahead = ahead
        self._renew = renew
        self._timeout = settings.handler_timeout
        self._age = settings.claim_after / 4
        self._every = min(settings.claim_after, self._timeout or settings.claim_after) / 4
        self._long = _LONG * settings.claim_after
        self._warned: set[bytes] = set()  # messages for which the log has the warning
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self._look_for_hanging()
                self._beat()
        except BaseException as error:
            self._executor.fail(error)

    def _look_for_hanging(self) -> None:
        running = self._executor.running()
        self._warned &= {message.key for message, _ in running}
        for message, since in running:
            seconds = time.monotonic() - since
            if self._timeout is not None and seconds > self._timeout:
                text = "handler_timeout=%g: the handler of message %s has run for %.3g s, others may claim the message"
                log.error(text, self._timeout, message.id, seconds)
                self._executor.abandon(message)
            elif self._timeout is None and seconds > self._long and message.key not in self._warned:
                self._warned.add(message.key)
                text = "the handler of message %s has run for %.3g s; set handler_timeout to let others claim it"
                log.warning(text, message.id, seconds)

    def _beat(self) -> None:
        flights = self._executor.in_flight()
        if flights:  # else nothing makes progress, and others may claim what was read ahead, too
            flights = [*flights, *self._ahead()]
        old = [message for message in flights if message.ours < time.monotonic() - self._age]
        try:
            self._renew(old)
        except RedisError as error:
            if is_final(error):
                raise
            log.warning("no heartbeat for %d message(s) (%s): trying again in %.3g s", len(old), error, self._every)
