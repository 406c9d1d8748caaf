"""What the judge says: valid, invalid or unknown, with the counts, the evidence and the reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from html import escape
from math import inf
from typing import Any

from streamlab.check.where_lost import PLACES

EXIT_CODES = {"valid": 0, "invalid": 1, "unknown": 2}
_ALWAYS_SAID = ("added", "done", "lost", "reclaimed", "done_twice")
_NEVER_SAID = ("jobs", "redelivered", "unknown_adds", "failed_attempts", *PLACES)  # the rest is where there is any
# Readable on JupyterLab's white and on its black.
_COLOURS = {"valid": "#009E73", "invalid": "#D55E00", "unknown": "#CC79A7"}


@dataclass(frozen=True)
class Verdict:
    """A run's verdict; each class of the evidence is an attribute too.

        verdict.verdict             'valid'
        str(verdict)                'valid: 120 added, 120 done, 0 lost, 4 reclaimed, 1 done twice'
        verdict.counts["lost"]      0
        verdict.reclaimed           ['1700000000480-0', ...]

    `counts` are jobs, except `unexpected` (entries), `failed_attempts` (attempts) and `spinning` (processes). Every job
    is counted once among done, dead_lettered, stuck, lost, not_added and unknown, and every lost one once more among
    the classes that begin with `lost_`, which tell where. `streamlab.check.CLASSES` defines every class.

    `recovery` has a row for every fault that stranded messages: `fault`, `start` (s), `stranded` (jobs), `seconds`
    until the last of them was done or dead-lettered (None = one never was).
    """

    verdict: str
    counts: dict[str, int]
    evidence: dict[str, list[str]]
    reasons: list[str]
    guarantee: str = "at-least-once"
    recovery: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """What a script sees: 0 valid, 1 invalid, 2 unknown."""
        return EXIT_CODES[self.verdict]

    @property
    def recovery_seconds(self) -> float | None:
        """The longest of the recoveries; infinity where one never ended, None where no fault stranded a message."""
        return max((inf if row["seconds"] is None else row["seconds"] for row in self.recovery), default=None)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for verdict.json; `Verdict(**data)` makes it a verdict again."""
        return asdict(self)

    def __getattr__(self, name: str) -> list[str]:
        # Called for what is not a field. While the object is being copied or unpickled there is no evidence yet.
        evidence: dict[str, list[str]] = self.__dict__.get("evidence", {})
        if name in evidence:
            return evidence[name]
        raise AttributeError(f"a verdict has no {name!r}; its classes are {', '.join(evidence)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.evidence]

    def __str__(self) -> str:
        said = [name for name in _ALWAYS_SAID if name in self.counts]
        said += [name for name, count in self.counts.items() if count and name not in (*_ALWAYS_SAID, *_NEVER_SAID)]
        line = ", ".join(f"{self.counts[name]} {name.replace('_', ' ')}{self._places(name)}" for name in said)
        # What is invalid is in the counts; why something is unknown is not.
        why = f" ({self.reasons[0]})" if self.verdict == "unknown" else ""
        return f"{self.verdict}: {line}{why}"

    def _places(self, name: str) -> str:
        """Where the lost ones were lost."""
        places = [f"{count} {it.short}" for place, it in PLACES.items() if (count := self.counts.get(place, 0))]
        return f" ({', '.join(places)})" if name == "lost" and places else ""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        head, _, line = str(self).partition(":")
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        return f'<b style="color: {_COLOURS[self.verdict]}">{head}</b>:{escape(line)}<ul>{reasons}</ul>'
