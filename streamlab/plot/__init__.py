"""What a history looks like: each function draws one `Picture`, in which Jupyter shows itself and which `save` writes."""

from streamlab.plot.picture import Picture
from streamlab.plot.pictures import latency, overview, pel

__all__ = ["Picture", "latency", "overview", "pel"]
