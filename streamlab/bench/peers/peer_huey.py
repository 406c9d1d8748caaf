"""huey: a list of Redis, and the consumer in threads."""

from huey import RedisHuey
from one_run import PAYLOAD, Run

run = Run()
huey = RedisHuey(run.key, url=run.url)


@huey.task()
def _handle(payload: str) -> None:
    run.handled()


for _ in range(run.messages):
    _handle(PAYLOAD)
run.start("huey", "list, defaults: 1 thread; BRPOP removes a job before it runs: at most once")
huey.create_consumer().run()
