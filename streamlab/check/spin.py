"""Processes that ask again and again what Redis has refused."""

from __future__ import annotations

import pandas as pd

TIMES = 50
SECONDS = 1.0


def repeats(events: pd.DataFrame) -> list[str]:
    """The names of processes that got the same error `TIMES` times or more within `SECONDS`, as the wire saw."""
    errors = events[(events["kind"] == "wire_error").to_numpy()]
    since = errors["time"] - errors.groupby("note", observed=True)["time"].shift(TIMES - 1)
    return sorted({str(note).partition(" ")[0] for note in errors.loc[since < SECONDS, "note"].unique()})
