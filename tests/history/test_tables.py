"""A history's tables, and what is said of a folder that is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlab.errors import DataError, MissingError, StreamlabError
from streamlab.history import History
from streamlab.history.fault_record import FaultRecord
from streamlab.history.files import write_json
from tests.histories import START_NS, Story, healthy


def test_entries_sort_as_the_stream_does(tmp_path: Path) -> None:
    story, last = Story(tmp_path), "18446744073709551615-18446744073709551615"
    for n, entry in enumerate([last, "10-0", "9-11", "9-2", "100-0"]):
        story.event("read", "worker-1", n, entry=entry)
    assert list(story.load().events["entry"].cat.categories) == ["", "9-2", "9-11", "10-0", "100-0", last]


def test_jobs_one_row_a_job(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.add(0, at=1.0).work(0, "worker-1", 2.0)
    story.add(1, at=1.1).work(1, "worker-1", 2.0, "read started failed retry")
    story.work(1, "worker-1", 3.0, "claimed started failed", deliveries=2)
    story.work(1, "worker-2", 4.0, "claimed started done acked", deliveries=3).work(1, "worker-1", 5.0, "done acked")
    story.add(2, at=1.2, outcome="unknown").add(3, at=1.3, outcome="refused").add(4, at=1.4, outcome="")
    story.add(5, at=1.5).work(5, "worker-1", 2.5, "read dead")
    story.add(6, at=1.6).add(7, at=1.7)
    story.end(dead=[{"entry": "", "job": 6, "reason": "x"}, {"entry": Story.entry(7), "job": None}])
    jobs = story.load().jobs
    assert jobs.index.tolist() == list(range(8))
    assert jobs["adding"].tolist() == ["added", "added", "unknown", "refused", "adding", "added", "added", "added"]
    assert jobs["due"].tolist() == [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    assert jobs["entries"].tolist() == [1, 1, 0, 0, 0, 1, 1, 1]
    assert jobs["dead"].tolist() == [False] * 5 + [True] * 3
    first, second = jobs.loc[0], jobs.loc[1]
    assert (first["delivered"], first["deliveries"], first["claimed"], first["times_done"]) == (1, 1, 0, 1)
    assert (first["first_started"], first["first_done"], first["acked"]) == (2.01, 2.02, 2.03)
    assert first["latency"] == pytest.approx(1.02)
    assert (second["delivered"], second["deliveries"], second["claimed"], second["reclaimed"]) == (3, 3, 2, 1)
    assert (second["failed"], second["times_done"]) == (2, 2)
    assert (second["first_started"], second["first_done"], second["acked"]) == (2.01, 4.02, 4.03)
    assert np.isnan(jobs.loc[5, "latency"])


def test_a_fault_is_told_by_both_its_notes_and_by_what_met_it(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.fault("kill", "worker-1", 1.0, until=2.0, family="worker", held=3, index=0)
    story.fault("reset", "all", 1.5, until=1.5, family="wire", index=1, hit=1, off={"hit": 4, "held": 2, "lost": 7})
    story.fault("slow", "worker-1", 3.0, until=5.0, family="worker", index=2)
    story.fault("slow", "worker-1", 4.0, until=4.5, family="worker", index=3)
    story.hit("worker-1", 3.1, 7, index=2).hit("worker-1", 4.1, 8, index=2).fault("pause", "", 6.0, until=7.0)
    faults = story.load().faults
    assert faults["family"].tolist() == ["worker", "wire", "worker", "worker", ""]
    np.testing.assert_array_equal(faults["held"], [3, 2, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(faults["hit"], [np.nan, 4, 2, 0, np.nan])
    assert faults["end"].tolist() == [2.0, 1.5, 5.0, 4.5, 7.0], "paired by index, or by name"
    assert faults["name"].tolist()[1:3] == ["reset all", "slow worker-1"]
    record = FaultRecord(fault="reset", target="all", family="wire", index=1, hit=4, held=2, lost=7)
    assert faults["record"][1] == record


def test_the_first_event_of_a_kind_by_job_and_what_the_wire_saw(tmp_path: Path) -> None:
    story = Story(tmp_path).add(3, 0.1).work(3, "worker-1", 0.5).work(3, "worker-2", 0.7).add(1, 0.2)
    story.work(1, "worker-1", 0.9).event("done", "worker-1", 0.3, entry="9-9").add(2, 0.1, "unknown")
    history = story.wire("added", 0.1, 2, "producer").wire("error", 0.2).load()
    assert history.first("done", "dead").to_dict() == {1: 0.92, 3: 0.52}
    assert history.jobs["on_wire"].to_dict() == {1: False, 2: True, 3: False}


def test_a_torn_last_line_and_a_process_killed_at_birth_are_no_damage(tmp_path: Path) -> None:
    story = healthy(tmp_path).sample(0.5, "pending", 3, "worker-1").sample(0.5, "lag", 7).holds(2, ("9-9", -1))
    folder = story.write()
    for name, torn in (("samples.csv", f"{START_NS},pending,worker-1,9"), ("entries.csv", "1700000")):
        with (folder / name).open("a") as file:
            file.write(torn)
    (folder / "events" / "worker-9.1.csv").write_bytes(b"")
    (folder / "events" / "worker-8.1.csv").write_bytes(b"time_ns,proc")
    history = History.load(folder)
    assert history.samples.astype(object).values.tolist() == [[0.5, "pending", "worker-1", 3.0], [0.5, "lag", "", 7.0]]
    assert history.entries is not None
    assert history.entries.values.tolist() == [[Story.entry(2), 2], ["9-9", -1]]
    assert len(history.jobs) == 3


def test_an_empty_run_has_empty_tables(tmp_path: Path) -> None:
    history = Story(tmp_path).load()
    assert len(history.events) == len(history.samples) == len(history.jobs) == len(history.faults) == 0
    assert (history.outcome["ended"], history.outcome["effects"]) == ("interrupted", {})
    assert (history.entries, history.end) == (None, 0)


LOG = "events/worker-1.1.csv"


def replaced(old: str, new: str) -> Callable[[Path], object]:
    """Spoil worker-1's event log."""
    return lambda f: (f / LOG).write_text((f / LOG).read_text().replace(old, new, 1))


def outcome(**data: Any) -> Callable[[Path], object]:
    return lambda f: write_json(f / "outcome.json", {"ended": "drained", **data})


def folder_for(name: str) -> Callable[[Path], object]:
    return lambda f: ((f / name).unlink(), (f / name).mkdir())


#: What was done to the folder, and what is said of it.
SPOILED: list[tuple[Callable[[Path], object], type[StreamlabError], str]] = [
    (lambda f: (f / "experiment.toml").unlink(), MissingError, "experiment.toml: no such file.*TOML"),
    (lambda f: (f / "experiment.toml").write_text("a = ["), DataError, "experiment.toml.*TOML"),
    (lambda f: (f / "experiment.toml").write_text("keys = true"), DataError, r"experiment.toml.*int.*keys"),
    (lambda f: (f / "environment.json").unlink(), MissingError, "environment.json: no such file.*JSON"),
    (lambda f: (f / "environment.json").write_bytes(b'"\xff"'), DataError, "environment.json.*object"),
    (lambda f: (f / "environment.json").write_text("[" * 100_000), DataError, "environment.json"),
    (lambda f: write_json(f / "environment.json", {"start_ns": 10**30}), DataError, "environment.json.*start_ns"),
    (outcome(ended="well"), DataError, "outcome.json.*well.*ended"),
    (outcome(pending={"1-1": 3}), DataError, "outcome.json.*str.*pending"),
    (outcome(dead=[{"entry": "1-1", "job": "x"}]), DataError, "outcome.json.*int.*dead.*job"),
    (outcome(effects={"job 7": 1}), DataError, "outcome.json.*effects"),
    (outcome(files={"events/worker-9.1.csv": 640}), MissingError, "worker-9.1.csv: no such file"),
    (outcome(files={LOG: 6400}), DataError, "worker-1.1.csv.*expected 6400: the file was cut"),
    (folder_for("outcome.json"), DataError, "outcome.json cannot be read"),
    (folder_for(LOG), DataError, "worker-1.1.csv cannot be read"),
    (lambda f: (f / "events").rename(f / "gone"), MissingError, "events: no such folder.*event log"),
    (lambda f: (f / LOG).write_bytes(b"PNG" * 512), DataError, "worker-1.1.csv: not an event log"),
    (replaced("job,deliveries", "deliveries,job"), DataError, "worker-1.1.csv: not an event log"),
    (replaced(",read,", ",vanished,"), DataError, "worker-1.1.csv: event kind 'vanished'"),
    (replaced("-0,", "-x,"), DataError, "worker-1.1.csv: expected entry IDs"),
    (replaced("-0,", "-99999999999999999999,"), DataError, "worker-1.1.csv: expected entry IDs"),
    (replaced("-0,", ","), DataError, "worker-1.1.csv: expected entry IDs"),
    (replaced("-0,0,1,", "-0,0,one,"), DataError, "worker-1.1.csv: expected lines of time_ns"),
    (replaced("-0,0,1,", "-0,0,1,9,9,9,9,"), DataError, "worker-1.1.csv: expected lines of time_ns"),
    (replaced("\n1", "\n99999999999999999999"), DataError, "worker-1.1.csv: expected lines of time_ns"),
    (lambda f: (f / "entries.csv").write_text("entry,job\n1-1,x\n"), DataError, "entries.csv.*entry,job"),
    (lambda f: (f / "samples.csv").write_text("a,b\n1,2\n"), DataError, "samples.csv.*time_ns"),
    (shutil.rmtree, MissingError, "no such folder"),
]


def test_damage_is_named_in_one_line(tmp_path: Path) -> None:
    for n, (spoil, error, message) in enumerate(SPOILED):
        folder = healthy(tmp_path / str(n)).write()
        spoil(folder)
        with pytest.raises(error, match=message) as caught:
            History.load(folder)
        assert "\n" not in str(caught.value)


def test_a_fault_without_a_note_is_damage(tmp_path: Path) -> None:
    notes = ["", "[]", "{}", "kill", '{"fault": "kill", "held": "x"}', '{"fault": "trim", "below": "x"}']
    notes += ['{"fault": "kill", "index": []}', '{"fault": "delete", "entries": 7}']
    for n, note in enumerate(notes):
        history = Story(tmp_path / str(n)).event("fault_on", "lab", 1.0, note=note).load()
        with pytest.raises(DataError, match="fault_on"):
            _ = history.faults
    history = Story(tmp_path / "hit").event("fault_hit", "worker-1", 1.0, note="{}").load()
    with pytest.raises(DataError, match=r"fault_hit.*index"):
        _ = history.faults


def test_write_json_leaves_the_old_file_where_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
