"""One experiment from start to clean-up: `Lab` runs an `Experiment` with real processes on a real Redis.

lab          the way in: a Redis, and experiments on it
session      one run while it lasts
context      what the faults of a run can reach
supervisor   starts and kills the processes of a run
forkserver   the parent from which they are forked
process      what runs in them: a worker, or the producer
arrivals     when jobs are due
snapshot     what Redis holds when a run has ended
"""

from streamlab.lab.experiment import Experiment, scenario
from streamlab.lab.lab import Lab
from streamlab.lab.session import Progress

__all__ = ["Experiment", "Lab", "Progress", "scenario"]
