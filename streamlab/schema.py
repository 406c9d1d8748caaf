"""Check what a person writes, in a cell, in a TOML file or on the command line: one line with the field's name.

A field says in its annotation what it may hold, and msgspec holds it to that:

    @dataclass(frozen=True, kw_only=True)
    class Pause(Checked):
        seconds: Positive

    Pause(seconds=-1)       # UsageError: Pause: seconds = -1, expected a number > 0.0
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta

from streamlab.errors import UsageError

T = TypeVar("T")

Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]

_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "null": "nothing",
    "Callable": "a function",
}


class Checked:
    """The base of dataclasses whose fields are held to their annotations when an object is made.

    A whole number is good for a `float`, and a list for a tuple. An annotation that msgspec does not support, such as
    another `Checked` class, is left to the class's own `__post_init__`. `Meta(description=...)` replaces msgspec's
    words for what was expected.
    """

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, hint in _hints(kind):
            value = getattr(self, name)
            plain = value.item() if type(value).__module__ == "numpy" else value
            try:
                object.__setattr__(self, name, msgspec.convert(plain, hint))
            except msgspec.ValidationError as error:
                wrong = f"{kind.__name__}: {name} = {reprlib.repr(value)}"
                raise UsageError(f"{wrong}, expected {_expected(error, hint)}") from None


def build(kind: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Make an object of a dataclass from a table. Raises `UsageError`, which begins with `where`."""
    known = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    absent = dataclasses.MISSING
    for name in table:
        if name not in known:
            raise UsageError(f"{where}unknown key {name!r}, expected one of {', '.join(known)}")
    for name, field in known.items():
        if name not in table and field.default is field.default_factory is absent:
            raise UsageError(f"{where}missing key {name!r}")
    try:
        return kind(**table)
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None


def build_one_of(kinds: Mapping[str, type[T]], table: object, where: str) -> T:
    """Make an object of the class that the table's key `kind` names. Raises `UsageError`."""
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} = {reprlib.repr(table)}, expected a table with the key 'kind'")
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise UsageError(f"{where}.kind = {kind!r}, expected one of {', '.join(sorted(kinds))}")
    return build(kinds[kind], values, f"{where}: ")


@cache
def _hints(kind: Any) -> list[tuple[str, Any]]:
    """The annotations that msgspec can check; where a class annotates a field again, its base's rule still holds."""
    names = {field.name for field in dataclasses.fields(kind) if field.init}
    bases = [base for base in reversed(kind.__mro__) if dataclasses.is_dataclass(base)]
    found = dict.fromkeys(hint for base in bases for hint in get_type_hints(base, include_extras=True).items())
    return [(name, hint) for name, hint in found if name in names and _supported(hint)]


def _supported(hint: Any) -> bool:
    if any(isinstance(part, type) and issubclass(part, Checked) for part in (hint, *get_args(hint))):
        return False
    try:
        msgspec.convert(None, hint)
    except msgspec.ValidationError:
        pass
    except TypeError:
        return False
    return True


def _expected(error: msgspec.ValidationError, hint: Any) -> str:
    """What was expected, in words."""
    for meta in getattr(hint, "__metadata__", ()):
        if meta.description:
            return str(meta.description)
    text, _, path = str(error).partition(" - at `$")
    if text.startswith("Invalid enum value"):
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    text = re.sub(r"`(\w+)( \| null)?`", lambda found: _WORDS.get(found[1], found[1]), text.removeprefix("Expected "))
    return text.replace("Number out of range", "less") + (f" at {path.rstrip('`')}" if path else "")
