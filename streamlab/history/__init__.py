"""The record of one run: a folder of plain files.

    folder/
      experiment.toml     what was to be done
      environment.json    where and when: versions, server, machine, and `start_ns`, the clock's reading at the start
      events/*.csv        an event log a process and incarnation; `streamlab.history.log` has its columns
      samples.csv         what Redis said of the group meanwhile; `streamlab.history.sampler` has its columns
      entries.csv         the snapshot of the stream in the end: entry,job (-1 = none); missing where Redis was away
      outcome.json        how the run ended, and the snapshot of the group; missing where the run was interrupted
      logs/*.log          what each process printed
      server.log          what Redis logged, where the lab can read it
      verdict.json        the verdict, and beside it report.html and pictures, where somebody saved them

`History` reads it as tables. It is imported when it is first used: a worker process, which imports
`streamlab.history.log`, never loads pandas.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamlab.history.tables import History

__all__ = ["History"]


def __getattr__(name: str) -> Any:
    if name != "History":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamlab.history.tables import History

    return History
