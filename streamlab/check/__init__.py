"""What a history proves: `judge(history)` gives a `Verdict`; `definitions()` says what its classes mean."""

from streamlab.check.classes import definitions
from streamlab.check.guarantees import GUARANTEES
from streamlab.check.judge import judge
from streamlab.check.verdict import Verdict

__all__ = ["GUARANTEES", "Verdict", "definitions", "judge"]
