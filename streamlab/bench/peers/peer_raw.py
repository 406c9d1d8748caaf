"""Raw redis-py: the fastest loop that acknowledges what it has handled."""

from one_run import BATCH, GROUP, Run, add_entries
from redis import Redis

run = Run()
client = Redis.from_url(run.url)
add_entries(client, run)
done: list[bytes] = []
run.start("redis", "XACK of the last batch and XREADGROUP COUNT 100 in one round trip")
while True:
    pipeline = client.pipeline(transaction=False)
    if done:
        pipeline.xack(run.key, GROUP, *done)
    pipeline.xreadgroup(GROUP, "c", {run.key: ">"}, count=BATCH, block=100)
    done = []
    for entry, _fields in pipeline.execute()[-1][0][1]:
        run.handled()
        done.append(entry)
