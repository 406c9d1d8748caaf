"""What became of each job, told again by other means: one job after another, in plain Python, from what was written.

Slow, and of a different make than the checker on purpose: it reads no table of jobs, and reasons from single events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from streamlab.history import History

GETS = ("read", "claimed", "own")
OFFERED = ("adding", "added", "unknown", "refused")


@dataclass(frozen=True)
class Event:
    """One event of a job, in the order of time."""

    time: float
    kind: str
    entry: str
    who: tuple[str, int]
    deliveries: int


class Oracle:
    """Asks a history about its jobs, each for itself."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.outcome: dict[str, Any] = history.outcome or {"ended": "interrupted"}
        self.events: dict[int, list[Event]] = {}
        for row in history.events.to_dict("records"):
            if pd.notna(row["job"]):
                who = row["process"], row["incarnation"]
                event = Event(row["time"], row["kind"], row["entry"], who, row["deliveries"])
                self.events.setdefault(int(row["job"]), []).append(event)
        self.jobs = sorted(job for job, events in self.events.items() if any(e.kind in OFFERED for e in events))
        table = history.entries
        self.stream = None if table is None else dict(zip(table["entry"].tolist(), table["job"].tolist(), strict=True))

    def classes(self, job: int) -> set[str]:
        """Every class that the job is in, its fate and its place of loss among them."""
        fate = self.fate(job)
        found = {fate} | ({self.place(job)} if fate == "lost" else set())
        times = self.count(job, "done")
        effects = self.effects(job)
        facts = {
            "unknown_adds": self.count(job, "adding") and not self.count(job, "added", "refused"),
            "produced_twice": len(self.entries(job)) > 1 or self.kept(job) > 1,
            "redelivered": self.count(job, *GETS) > 1 or max(e.deliveries for e in self.events[job]) > 1,
            "reclaimed": any(self.claims(job)),
            "zombie_acks": any(self.zombies(job)),
            "done_twice": times > 1,
            "effect_twice": effects > 1,
            "effect_missing": bool(times) and not effects and self.outcome.get("effects_counted", False),
            "failed_attempts": self.count(job, "failed"),
            "unacked": fate == "done" and self.in_entries(job, self.outcome.get("pending", ())),
            "torn": self.torn(job),
            "reordered": self.overtaken(job),
        }
        return found | {name for name, holds in facts.items() if holds}

    def fate(self, job: int) -> str:
        if self.count(job, "done") or self.effects(job):
            return "done"
        if self.count(job, "dead"):
            return "dead_lettered"
        left = any(self.in_entries(job, self.outcome.get(where, ())) for where in ("pending", "undelivered"))
        wire = self.count(job, "wire_added", "wire_delivered", "wire_claimed", "wire_acked")
        seen = self.count(job, *GETS) or wire or left or self.kept(job)
        knows = "added" if self.count(job, "added") else "refused" if self.count(job, "refused") else ""
        if knows == "refused" and not seen:
            return "not_added"
        if self.outcome["ended"] == "interrupted" or (not knows and not seen):
            return "unknown"
        return "stuck" if left else "lost"

    def place(self, job: int) -> str:
        acked = [e.time for e in self.events[job] if e.kind in ("acked", "wire_acked")]
        added = [e.time for e in self.events[job] if e.kind == "added"]
        removed = [-1.0] if self.count(job, "deleted") else []
        entry = next((e.entry for e in self.events[job] if e.entry), "")
        told = False  # by a fault of Redis
        for fault in self.history.faults.to_dict("records"):
            if fault["family"] == "operator" and entry in fault["record"].entries:
                removed.append(fault["start"])
            if fault["family"] == "redis" and fault["record"].lost and (not added or added[0] <= fault["end"]):
                told = True
        if acked and (not removed or min(acked) < min(removed)):
            return "lost_acked"
        if self.kept(job) or entry in (self.stream or {}):
            got = self.count(job, *GETS, "started", "wire_delivered", "wire_claimed")
            got = got or max(e.deliveries for e in self.events[job])
            return "lost_discarded" if got or removed else "lost_skipped"
        if removed:
            return "lost_removed"
        if self.stream is not None and (told or not self.history.experiment.get("worker")):
            return "lost_by_redis"
        return "lost_unexplained"

    def count(self, job: int, *kinds: str) -> int:
        return sum(e.kind in kinds for e in self.events[job])

    def entries(self, job: int) -> set[str]:
        return {e.entry for e in self.events[job]} - {""}

    def in_entries(self, job: int, entries: Any) -> bool:
        return any(entry in entries for entry in self.entries(job))

    def kept(self, job: int) -> int:
        return sum(it == job for it in (self.stream or {}).values())

    def effects(self, job: int) -> int:
        return int(self.outcome.get("effects", {}).get(str(job), 0))

    def claims(self, job: int) -> list[bool]:
        """Of each claim, whether another had the entry."""
        found = []
        holder: dict[str, tuple[str, int]] = {}
        for e in self.events[job]:
            if e.kind in GETS and e.entry:
                found.append(e.kind == "claimed" and holder.get(e.entry) != e.who)
                holder[e.entry] = e.who
        return found

    def zombies(self, job: int) -> list[bool]:
        """Of each ack, whether another was the last to have got the entry."""
        found = []
        for entry in self.entries(job):
            gets: list[Event] = []
            raw: list[Event] = []
            for e in [e for e in self.events[job] if e.entry == entry and e.kind in (*GETS, "acked")]:
                if e.kind == "acked":
                    found.append(bool(gets) and gets[-1].who != e.who)
                    continue
                late = bool(raw) and e.kind == "read" != raw[-1].kind and raw[-1].who != e.who
                raw.append(e)
                if not late:
                    gets.append(e)
        return found

    def torn(self, job: int) -> bool:
        pending = self.outcome.get("pending", {})
        for entry in self.entries(job):
            kinds = {e.kind for e in self.events[job] if e.entry == entry}
            if "dead" in kinds and ("done" in kinds or entry in pending):
                return True
        return False

    def overtaken(self, job: int) -> bool:
        keys = self.history.experiment.get("keys", 0)
        mine = self.first_done(job)
        if not keys or mine is None:
            return False
        for other in self.jobs:
            theirs = self.first_done(other)
            if other % keys == job % keys and theirs is not None and theirs[0] > mine[0] and theirs[1] < mine[1]:
                return True
        return False

    def first_done(self, job: int) -> tuple[tuple[int, ...], float] | None:
        """The job's first entry in the stream, and when it was first done."""
        done = [e.time for e in self.events[job] if e.kind == "done"]
        entries = [tuple(map(int, entry.split("-"))) for entry in self.entries(job)]
        return (min(entries), min(done)) if done and entries else None
