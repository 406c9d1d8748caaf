"""The lab's proxy as the queue's tests use it: one address that may lead elsewhere and loses the replies they name."""

from __future__ import annotations

from urllib.parse import urlsplit

from streamlab.faults.proxy import Proxy
from streamlab.faults.proxy.toxics import CutReply


class Wire(Proxy):
    """Leads to a server. `cut_replies(b"XADD", 2)` cuts the connection after the next two XADDs reached it."""

    def __init__(self, host: str, port: int) -> None:
        self.lead_to(host, port)
        super().__init__(lambda: self._address)
        self.port = urlsplit(self.listen("client")).port
        self._cut = CutReply(command="")

    def cut_replies(self, command: bytes, times: int) -> None:
        self._cut = CutReply(command=command.decode(), times=times)
        self.add("cut", self._cut)

    @property
    def cuts(self) -> int:
        return self._cut.hit

    def lead_to(self, host: str, port: int) -> None:
        """Lead new connections to another server; old ones stay where they are."""
        self._address = f"redis://{host}:{port}"
