"""One experiment from start to clean-up.

The names are imported when they are first used: a worker process starts in `lab.child` and needs no more than that.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamlab.lab.experiment import Experiment
    from streamlab.lab.lab import Lab
    from streamlab.lab.session import Progress

__all__ = ["Experiment", "Lab", "Progress"]


def __getattr__(name: str) -> Any:
    if name == "Experiment":
        from streamlab.lab.experiment import Experiment

        return Experiment
    if name == "Lab":
        from streamlab.lab.lab import Lab

        return Lab
    if name == "Progress":
        from streamlab.lab.session import Progress

        return Progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
