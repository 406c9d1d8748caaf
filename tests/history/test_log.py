"""What is written is read back: by whatever values, by people's own tools, from threads, after SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.errors import UsageError
from streamlab.history.log import COLUMNS, KINDS, EventLog, whole_lines
from streamlab.history.reading import read_events
from streamlab.queue.message import Message

u64 = st.integers(0, 2**64 - 1)
times = st.integers(0, 2**62)
#: Whatever a reader in C can hold, line breaks and quotes among it.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from(',"\n\r'))
events = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "entry": st.just("") | st.builds("{}-{}".format, u64, u64),
        "job": st.integers(-1, 2**63 - 1),
        "deliveries": st.integers(0, 2**32),
        "due_ns": times,
        "time_ns": times,
        "note": text,
    }
)


@settings(max_examples=40)
@given(
    st.lists(events, max_size=20),
    st.text(st.characters(exclude_characters="/.\0", codec="utf-8"), min_size=1, max_size=50),
    text,
)
def test_round_trip(told: list[dict], process: str, stream: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with EventLog(folder, process, 7, stream) as log:
            for event in told:
                log.write(**event)
        read = read_events(Path(folder), 0)
    jobs = read["job"].fillna(-1).tolist()
    assert len(read) == len(told)
    assert set(read["process"]) <= {process}
    assert set(read["incarnation"]) <= {7}
    ordered = sorted(told, key=lambda event: event["time_ns"])
    job_of = {event["entry"]: event["job"] for event in ordered if event["job"] >= 0}
    for event, row, job in zip(ordered, read.to_dict("records"), jobs, strict=True):
        entry = "" if event["entry"] == "0-0" else event["entry"]
        assert (row["kind"], row["entry"], row["note"]) == (event["kind"], entry, event["note"])
        assert (row["stream"], row["deliveries"]) == (stream, event["deliveries"])
        assert job == (event["job"] if event["job"] >= 0 or not entry else job_of.get(entry, -1))
        assert row["time"] == event["time_ns"] / 1e9
        assert row["due"] == event["due_ns"] / 1e9 if event["due_ns"] else row["due"] != row["due"]


def logged(folder: Path) -> pd.DataFrame:
    return read_events(folder, 0)


def test_observe_writes_an_event_a_message_of_one_moment(tmp_path: Path) -> None:
    messages = [Message(b"5-1", [b"job", b"3", b"x", b"y"], 2), Message(b"5-2", [b"x", b"y", b"job", b"4"])]
    strange = [[], [b"job", b"many"], [b"job", b"9" * 30], [b"job", b"-5"], [b"x", b"\xff\n"]]
    with EventLog(tmp_path, "w", stream="jobs") as log:
        log.observe("read", messages, "a note")
        log.observe("acked", [Message(b"6-%d" % n, raw) for n, raw in enumerate(strange)])
        log.observe("own", [Message(b"5-1", [b"job", b"3"], 3)])
        log.observe("healed", (), "NOGROUP")
        with pytest.raises(ValueError, match="invalid literal"):  # somebody else's worker names what is no entry
            log.observe("read", [Message(b"no,entry", [])])
    read = logged(tmp_path)
    assert read["job"].fillna(-1).tolist() == [3, 4, -1, -1, -1, -1, -1, 3, -1]
    assert read["deliveries"].tolist() == [2, 1, 1, 1, 1, 1, 1, 3, 0]
    assert read["note"].tolist() == ["a note"] * 2 + [""] * 6 + ["NOGROUP"]
    assert set(read["stream"]) == {"jobs"}
    assert read["entry"].tolist() == ["5-1", "5-2", *(f"6-{n}" for n in range(5)), "5-1", ""]
    assert read["time"][0] == read["time"][1]


def test_a_log_is_a_csv_file_for_everybody(tmp_path: Path) -> None:
    """JSON of the lab is in it as it is; what a reader in C cannot hold is written as its escape."""
    note = {"fault": "kill", "target": 'a "quoted", name'}
    with EventLog(tmp_path, "lab") as log:
        log.write("fault_on", note=json.dumps(note))
        log.write("warning", note="a\0b\udc80c")
    table = pd.read_csv(log.path)
    assert list(table.columns) == list(COLUMNS)
    assert json.loads(table["note"][0]) == note
    assert table["note"][1] == r"a\x00b\udc80c"


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    each, threads = 1_000, 4
    with EventLog(tmp_path, "w") as log:

        def write(thread: int) -> None:
            for n in range(each):
                log.write("done", job=thread * each + n, note="a,\nb" if n % 7 == 0 else "")

        running = [threading.Thread(target=write, args=[thread]) for thread in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert sorted(logged(tmp_path)["job"].tolist()) == list(range(each * threads))


def test_evidence_is_never_overwritten_and_what_is_no_event_is_not_written(tmp_path: Path) -> None:
    with EventLog(tmp_path, "w", 1) as log:
        log.write("done")
        with pytest.raises(KeyError, match="vanished"):
            log.write("vanished")
        with pytest.raises(ValueError, match="invalid literal"):
            log.write("done", entry="nonsense")
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.write("done")
    EventLog(tmp_path, "w", 2).close()
    EventLog(tmp_path, "w", 1, witness="wire").close()
    with pytest.raises(UsageError, match="next incarnation"):
        EventLog(tmp_path, "w", 1)
    for name in ("", "../w", "a/b", ".hidden", "x" * 300, "a\0b"):
        with pytest.raises(UsageError, match="plain name"):
            EventLog(tmp_path, name)
    assert len(logged(tmp_path)) == 1


def test_a_torn_last_line_is_no_event_wherever_it_is_torn(tmp_path: Path) -> None:
    with EventLog(tmp_path, "w") as log:
        log.write("warning", note='one\n"two"\n', time_ns=1)
        log.write("warning", note='three, \n"four"\n\nfive', time_ns=2)
    data = log.path.read_bytes()
    second = data.index(b"\n2,") + 1
    for cut in range(second, len(data)):
        assert whole_lines(data[:cut]) == data[:second]
    assert whole_lines(data) == data
    log.path.write_bytes(data[:-9])
    assert logged(tmp_path)["note"].tolist() == ['one\n"two"\n']


WRITER = """
import os
import sys
from streamlab.history.log import EventLog
heavy = {"numpy", "pandas", "matplotlib", "redis", "msgspec"} & set(sys.modules)
assert not heavy, f"a worker process loads {heavy}"
log = EventLog(sys.argv[1], "worker-1")
job = 0
while True:
    log.write("done", job=job, note=f"job {job}" if job % 100 == 0 else "")
    job += 1
    if job % 1000 == 0:
        os.write(1, b"%d\\n" % job)
"""


def test_sigkill_loses_no_event(tmp_path: Path) -> None:
    """A real process, killed in the middle of writing: all that it reported is there, and nothing is damaged."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    try:
        reported = 0
        while reported < 20_000:
            reported = int(writer.stdout.readline() or pytest.fail("the writer died"))
        assert len(logged(tmp_path)) >= reported, "a reader sees events while they are written"
        os.kill(writer.pid, signal.SIGKILL)
        last = [int(number) for number in writer.stdout.read().split()]
    finally:
        writer.kill()
        writer.wait(10)
        writer.stdout.close()
    read = logged(tmp_path)
    jobs = read["job"].tolist()
    assert jobs == list(range(len(jobs)))
    assert len(jobs) >= max([reported, *last])
    assert [note for note in read["note"] if note] == [f"job {job}" for job in jobs[::100]]
