"""The house's errors are one line, `what is wrong (as it was said): what to do`; here it is taken apart again."""

from __future__ import annotations

_OPENING, _CLOSING = "([{", ")]}"


def what_and_fix(line: str) -> tuple[str, str]:
    """Cut a line at its first ": " outside brackets.

    >>> what_and_fix("Docker does not answer (Error 2: no socket): start it, or use --server process")
    ('Docker does not answer (Error 2: no socket)', 'start it, or use --server process')
    """
    depth = 0
    for place, char in enumerate(line):
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth <= 0 and line.startswith(": ", place):
            return line[:place], line[place + 2 :]
    return line, ""
