"""The lab's proxy between processes and Redis, in the words of Toxiproxy.

    proxy       listens for each process, in a thread
    connection  passes bytes in two directions
    toxics      what can be wrong with them
    resp        matches replies to requests
    tap         records what Redis answered

Toxiproxy itself is not on PyPI, and cannot cut the reply to one command.
"""

from streamlab.faults.proxy.proxy import Proxy

__all__ = ["Proxy"]
