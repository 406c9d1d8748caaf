"""What a history looks like: each function draws a `Picture`, which shows itself in Jupyter and saves itself."""

from streamlab.plot.picture import Picture
from streamlab.plot.pictures import latency, overview, pel

__all__ = ["Picture", "latency", "overview", "pel"]
