"""Signs of life: a job that takes longer than `claim_after` stays its worker's own, as long as the worker lives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from redis import Redis
from redis.exceptions import RedisError

from streamlab.queue.link import Link

log = logging.getLogger(__name__)

# KEYS[1] stream. ARGV[1] group, ARGV[2] consumer, ARGV[3..] entry IDs. A plain XCLAIM would take back what another
# consumer has claimed meanwhile; this one renews only what still is the consumer's own, and returns the rest.
_RENEW = """
local lost = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  if #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  else
    lost[#lost + 1] = id
  end
end
return lost
"""


def renew(link: Link, stream: str, group: str, consumer: str, ids: Collection[str]) -> set[str]:
    """Reset the idle time of those entries that the consumer still holds, without counting a delivery.

    Returns:
        The IDs that it does not hold (any more): claimed by another, or acknowledged.
    """
    if not ids:
        return set()
    return {entry.decode() for entry in link.call("EVAL", _RENEW, 1, stream, group, consumer, *ids)}


class Heartbeat:
    """A thread that renews what a worker has held for a while; a worker that is quick never needs it.

    Args:
        client: whose address and credentials to use; the heartbeat has a connection of its own.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer's name.
        every: seconds between two signs of life.
        held: gives the entry IDs that were in the worker's hands for at least `every`.
        confirmed: told, after each success, the monotonic time at which it was sent and the IDs that are no longer the
            consumer's: acknowledged, or another's.
    """

    def __init__(
        self,
        client: Redis,
        stream: str,
        group: str,
        consumer: str,
        *,
        every: float,
        held: Callable[[], Collection[str]],
        confirmed: Callable[[float, set[str]], None],
    ) -> None:
        self._link = Link(client)
        self._names = (stream, group, consumer)
        self._every = every
        self._held = held
        self._confirmed = confirmed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat of {consumer}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stop.set()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            ids = self._held()
            if not ids:
                continue
            before = time.monotonic()
            try:
                lost = renew(self._link, *self._names, ids)
            except RedisError as error:
                log.warning("no sign of life for %d message(s): %s", len(ids), error)
            else:
                self._confirmed(before, lost)
