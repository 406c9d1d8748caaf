"""FastStream: a subscriber of a Redis stream in a consumer group, per message or in batches."""

import asyncio

from faststream.redis import RedisBroker, StreamSub
from one_run import BATCH, GROUP, PAYLOAD, Run

run = Run()
broker = RedisBroker(run.url, logger=None)
stream = StreamSub(run.key, group=GROUP, consumer="c", batch=run.batch, max_records=BATCH)


async def _handle(payload: str) -> None:
    run.handled()


async def _handle_batch(payloads: list[str]) -> None:
    run.handled(len(payloads))


async def _main() -> None:
    client = await broker.connect()
    await client.xgroup_create(run.key, GROUP, id="0", mkstream=True)  # FastStream's own would start at the end
    for chunk in run.chunks(BATCH):
        async with client.pipeline(transaction=False) as pipeline:
            for _ in chunk:
                await broker.publish(PAYLOAD, stream=run.key, pipeline=pipeline)
            await pipeline.execute()
    broker.subscriber(stream=stream)(_handle_batch if run.batch else _handle)
    handler = "a batch" if run.batch else "a message"
    run.start("faststream", f"consumer group, handler takes {handler}, reads COUNT 100, no log line per message")
    await broker.start()
    await asyncio.Event().wait()


asyncio.run(_main())
