"""What can go wrong by use, said in one line with the fix; and the exit code that a script sees."""

from __future__ import annotations


class StreamlabError(Exception):
    """Something that the user can mend. Its text is one line: what is wrong, and what to do about it.

    The command line prints the text without a traceback and exits with `exit_code` (64 and above, after
    BSD's sysexits: 0, 1 and 2 are kept for the verdict of a run).
    """

    exit_code = 70


class UsageError(StreamlabError):
    """A value that cannot be meant: a negative rate, a name that does not exist, an unreadable URL."""

    exit_code = 64


class DataError(StreamlabError):
    """A file that is not what it should be: damaged, foreign, of a wrong type."""

    exit_code = 65


class MissingError(StreamlabError):
    """A file or folder that is not there."""

    exit_code = 66


class ServerError(StreamlabError):
    """A Redis, or Docker, that cannot be reached, started or used."""

    exit_code = 69


class UnsupportedError(StreamlabError):
    """Asked of something that cannot do it: killing somebody else's Redis, streams of a Redis too old for them."""

    exit_code = 69


class PermissionRefusedError(StreamlabError):
    """Redis, or the file system, does not let us in: wrong password, missing rights."""

    exit_code = 77


def what_and_fix(line: str) -> tuple[str, str]:
    """Cut an error's line into what is wrong and what to do: at its first ": " outside brackets.

    >>> what_and_fix("Docker does not answer (Error 2: no socket): start it, or use --server process")
    ('Docker does not answer (Error 2: no socket)', 'start it, or use --server process')
    """
    depth = 0
    for place, char in enumerate(line):
        depth = max(0, depth + (char in "([{") - (char in ")]}"))
        if not depth and line.startswith(": ", place):
            return line[:place], line[place + 2 :]
    return line, ""
