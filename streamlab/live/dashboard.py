"""The dashboard in a notebook: a live run's moving pictures, and buttons that break it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from ipywidgets import Layout

from streamlab.errors import StreamlabError, UsageError
from streamlab.faults import Fault, Kill, Pause, Slow
from streamlab.faults.redis import FreezeRedis
from streamlab.faults.wire import Reset
from streamlab.history.metrics import Metrics
from streamlab.live.frame import consumer_colours, frame
from streamlab.live.rate import Rate
from streamlab.live.run import LiveRun

if TYPE_CHECKING:
    from streamlab.report import Run

_EVERY = 0.3  # seconds between two frames
_LINES = 8  # of the log, the latest first
_LINE = '<div style="display: flex"><span style="flex: 0 0 5em">{:.1f} s</span>{}</div>'
_ALARM = "#D55E00"  # readable on JupyterLab's white and on its black
_FAULTS: dict[str, Callable[[str], Fault]] = {
    "kill": lambda name: Kill(name, at=0),
    "pause": lambda name: Pause(name, at=0, seconds=3.0),
    "slow": lambda name: Slow(name, at=0, by=0.5, seconds=5.0),
    "cut": lambda name: Reset(name, at=0),
    "freeze": lambda _: FreezeRedis(at=0, seconds=1.0),
}
_BUTTONS = {
    "kill": ("Kill", "SIGKILL while it holds messages: it stays dead"),
    "restart": ("Restart", "start its next process"),
    "pause": ("Pause 3 s", "SIGSTOP for longer than claim_after: it comes back as a zombie"),
    "slow": ("Slow 5 s", "each message takes 0.5 s longer"),
    "cut": ("Cut", "its connections to Redis are reset"),
    "freeze": ("Freeze 1 s", "SIGSTOP of the server: nobody gets an answer"),
}


class Dashboard:
    """Shows a live run, and does to it what somebody presses. The last line of a cell shows it.

        dashboard = lab.live()
        dashboard
        dashboard.press("kill", "worker-2")      # as the button; or any fault: dashboard.press(sl.Fail("one", at=0))
        dashboard.stop().verdict

    The run stops at the button, by `stop`, when `widget` is closed, and after some time by itself.
    """

    def __init__(self, live: LiveRun) -> None:
        self.live = live
        self._result: Future[Run] = Future()
        self._colours = consumer_colours(live.workers)
        parts = ("status", "frame", "log", "verdict")
        self._status, self._frame, self._log, self._verdict = (_named(widgets.HTML(), part) for part in parts)
        self._labels = {name: widgets.HTML() for name in [*live.workers, "redis"]}
        self._buttons: dict[tuple[str, str], Any] = {}
        self._rate = float(live.experiment.workload.rate)
        self._slid: float | None = None  # where somebody has moved the slider
        self._slider = widgets.FloatSlider(self._rate, max=max(100.0, 5 * self._rate), description="messages/s")
        self._slider.step, self._slider.readout_format = (1, ".0f") if self._rate.is_integer() else (0.1, ".1f")
        self._slider.observe(self._slide, "value")
        tip = "add no more, wait until the queue is empty, and judge"
        self._stop = widgets.Button(description="Stop", button_style="danger", icon="stop", tooltip=tip)
        self._stop.on_click(lambda _: live.end())
        wrapped = Layout(flex_flow="row wrap", grid_gap="0 8px")
        top = widgets.HBox([self._slider, self._stop, self._status], layout=wrapped)
        self.widget = _named(widgets.VBox([top, self._grid(), self._frame, self._log, self._verdict]), "dashboard")
        self._refresh()
        threading.Thread(target=self._show, name="dashboard", daemon=True).start()

    def stop(self) -> Run:
        """Stop adding, wait until the queue is empty, and return what can be known about the run.

        Raises ServerError where the run failed on the way. After Ctrl-C it goes on stopping; call it again.
        """
        self.live.end()
        return self._result.result()

    def press(self, what: str | Fault, worker: str = "") -> None:
        """Do it now: "kill", "restart", "pause", "slow" or "cut" to a worker, "freeze" to Redis, or any fault.

        Raises UsageError or UnsupportedError for what cannot be done here.
        """
        if what == "restart":
            self.live.restart(worker)
            return
        if isinstance(what, str):
            if what not in _FAULTS:
                raise UsageError(f"there is no button {what!r}; there are: {', '.join(_BUTTONS)}, and any fault")
            what = _FAULTS[what](worker)
        self.live.press(what)
        self.live.say(f"pressed: {what.kind} {getattr(what, 'target', '')}".rstrip())

    def set_rate(self, rate: float) -> None:
        """Add this many messages a second from now on; 0: none. Raises UsageError for what is no rate."""
        self.live.press(Rate(rate, at=0))
        self._rate = float(rate)
        self._slider.max = max(self._slider.max, self._rate)
        self._slider.value = self._rate

    def __repr__(self) -> str:
        return (
            f"Dashboard of {self.live.folder}: {self._summary(self.live.look())}\n"
            '    .press("kill", "worker-2")   also "restart", "pause", "slow", "cut"; and .press("freeze")\n'
            '    .press(sl.Fail("one", at=0)) any other fault, now\n'
            "    .set_rate(50)                messages a second\n"
            "    .stop()                      stops it, and returns the run with its verdict"
        )

    def _repr_mimebundle_(self, **asked: Any) -> dict[str, Any]:
        show = self.widget._repr_mimebundle_  # None once it is closed
        return (show(**asked) if show else {}) | {"text/plain": repr(self)}

    # ------------------------------------------------------------------------------------------------ its parts

    def _grid(self) -> Any:
        cells: list[Any] = []
        for name, label in self._labels.items():
            actions = [what for what in _BUTTONS if (what == "freeze") == (name == "redis")]
            cells += [label, *(self._button(what, name) for what in actions)]
        columns = f"minmax(max-content, 210px) repeat({len(_BUTTONS) - 1}, minmax(max-content, 96px))"
        return widgets.GridBox(cells, layout=Layout(grid_template_columns=columns, grid_gap="0 2px"))

    def _button(self, what: str, name: str) -> Any:
        text, tip = _BUTTONS[what]
        button = widgets.Button(description=text, tooltip=tip, layout=Layout(width="auto", padding="0 4px"))
        button.on_click(lambda _: self._try(lambda: self.press(what, name)))
        try:
            if what in _FAULTS:
                _FAULTS[what](name).check(self.live.context)
            self._buttons[what, name] = button
        except StreamlabError as error:  # it cannot be done here
            button.disabled, button.tooltip = True, str(error)
        return _named(button, f"{what}-{name}")

    def _slide(self, change: Any) -> None:
        self._slid = change["new"] if change["new"] != self._rate else None

    def _try(self, action: Callable[[], None]) -> None:
        """Nobody catches what a click raises: the log says it."""
        try:
            action()
        except StreamlabError as error:
            self.live.say(str(error))

    # ------------------------------------------------------------------------------- in the dashboard's own thread

    def _show(self) -> None:
        try:
            while not self.live.over.done():
                self._refresh()
                if self.widget.comm is None:  # closed
                    self.live.end()
                wait([self.live.over], _EVERY)
            self._refresh()
            self.live.over.result()
            self._result.set_result(self._judged())
        except Exception as error:
            self._verdict.value = f'<b style="color: {_ALARM}">failed</b>: {escape(str(error))}'
            self._result.set_exception(error)

    def _judged(self) -> Run:
        from streamlab.report import Run  # brings pandas

        run = Run(self.live.folder, owner=self.live.owner)
        text = f"{run.verdict._repr_html_()}<code>{escape(str(run.folder))}</code>"
        self._verdict.value = f'<div style="line-height: 1.5">{text}</div>'
        self.widget.children += (widgets.Image(value=run.plot()._repr_png_(), layout=Layout(max_width="920px")),)
        return run

    def _refresh(self) -> None:
        rate, self._slid = self._slid, None
        if rate is not None:  # here, so that a key held down is not a change each time it repeats
            self._try(functools.partial(self.set_rate, rate))
        look, states, over = self.live.look(), self.live.states, self.live.state != "running"
        self._status.value = self._summary(look)
        for name, label in self._labels.items():
            label.value = self._label(name, states.get(name, ""), look)
        for (what, name), button in self._buttons.items():
            dead = states.get(name) in {"killed", "ended"}
            button.disabled = over or dead != (what == "restart")
        self._slider.disabled = self._stop.disabled = over
        self._frame.value = frame(look, self.live.marks, self._colours)
        log = [_LINE.format(time, escape(line)) for time, line in list(self.live.log)[: -_LINES - 1 : -1]]
        self._log.value = f'<div style="line-height: 1.5">{"".join(log)}</div>'

    def _label(self, name: str, state: str, look: Metrics) -> str:
        colour = "" if state in {"running", "stopped"} else f"color: {_ALARM}"
        word = f'<span class="streamlab-state-{name}" style="{colour}">{state}</span>'
        if name == "redis":
            return f"<b>Redis</b> {word}"
        pending = f'<b class="streamlab-pending-{name}">{look.held.get(name, 0)}</b> pending'
        return f'<span style="color: {self._colours[name]}">&#9632;</span> <b>{name}</b> {word}, {pending}'

    def _summary(self, look: Metrics) -> str:
        lag = next((f"{value:.0f}" for value in reversed(look.lag) if value is not None), "not known")
        counts = f"{look.offered} added, {look.finished} done, {look.claimed} claimed, lag {lag}"
        return f"{self.live.state}, {self.live.seconds:.0f} s: {counts}"


def _named(widget: Any, name: str) -> Any:
    """With a class by which a test or a style sheet finds it."""
    return widget.add_class(f"streamlab-{name}")
