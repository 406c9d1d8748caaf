"""The classes of what can happen to a job: a sentence that defines each, and how its members are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamlab.check import holders, order
from streamlab.check.facts import FATES, Facts, evidence
from streamlab.check.losses import PLACES
from streamlab.check.spin import repeats


@dataclass(frozen=True)
class Class:
    """A class of jobs.

    Attributes:
        says: its definition, for readers of the docs too.
        members: which rows of `Facts.jobs` belong to it; or, where it is not about jobs, its members' names.
    """

    says: str
    members: Callable[[Facts], Any]

    def evidence(self, facts: Facts) -> list[str]:
        """Return its members: entry IDs, or 'job 7' where there is no entry, one a job."""
        members = self.members(facts)
        return members if isinstance(members, list) else evidence(facts.jobs[members])


def _rows(name: str) -> Callable[[Facts], Any]:
    return lambda facts: (facts.jobs["fate"] == name) | (facts.jobs["place"] == name)


def _zombie_acks(facts: Facts) -> Any:
    events = facts.history.events
    return facts.jobs.index.isin(events.loc[holders.zombie_acks(facts.history), "job"])


def _late(facts: Facts) -> Any:
    within = float(facts.history.experiment.get("recovery_within", 0))
    found = {job for it in facts.strandings for job in it.later_than(within, facts.history.end)} if within else set()
    return facts.jobs.index.isin(found)


#: What became of a job, where it was lost, what else happened to it. And two that are no jobs.
CLASSES = {
    **{
        name: Class(says, _rows(name))
        for name, says in (("lost", FATES["lost"]), *PLACES.items(), *FATES.items())
        if name != "done"
    },
    "unexpected": Class(
        "An entry that a worker got, or that Redis still holds, though no producer of this run added it.",
        lambda facts: facts.strays,
    ),
    "unknown_adds": Class(
        "The producer got no answer to its XADD, whether or not the entry was seen later.",
        lambda facts: facts.jobs["adding"].isin(["unknown", "adding"]),
    ),
    "produced_twice": Class(
        "One job has two or more entries in the stream, as events tell, or the stream itself in the end.",
        lambda facts: (facts.jobs["entries"] > 1) | (facts.jobs["kept"] > 1),
    ),
    "redelivered": Class(
        "Delivered more than once, by what the workers wrote (read, claimed, own) or by the server's delivery count.",
        lambda facts: (facts.jobs["delivered"] > 1) | (facts.jobs["deliveries"] > 1),
    ),
    "reclaimed": Class(
        "Claimed by another worker than the last one that wrote that it held the entry; a restarted one is another.",
        lambda facts: facts.jobs["reclaimed"] > 0,
    ),
    # A restarted process is another. Redis accepts such an XACK, no matter to whom the entry is assigned.
    "zombie_acks": Class(
        "Acknowledged by a process that was not the last one to have got the entry: another had read or claimed it "
        "since.",
        _zombie_acks,
    ),
    "done_twice": Class(
        "Two or more workers, or one worker twice, wrote that the job's effect exists.",
        lambda facts: facts.jobs["times_done"] > 1,
    ),
    "effect_twice": Class(
        "The workload's own witness found its effect more than once.", lambda facts: facts.jobs["effects"] > 1
    ),
    "effect_missing": Class(
        "A worker wrote that it was done, and the workload's own witness, which counts every effect, found none.",
        lambda facts: (facts.jobs["times_done"] > 0) & (facts.jobs["effects"] == 0) & facts.outcome["effects_counted"],
    ),
    # A job's key is its number modulo the experiment's `keys`. Jobs that were never done are not in any order.
    "reordered": Class(
        "First done after a job of the same key whose entry is behind its own in the stream.",
        lambda facts: order.reordered(facts.history, facts.jobs),
    ),
    "late": Class(
        "Stranded by a fault, and not done or dead-lettered within the experiment's `recovery_within` seconds of it.",
        _late,
    ),
    "torn": Class(
        "One entry is dead-lettered and still pending in the end, or dead-lettered and done.",
        lambda facts: facts.jobs.index.isin(facts.torn),
    ),
    "failed_attempts": Class(
        "Its handler raised at least once, whatever came of the job later; the count is of the attempts.",
        lambda facts: facts.jobs["failed"] > 0,
    ),
    "unacked": Class(
        "Done, and yet still pending on the server when the drain's budget ended.",
        lambda facts: (facts.jobs["fate"] == "done") & facts.jobs["pending"],
    ),
    "spinning": Class(
        "A process that got the same error from Redis 50 times or more within a second, as the wire saw; its name.",
        lambda facts: repeats(facts.history.events),
    ),
}


def definitions() -> dict[str, str]:
    """Return every class and the sentence that defines it."""
    return {name: each.says for name, each in CLASSES.items()}
