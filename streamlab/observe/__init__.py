"""What is written down while a run goes on: the journal of each process, the probes of the server.

Import `streamlab.observe.journal` and `streamlab.observe.probe` by name: a worker process needs the first only.
"""
