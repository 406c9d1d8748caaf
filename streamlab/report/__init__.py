"""A finished run as its reader meets it: the run, one message's trace, the HTML report, several runs together."""

from streamlab.report.repeats import Repeats
from streamlab.report.run import Run
from streamlab.report.trace import Trace

__all__ = ["Repeats", "Run", "Trace"]
