"""Where a Redis comes from, and how it is broken.

    from streamlab.servers import open_server

    with open_server("auto", say=print) as server:
        redis = server.client()

`Server` is the contract: an address, what is there, and an end that leaves nothing behind. `ExternalServer`, somebody's
Redis by its URL, keeps no more than that. `OwnServer` is one redis-server that the lab started and may break: a
`ProcessServer` or a `ContainerServer`. A deployment of several nodes would be one more `Server`, made of `OwnServer`s.
"""

from streamlab.servers.base import Server
from streamlab.servers.choose import open_server
from streamlab.servers.client import connect, mask
from streamlab.servers.container import ContainerServer
from streamlab.servers.engine import DEFAULT_IMAGE
from streamlab.servers.external import ExternalServer
from streamlab.servers.own import OwnServer
from streamlab.servers.process import ProcessServer
from streamlab.servers.settings import Persistence

__all__ = [
    "DEFAULT_IMAGE",
    "ContainerServer",
    "ExternalServer",
    "OwnServer",
    "Persistence",
    "ProcessServer",
    "Server",
    "connect",
    "mask",
    "open_server",
]
