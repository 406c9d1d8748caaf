"""walrus: a consumer group, read and acknowledged in bulk."""

from one_run import BATCH, GROUP, Run, add_entries
from walrus import Database

run = Run()
database = Database.from_url(run.url)
add_entries(database, run)
stream = database.consumer_group(GROUP, [run.key]).streams[run.key]
run.start("walrus", "consumer group, read(count=100) then ack(*ids)")
while True:
    ids = []
    for entry, _fields in stream.read(count=BATCH):
        run.handled()
        ids.append(entry)
    stream.ack(*ids)
