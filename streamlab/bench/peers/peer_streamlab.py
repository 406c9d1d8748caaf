"""streamlab's own worker."""

from one_run import GROUP, PAYLOAD, Run
from redis import Redis

from streamlab.queue import Producer, Worker

run = Run()
client = Redis.from_url(run.url)
producer = Producer(client, run.key)
producer.add_many({"payload": PAYLOAD} for _ in range(run.messages))
producer.close()
worker = Worker(client, run.key, GROUP, lambda message: run.handled(), threads=1)
run.start("streamlab", "defaults: 1 thread, batches of 100, with recovery, heartbeat, dead letters")
worker.run()
