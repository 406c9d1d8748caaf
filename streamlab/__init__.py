"""A laboratory for Redis Streams: run a real queue, break it on purpose, see what became of every message.

    import streamlab as sl

    lab = sl.Lab()
    run = lab.run(sl.Experiment(workload=sl.ResizeImages(count=120, rate=40), faults=[sl.Kill("worker-2", at=1.5)]))
    run.verdict
    run.plot()

The names below are what a notebook needs. Each is imported when it is first used, so that a worker process, which
imports this package too, never loads pandas or matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamlab import faults
    from streamlab.errors import StreamlabError
    from streamlab.faults import Crash, Fail, Kill, Pause, Slow
    from streamlab.history import History
    from streamlab.lab.experiment import Experiment, scenario
    from streamlab.lab.lab import Lab
    from streamlab.learn import exercise, predict, solution
    from streamlab.plot import bar_chart, line_chart, matrix
    from streamlab.queue import DeadLetters, Message, OutcomeUnknownError, PermanentError, Producer, Worker
    from streamlab.report import Run
    from streamlab.servers import open_server
    from streamlab.workloads import Call, Count, ResizeImages, Sleep

_MODULES = ("faults",)
_HOMES = {
    "streamlab.errors": ("StreamlabError",),
    "streamlab.faults": ("Crash", "Fail", "Kill", "Pause", "Slow"),
    "streamlab.history": ("History",),
    "streamlab.lab.experiment": ("Experiment", "scenario"),
    "streamlab.lab.lab": ("Lab",),
    "streamlab.learn": ("exercise", "predict", "solution"),
    "streamlab.plot": ("bar_chart", "line_chart", "matrix"),
    "streamlab.queue": ("DeadLetters", "Message", "OutcomeUnknownError", "PermanentError", "Producer", "Worker"),
    "streamlab.report": ("Run",),
    "streamlab.servers": ("open_server",),
    "streamlab.workloads": ("Call", "Count", "ResizeImages", "Sleep"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Call",
    "Count",
    "Crash",
    "DeadLetters",
    "Experiment",
    "Fail",
    "History",
    "Kill",
    "Lab",
    "Message",
    "OutcomeUnknownError",
    "Pause",
    "PermanentError",
    "Producer",
    "ResizeImages",
    "Run",
    "Sleep",
    "Slow",
    "StreamlabError",
    "Worker",
    "bar_chart",
    "exercise",
    "faults",
    "line_chart",
    "matrix",
    "open_server",
    "predict",
    "scenario",
    "solution",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"streamlab.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
