"""The first run: a real queue, a worker killed in the middle of its work, and what became of its messages."""

from __future__ import annotations

from streamlab.faults import Kill
from streamlab.lab.experiment import Experiment
from streamlab.workloads import ResizeImages


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
