"""One experiment from start to clean-up."""

from streamlab.lab.experiment import Experiment
from streamlab.lab.lab import Lab, Progress

__all__ = ["Experiment", "Lab", "Progress"]
