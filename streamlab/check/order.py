"""In which order the jobs of a key were done."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamlab.history import History


def reordered(history: History, jobs: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which of these rows of `History.jobs` were first done after one of their key that is behind them in the stream.

    A job's place in the stream is that of its first entry.
    """
    found = np.zeros(len(jobs), dtype=bool)
    keys = int(history.experiment.get("keys", 0))
    if not keys:
        return found
    events = history.events
    entry = pd.Series(events["entry"].cat.codes.to_numpy(), index=events["job"].fillna(-1).astype("int64"))
    places = entry[entry > 0].groupby(level=0).min().reindex(jobs.index, fill_value=0).to_numpy()
    rows = np.flatnonzero(jobs["first_done"].notna().to_numpy() & (places > 0))
    key = jobs.index.to_numpy()[rows] % keys
    rows = rows[np.lexsort((places[rows], key))]
    done = pd.Series(jobs["first_done"].to_numpy()[rows])[::-1]
    by_key = done.groupby(jobs.index.to_numpy()[rows][::-1] % keys)
    found[rows] = (by_key.cummin() < done)[::-1]  # the earliest among itself and those behind it
    return found
