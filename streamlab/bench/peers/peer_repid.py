"""repid: its Redis Streams server, and one worker."""

import asyncio

from one_run import PAYLOAD, Run
from repid import RedisServer, Repid, Router

run = Run()
router = Router()


@router.actor(channel=run.key)
async def _handle(payload: str) -> None:
    run.handled()


async def _main() -> None:
    app = Repid()
    server = RedisServer(run.url)
    app.servers.register_server("default", server)
    app.include_router(router)
    async with server.connection():
        for _ in range(run.messages):
            await app.send_message_json(channel=run.key, payload={"payload": PAYLOAD}, headers={"topic": "_handle"})
        run.start("repid", "stream, defaults: 1,000 tasks at a time, reads COUNT 10, no recovery of crashed workers")
        await app.run_worker()


asyncio.run(_main())
