"""A history's tables, and what is said of a folder that is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamlab.errors import DataError, MissingError, StreamlabError
from streamlab.history import History
from streamlab.history.fault_record import FaultRecord
from streamlab.history.files import write_json
from streamlab.history.log import KINDS
from tests.histories import START_NS, Story, crash, healthy


def test_events_are_in_the_order_of_time_and_typed(tmp_path: Path) -> None:
    story = Story(tmp_path, answer=42)
    story.event("done", "worker-2", 0.5, entry="18446744073709551615-18446744073709551615", life=3, deliveries=4)
    story.add(7, at=0.25).event("failed", "worker-1", 0.75, 7, note="ValueError: nö").event(
        "phase", "lab", 0.1, note="work"
    )
    events = story.load().events
    assert events["time"].tolist() == [0.1, 0.25, 0.251, 0.5, 0.75]
    assert events["kind"].tolist() == ["phase", "adding", "added", "done", "failed"]
    assert list(events["kind"].cat.categories) == list(KINDS)
    assert events["process"].tolist() == ["lab", "producer", "producer", "worker-2", "worker-1"]
    assert events["incarnation"].tolist() == [1, 1, 1, 3, 1]
    last = "18446744073709551615-18446744073709551615"
    assert events["entry"].tolist() == ["", "", Story.entry(7), last, Story.entry(7)]
    assert list(events["entry"].cat.categories) == ["", Story.entry(7), last]
    assert events["job"].tolist() == [pd.NA, 7, 7, pd.NA, 7]
    assert events["job"].dtype == "Int64"
    assert events["deliveries"].tolist() == [0, 0, 0, 4, 0]
    assert events["note"].tolist() == ["work", "", "", "", "ValueError: nö"]
    assert set(events["stream"]) == {"jobs"}
    assert events["due"].tolist()[1] == 0.25
    assert events["due"].isna().tolist() == [True, False, False, True, True]


def test_a_job_is_told_by_its_other_events(tmp_path: Path) -> None:
    story = Story(tmp_path).add(7, at=0.1)
    story.event("deleted", "worker-1", 0.2, entry=Story.entry(7)).event("deleted", "worker-1", 0.3, entry="9-9")
    assert story.load().events["job"].tolist()[-2:] == [7, pd.NA]


def test_entries_sort_as_the_stream_does(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for n, entry in enumerate(["10-0", "9-11", "9-2", "100-0"]):
        story.event("read", "worker-1", n / 10, entry=entry)
    assert list(story.load().events["entry"].cat.categories) == ["", "9-2", "9-11", "10-0", "100-0"]


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


def test_reclaimed_is_from_another_worker_and_a_restarted_one_is_another(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for job in range(4):
        story.add(job, at=0.1)
    story.work(0, "worker-1", 1.0, "read").work(0, "worker-1", 2.0, "claimed")
    story.work(1, "worker-1", 1.0, "read").work(1, "worker-1", 2.0, "claimed", life=2)
    story.work(2, "worker-1", 1.0, "read").work(2, "worker-1", 2.0, "own", life=2).work(
        2, "worker-1", 3, "claimed", life=2
    )
    story.work(3, "worker-1", 2.0, "claimed")  # whoever had it died before it wrote so
    assert story.load().jobs["reclaimed"].tolist() == [0, 1, 0, 1]


def test_faults_are_paired_by_their_place_in_the_plan_or_by_name(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.fault("kill", "worker-2", 1.0, held=3, index=0).fault("kill", "worker-1", 1.5, held=1, index=1)
    story.event("fault_off", "lab", 2.0, note='{"index": 1, "fault": "kill", "target": "worker-1", "held": 1}')
    story.fault("pause", "worker-1", 3.0, until=4.0).fault("flush", "", 5.0)
    faults = story.load().faults
    assert faults["name"].tolist() == ["kill worker-2", "kill worker-1", "pause worker-1", "flush"]
    assert faults["start"].tolist() == [1.0, 1.5, 3.0, 5.0]
    np.testing.assert_array_equal(faults["end"], [np.nan, 2.0, 4.0, np.nan])
    np.testing.assert_array_equal(faults["held"], [3, 1, np.nan, np.nan])


def test_a_fault_is_told_by_both_its_notes_and_by_what_met_it(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.fault("kill", "worker-1", 1.0, until=2.0, family="worker", held=3, index=0)
    story.fault("reset", "all", 1.5, until=1.5, family="wire", index=1, hit=1, off={"hit": 4, "held": 2, "lost": 7})
    story.fault("slow", "worker-1", 3.0, until=5.0, family="worker", index=2)
    story.fault("slow", "worker-1", 4.0, until=4.5, family="worker", index=3)
    story.hit("worker-1", 3.1, 7, index=2).hit("worker-1", 4.1, 8, index=2).fault("pause", "", 6.0, off=None)
    faults = story.load().faults
    assert faults["family"].tolist() == ["worker", "wire", "worker", "worker", ""]
    np.testing.assert_array_equal(faults["held"], [3, 2, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(faults["hit"], [np.nan, 4, 2, 0, np.nan])
    np.testing.assert_array_equal(faults["end"], [2.0, 1.5, 5.0, 4.5, np.nan])
    record = FaultRecord(fault="reset", target="all", family="wire", index=1, hit=4, held=2, lost=7)
    assert faults["record"][1] == record


def test_the_stream_in_the_end(tmp_path: Path) -> None:
    assert History.load(Story(tmp_path / "old").write()).entries is None
    assert History.load(Story(tmp_path / "empty").holds().write()).entries.empty  # type: ignore[union-attr]
    folder = Story(tmp_path / "some").holds(3, ("9-9", -1)).write()
    with (folder / "entries.csv").open("a") as file:
        file.write("1700000")
    entries = History.load(folder).entries
    assert entries is not None
    assert entries.values.tolist() == [[Story.entry(3), 3], ["9-9", -1]]


def test_what_an_outcome_does_not_say_has_its_default(tmp_path: Path) -> None:
    outcome = Story(tmp_path).end().load().outcome
    assert outcome is not None
    new = {"effects": {}, "effects_counted": False, "idempotent": False, "group_exists": True, "last_delivered": ""}
    assert outcome.items() >= new.items()


def test_the_first_event_of_a_kind_by_job(tmp_path: Path) -> None:
    story = Story(tmp_path).add(3, 0.1).work(3, "worker-1", 0.5).work(3, "worker-2", 0.7).add(1, 0.2)
    story.work(1, "worker-1", 0.9).event("done", "worker-1", 0.3, entry="9-9")
    assert story.load().first("done", "dead").to_dict() == {1: 0.92, 3: 0.52}


def test_what_the_wire_saw_of_a_job(tmp_path: Path) -> None:
    story = Story(tmp_path).add(1, 0.1).add(2, 0.1, "unknown").wire("added", 0.1, 2, "producer").wire("error", 0.2)
    assert story.load().jobs["on_wire"].to_dict() == {1: False, 2: True}


def test_samples_ignore_a_torn_last_line(tmp_path: Path) -> None:
    story = Story(tmp_path).sample(0.5, "pending", 3, "worker-1").sample(0.5, "lag", 7)
    folder = story.write()
    with (folder / "samples.csv").open("a") as file:
        file.write(f"{START_NS},pending,worker-1,9")
    samples = History.load(folder).samples
    assert samples.astype(object).values.tolist() == [[0.5, "pending", "worker-1", 3.0], [0.5, "lag", "", 7.0]]


def test_an_empty_run_has_empty_tables(tmp_path: Path) -> None:
    history = Story(tmp_path).load()
    assert len(history.events) == len(history.samples) == len(history.jobs) == len(history.faults) == 0
    assert history.outcome is None
    assert history.end == 0


def test_a_process_killed_at_birth_is_no_damage(tmp_path: Path) -> None:
    folder = healthy(tmp_path).write()
    (folder / "events" / "worker-9.1.csv").write_bytes(b"")
    (folder / "events" / "worker-8.1.csv").write_bytes(b"time_ns,proc")
    assert len(History.load(folder).jobs) == 3


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
    (lambda f: (f / "experiment.toml").write_text("keys = 'x'"), DataError, r"experiment.toml.*int.*keys"),
    (lambda f: (f / "experiment.toml").write_text("keys = true"), DataError, r"experiment.toml.*int.*keys"),
    (lambda f: (f / "experiment.toml").write_text("faults = 3"), DataError, r"experiment.toml.*array.*faults"),
    (lambda f: (f / "environment.json").unlink(), MissingError, "environment.json: no such file.*JSON"),
    (lambda f: write_json(f / "environment.json", []), DataError, "environment.json.*object"),
    (lambda f: (f / "environment.json").write_bytes(b'"\xff"'), DataError, "environment.json.*object"),
    (lambda f: (f / "environment.json").write_text("[" * 100_000), DataError, "environment.json"),
    (lambda f: write_json(f / "environment.json", {}), DataError, "environment.json.*start_ns"),
    (lambda f: write_json(f / "environment.json", {"start_ns": 10**30}), DataError, "environment.json.*start_ns"),
    (lambda f: write_json(f / "environment.json", {"start_ns": -1}), DataError, "environment.json.*start_ns"),
    (outcome(ended="well"), DataError, "outcome.json.*well.*ended"),
    (outcome(pending=[]), DataError, "outcome.json.*object.*pending"),
    (outcome(pending={"1-1": 3}), DataError, "outcome.json.*str.*pending"),
    (outcome(undelivered=[7]), DataError, "outcome.json.*str.*undelivered"),
    (outcome(dead=[1]), DataError, "outcome.json.*object.*dead"),
    (outcome(dead=[{"entry": "1-1", "job": "x"}]), DataError, "outcome.json.*int.*dead.*job"),
    (outcome(effects={"job 7": 1}), DataError, "outcome.json.*effects"),
    (outcome(effects={"7": True}), DataError, "outcome.json.*int.*effects"),
    (outcome(effects_counted=1), DataError, "outcome.json.*bool.*effects_counted"),
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
    (replaced("-0,0,1,", "-0"), DataError, "worker-1.1.csv: expected lines of time_ns"),
    (replaced("\n1", "\n99999999999999999999"), DataError, "worker-1.1.csv: expected lines of time_ns"),
    (lambda f: (f / "entries.csv").write_text("a,b\n1,2\n"), DataError, "entries.csv.*entry,job"),
    (lambda f: (f / "entries.csv").write_text("entry,job\n1-1,x\n"), DataError, "entries.csv.*entry,job"),
    (lambda f: (f / "samples.csv").write_text("a,b\n1,2\n"), DataError, "samples.csv.*time_ns"),
    (
        lambda f: (f / "samples.csv").write_text("time_ns,metric,consumer,value\nx,lag,,1\n"),
        DataError,
        "samples.csv.*expected",
    ),
]


def test_damage_is_named_in_one_line(tmp_path: Path) -> None:
    for n, (spoil, error, message) in enumerate(SPOILED):
        folder = healthy(tmp_path / str(n)).write()
        spoil(folder)
        with pytest.raises(error, match=message) as caught:
            History.load(folder)
        assert "\n" not in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        History.load(tmp_path / "nowhere")


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


def test_the_crash_story_is_what_it_says(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    assert len(history.jobs) == 120
    assert history.faults["held"].iloc[0] == (history.jobs["reclaimed"] > 0).sum() == 3
