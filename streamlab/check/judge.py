"""From facts to a verdict: what breaks the guarantee makes a run invalid, what leaves a doubt makes it unknown."""

from __future__ import annotations

from streamlab.check import classes
from streamlab.check.effect import missed
from streamlab.check.fates import FATES, Facts
from streamlab.check.guarantees import GUARANTEES, assumed, broken_by, doubts
from streamlab.check.verdict import Verdict
from streamlab.check.where_lost import PLACES
from streamlab.history import History

_SHOWN = 3


def judge(history: History) -> Verdict:
    """Judge a run by the guarantee that its experiment claims ('at-least-once' where it claims none).

    Proof of a broken guarantee stands whatever else is doubtful, so `invalid` goes before `unknown`.
    """
    facts = Facts(history)
    evidence = classes.evidence(facts)
    counts = _counts(facts, evidence)
    recovery = [it.as_dict() for it in facts.strandings]
    guarantee = str(history.experiment.get("guarantee", "at-least-once"))
    broken = [line for name in broken_by(guarantee, facts) if evidence[name] for line in _said(name, evidence, history)]
    doubtful = _doubts(facts, counts, guarantee) + doubts(guarantee, facts) + missed(history)
    told = (_measured(facts) if guarantee == "bounded-recovery" else []) + _warnings(history)
    if broken:
        return Verdict("invalid", counts, evidence, broken + doubtful + told, guarantee, recovery)
    if doubtful:
        return Verdict("unknown", counts, evidence, doubtful + told, guarantee, recovery)
    proofs = [f"each of {counts['jobs']} jobs is accounted for, and {guarantee} holds", *assumed(guarantee, facts)]
    for fault in history.faults.to_dict("records"):
        held = f", holding {fault['held']:.0f}" if fault["held"] > 0 else ""
        proofs.append(f"{fault['name']} at {fault['start']:.2f} s hit the work{held}")
    return Verdict("valid", counts, evidence, proofs + told, guarantee, recovery)


def _counts(facts: Facts, evidence: dict[str, list[str]]) -> dict[str, int]:
    """How many of each. That every job is counted once is what a verdict stands on, so it is made sure of here."""
    jobs = facts.jobs
    counts = {"jobs": len(jobs), "added": int((jobs["adding"] == "added").sum())}
    counts |= {fate: int((jobs["fate"] == fate).sum()) for fate in FATES}
    counts |= {name: len(found) for name, found in evidence.items() if name not in counts}
    counts["failed_attempts"] = int(jobs["failed"].sum())
    assert sum(counts[fate] for fate in FATES) == counts["jobs"], "a job has no fate, or two"
    assert sum(counts[place] for place in PLACES) == counts["lost"], "a lost job was lost nowhere, or twice"
    return counts


def _said(name: str, evidence: dict[str, list[str]], history: History) -> list[str]:
    """A reason with the first entries; of what was lost, a reason a place, with the faults that may be to blame."""
    if name == "lost":
        return [line for place in PLACES if evidence[place] for line in _said(place, evidence, history)]
    found = evidence[name]
    place = PLACES.get(name)
    words = f"lost {place.short}" if place else name.replace("_", " ")
    line = f"{len(found)} {words}: {', '.join(found[:_SHOWN])}" + (", ..." if len(found) > _SHOWN else "")
    if place and place.family:
        faults = history.faults[history.faults["family"] == place.family]
        names = [f"{fault['name']} at {fault['start']:.2f} s" for fault in faults.to_dict("records")]
        line += f" ({', '.join(names)})" if names else ""
    return [line]


def _doubts(facts: Facts, counts: dict[str, int], guarantee: str) -> list[str]:
    ends = guarantee not in GUARANTEES or GUARANTEES[guarantee].ends
    found, outcome = [], facts.history.outcome
    if not facts.settled:
        found.append("the run was interrupted: nobody looked at what Redis held in the end")
    if not counts["jobs"]:
        found.append("there was no job, so there is nothing to judge")
    if counts["unknown"] and facts.settled and ends:
        found.append(f"{counts['unknown']} without an answer to their producer and never seen")
    if counts["unacked"]:
        found.append(f"{counts['unacked']} done but still pending in the end: they would be delivered again")
    # Where a job may be lost, one that stays pending with a dead worker is no doubt; one that nobody has read yet is.
    if outcome["ended"] == "timed out" and not counts["unacked"] and (ends or outcome["undelivered"]):
        found.append("the drain's budget ended before the group was empty")
    workload = facts.history.experiment.get("workload")
    planned = workload.get("count") if isinstance(workload, dict) else None
    if isinstance(planned, int) and 0 < counts["jobs"] < planned:
        found.append(f"only {counts['jobs']} of {planned} planned jobs were offered")
    return found


def _measured(facts: Facts) -> list[str]:
    lines = []
    for it in facts.strandings:
        after = "not all were done" if it.seconds is None else f"the last was done after {it.seconds:.2f} s"
        lines.append(f"{it.fault} at {it.start:.2f} s stranded {len(it.settled)}: {after}")
    return lines


def _warnings(history: History) -> list[str]:
    """What the lab warned of: a producer that failed, a worker that ended by itself. No judgement, but worth a look."""
    warnings = history.events[(history.events["kind"] == "warning").to_numpy()]
    return [f"warning at {time:.2f} s: {note}" for time, note in zip(warnings["time"], warnings["note"], strict=True)]
