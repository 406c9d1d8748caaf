"""A run that goes on until somebody stops it, and its dashboard: moving pictures, and buttons that break things.

`Lab.live` starts both: `run` is the run itself, in a thread; `dashboard` shows it in a notebook.
"""
