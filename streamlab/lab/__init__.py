"""One experiment from start to clean-up: `Lab` runs an `Experiment` with real processes on a real Redis.

lab          the way in: a Redis, and experiments on it
experiment   what to do, and what to break meanwhile
session      one run while it lasts
context      the processes of a run, and what else its faults can reach
forkserver   the parent from which the processes are forked
process      what runs in them: a worker, or the producer
injection    the faults inside a worker
arrivals     when jobs are due
snapshot     what Redis holds when a run has ended
progress     how far a run is, and a bar that shows it

Nothing is imported here: the process that forks workers, which needs few of these, is ready the earlier.
"""
