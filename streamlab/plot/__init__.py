"""What a history looks like, or a table: each function draws a `Picture`, which shows itself and saves itself."""

from streamlab.plot.chart import bar_chart, line_chart
from streamlab.plot.lanes import lanes
from streamlab.plot.matrix import matrix
from streamlab.plot.picture import Picture
from streamlab.plot.timeline import timeline

__all__ = ["Picture", "bar_chart", "lanes", "line_chart", "matrix", "timeline"]
