"""What a history proves: `judge(history)` gives a `Verdict`; `CLASSES` defines each of its classes."""

from streamlab.check.classes import CLASSES
from streamlab.check.guarantees import GUARANTEES
from streamlab.check.judge import judge
from streamlab.check.verdict import Verdict

__all__ = ["CLASSES", "GUARANTEES", "Verdict", "judge"]
