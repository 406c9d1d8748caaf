"""Several runs of one experiment, each with a seed of its own, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from streamlab.report.run import Run


@dataclass(frozen=True)
class Repeats:
    """The runs of `Lab.repeat`, by seed.

        repeats = lab.repeat(experiment, 20)
        repeats                 # 20 runs: 18 valid, 1 invalid, 1 unknown; recovery 0.52 to 1.31 s, median 0.60 s
        repeats.runs[7]         # the run with seed 7

    Attributes:
        runs: by seed.
        command: what does one of them again on the command line, before `--seed N`.
    """

    runs: dict[int, Run]
    command: str = "streamlab run FILE"

    @property
    def folder(self) -> Path:
        """Where the folders of the runs are."""
        return next(iter(self.runs.values())).folder.parent

    @property
    def verdicts(self) -> dict[str, int]:
        """How many runs were 'valid', 'invalid', 'unknown'."""
        found = Counter(run.verdict.verdict for run in self.runs.values())
        return {name: found[name] for name in ("valid", "invalid", "unknown")}

    @property
    def recoveries(self) -> list[float]:
        """Seconds from a fault to the last stranded message done, of each run in which one was stranded; sorted.

        `inf` where one was never done.
        """
        times = (run.verdict.recovery_seconds for run in self.runs.values())
        return sorted(seconds for seconds in times if seconds is not None)

    @property
    def exit_code(self) -> int:
        """1 if any run is invalid, else 2 if any is unknown, else 0."""
        verdicts = self.verdicts
        return 1 if verdicts["invalid"] else 2 if verdicts["unknown"] else 0

    def failing(self) -> list[tuple[int, str, str]]:
        """Seed, verdict in a line, and the command that does it again, of each run that was not valid."""
        return [
            (seed, str(run.verdict), f"{self.command} --seed {seed}")
            for seed, run in self.runs.items()
            if run.verdict.verdict != "valid"
        ]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for scripts."""
        return {
            "runs": len(self.runs),
            "verdicts": self.verdicts,
            "recovery": _spread(self.recoveries),
            "failing": [{"seed": seed, "verdict": verdict, "again": again} for seed, verdict, again in self.failing()],
            "folders": {str(seed): str(run.folder) for seed, run in self.runs.items()},
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.verdicts.items() if count)
        head = f"{len(self.runs)} runs: {counts}"
        if times := self.recoveries:
            head += f"; recovery {times[0]:.2f} to {times[-1]:.2f} s, median {median(times):.2f} s"
        return "\n".join([head, *(f"  seed {seed}: {line}\n    {again}" for seed, line, again in self.failing())])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        head, *lines = str(self).splitlines()
        return f"<b>{escape(head)}</b>" + (f"<pre>{escape(chr(10).join(lines))}</pre>" if lines else "")


def _spread(times: Sequence[float]) -> dict[str, float] | None:
    ended = [seconds for seconds in times if isfinite(seconds)]
    if not ended:
        return None
    never = len(times) - len(ended)
    return {"runs": len(times), "never": never, "least": ended[0], "median": median(ended), "most": ended[-1]}
