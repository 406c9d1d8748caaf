"""The system under study: a resilient queue on Redis Streams.

Producer and worker take any redis-py client and know nothing of the lab. What each module is about:

    producer      adding messages, with the outcome known
    worker        reading, handling, acknowledging
    hands         working through what was read, one after another; window: in several threads
    recovery      taking over what a crashed worker left behind
    heartbeat     keeping what a living worker is still busy with
    outcome       acknowledged, handed back, buried
    deadletters   what was given up: read, redrive, discard
    trim          removing only what every group has finished with
    link          one connection that never repeats a command
"""

from streamlab.queue.deadletters import DeadLetter, DeadLetters
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
