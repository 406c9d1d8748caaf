"""What teaches: `predict` asks before an experiment, `exercise` checks an answer, `solution` shows one."""

from streamlab.learn.exercises import exercise, solution
from streamlab.learn.prediction import predict

__all__ = ["exercise", "predict", "solution"]
