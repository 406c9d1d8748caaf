"""Waiting for something to come true, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(description: str, condition: Callable[[], T], timeout: float = 10, every: float = 0.02) -> T:
    """Return the first true value of `condition`; AssertionError with the description after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain until {description}"
        time.sleep(every)
    return value
