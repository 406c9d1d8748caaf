"""The classes of what can happen to a job: a sentence that defines each, and which jobs are its members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from streamlab.check.fates import FATES, Facts, names
from streamlab.check.where_lost import PLACES
from streamlab.history import History

#: What became of a job, where it was lost, what else happened to it. And two that are no jobs.
CLASSES = {
    "lost": FATES["lost"],
    **{name: place.says for name, place in PLACES.items()},
    **{name: says for name, says in FATES.items() if name not in ("done", "lost")},
    "unexpected": "An entry that a worker got, or that Redis still holds, though no producer of this run added it.",
    "unknown_adds": "The producer got no answer to its XADD, whether or not the entry was seen later.",
    "produced_twice": "One job has two or more entries in the stream, as events tell, or the stream itself in the end.",
    "redelivered": "Delivered more than once, by what the workers wrote (read, claimed, own) or by the server's "
    "delivery count.",
    "reclaimed": "Claimed by another worker than the last one that wrote that it held the entry; a restarted one is "
    "another.",
    # A restarted process is another. Redis accepts such an XACK, no matter to whom the entry is assigned.
    "zombie_acks": "Acknowledged by a process that was not the last one to have got the entry: another had read or "
    "claimed it since.",
    "done_twice": "Two or more workers, or one worker twice, wrote that the job's effect exists.",
    "effect_twice": "The workload's own witness found its effect more than once.",
    "effect_missing": "A worker wrote that it was done, and the workload's own witness, which counts every effect, "
    "found none.",
    # Jobs that were never done are not in any order.
    "reordered": "First done after a job of the same key whose entry is behind its own in the stream.",
    "late": "Stranded by a fault, and not done or dead-lettered within the experiment's recovery_within seconds of it.",
    "torn": "One entry is dead-lettered and still pending in the end, or dead-lettered and done.",
    "failed_attempts": "Its handler raised at least once, whatever came of the job later; the count is of the "
    "attempts.",
    "unacked": "Done, and yet still pending on the server when the drain's budget ended.",
    "spinning": "A process that got the same error from Redis 50 times or more within a second, as the wire saw; its "
    "name.",
}
_SPINS = 50


def evidence(facts: Facts) -> dict[str, list[str]]:
    """Return the members of each class: entry IDs, or 'job 7' where there is no entry, one a job; or process names."""
    history, jobs = facts.history, facts.jobs
    members: dict[str, Any] = {
        **{fate: jobs["fate"] == fate for fate in FATES},
        **{place: jobs["place"] == place for place in PLACES},
        "unknown_adds": jobs["adding"].isin(["unknown", "adding"]),
        "produced_twice": (jobs["entries"] > 1) | (jobs["kept"] > 1),
        "redelivered": (jobs["delivered"] > 1) | (jobs["deliveries"] > 1),
        "reclaimed": jobs["reclaimed"] > 0,
        "zombie_acks": jobs.index.isin(_zombie_acks(history)),
        "done_twice": jobs["times_done"] > 1,
        "effect_twice": jobs["effects"] > 1,
        "effect_missing": (jobs["times_done"] > 0) & (jobs["effects"] == 0) & history.outcome["effects_counted"],
        "reordered": _reordered(history, jobs),
        "late": jobs.index.isin(_late(facts)),
        "torn": jobs.index.isin(facts.torn),
        "failed_attempts": jobs["failed"] > 0,
        "unacked": (jobs["fate"] == "done") & jobs["pending"],
    }
    found = {name: names(jobs[rows]) for name, rows in members.items()}
    found |= {"unexpected": facts.strays, "spinning": _spinning(history)}
    return {name: found[name] for name in CLASSES}


def _zombie_acks(history: History) -> Any:
    """Jobs acknowledged by a process that was not the last one to have got the entry, as far as that is certain.

    An ack with a note ("2 of 3") is one of several in a command, of which Redis took only some.
    """
    events, in_force = history.events, history.in_force
    acks = np.flatnonzero(((events["kind"] == "acked") & (events["note"] == "")).to_numpy() & (in_force >= 0))
    acked, held = events.iloc[acks], history.deliveries.iloc[in_force[acks]]
    again = acked["incarnation"].to_numpy() == held["incarnation"].to_numpy()
    return acked.loc[~(again & (acked["process"].array == held["process"].array)), "job"]


def _reordered(history: History, jobs: pd.DataFrame) -> Any:
    """Jobs first done after one of their key (number modulo `keys`) whose first entry is behind in the stream."""
    found, events = np.zeros(len(jobs), dtype=bool), history.events
    keys = int(history.experiment.get("keys", 0))
    if not keys:
        return found
    entry = pd.Series(events["entry"].cat.codes.to_numpy(), index=events["job"].fillna(-1).astype("int64"))
    places = entry[entry > 0].groupby(level=0).min().reindex(jobs.index, fill_value=0).to_numpy()
    rows = np.flatnonzero(jobs["first_done"].notna().to_numpy() & (places > 0))
    rows = rows[np.argsort(places[rows])][::-1]
    done = pd.Series(jobs["first_done"].to_numpy()[rows])
    found[rows] = done.groupby(jobs.index.to_numpy()[rows] % keys).cummin() < done  # the earliest of those behind it
    return found


def _late(facts: Facts) -> set[int]:
    within = float(facts.history.experiment.get("recovery_within", 0))
    return {job for it in facts.strandings for job in it.later_than(within, facts.history.end)} if within else set()


def _spinning(history: History) -> list[str]:
    """Processes that ask again and again what Redis has refused."""
    events = history.events
    errors = events[(events["kind"] == "wire_error").to_numpy()]
    since = errors["time"] - errors.groupby("note", observed=True)["time"].shift(_SPINS - 1)
    return sorted({str(note).partition(" ")[0] for note in errors.loc[since < 1.0, "note"].unique()})
