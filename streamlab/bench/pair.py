"""Two measurements side by side.

Bare times say more about the machine than about the code: what counts is the ratio of two measurements of the same
round, and of all rounds the median.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

Measure = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """Something to measure, and what it is compared with.

    Attributes:
        what: in a few words.
        unit: of both values.
        than: what `base` measures, in a few words.
        base: measures one side.
        ours: measures the other.
        goal: what the ratio of ours to base should be; '' where there is no goal.
    """

    what: str
    unit: str
    than: str
    base: Measure
    ours: Measure
    goal: str = ""

    def measured(self, rounds: int, told: Callable[[], None]) -> dict[str, Any]:
        """Measure both sides in turns; `told` is called after each. Medians, and the median of the rounds' ratios."""
        results = []
        for _ in range(rounds):
            values = []
            for measure in (self.base, self.ours):
                values.append(measure())
                told()
            results.append(values)
        return {
            "what": self.what,
            "unit": self.unit,
            "than": self.than,
            "base": median(base for base, _ in results),
            "ours": median(ours for _, ours in results),
            "ratio": median(ours / base for base, ours in results),
            "goal": self.goal,
        }


#: Code that makes `peak`, the high-water mark (MB) of the process that runs it. On Linux `ru_maxrss` would not do: it
#: keeps through exec the mark of the process that started this one.
PEAK = """
import resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
if sys.platform == "linux":
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / (1 << 10)
"""
