"""taskiq: the stream broker of taskiq-redis, and the receiver of one worker process."""

import asyncio

from one_run import PAYLOAD, Run
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

run = Run()
broker = RedisStreamBroker(run.url, queue_name=run.key, consumer_id="0")  # the default reads later jobs only


@broker.task
async def _handle(payload: str) -> None:
    run.handled()


async def _main() -> None:
    await broker.startup()
    for _ in range(run.messages):
        await _handle.kiq(PAYLOAD)
    run.start("taskiq-redis", "RedisStreamBroker, defaults: 100 tasks at a time, reads COUNT 100, no results")
    await run_receiver_task(broker)


asyncio.run(_main())
