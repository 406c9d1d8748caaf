"""What an experiment may claim, and what breaks the claim."""

from __future__ import annotations

from dataclasses import dataclass

from streamlab.check.fates import Facts


@dataclass(frozen=True)
class Guarantee:
    """A promise about every job.

    Attributes:
        says: the promise, in a sentence.
        broken_by: the classes that may not have a member; `effectively-once` has one more where no effect was counted.
        ends: whether it promises that every job comes to an end, so that one of unknown fate leaves a doubt.
    """

    says: str
    broken_by: tuple[str, ...]
    ends: bool = True


_AT_LEAST_ONCE = ("lost", "stuck", "unexpected")

#: A dead letter is an end that nobody has to fear: the job is kept, with the reason. One that was done all the same
#: (`torn`) is a false burial, and breaks nothing: no job is lost, no effect was made twice.
GUARANTEES = {
    "at-least-once": Guarantee(
        "Every job that was added is done or dead-lettered, and none is done that nobody added.", _AT_LEAST_ONCE
    ),
    "at-most-once": Guarantee(
        "No job is done twice, and no effect exists twice; jobs may be lost.",
        ("done_twice", "effect_twice"),
        ends=False,
    ),
    "effectively-once": Guarantee(
        "At least once, and every job that is done has its effect exactly once.",
        (*_AT_LEAST_ONCE, "effect_twice", "effect_missing"),
    ),
    "ordered-per-key": Guarantee(
        "At least once, and the jobs of a key are first done in the order of their entries in the stream.",
        (*_AT_LEAST_ONCE, "reordered"),
    ),
    "bounded-recovery": Guarantee(
        "At least once, and what a fault strands is done or dead-lettered within recovery_within seconds.",
        (*_AT_LEAST_ONCE, "late"),
    ),
}


def broken_by(guarantee: str, facts: Facts) -> tuple[str, ...]:
    """The classes that break it in this run; none for a guarantee that nobody knows."""
    if guarantee not in GUARANTEES:
        return ()
    outcome, classes = facts.history.outcome, GUARANTEES[guarantee].broken_by
    if guarantee == "effectively-once" and facts.settled and not outcome["effects_counted"] | outcome["idempotent"]:
        return (*classes, "done_twice")
    return classes


def assumed(guarantee: str, facts: Facts) -> list[str]:
    """What had to be taken on trust for a verdict of `valid`."""
    outcome = facts.history.outcome
    if guarantee != "effectively-once" or outcome["effects_counted"]:
        return []
    if outcome["idempotent"]:
        return ["nobody counted the effects: the workload promises that to do a job twice has the effect of once"]
    return ["nobody counted the effects: each job that was written as done is taken to have one"]


def doubts(guarantee: str, facts: Facts) -> list[str]:
    """What keeps the run from saying anything about this guarantee."""
    if guarantee not in GUARANTEES:
        return [f"{guarantee!r} is no guarantee that this version checks; it checks {', '.join(GUARANTEES)}"]
    experiment = facts.history.experiment
    if guarantee == "ordered-per-key" and not experiment.get("keys"):
        return ["the experiment sets no keys, so there is no order to judge: set keys to 1 or more"]
    if guarantee == "bounded-recovery" and not experiment.get("recovery_within"):
        return ["the experiment sets no recovery_within, so there is no bound to judge: set it to seconds"]
    if guarantee == "bounded-recovery" and not facts.strandings:
        return ["no fault stranded a message that was not done yet, so there was no recovery to measure"]
    return []
