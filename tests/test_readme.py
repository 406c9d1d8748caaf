"""What the README says of the package is what the package says of itself."""

from pathlib import Path

import pytest

from streamlab.check import GUARANTEES, definitions
from streamlab.faults import KINDS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "sentence"), definitions().items())
def test_every_class_is_defined(name, sentence):
    assert f"| {name} | {sentence} |" in README


@pytest.mark.parametrize("name", GUARANTEES)
def test_every_guarantee_is_defined(name):
    assert f"| {name} | {GUARANTEES[name].says} |" in README


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_is_named(kind):
    _, _, faults = README.partition("| to | faults |")
    assert kind in faults.partition("A fault hits")[0].replace("cut the reply", "cut-reply")
