"""Each notebook runs to its end in a clean kernel: on one server always, on every server at hand in the long run."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.at_hand import SERVERS, AtHand
from tests.learn.course import ALL

REPOSITORY = Path(__file__).parents[2]
#: Seconds. The course promises that a notebook takes less on two cores that do nothing else; here several run at once.
LONGEST = 90


def run(path: Path, server: str) -> float:
    """Execute a notebook as the command does, storing nothing; return the seconds that it says it took."""
    done = subprocess.run(
        [sys.executable, "-c", "from streamlab.cli import main; main()", "notebooks", path],
        env=os.environ | {"STREAMLAB_SERVER": server},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return float(done.stdout.split(" in ")[-1].split()[0])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_runs(path: Path) -> None:
    before = path.read_bytes()

    run(path, "process")

    assert path.read_bytes() == before


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("at_hand", SERVERS[:4], ids=lambda at_hand: at_hand.id)
def test_the_course_runs_on(at_hand: AtHand) -> None:
    def on_its_own_server(path: Path) -> float:
        with at_hand.opened() as server:
            return run(path, server.url)

    with at_hand.opened():  # here it is skipped if it is missing
        pass
    with ThreadPoolExecutor(2) as two_at_a_time:
        seconds = dict(zip((path.stem for path in ALL), two_at_a_time.map(on_its_own_server, ALL), strict=True))

    told = ", ".join(f"{name} {took:.0f} s" for name, took in seconds.items())
    print(f"\n{at_hand.id}: {told}; together {sum(seconds.values()):.0f} s")
    assert max(seconds.values()) < LONGEST, told
