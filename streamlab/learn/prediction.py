"""What a reader expects, said before it is tried, and held against what came out.

    guess = sl.predict("03/after-the-crash", "Who gets Alice's two messages?", a="Bob, at once", b="nobody", c="Alice")
    ...
    guess.outcome("b", "nobody asked for them")

Where widgets run, the choices are buttons; elsewhere they are text, and `guess.say("b")` answers. An answer is
remembered by its name as long as the kernel lives: running the cell again does not forget it.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from streamlab.errors import UsageError
from streamlab.learn.text import Text

_said: dict[str, str] = {}  # by name: what the reader chose in this kernel


class Prediction:
    """A question with choices, to be answered before the experiment. It shows itself in a cell."""

    def __init__(self, name: str, question: str, choices: Mapping[str, str]) -> None:
        self.name, self.question, self.choices = name, question, dict(choices)

    @property
    def said(self) -> str | None:
        """The letter of the choice, or None as long as nothing was chosen."""
        said = _said.get(self.name)
        return said if said in self.choices else None  # the question may have changed since

    def say(self, letter: str) -> Prediction:
        """Choose by letter: what the buttons do. Raises `UsageError` for a letter that is no choice."""
        self._check(letter)
        _said[self.name] = letter
        return self

    def outcome(self, right: str, why: str = "") -> Text:
        """Return what was predicted beside what came out. Raises `UsageError` for a letter that is no choice."""
        self._check(right)
        was = f"{right} ({self.choices[right]})" + (f": {why}" if why else "")
        if self.said is None:
            return Text(f"No prediction made. It was {was}")
        if self.said == right:
            return Text(f"As you said: {was}")
        return Text(f"You said {self.said} ({self.choices[self.said]}). It was {was}")

    def _check(self, letter: str) -> None:
        if letter not in self.choices:
            raise UsageError(f"prediction {self.name!r} has no choice {letter!r}; there are: {', '.join(self.choices)}")

    def __str__(self) -> str:
        rows = [self.question, *(f"  {letter}  {text}" for letter, text in self.choices.items())]
        return "\n".join([*rows, f"You said {self.said}." if self.said else 'Choose: guess.say("a")'])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Buttons where widgets run, a list elsewhere, in one output: the front end takes the richest that it can."""
        items = "".join(f"<li><b>{escape(k)}</b> &nbsp; {escape(v)}</li>" for k, v in self.choices.items())
        chosen = f"<p>You said {escape(self.said)}.</p>" if self.said else ""
        html = f'<p><b>{escape(self.question)}</b></p><ul style="list-style: none">{items}</ul>{chosen}'
        widget: dict[str, Any] = self._widget()._repr_mimebundle_() or {}
        return widget | {"text/plain": str(self), "text/html": html}

    def _widget(self) -> Any:
        from ipywidgets import HTML, RadioButtons, VBox

        buttons = RadioButtons(
            options=[(f"{letter})  {text}", letter) for letter, text in self.choices.items()],
            value=self.said,
            layout={"width": "max-content"},
        )
        buttons.observe(lambda change: self.say(change["new"]), names="value")
        return VBox([HTML(f"<b>{escape(self.question)}</b>"), buttons])


def predict(name: str, question: str, **choices: str) -> Prediction:
    """Ask for a prediction.

    Args:
        name: the notebook's number and a word of its own, "03/after-the-crash"; the answer is remembered by it.
        question: one sentence.
        choices: a letter and what it stands for, each.

    Raises `UsageError` for fewer than two choices.
    """
    if len(choices) < 2:
        raise UsageError(f"prediction {name!r} needs two choices or more")
    return Prediction(name, question, choices)
