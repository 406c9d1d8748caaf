"""The first run: a real queue, a worker killed in the middle of its work, and what became of its messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from streamlab.faults import Kill
from streamlab.lab import Experiment, Lab
from streamlab.lab.progress import Watcher
from streamlab.workloads import ResizeImages

if TYPE_CHECKING:
    from streamlab.report import Run


def experiment(seed: int = 1) -> Experiment:
    """120 photographs to resize, three workers, one of which is killed in the middle of its work and stays dead."""
    return Experiment(
        name="tour",
        workload=ResizeImages(count=120, rate=60.0),
        workers=3,
        threads=4,
        claim_after=1.5,
        faults=[Kill("worker-2", at=0.6, holding=3)],
        seed=seed,
    )


def tour(
    server: str,
    *,
    out: str | Path | None = None,
    seed: int = 1,
    say: Callable[[str], None],
    progress: Watcher,
) -> Run:
    """Do the tour, and write its verdict and pictures beside its history.

    Args:
        server: where Redis comes from; see `open_server`.
        out: the folder to write; None: a temporary one, removed with the `Run`.
        seed: of the times at which the tasks arrive.
        say: told each stage in one line.
        progress: told how far it is, about ten times a second.
    """
    with Lab(server, say=say) as lab:
        run = lab.run(experiment(seed), out=out, progress=progress)
    run.save_verdict()
    run.save_pictures()
    return run
