"""ardiq: a worker whose loop and Redis commands are in Rust."""

import asyncio

from ardiq import Ardiq
from one_run import PAYLOAD, Run

run = Run()
app = Ardiq(redis_url=run.url, queue_name=run.key)


@app.task()
async def _handle(payload: str) -> None:
    run.handled()


async def _main() -> None:
    for chunk in run.chunks(1000):
        await app.enqueue_many(_handle.prepare(PAYLOAD) for _ in chunk)
    run.start("ardiq", "stream, defaults: 16 jobs at a time, results kept for 5 min")
    await app.run()


asyncio.run(_main())
