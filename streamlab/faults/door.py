"""The port of the proxy that one process uses, so that it is always known who speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from streamlab.faults.conversation import Conversation
from streamlab.faults.lane import End
from streamlab.faults.relay import Dial, Relay
from streamlab.faults.trouble import Cut, Refused, Trouble
from streamlab.faults.witness import Speaker, Witness

_HOST = "127.0.0.1"


class Door:
    """Lets a process in.

    Args:
        speaker: the process.
        witness: listens to what it says.
        dial: connects to Redis.
    """

    def __init__(self, speaker: Speaker, witness: Witness, dial: Dial) -> None:
        self.speaker = speaker
        self.relays: set[Relay] = set()
        self._witness = witness
        self._dial = dial
        self._server: asyncio.Server | None = None
        # The relays look at these lists whenever something comes: they are changed in place.
        self._requests: list[Trouble] = []
        self._replies: list[Trouble] = []
        self._cuts: list[Cut] = []
        self._refused: list[Refused] = []

    async def open(self) -> int:
        """Listen on a free port of loopback; which one."""
        self._server = await asyncio.get_running_loop().create_server(self._client, _HOST, 0, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    def befall(self, troubles: Iterable[Trouble]) -> None:
        """These are the troubles from now on; the relays feel it at once."""
        mine = [trouble for trouble in troubles if trouble.concerns(self.speaker.name)]
        self._refused[:] = [trouble for trouble in mine if isinstance(trouble, Refused)]
        self._cuts[:] = [trouble for trouble in mine if isinstance(trouble, Cut)]
        bytewise = [trouble for trouble in mine if not isinstance(trouble, (Refused, Cut))]
        self._requests[:] = [trouble for trouble in bytewise if trouble.direction != "replies"]
        self._replies[:] = [trouble for trouble in bytewise if trouble.direction != "requests"]
        for relay in list(self.relays):
            if relay.torn:
                relay.reset()
            else:
                relay.pump()

    def reset(self) -> int:
        """Reset all its connections; how many there were."""
        for relay in self.relays:
            relay.reset()
        return len(self.relays)

    def close(self) -> None:
        """Let nobody in any more."""
        if self._server:
            self._server.close()

    def _client(self) -> End:
        conversation = Conversation(self.speaker, self._witness, self._cuts)
        relay = Relay(
            requests=self._requests,
            replies=self._replies,
            conversation=conversation,
            dial=self._dial,
            accept=self._accept,
            gone=self.relays.discard,
        )
        return relay.client

    def _accept(self, relay: Relay) -> bool:
        for refused in self._refused:
            refused.hit += 1
        self.relays.add(relay)
        return not self._refused
