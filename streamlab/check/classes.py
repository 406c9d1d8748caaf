"""The classes of what can happen to a job, a sentence and a function each.

A function takes the facts and gives the evidence: entry IDs, or 'job 7' where there is no entry, one a job. A new class
is a new function in `CLASSES`; its docstring is its definition, for readers of the docs too.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlab.check.facts import Facts, evidence


def lost(facts: Facts) -> list[str]:
    """Added, or seen by a worker, yet never done, not dead-lettered, and not on the server any more."""
    return evidence(facts.jobs[facts.jobs["fate"] == "lost"])


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
    """One job has two or more entries in the stream."""
    return evidence(facts.jobs[facts.jobs["entries"] > 1])


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


CLASSES: dict[str, Callable[[Facts], list[str]]] = {
    check.__name__: check
    for check in (
        lost,
        stuck,
        dead_lettered,
        not_added,
        unknown,
        unexpected,
        unknown_adds,
        produced_twice,
        redelivered,
        reclaimed,
        done_twice,
        failed_attempts,
        unacked,
    )
}

#: What breaks a guarantee that an experiment may claim.
GUARANTEES = {"at-least-once": ("lost", "stuck", "unexpected")}
