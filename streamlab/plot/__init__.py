"""What a history looks like, or a table: each function draws a `Picture`, which shows itself and saves itself."""

from streamlab.plot.backlog import backlog
from streamlab.plot.chart import bar_chart, line_chart
from streamlab.plot.lanes import lanes
from streamlab.plot.latency import latency
from streamlab.plot.life import life
from streamlab.plot.matrix import matrix
from streamlab.plot.overview import overview
from streamlab.plot.pel import pel
from streamlab.plot.picture import Picture
from streamlab.plot.rate import rate

__all__ = [
    "Picture",
    "backlog",
    "bar_chart",
    "lanes",
    "latency",
    "life",
    "line_chart",
    "matrix",
    "overview",
    "pel",
    "rate",
]
