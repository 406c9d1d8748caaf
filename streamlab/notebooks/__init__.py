"""Executing the notebooks, and keeping their outputs as young as their sources.

A committed notebook carries the outputs of one clean execution: a fresh kernel of this very interpreter, every cell in
turn, nothing in the outputs that tells of the machine. `execute(..., write=True)` makes them, `stale` tells when they
no longer fit.
"""

from streamlab.notebooks.execution import execute
from streamlab.notebooks.notebook import find_notebooks, load, source_sha256, stale
from streamlab.notebooks.outputs import NotebookError, machine_paths

__all__ = ["NotebookError", "execute", "find_notebooks", "load", "machine_paths", "source_sha256", "stale"]
