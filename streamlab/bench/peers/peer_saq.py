"""SAQ: jobs in lists and keys of Redis, no stream."""

import asyncio
from typing import Any

from one_run import BATCH, PAYLOAD, Run
from saq import Queue, Worker

run = Run()


async def _handle(ctx: dict[str, Any], *, payload: str) -> None:
    run.handled()


async def _main() -> None:
    queue = Queue.from_url(run.url, name=run.key)
    for chunk in run.chunks(BATCH):
        await asyncio.gather(*(queue.enqueue("_handle", payload=PAYLOAD) for _ in chunk))
    worker = Worker(queue, [_handle])
    run.start("saq", "list, defaults: 10 jobs at a time, results kept for 10 min")
    await worker.start()


asyncio.run(_main())
