"""The classes of what can happen to a job, a sentence and a function each.

A function takes the facts and gives the evidence: entry IDs, or 'job 7' where there is no entry, one a job. A new class
is a new function in `CLASSES`; its docstring is its definition, for readers of the docs too.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlab.check import holders, order
from streamlab.check.facts import Facts, evidence
from streamlab.check.spin import repeats


def lost(facts: Facts) -> list[str]:
    """Added, or seen somewhere, yet never done, not dead-lettered, and not pending or undelivered in the end."""
    return evidence(facts.jobs[facts.jobs["fate"] == "lost"])


def lost_by_redis(facts: Facts) -> list[str]:
    """Lost: not acknowledged, and gone from the stream, though nothing in the run is known to have deleted it.

    Where somebody else's worker or producer ran, which may delete unseen, a fault must tell that Redis lost something.
    FLUSHALL is such a fault: the queue had no part in it.
    """
    return evidence(facts.jobs[facts.jobs["place"] == "lost_by_redis"])


def lost_removed(facts: Facts) -> list[str]:
    """Lost: its entry was trimmed or deleted before anybody had acknowledged it.

    By a fault of an operator, as its note tells, or by somebody unseen where a worker found the entry pending and gone.
    """
    return evidence(facts.jobs[facts.jobs["place"] == "lost_removed"])


def lost_acked(facts: Facts) -> list[str]:
    """Lost: acknowledged, though nobody had done it."""
    return evidence(facts.jobs[facts.jobs["place"] == "lost_acked"])


def lost_discarded(facts: Facts) -> list[str]:
    """Lost: delivered and still in the stream, but no longer pending, though nobody acknowledged it.

    XGROUP DELCONSUMER and XGROUP DESTROY throw pending entries away; XREADGROUP NOACK never makes any.
    """
    return evidence(facts.jobs[facts.jobs["place"] == "lost_discarded"])


def lost_skipped(facts: Facts) -> list[str]:
    """Lost: still in the stream and never delivered, though the group's cursor has gone past it."""
    return evidence(facts.jobs[facts.jobs["place"] == "lost_skipped"])


def lost_unexplained(facts: Facts) -> list[str]:
    """Lost, and nothing that was written down tells where."""
    return evidence(facts.jobs[facts.jobs["place"] == "lost_unexplained"])


def stuck(facts: Facts) -> list[str]:
    """Never done, not dead-lettered, and still pending or undelivered on the server when the drain's budget ended."""
    return evidence(facts.jobs[facts.jobs["fate"] == "stuck"])


def dead_lettered(facts: Facts) -> list[str]:
    """Never done, and moved to the dead-letter stream."""
    return evidence(facts.jobs[facts.jobs["fate"] == "dead_lettered"])


def not_added(facts: Facts) -> list[str]:
    """Refused by the server, to the producer's knowledge, and never seen."""
    return evidence(facts.jobs[facts.jobs["fate"] == "not_added"])


def unknown(facts: Facts) -> list[str]:
    """Nobody can say what became of it: no answer to its producer and never seen, or the run was interrupted before."""
    return evidence(facts.jobs[facts.jobs["fate"] == "unknown"])


def unexpected(facts: Facts) -> list[str]:
    """An entry that a worker got, or that Redis still holds, though no producer of this run added it."""
    return facts.strays


def unknown_adds(facts: Facts) -> list[str]:
    """The producer got no answer to its XADD, whether or not the entry was seen later."""
    return evidence(facts.jobs[facts.jobs["adding"].isin(["unknown", "adding"])])


def produced_twice(facts: Facts) -> list[str]:
    """One job has two or more entries in the stream, as events tell, or the stream itself in the end."""
    return evidence(facts.jobs[(facts.jobs["entries"] > 1) | (facts.jobs["kept"] > 1)])


def redelivered(facts: Facts) -> list[str]:
    """Delivered more than once, by what the workers wrote (read, claimed, own) or by the server's delivery count."""
    return evidence(facts.jobs[(facts.jobs["delivered"] > 1) | (facts.jobs["deliveries"] > 1)])


def reclaimed(facts: Facts) -> list[str]:
    """Claimed by another worker than the last one that wrote that it held the entry; a restarted one is another."""
    return evidence(facts.jobs[facts.jobs["reclaimed"] > 0])


def done_twice(facts: Facts) -> list[str]:
    """Two or more workers, or one worker twice, wrote that the job's effect exists."""
    return evidence(facts.jobs[facts.jobs["times_done"] > 1])


def failed_attempts(facts: Facts) -> list[str]:
    """Its handler raised at least once, whatever came of the job later; the count is of the attempts."""
    return evidence(facts.jobs[facts.jobs["failed"] > 0])


def unacked(facts: Facts) -> list[str]:
    """Done, and yet still pending on the server when the drain's budget ended."""
    return evidence(facts.jobs[(facts.jobs["fate"] == "done") & facts.jobs["pending"]])


def torn(facts: Facts) -> list[str]:
    """One entry is dead-lettered and still pending in the end, or dead-lettered and done."""
    return evidence(facts.jobs[facts.jobs.index.isin(facts.torn)])


def zombie_acks(facts: Facts) -> list[str]:
    """Acknowledged by a process that was not the last one to have got the entry: another had read or claimed it since.

    A restarted process is another. Redis takes such an ack, whoever owns the entry.
    """
    events = facts.history.events
    return evidence(facts.jobs[facts.jobs.index.isin(events.loc[holders.zombie_acks(facts.history), "job"])])


def reordered(facts: Facts) -> list[str]:
    """First done after a job of the same key whose entry is behind its own in the stream.

    A job's key is its number modulo the experiment's `keys`. Jobs that were never done are not in any order.
    """
    return evidence(facts.jobs[order.reordered(facts.history, facts.jobs)])


def effect_twice(facts: Facts) -> list[str]:
    """The workload's own witness found its effect more than once."""
    return evidence(facts.jobs[facts.jobs["effects"] > 1])


def effect_missing(facts: Facts) -> list[str]:
    """A worker wrote that it was done, and the workload's own witness, which counts every effect, found none."""
    missing = (facts.jobs["times_done"] > 0) & (facts.jobs["effects"] == 0) & facts.outcome["effects_counted"]
    return evidence(facts.jobs[missing])


def late(facts: Facts) -> list[str]:
    """Stranded by a fault, and not done or dead-lettered within the experiment's `recovery_within` seconds of it."""
    within = float(facts.history.experiment.get("recovery_within", 0))
    found = {job for it in facts.strandings for job in it.later_than(within, facts.history.end)} if within else set()
    return evidence(facts.jobs[facts.jobs.index.isin(found)])


def spinning(facts: Facts) -> list[str]:
    """A process that got the same error from Redis 50 times or more within a second, as the wire saw; its name."""
    return repeats(facts.history.events)


#: The parts of a job's life: what became of it, where it was lost, what else happened to it. And two that are no jobs.
CLASSES: dict[str, Callable[[Facts], list[str]]] = {
    check.__name__: check
    for check in (
        lost,
        lost_by_redis,
        lost_removed,
        lost_acked,
        lost_discarded,
        lost_skipped,
        lost_unexplained,
        stuck,
        dead_lettered,
        not_added,
        unknown,
        unexpected,
        unknown_adds,
        produced_twice,
        redelivered,
        reclaimed,
        zombie_acks,
        done_twice,
        effect_twice,
        effect_missing,
        reordered,
        late,
        torn,
        failed_attempts,
        unacked,
        spinning,
    )
}


def definitions() -> dict[str, str]:
    """Every class and the sentence that defines it."""
    return {name: " ".join((check.__doc__ or "").split("\n\n")[0].split()) for name, check in CLASSES.items()}
