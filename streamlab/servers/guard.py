"""The parent's end of a guardian: start it before the server, dismiss it after."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_SCRIPT = Path(__file__).with_name("guardian.py")


class Guard:
    """Holds the pipe at whose end the guardian waits: while it is open, the server may live.

    `duty` is what the guardian takes away when this process dies without a word; see `guardian`.
    """

    def __init__(self, *duty: str) -> None:
        self._guardian = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT), str(os.getpid()), *duty],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent
            cwd="/",
        )

    def dismiss(self) -> None:
        """Tell the guardian that nothing is left to do, and wait until it is gone."""
        # A guardian that somebody killed does not read any more.
        with suppress(BrokenPipeError):
            self._guardian.communicate(b"done", timeout=10)
