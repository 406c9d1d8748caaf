"""What the jobs are: how many, how fast, what each message says, and what a worker does with it.

Light to import: Pillow is loaded where pictures are made or resized, not before.

    base      the contract of all workloads; a workload as a table of a TOML file
    images    resizing photographs, the job of the tour
    resize    its handler: what a message may ask for, and how a thumbnail gets on disk
    simple    waiting; counting; calling a function from a notebook's cell
"""

from streamlab.workloads.base import Workload, from_table, to_table
from streamlab.workloads.images import ResizeImages
from streamlab.workloads.simple import Call, Count, Sleep

__all__ = ["Call", "Count", "ResizeImages", "Sleep", "Workload", "from_table", "to_table"]
