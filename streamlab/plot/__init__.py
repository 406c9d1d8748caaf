"""What a history looks like: each function draws a `Picture`, which shows itself in Jupyter and saves itself."""

from streamlab.plot.backlog import backlog
from streamlab.plot.lanes import lanes
from streamlab.plot.latency import latency
from streamlab.plot.life import life
from streamlab.plot.matrix import matrix
from streamlab.plot.overview import overview
from streamlab.plot.pel import pel
from streamlab.plot.picture import Picture
from streamlab.plot.rate import rate

__all__ = ["Picture", "backlog", "lanes", "latency", "life", "matrix", "overview", "pel", "rate"]
