"""From facts to a verdict: what breaks the guarantee makes a run invalid, what leaves a doubt makes it unknown."""

from __future__ import annotations

from streamlab.check.classes import CLASSES, GUARANTEES
from streamlab.check.effect import missed
from streamlab.check.facts import FATES, Facts
from streamlab.check.verdict import Verdict
from streamlab.history import History

_SHOWN = 3


def judge(history: History) -> Verdict:
    """Judge a run by the guarantee that its experiment claims ('at-least-once' where it claims none).

    Proof of a broken guarantee stands whatever else is doubtful, so `invalid` goes before `unknown`.
    """
    facts = Facts(history)
    evidence = {name: check(facts) for name, check in CLASSES.items()}
    jobs = facts.jobs
    counts = {"jobs": len(jobs), "added": int((jobs["adding"] == "added").sum())}
    counts |= {fate: int((jobs["fate"] == fate).sum()) for fate in FATES}
    counts |= {name: len(found) for name, found in evidence.items() if name not in counts}
    counts["failed_attempts"] = int(jobs["failed"].sum())
    guarantee = str(history.experiment.get("guarantee", "at-least-once"))
    broken = [_said(name, evidence[name]) for name in GUARANTEES.get(guarantee, ()) if evidence[name]]
    doubts = _doubts(facts, counts, guarantee)
    if broken:
        return Verdict("invalid", counts, evidence, broken + doubts, guarantee)
    if doubts:
        return Verdict("unknown", counts, evidence, doubts, guarantee)
    proofs = [f"each of {counts['jobs']} jobs is accounted for, and {guarantee} holds"]
    for fault in history.faults.to_dict("records"):
        held = f", holding {fault['held']:.0f}" if fault["held"] > 0 else ""
        proofs.append(f"{fault['name']} at {fault['start']:.2f} s hit the work{held}")
    return Verdict("valid", counts, evidence, proofs, guarantee)


def _said(name: str, found: list[str]) -> str:
    shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return f"{len(found)} {name.replace('_', ' ')}: {shown}"


def _doubts(facts: Facts, counts: dict[str, int], guarantee: str) -> list[str]:
    doubts = []
    if guarantee not in GUARANTEES:
        doubts.append(f"{guarantee!r} is no guarantee that this version checks; it checks {', '.join(GUARANTEES)}")
    if not facts.settled:
        doubts.append("the run was interrupted: nobody looked at what Redis held in the end")
    if not counts["jobs"]:
        doubts.append("there was no job, so there is nothing to judge")
    if counts["unknown"] and facts.settled:
        doubts.append(f"{counts['unknown']} without an answer to their producer and never seen")
    if counts["unacked"]:
        doubts.append(f"{counts['unacked']} done but still pending in the end: they would be delivered again")
    if facts.outcome["ended"] == "timed out" and not counts["unacked"]:
        doubts.append("the drain's budget ended before the group was empty")
    workload = facts.history.experiment.get("workload")
    planned = workload.get("count") if isinstance(workload, dict) else None
    if isinstance(planned, int) and 0 < counts["jobs"] < planned:
        doubts.append(f"only {counts['jobs']} of {planned} planned jobs were offered")
    return doubts + missed(facts.history)
