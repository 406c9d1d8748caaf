"""The exercises of the notebooks: `exercise` checks an answer, `solution` shows one that is right."""

from streamlab.learn.exercises import exercise, solution

__all__ = ["exercise", "solution"]
