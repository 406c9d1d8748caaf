"""What became of every job, `Facts.jobs`: done, lost, stuck...; `where_lost` tells where a lost one was lost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.check.recovery import Stranding, strandings
from streamlab.check.where_lost import places
from streamlab.history import History
from streamlab.history.log import WIRE

#: What can become of a job that a producer offered; each job has exactly one of them.
FATES = {
    "done": "A worker wrote that the effect exists, or the workload's own witness found it.",
    "lost": "Added, or seen somewhere, yet never done, not dead-lettered, and not pending or undelivered in the end.",
    "stuck": "Never done, not dead-lettered, and still pending or undelivered on the server when the drain's "
    "budget ended.",
    "dead_lettered": "Never done, and moved to the dead-letter stream.",
    "not_added": "Refused by the server, to the producer's knowledge, and never seen.",
    "unknown": "Nobody can say what became of it: no answer to its producer and never seen, or the run was interrupted "
    "before.",
}


@dataclass(frozen=True)
class Facts:
    """A history, and what follows from it for each job."""

    history: History

    @cached_property
    def strandings(self) -> list[Stranding]:
        """What the faults left stranded."""
        return strandings(self.history)

    @property
    def settled(self) -> bool:
        """Whether the run came to its end, so that what the server held then is known."""
        return bool(self.history.outcome["ended"] != "interrupted")

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """The offered jobs: `History.jobs`, and what follows.

        `pending` and `on_server` (pending or undelivered in the end), `effects` (how often the workload's own witness
        found the effect), `kept` (how many entries of it the stream held in the end), `seen` (by a worker, the wire,
        the witness, or in Redis in the end), `fate` (of `FATES`), `place` (where it was lost, of `PLACES`; '' = not).
        """
        jobs, outcome = self.history.jobs, self.history.outcome
        jobs = jobs[(jobs["adding"] != "").to_numpy()].copy()
        pending = self._jobs_of(set(outcome["pending"]))
        jobs["pending"] = jobs.index.isin(pending)
        jobs["on_server"] = jobs.index.isin(pending | self._jobs_of(set(outcome["undelivered"])))
        effects = pd.Series({int(job): times for job, times in outcome["effects"].items()}, dtype="int64")
        jobs["effects"] = effects.reindex(jobs.index, fill_value=0)
        jobs["kept"] = self._kept["job"].value_counts().reindex(jobs.index, fill_value=0)
        handled = (jobs["delivered"] > 0) | (jobs["times_done"] > 0) | (jobs["effects"] > 0) | jobs["dead"]
        jobs["seen"] = handled | jobs["on_wire"] | jobs["on_server"] | (jobs["kept"] > 0)
        jobs["fate"] = pd.Categorical(self._fates(jobs), categories=list(FATES))
        jobs["place"] = ""
        lost = jobs["fate"] == "lost"
        jobs.loc[lost, "place"] = places(self.history, jobs[lost])
        return jobs

    @property
    def torn(self) -> set[int]:
        """The jobs of which one entry is dead-lettered and pending, or dead-lettered and done."""
        events, dead = self.history.events, self.history.outcome["dead"]
        buried = {row["entry"] for row in dead} | set(events.loc[events["kind"] == "dead", "entry"])
        done = set(events.loc[(events["kind"] == "done") & events["entry"].isin(buried), "entry"])
        # Of a dead letter that does not say where it came from, all entries of its job are meant.
        nameless = {row["job"] for row in dead if not row["entry"] and row["job"] is not None}
        jobs = self.jobs[self.jobs.index.isin(nameless)]
        torn = set(jobs.index[(jobs["times_done"] > 0) | jobs["pending"]])
        return torn | self._jobs_of((buried - {""}) & (done | set(self.history.outcome["pending"])))

    @property
    def _kept(self) -> pd.DataFrame:
        """What the stream held in the end, as far as anybody looked."""
        entries = self.history.entries
        return pd.DataFrame({"entry": [], "job": []}) if entries is None else entries

    def _fates(self, jobs: pd.DataFrame) -> npt.NDArray[Any]:
        cases = {  # the first that is true counts: lost is what is left of all that were added
            "done": (jobs["times_done"] > 0) | (jobs["effects"] > 0),
            "dead_lettered": jobs["dead"],
            "not_added": (jobs["adding"] == "refused") & ~jobs["seen"],
            "unknown": np.full(len(jobs), not self.settled),
            "stuck": jobs["on_server"],
            "lost": (jobs["adding"] == "added") | jobs["seen"],
        }
        return np.select([np.asarray(case, dtype=bool) for case in cases.values()], list(cases), default="unknown")

    def _jobs_of(self, entries: set[str]) -> set[int]:
        """The jobs that these entries carry, as events or the lab tell it."""
        events, told = self.history.events, self.history.outcome["jobs"]
        jobs = events.loc[events["entry"].isin(entries), "job"].dropna().unique()
        return {int(job) for job in jobs} | {job for entry, job in told.items() if entry in entries}

    @cached_property
    def strays(self) -> list[str]:
        """Entries that no producer of this run added, and those of jobs that were refused and seen all the same.

        An entry that was only found deleted, or only left on the server, shows no job. Where an add got no answer
        and was never seen, it may be that one, and is not held against anybody.
        """
        events, jobs, outcome = self.history.events, self.history.jobs, self.history.outcome
        nobodys = events[events["job"].isna() & (events["entry"] != "") & ~events["kind"].isin(WIRE)]
        silent = set(nobodys.loc[nobodys["kind"] == "deleted", "entry"])
        handled = set(nobodys.loc[nobodys["kind"] != "deleted", "entry"])
        kept = self._kept[~self._kept["job"].isin(jobs.index)]
        left = {entry: outcome["jobs"].get(entry, -1) for entry in [*outcome["pending"], *outcome["undelivered"]]}
        left |= dict(zip(kept["entry"], kept["job"], strict=True))
        known = set(events.loc[events["entry"].isin(left), "entry"])
        silent |= {entry for entry, job in left.items() if job < 0 and entry not in known}
        if (self.jobs["fate"] == "unknown").any():
            silent = set()
        foreign = jobs[((jobs["adding"] == "") | ((jobs["adding"] == "refused") & (jobs["delivered"] > 0))).to_numpy()]
        left_foreign = {entry for entry, job in left.items() if job >= 0 and job not in jobs.index}
        return sorted(handled | silent | left_foreign) + names(foreign)


def names(jobs: pd.DataFrame) -> list[str]:
    """How a reader finds these jobs again: the entry ID, or 'job 7' where there is no entry."""
    entries = jobs["entry"].astype("object")
    return [entry or f"job {job}" for job, entry in zip(jobs.index, entries, strict=True)]
