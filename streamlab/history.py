"""The record of one run: a folder of facts, read as tables.

    folder/
      experiment.toml     what was to be done
      environment.json    where and when: versions, server, machine, and `start_ns`, the clock's reading at the start
      events/             a journal a process (`streamlab.record` has the layout), with its texts beside it
      samples.csv         what the probe saw; missing where none ran
      outcome.json        how the run ended and what the server held then; missing where the run was interrupted

`outcome.json` is written last: {"ended": "drained" | "timed out" | "interrupted", "ended_ns": ..., "pending": {entry:
consumer}, "undelivered": [entry, ...], "dead": [{"entry": ..., "job": ..., "reason": ...}, ...], "length": ..., "stream": ...,
"group": ...}, and where the lab can tell it, "jobs": {entry: job} for what is pending or undelivered.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.errors import DataError, MissingError
from streamlab.record import (
    FIELDS,
    HEADER,
    KIND_OFFSET,
    KINDS,
    MAGIC,
    RECORD,
    TEXT_LENGTH,
    VERSION,
)

ENDINGS = ("drained", "timed out", "interrupted")
#: The kinds with which an entry comes into a worker's hands.
DELIVERIES = ("read", "claimed", "own")

_EVENT = np.dtype(
    {
        "names": [name for name, _ in FIELDS],
        "formats": ["<" + code for _, code in FIELDS],
        "offsets": [RECORD.size - RECORD_TAIL for RECORD_TAIL in ()] or [0, 8, 16, 24, 32, 40, 44, 48, KIND_OFFSET],
        "itemsize": RECORD.size,
    }
)
_T = TypeVar("_T")
_Ints = npt.NDArray[np.int64]
