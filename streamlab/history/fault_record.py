"""The record of one fault: what it was, whom it hit, and what a judge must know of it. A fact on disk, as JSON."""

from __future__ import annotations

import json

import msgspec


class FaultRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One fault: the note of its events `fault_on` and, with all that the first has and what came of it, `fault_off`.

    Attributes:
        fault: its kind, as in an experiment's file.
        index: its number in the fault schedule; -1 = not told.
        family: "worker", "wire", "redis" or "operator": what it was done to.
        target: a worker, "producer", "all"; "" = nobody in particular.
        planned: False for a fault that somebody pressed in the dashboard: no doubt follows where it hit nothing.
        said: what was done, in a sentence.
        held: messages that the target held when it was hit; None = not asked.
        hit: what else it met: connections, bytes, entries, messages, as its class says; None = not told.
        inside: it acts inside worker processes, and each message that it meets is an event `fault_hit`.
        kills: its target dies: at its start, or, where it is `inside`, at the message that it meets.
        entries: the entries that it took away, out of the stream or of the PEL, at most 1000.
        below: all entries below this ID are gone.
        skipped: the entries that will not be delivered.
        lost: how many entries Redis had forgotten afterwards.
        started: the processes that it started.
        doubt: why it may have had no effect; the run is then `unknown`.
    """

    fault: str
    index: int = -1
    family: str = ""
    target: str = ""
    planned: bool = True
    said: str = ""
    held: int | None = None
    hit: int | None = None
    inside: bool = False
    kills: bool = False
    entries: list[str] = []
    below: str = ""
    skipped: list[str] = []
    lost: int = 0
    started: list[str] = []
    doubt: str = ""

    @property
    def name(self) -> str:
        """Kind and target, for a reader."""
        return f"{self.fault} {self.target}".strip()

    @property
    def whom(self) -> str:
        """The target in a sentence."""
        return {"": "nobody", "all": "all workers"}.get(self.target, self.target)

    def note(self) -> str:
        """As JSON, for the event log."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, note: str) -> FaultRecord:
        """Read what `note` wrote. Raises `msgspec.MsgspecError`, a ValueError."""
        return msgspec.json.decode(note, type=cls)


def hit_by(note: str) -> int:
    """Return the number of the fault that met a message, of the note of an event `fault_hit`. Raises ValueError."""
    try:
        return int(json.loads(note)["index"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"no index: {error}") from None
