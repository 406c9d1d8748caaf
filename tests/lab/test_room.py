"""The control room without a browser: widgets work without one, and so do their buttons."""

import re

import psutil
import pytest

import streamlab as sl
from streamlab.errors import ServerError, UnsupportedError, UsageError
from streamlab.lab.room import ControlRoom
from streamlab.servers import ExternalServer, ProcessServer
from tests.waiting import wait_until


@pytest.fixture
def enter(any_server, tmp_path):
    """Opens control rooms, and sees to it that nothing of them is left."""
    labs = []

    def open_room(server=any_server, **more):
        labs.append(sl.Lab(server))
        return labs[-1].live(out=tmp_path / f"run-{len(labs)}", **{"rate": 40.0} | more)

    yield open_room
    for lab in labs:
        lab.close()
    assert not [it for it in psutil.Process().children(recursive=True) if "lab.forkserver" in str(it.cmdline())]


def shown(room):
    """The text of the room."""
    parts = [room._status, *room._labels.values(), room._log, room._verdict]
    return re.sub("<[^>]*>", " ", "\n".join(part.value for part in parts))


def test_buttons_do_what_they_say_and_in_the_end_the_verdict_is_there(enter):
    room = enter()
    kill, again = room.buttons["kill", "worker-2"], room.buttons["restart", "worker-2"]
    assert again.disabled, "what runs cannot be restarted"
    wait_until("worker-2 works", lambda: room.live.look().held.get("worker-2"))
    kill.click()
    wait_until("it is killed", lambda: "killed" in room._labels["worker-2"].value)
    assert kill.disabled
    wait_until("it can be restarted", lambda: not again.disabled)
    wait_until("the others have claimed what it held", lambda: "0</b> pending" in room._labels["worker-2"].value)
    again.click()
    wait_until("it runs", lambda: "running" in room._labels["worker-2"].value)
    for what in ("cut", "slow", "pause"):
        room.buttons[what, "worker-1"].click()
    wait_until("it is paused", lambda: "paused" in room._labels["worker-1"].value)
    room.buttons["freeze", ""].click()
    wait_until("Redis stands still", lambda: "stands still" in room._labels["redis"].value)
    room.slider.value = 90
    wait_until("the rate is another", lambda: "from now on 90 messages a second" in shown(room))
    room.set_rate(500)
    assert (room.live.rate, room.slider.value, room.slider.max) == (500, 500, 500)
    with pytest.raises(UsageError, match="goes on"):
        _ = room.run
    assert re.search("running, .* added, .* done", repr(room))
    room.stop_button.click()
    wait_until("the verdict is there", lambda: "valid" in room._verdict.value, timeout=30)
    run = room.stop()
    assert run is room.run
    assert run.verdict.verdict == "valid", run.verdict.reasons
    happened = set(run.history.faults["fault"])
    assert happened == {"kill", "reset", "slow", "pause", "redis-freeze", "rate"}
    assert not any(run.history.faults["record"].map(lambda record: record.planned))
    assert bytes(room._picture.value).startswith(b"\x89PNG")
    assert room._picture.layout.display is None
    assert all(button.disabled for button in room.buttons.values())
    room.buttons["kill", "worker-1"].click()  # a click that was on its way
    assert "this run is over" in room.live.said[-1][1]


def test_it_is_shown_by_a_front_end_and_says_how_to_use_it_where_there_is_none(enter):
    room = enter()
    bundle = room._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == room.widget.model_id
    for how in ("room.press(", "room.set_rate(", "room.stop()"):
        assert how in bundle["text/plain"]
    with pytest.raises(UsageError, match="no button 'explode'; there are: kill, pause, slow, cut, restart, freeze"):
        room.press("explode")
    with pytest.raises(UsageError, match="no worker is called ''"):
        room.press("kill")
    room.press("kill", "worker-3")
    room.press(sl.Fail("worker-1", at=0))
    wait_until("both have begun", lambda: len(room.live.marks) == 2)
    room.press("restart", "worker-3")
    wait_until("worker-3 is back", lambda: room.live.states["worker-3"] == "running")
    room.widget.close()
    wait_until("a room that is closed stops its run", lambda: not room.live.running, timeout=20)
    assert room.run.verdict.verdict == "valid", room.run.verdict.reasons
    assert not any("others have claimed" in line for _, line in room.live.said), "it took up itself what it held"
    assert list(room._repr_mimebundle_()) == ["text/plain"]


def test_one_room_at_a_time_and_none_outlives_its_lab(any_server, tmp_path):
    with sl.Lab(any_server) as lab:
        room = lab.live(out=tmp_path / "first", workers=2)
        assert list(room.live.workers) == ["worker-1", "worker-2"]
        assert isinstance(room, ControlRoom)
        with pytest.raises(UsageError, match="still goes on: press Stop"):
            lab.live(out=tmp_path / "second")
        assert not (tmp_path / "second").exists()
    assert not room.live.running
    assert room.stop().verdict.verdict == "unknown", "it was broken off"


def test_what_this_redis_cannot_suffer_cannot_be_pressed(enter, any_server):
    with ExternalServer(any_server.url) as guest:
        room = enter(guest, workers=1)
        freeze = room.buttons["freeze", ""]
        assert freeze.disabled
        assert "somebody else's Redis" in freeze.tooltip
        wait_until("it has been shown again", lambda: room.live.look().finished > 5)
        assert freeze.disabled
        assert not room.buttons["cut", "worker-1"].disabled
        with pytest.raises(UnsupportedError, match="somebody else's Redis"):
            room.press("freeze")
        freeze.click()
        assert "somebody else's Redis" in room.live.said[-1][1]
        room.stop()


def test_a_run_that_fails_says_so_in_the_room(enter):
    with ProcessServer() as server:
        room = enter(server, workers=1)
        wait_until("messages are done", lambda: room.live.look().finished > 5)
        server.kill()
        wait_until("the room says so", lambda: "in the middle of the run" in room._verdict.value, timeout=20)
        with pytest.raises(ServerError, match="in the middle of the run"):
            room.stop()
        assert "stopped" in shown(room)
