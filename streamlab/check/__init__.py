"""What a history proves: `judge(history)` gives a `Verdict`."""

from streamlab.check.judge import judge
from streamlab.check.verdict import Verdict

__all__ = ["Verdict", "judge"]
