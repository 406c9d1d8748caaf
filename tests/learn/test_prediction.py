"""What a reader expects: asked, remembered, and held against what came out."""

from __future__ import annotations

from typing import Any

import pytest

import streamlab as sl
from streamlab.errors import UsageError
from streamlab.learn import prediction


@pytest.fixture(autouse=True)
def _a_kernel_that_heard_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_said", {})


def ask(name: str = "03/who", question: str = "Who gets <them>?") -> Any:
    return sl.predict(name, question, a="Bob & Co", b="nobody")


def buttons(guess: Any) -> Any:
    return guess._widget().children[1]


def test_the_outcome_says_what_was_said() -> None:
    guess = ask()
    assert str(guess.outcome("b", "nobody asked")) == "No prediction made. It was b (nobody): nobody asked"
    assert str(guess.say("a").outcome("b", "nobody asked")) == "You said a (Bob & Co). It was b (nobody): nobody asked"
    assert str(guess.say("b").outcome("b")) == "As you said: b (nobody)"
    for wrong in (guess.say, guess.outcome):
        with pytest.raises(UsageError, match=r"'03/who' has no choice 'c'; there are: a, b"):
            wrong("c")
    with pytest.raises(UsageError, match="needs two choices"):
        sl.predict("03/who", "Who?", a="Bob")


def test_a_click_is_remembered_by_name_and_shown_with_and_without_widgets() -> None:
    shown = ask()._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert shown["text/plain"] == 'Who gets <them>?\n  a  Bob & Co\n  b  nobody\nChoose: guess.say("a")'
    assert "Who gets &lt;them&gt;?" in shown["text/html"]
    assert "color" not in shown["text/html"], "the page's own ink, in every theme"

    buttons(ask()).value = "b"

    assert ask().said == buttons(ask()).value == "b", "the cell was run again"
    assert "You said b." in ask()._repr_mimebundle_()["text/html"]
    assert ask("03/when").said is None, "another prediction is another"
    assert sl.predict("03/who", "Who?", x="she", y="he").said is None, "the choices are others now"
