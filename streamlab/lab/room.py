"""The control room in a notebook: a live run's pictures, and buttons that break it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from streamlab.errors import StreamlabError, UsageError
from streamlab.faults import Fault, Kill, Pause, Slow
from streamlab.faults.redis import FreezeRedis
from streamlab.faults.wire import Reset
from streamlab.history.metrics import Metrics
from streamlab.lab.live import LiveRun
from streamlab.plot.live import consumer_colours, frame

if TYPE_CHECKING:
    from streamlab.report import Run

_EVERY = 0.3  # seconds between two frames
_LINES = 8  # of what happened, the latest first
_ALARM = "#D55E00"  # readable on JupyterLab's white and on its black
_STATES = {"running": "", "slow": _ALARM, "paused": _ALARM, "killed": _ALARM, "ended": _ALARM, "stands still": _ALARM}

#: What can be done to a worker: the button's text, what it means, and the fault.
WORKER: dict[str, tuple[str, str, Callable[[str], Fault]]] = {
    "kill": ("Kill", "SIGKILL while it holds messages: it stays dead", lambda name: Kill(name, at=0)),
    "pause": ("Pause 3 s", "SIGSTOP: longer than claim_after, and it comes back as a zombie",
              lambda name: Pause(name, at=0, seconds=3.0)),
    "slow": ("Slow 5 s", "each message takes 0.5 s longer", lambda name: Slow(name, at=0, by=0.5, seconds=5.0)),
    "cut": ("Cut", "its connections to Redis are reset", lambda name: Reset(name, at=0)),
}  # fmt: skip
#: The same for Redis.
REDIS: dict[str, tuple[str, str, Callable[[], Fault]]] = {
    "freeze": ("Freeze 1 s", "SIGSTOP of the server: nobody gets an answer", lambda: FreezeRedis(at=0, seconds=1.0)),
}
_AGAIN = "restart"


class ControlRoom:
    """Shows a live run, and does to it what somebody presses. The last line of a cell shows it.

        room = lab.live()
        room
        room.press("kill", "worker-2")      # what the button does; or any fault: room.press(sl.Fail("one", at=0))
        room.stop().verdict

    The run stops at the button, by `stop`, when `widget` is closed, and after some time by itself.
    """

    def __init__(self, live: LiveRun) -> None:
        self.live = live
        self._colours = consumer_colours(live.workers)
        self._status, self._frame, self._log, self._verdict = (widgets.HTML() for _ in range(4))
        self._picture = widgets.Image(format="png", layout=widgets.Layout(max_width="920px", display="none"))
        self._labels = {name: widgets.HTML(layout=widgets.Layout(width="250px")) for name in [*live.workers, "redis"]}
        self.buttons: dict[tuple[str, str], Any] = {}
        rows = [self._worker(name) for name in live.workers]
        freeze = [self._button(what, "", *REDIS[what][:2]) for what in REDIS]
        self.slider = widgets.FloatSlider(
            value=live.rate,
            min=0,
            max=max(100.0, 5 * live.rate),
            step=1 if live.rate == int(live.rate) else 0.1,
            readout_format=".0f" if live.rate == int(live.rate) else ".1f",
            continuous_update=False,
            description="messages/s",
            layout=widgets.Layout(width="420px"),
        )
        self.slider.observe(lambda change: self._try(lambda: self._slide(change["new"])), "value")
        self.stop_button = widgets.Button(
            description="Stop",
            button_style="danger",
            icon="stop",
            tooltip="add no more, wait until the queue is empty, and judge",
        )
        self.stop_button.on_click(lambda _: live.end())
        last = widgets.HBox([self.slider, self.stop_button])
        redis = widgets.HBox([self._labels["redis"], *freeze])
        parts = [self._status, *rows, redis, last, self._frame, self._log, self._verdict, self._picture]
        self.widget = widgets.VBox(parts)
        self.widget.add_class("streamlab-room")
        for button, fault in self._faults():
            if reason := live.refusal(fault):
                button.disabled, button.tooltip = True, reason
        self._refused = {button for button in self.buttons.values() if button.disabled}
        self._refresh()
        self._drawn = threading.Event()
        threading.Thread(target=self._show, name="control room", daemon=True).start()

    @property
    def run(self) -> Run:
        """What can be known about the run. Raises UsageError while it goes on."""
        if self.live.running:
            raise UsageError("the run goes on: press Stop, or use room.stop()")
        return self.live.stop()

    def press(self, what: str | Fault, worker: str = "") -> None:
        """Do it now: "kill", "restart", "pause", "slow" or "cut" to a worker, "freeze" to Redis, or any fault.

        Raises UsageError or UnsupportedError for what cannot be done here.
        """
        if isinstance(what, Fault):
            self.live.press(what)
        elif what == _AGAIN:
            self.live.restart(worker)
        elif what in WORKER:
            self.live.press(WORKER[what][2](worker))
        elif what in REDIS:
            self.live.press(REDIS[what][2]())
        else:
            known = ", ".join([*WORKER, _AGAIN, *REDIS])
            raise UsageError(f"there is no button {what!r}; there are: {known}, and any fault")

    def set_rate(self, rate: float) -> None:
        """So many messages a second from now on; 0: none. Raises UsageError for what is no rate."""
        self.live.set_rate(rate)
        self.slider.max = max(self.slider.max, self.live.rate)
        self.slider.value = self.live.rate

    def stop(self) -> Run:
        """Stop adding, wait until the queue is empty, and return what can be known about the run.

        Raises ServerError where the run failed on the way. After Ctrl-C it goes on stopping; call it again.
        """
        run = self.live.stop()
        self._drawn.wait()  # nobody else should draw meanwhile
        return run

    def __repr__(self) -> str:
        return (
            f"Control room of {self.live.folder}: {self._words()}\n"
            '    room.press("kill", "worker-2")   also "restart", "pause", "slow", "cut"; and room.press("freeze")\n'
            '    room.press(sl.Fail("one", at=0)) any other fault, now\n'
            "    room.set_rate(50)                messages a second\n"
            "    room.stop()                      stops it, and returns the run with its verdict"
        )

    def _repr_mimebundle_(self, **asked: Any) -> dict[str, Any]:
        show = self.widget._repr_mimebundle_  # None once it is closed
        return (show(**asked) if show else {}) | {"text/plain": repr(self)}

    # ------------------------------------------------------------------------------------------------ the parts

    def _worker(self, name: str) -> Any:
        again = self._button(_AGAIN, name, "Restart", "start its next process")
        kill, *others = (self._button(what, name, *WORKER[what][:2]) for what in WORKER)
        return widgets.HBox([self._labels[name], kill, again, *others])

    def _button(self, what: str, worker: str, text: str, tip: str) -> Any:
        button = widgets.Button(description=text, tooltip=tip, layout=widgets.Layout(width="96px"))
        button.add_class(f"streamlab-{what}-{worker or 'redis'}")
        button.on_click(lambda _: self._try(functools.partial(self.press, what, worker)))
        self.buttons[what, worker] = button
        return button

    def _faults(self) -> list[tuple[Any, Fault]]:
        workers = [(self.buttons[what, name], WORKER[what][2](name)) for what, name in self.buttons if what in WORKER]
        return [*workers, *((self.buttons[what, ""], REDIS[what][2]()) for what in REDIS)]

    def _slide(self, rate: float) -> None:
        if rate != self.live.rate:
            self.live.set_rate(rate)

    def _try(self, action: Callable[[], None]) -> None:
        """Nobody catches what a click raises: it is said in the room."""
        try:
            action()
        except StreamlabError as error:
            self.live.say(str(error))

    # ---------------------------------------------------------------------------------- in the room's own thread

    def _show(self) -> None:
        try:
            while self.live.running:
                self._refresh()
                if self.widget.comm is None:  # closed
                    self.live.end()
                self.live.wait(_EVERY)
            self._refresh()
            run = self.live.stop()
            self._verdict.value = (
                f'<div class="streamlab-verdict" style="line-height: 1.5; font-size: 110%">'
                f"{run.verdict._repr_html_()}<code>{escape(str(run.folder))}</code></div>"
            )
            self._picture.value = run.plot()._repr_png_()
            self._picture.layout.display = None
        except Exception as error:  # who looks here hears of it; `stop` raises what the run itself raised
            self._verdict.value = f'<b style="color: {_ALARM}">failed</b>: {escape(str(error))}'
        finally:
            self._drawn.set()

    def _refresh(self) -> None:
        look, states = self.live.look(), self.live.states
        self._status.value = f'<div class="streamlab-status">{escape(self._words(look))}</div>'
        over = self.live.stopping
        for name, label in self._labels.items():
            label.value = self._label(name, states.get(name, ""), look)
        for (what, name), button in self.buttons.items():
            dead = states.get(name) in {"killed", "ended"}
            button.disabled = over or button in self._refused or (dead != (what == _AGAIN) and name != "")
        self.slider.disabled = self.stop_button.disabled = over
        self._frame.value = frame(look, self.live.marks, self._colours)
        lines = [_row(f"{time:.1f} s", line) for time, line in list(self.live.said)[: -_LINES - 1 : -1]]
        self._log.value = f'<div class="streamlab-log" style="line-height: 1.5">{"".join(lines)}</div>'

    def _label(self, name: str, state: str, look: Metrics) -> str:
        shown = f'<span style="color: {colour}">{state}</span>' if (colour := _STATES.get(state, "")) else state
        if name == "redis":
            return f'<b>Redis</b> <span class="streamlab-state-redis">{shown}</span>'
        square = f'<span style="color: {self._colours[name]}">&#9632;</span>'
        held = f'<b class="streamlab-pending-{name}">{look.held.get(name, 0)}</b>'
        return f'{square} <b>{name}</b> <span class="streamlab-state-{name}">{shown}</span>, {held} pending'

    def _words(self, look: Metrics | None = None) -> str:
        look = look or self.live.look()
        state = "running" if not self.live.stopping else "stopping" if self.live.running else "stopped"
        lag = next((f"{value:.0f}" for value in reversed(look.lag) if value is not None), "not known")
        return (
            f"{state}, {self.live.seconds:.0f} s: {look.offered} added, {look.finished} done, {look.claimed} claimed, "
            f"lag {lag}"
        )


def _row(time: str, line: str) -> str:
    moment = f'<span style="display: inline-block; width: 4em; text-align: right">{time}</span>'
    return f'<div style="padding-left: 5em; text-indent: -5em">{moment}&emsp;{escape(line)}</div>'
