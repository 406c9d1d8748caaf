"""A resilient queue on Redis Streams: the system that the lab studies, made for production.

Producer and worker take any redis-py client and know nothing of the lab. Read the modules in this order:

    message       an entry as a handler gets it; the checkpoints that an observer is told
    producer      adds messages, and knows the outcome of each add
    worker        the settings, and how a worker is started and stopped
    loop          one run of it: recover, read, hand over
    reader        XREADGROUP: new messages, asked ahead of time, bounded in bytes
    executor      runs handlers, in one or several threads that take turns at reading
    settlement    acknowledges, schedules a retry, or dead-letters
    recovery      takes what is in the pending entries list (PEL): its own, and what a crashed worker left
    heartbeat     keeps messages in flight from being claimed while their worker is alive
    dead_letters  reads, redrives and discards dead letters
    group         makes a group, and tidies it up
    connection    one socket to Redis that never repeats a command
    scripts       the Lua, each with its legend
    keys, settings, errors
"""

from streamlab.queue.dead_letters import DeadLetter, DeadLetters
from streamlab.queue.errors import NotSentError, OutcomeUnknownError, PermanentError, RefusedError, ReplyLostError
from streamlab.queue.message import Message, Observer
from streamlab.queue.producer import Producer
from streamlab.queue.worker import Worker

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "Message",
    "NotSentError",
    "Observer",
    "OutcomeUnknownError",
    "PermanentError",
    "Producer",
    "RefusedError",
    "ReplyLostError",
    "Worker",
]
