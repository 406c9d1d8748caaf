"""When a worker looks for what others left behind."""

import time

from streamlab.queue.link import Link
from streamlab.queue.recovery import Recovery


def test_a_redis_that_stood_still_is_asked_again_soon(client_of_any, any_stream):
    """The answer took long, and not the search: to rest twenty times as long would leave the dead unclaimed."""
    client_of_any.xgroup_create(any_stream, "g", id="0", mkstream=True)
    link = Link(client_of_any)
    recovery = Recovery(link, any_stream, "g", "c", claim_after=1.0)
    recovery.step(10, ())  # connects
    client_of_any.client_pause(400, all=True)
    before = time.monotonic()
    recovery.step(10, ())
    assert time.monotonic() - before > 0.2, "it waited for the answer"
    assert recovery.wait < 0.5
    link.close()
