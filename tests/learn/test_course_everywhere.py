"""Each notebook of the course runs to its end in a clean kernel: two on one server, in the long run all on each."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.at_hand import SERVERS, AtHand
from tests.learn.test_course import COURSE

SOAK = [pytest.mark.soak]
QUICK = ("00_start_here-redis-8.2-wheel", "01_streams-redis-8.2-wheel")
RUNS = {f"{path.stem}-{at_hand.id}": (path, at_hand) for at_hand in SERVERS[:4] for path in COURSE}


@pytest.mark.parametrize(
    ("path", "at_hand"),
    [
        # One notebook is never executed twice at a time: some have several runs at once.
        pytest.param(*run, id=name, marks=[pytest.mark.xdist_group(run[0].stem), *([] if name in QUICK else SOAK)])
        for name, run in RUNS.items()
    ],
)
def test_it_runs(path: Path, at_hand: AtHand) -> None:
    """On the lab's own Redis, and as a guest on every other."""
    before = path.read_bytes()
    command = [sys.executable, "-c", "from streamlab.cli import main; main()", "notebooks", path]

    with nullcontext() if at_hand is SERVERS[0] else at_hand.opened() as guest:
        where = {"STREAMLAB_SERVER": guest.url if guest else "process"}
        done = subprocess.run(command, env=os.environ | where, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-4000:]
    assert path.read_bytes() == before
