"""One run of one peer: add the jobs, time them, print the seconds.

It runs in the peer's environment, which has no streamlab: each function imports its library, the rest is the standard
library only.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

PAYLOAD = "x" * 100  # of every job, so that no peer moves less than another
GROUP = "g"
BATCH = 100


class Run:
    """The task, and a stopwatch that stops at the last job.

    `url` of Redis has its password, `key` is for the stream or queue, `messages` is how many jobs to add and to handle.
    """

    def __init__(self, url: str, messages: int) -> None:
        self.url, self.messages, self.key = url, messages, "jobs"
        self._left = messages
        threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()

    def chunks(self, size: int) -> Iterator[range]:
        """Yield the numbers of the jobs, `size` at a time, for a producer that adds many at once."""
        for first in range(0, self.messages, size):
            yield range(first, min(first + size, self.messages))

    def start(self) -> None:
        """Start the stopwatch, when all jobs are added."""
        self._started = time.perf_counter()

    def handled(self, jobs: int = 1) -> None:
        """Count handled jobs; print the seconds and end the process at the last one."""
        self._left -= jobs
        if self._left <= 0:
            print(time.perf_counter() - self._started, flush=True)
            os._exit(0)  # each library has another way to stop a worker, and some take seconds


def _exit_with_parent(parent: int) -> None:
    """End the process when its parent was killed: most workers would wait for the lost Redis for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def raw(run: Run) -> None:
    """The fastest loop that acknowledges what it has handled."""
    from redis import Redis

    from streamlab.bench.raw import drain, fill

    client = Redis.from_url(run.url)
    fill(client, run.key, run.messages)
    run.start()
    drain(client, run.key, run.messages, lambda fields: run.handled())


def streamlab(run: Run) -> None:
    """Our own worker."""
    from redis import Redis

    from streamlab.queue import Producer, Worker

    client = Redis.from_url(run.url)
    producer = Producer(client, run.key)
    producer.add_many({"payload": PAYLOAD} for _ in range(run.messages))
    producer.close()
    worker = Worker(client, run.key, GROUP, lambda message: run.handled())
    run.start()
    worker.run()


def walrus(run: Run) -> None:
    """A consumer group, read and acknowledged in bulk."""
    from walrus import Database

    database = Database.from_url(run.url)
    group = database.consumer_group(GROUP, [run.key])
    group.create(mkstream=True)
    for chunk in run.chunks(500):
        with database.pipeline(transaction=False) as pipeline:
            for number in chunk:
                pipeline.xadd(run.key, {"task_id": f"{number:032d}", "payload": PAYLOAD})
            pipeline.execute()
    stream = group.streams[run.key]
    run.start()
    while True:
        ids = []
        for entry, _fields in stream.read(count=BATCH):
            run.handled()
            ids.append(entry)
        stream.ack(*ids)


async def faststream(run: Run, batch: bool = False) -> None:
    """A subscriber of a stream in a consumer group, per message."""
    from faststream.redis import RedisBroker, StreamSub

    broker = RedisBroker(run.url, logger=None)
    stream = StreamSub(run.key, group=GROUP, consumer="c", batch=batch, max_records=BATCH)

    async def handle(payload: str) -> None:
        run.handled()

    async def handle_batch(payloads: list[str]) -> None:
        run.handled(len(payloads))

    client = await broker.connect()
    await client.xgroup_create(run.key, GROUP, id="0", mkstream=True)  # FastStream's own would start at the end
    for chunk in run.chunks(BATCH):
        async with client.pipeline(transaction=False) as pipeline:
            for _ in chunk:
                await broker.publish(PAYLOAD, stream=run.key, pipeline=pipeline)
            await pipeline.execute()
    broker.subscriber(stream=stream)(handle_batch if batch else handle)
    run.start()
    await broker.start()
    await asyncio.Event().wait()


async def faststream_batch(run: Run) -> None:
    """The same in batches."""
    await faststream(run, batch=True)


async def taskiq(run: Run) -> None:
    """The stream broker of taskiq-redis, and the receiver of one worker process."""
    from taskiq.api import run_receiver_task
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(run.url, queue_name=run.key, consumer_id="0")  # the default reads later jobs only

    @broker.task
    async def handle(payload: str) -> None:
        run.handled()

    await broker.startup()
    for _ in range(run.messages):
        await handle.kiq(PAYLOAD)
    run.start()
    await run_receiver_task(broker)


async def saq(run: Run) -> None:
    """Jobs in lists and keys of Redis, no stream."""
    from saq import Queue, Worker

    async def handle(ctx: dict[str, Any], *, payload: str) -> None:
        run.handled()

    queue = Queue.from_url(run.url, name=run.key)
    for chunk in run.chunks(BATCH):
        await asyncio.gather(*(queue.enqueue("handle", payload=PAYLOAD) for _ in chunk))
    worker = Worker(queue, [("handle", handle)])
    run.start()
    await worker.start()


def huey(run: Run) -> None:
    """A list of Redis, and the consumer in threads."""
    from huey import RedisHuey

    queue = RedisHuey(run.key, url=run.url)

    @queue.task()
    def handle(payload: str) -> None:
        run.handled()

    for _ in range(run.messages):
        handle(PAYLOAD)
    run.start()
    queue.create_consumer().run()


async def repid(run: Run) -> None:
    """Its Redis Streams server, and one worker."""
    from repid import RedisServer, Repid, Router

    router, app, server = Router(), Repid(), RedisServer(run.url)

    @router.actor(channel=run.key)
    async def handle(payload: str) -> None:
        run.handled()

    app.servers.register_server("default", server)
    app.include_router(router)
    async with server.connection():
        for _ in range(run.messages):
            await app.send_message_json(channel=run.key, payload={"payload": PAYLOAD}, headers={"topic": "handle"})
        run.start()
        await app.run_worker()


async def ardiq(run: Run) -> None:
    """A worker whose loop and Redis commands are in Rust."""
    from ardiq import Ardiq

    app = Ardiq(redis_url=run.url, queue_name=run.key)

    @app.task()
    async def handle(payload: str) -> None:
        run.handled()

    for chunk in run.chunks(1000):
        await app.enqueue_many(handle.prepare(PAYLOAD) for _ in chunk)
    run.start()
    await app.run()


if __name__ == "__main__":
    name, address, jobs = json.loads(sys.stdin.readline())
    if doing := globals()[name](Run(address, jobs)):
        asyncio.run(doing)
