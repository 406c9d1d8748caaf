"""What became of every job: the ground on which the classes stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.history import History

#: What can become of a job that a producer offered; each job has exactly one of them.
FATES = {
    "done": "a worker wrote that the effect exists",
    "dead_lettered": "never done, and in the dead-letter stream",
    "stuck": "never done, and still pending or undelivered on the server when the drain's budget ended",
    "lost": "added, or seen by a worker, but never done, not dead-lettered, and not on the server any more",
    "not_added": "the producer knows that it was refused, and nobody saw it",
    "unknown": "nobody can say: the producer got no answer and nobody saw it, or the run was interrupted",
}


@dataclass(frozen=True)
class Facts:
    """A history, and what follows from it for each job."""

    history: History

    @property
    def settled(self) -> bool:
        """Whether the run came to its end, so that what the server held then is known."""
        return self.history.outcome is not None and self.history.outcome["ended"] != "interrupted"

    @property
    def outcome(self) -> dict[str, Any]:
        """How the run ended; nothing on the server where nobody looked."""
        return self.history.outcome or {
            "ended": "interrupted",
            "pending": {},
            "undelivered": [],
            "dead": [],
            "jobs": {},
        }

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """The offered jobs: `History.jobs`, and `pending`, `on_server`, `seen` (by a worker or there), `fate`."""
        jobs = self.history.jobs
        jobs = jobs[(jobs["adding"] != "").to_numpy()].copy()
        pending = self._jobs_of(set(self.outcome["pending"]))
        jobs["pending"] = jobs.index.isin(pending)
        jobs["on_server"] = jobs.index.isin(pending | self._jobs_of(set(self.outcome["undelivered"])))
        jobs["seen"] = (jobs["delivered"] > 0) | (jobs["times_done"] > 0) | jobs["on_server"] | jobs["dead"]
        jobs["fate"] = pd.Categorical(self._fates(jobs), categories=list(FATES))
        return jobs

    def _fates(self, jobs: pd.DataFrame) -> npt.NDArray[Any]:
        refused = (jobs["adding"] == "refused") & ~jobs["seen"]
        unsettled = np.full(len(jobs), not self.settled)
        exists = (jobs["adding"] == "added") | jobs["seen"]
        cases = {
            "done": jobs["times_done"] > 0,
            "dead_lettered": jobs["dead"],
            "not_added": refused,
            "unknown": unsettled,
            "stuck": jobs["on_server"],
            "lost": exists,
        }
        return np.select([np.asarray(case, dtype=bool) for case in cases.values()], list(cases), default="unknown")

    def _jobs_of(self, entries: set[str]) -> set[int]:
        """The jobs that these entries carry, as events or the lab tell it."""
        events = self.history.events
        told = events.loc[events["entry"].isin(entries) & events["job"].notna(), "job"]
        return {int(job) for job in told.unique()} | {int(j) for e, j in self.outcome["jobs"].items() if e in entries}

    @cached_property
    def strays(self) -> list[str]:
        """Entries that no producer of this run added, and those of jobs that were refused and seen all the same.

        An entry that was only found deleted, or only left on the server, shows no job. Where an add got no answer
        and was never seen, it may be that one, and is not held against anybody.
        """
        events, jobs = self.history.events, self.history.jobs
        nobodys = events[events["job"].isna() & (events["entry"] != "")]
        silent = set(nobodys.loc[nobodys["kind"] == "deleted", "entry"])
        handled = set(nobodys.loc[nobodys["kind"] != "deleted", "entry"])
        left = set(self.outcome["pending"]) | set(self.outcome["undelivered"])
        known = set(events.loc[events["entry"].isin(left), "entry"])
        silent |= {entry for entry in left - known if entry not in self.outcome["jobs"]}
        if (self.jobs["fate"] == "unknown").any():
            silent = set()
        foreign = jobs[((jobs["adding"] == "") | ((jobs["adding"] == "refused") & (jobs["delivered"] > 0))).to_numpy()]
        left_foreign = {e for e, job in self.outcome["jobs"].items() if e in left and int(job) not in jobs.index}
        return sorted(handled | silent | left_foreign) + evidence(foreign)


def evidence(jobs: pd.DataFrame) -> list[str]:
    """How a reader finds these jobs again: the entry ID, or 'job 7' where there is no entry."""
    entries = jobs["entry"].astype("object")
    return [entry or f"job {job}" for job, entry in zip(jobs.index, entries, strict=True)]
