"""The faults inside a worker's process: by order of the lab it is slow, fails, or kills itself at a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamlab.history.log import EventLog
from streamlab.queue import Message


class FaultInjection:
    """Stands between the queue and the handler, and between the queue and the event log; does nothing without orders.

    `orders` are by the fault's number in the schedule: {"do": "slow", "by": 0.5}, {"do": "crash", "after": "done"},
    {"do": "fail", "times": 1, "job": None}.
    """

    def __init__(self, event_log: EventLog, orders: Mapping[int, Mapping[str, Any]]) -> None:
        self._event_log = event_log
        self._orders: dict[int, dict[str, Any]] = {index: dict(order) for index, order in orders.items()}

    def take(self, index: int, order: Mapping[str, Any] | None) -> None:
        """An order from the lab, or the end of one."""
        orders = dict(self._orders)  # the worker's threads look at it meanwhile
        orders.pop(index, None)
        if order is not None:
            orders[index] = dict(order)
        self._orders = orders

    def observe(self, kind: str, messages: Sequence[Message], note: str = "") -> None:
        """The worker's observer: the event log first, so that death finds the checkpoint on file."""
        self._event_log.observe(kind, messages, note)
        if self._orders and messages:
            for index, order in self._orders.items():
                if order["do"] == "crash" and order["after"] == kind:
                    self._hit(index, messages[0])
                    os.kill(os.getpid(), signal.SIGKILL)

    def around(self, handler: Callable[[Message], object]) -> Callable[[Message], object]:
        """The handler, made slow or made to fail where that is ordered."""

        def handle(message: Message) -> object:
            if self._orders:
                self._before(message)
            return handler(message)

        return handle

    def _before(self, message: Message) -> None:
        for index, order in self._orders.items():
            if order["do"] == "slow":
                self._hit(index, message)
                time.sleep(order["by"])
            elif order["do"] == "fail" and self._is_to_fail(order, message):
                self._hit(index, message)
                raise RuntimeError("a fault of the lab: this handler was told to fail")

    def _is_to_fail(self, order: dict[str, Any], message: Message) -> bool:
        if order["job"] is not None:
            wanted = message.fields.get("job") == str(order["job"])
            if not wanted or not order["times"]:
                return bool(wanted)
            if message.deliveries:
                return bool(message.deliveries <= order["times"])
        # A custom worker does not say how often Redis delivered it: each process counts what it has met.
        if order["times"]:
            order["done"] = order.get("done", 0) + 1
            return bool(order["done"] <= order["times"])
        return True

    def _hit(self, index: int, message: Message) -> None:
        self._event_log.write("fault_hit", entry=message.id, note=json.dumps({"index": index}))
