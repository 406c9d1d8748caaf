"""The notebooks as files: found, executed in a clean kernel, stored with their outputs, written as static pages."""

from streamlab.notebooks.clean import clean
from streamlab.notebooks.execution import NotebookError, execute
from streamlab.notebooks.files import copy_course, find_notebooks, load, source_sha256, stale

__all__ = ["NotebookError", "clean", "copy_course", "execute", "find_notebooks", "load", "source_sha256", "stale"]
