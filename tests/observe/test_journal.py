"""What is written is read back: by whatever values, from threads, over chunks, after SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.errors import UsageError
from streamlab.journals import read_journal
from streamlab.observe.journal import Journal
from streamlab.queue.message import Message
from streamlab.record import HEADER, KIND_NUMBER, KINDS, RECORD
from tests.waiting import wait_until

u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
u32 = st.integers(0, 2**32 - 1)
events = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "entry": st.just("") | st.builds("{}-{}".format, u64, u64),
        "job": i64,
        "deliveries": u32,
        "due_ns": i64,
        "time_ns": i64,
        "note": st.text(max_size=50),
        "stream": st.text(max_size=5),
    }
)


@given(
    st.lists(events, max_size=20),
    st.text(st.characters(exclude_characters="/.\0", codec="utf-8"), min_size=1, max_size=59),
)
def test_round_trip(told: list[dict], process: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Journal(folder, process, 7) as journal:
            for event in told:
                journal.write(**event)
        read = read_journal(journal.path)
    assert read is not None
    assert (read.process, read.incarnation, len(read.records)) == (process, 7, len(told))
    for event, record in zip(told, read.records, strict=True):
        ms, _, seq = (event["entry"] or "0-0").partition("-")
        assert (int(record["ms"]), int(record["seq"])) == (int(ms), int(seq))
        assert all(record[name] == event[name] for name in ("job", "deliveries", "due_ns", "time_ns"))
        assert KINDS[record["kind"] - 1] == event["kind"]
        assert read.texts[int(record["note"])] == event["note"]
        assert read.texts[int(record["stream"])] == event["stream"]


def test_observe_writes_an_event_a_message(tmp_path: Path) -> None:
    messages = [Message(b"5-1", [b"job", b"3", b"x", b"y"], 2), Message(b"5-2", [b"x", b"y", b"job", b"4"])]
    strange = [
        Message(b"6-%d" % n, raw) for n, raw in enumerate([[], [b"job", b"many"], [b"job", b"9" * 30], [b"job", b"-5"]])
    ]
    with Journal(tmp_path, "w", stream="jobs") as journal:
        journal.observe("read", messages, "a note")
        journal.observe("acked", strange)
        journal.observe("healed", (), "NOGROUP")
    read = read_journal(journal.path)
    assert read is not None
    assert read.records["job"].tolist() == [3, 4, -1, -1, -1, -1, -1]
    assert read.records["deliveries"].tolist() == [2, 1, 1, 1, 1, 1, 0]
    assert [read.texts[n] for n in read.records["note"].tolist()] == ["a note"] * 2 + [""] * 4 + ["NOGROUP"]
    assert {read.texts[n] for n in read.records["stream"].tolist()} == {"jobs"}
    assert read.records["ms"].tolist() == [5, 5, 6, 6, 6, 6, 0]
    assert len(set(read.records["time_ns"][:2].tolist())) == 1


def test_a_message_is_parsed_once_and_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.observe.journal._REMEMBERED", 10)
    asked = []

    class Asked(SimpleNamespace):
        @property
        def raw(self) -> list[bytes]:
            asked.append(self.key)
            return [b"job", b"1"]

    with Journal(tmp_path, "w") as journal:
        for n in range(25):
            for kind in ("read", "started", "done", "acked"):
                journal.observe(kind, [Asked(key=b"7-%d" % n, deliveries=1)])
        assert len(journal._known) <= 10
    assert len(asked) == 25


def test_a_message_that_never_came_is_known_by_its_later_events(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        for kind in ("started", "done"):
            journal.observe(kind, [Message(b"7-1", [b"x", b"y", b"job", b"5"])])
    read = read_journal(journal.path)
    assert read is not None
    assert read.records["job"].tolist() == [5, 5]


def test_a_second_delivery_counts_as_one(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        for deliveries in (1, 2):
            for kind in ("own", "done"):
                journal.observe(kind, [Message(b"7-1", [b"job", b"5"], deliveries)])
    read = read_journal(journal.path)
    assert read is not None
    assert read.records["deliveries"].tolist() == [1, 1, 2, 2]


def test_threads_meet_nowhere_over_many_chunks(tmp_path: Path) -> None:
    each, threads = 20_000, 4
    with Journal(tmp_path, "w") as journal:

        def write(thread: int) -> None:
            for n in range(each):
                journal.write("done", job=thread * each + n)

        running = [threading.Thread(target=write, args=[thread]) for thread in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert len(journal._chunks) <= 2  # each holds a file descriptor
    read = read_journal(journal.path)
    assert read is not None
    assert sorted(read.records["job"].tolist()) == list(range(each * threads))


def test_a_late_thread_opens_an_old_chunk_again(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        journal._chunk(3)
        assert sorted(journal._chunks) == [3]
        journal.write("done", job=9)
    read = read_journal(journal.path)
    assert read is not None
    assert read.records["job"].tolist() == [9]


def test_close_cuts_to_size_and_ends_writing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.write("done")
    assert journal.path.stat().st_size > 1_000_000
    journal.close()
    journal.close()
    assert journal.path.stat().st_size == HEADER.size + RECORD.size
    for note in ("", "text"):
        with pytest.raises(ValueError, match="closed"):
            journal.write("done", note=note)


def test_evidence_is_never_overwritten(tmp_path: Path) -> None:
    Journal(tmp_path, "w", 1).close()
    Journal(tmp_path, "w", 2).close()
    with pytest.raises(UsageError, match="next incarnation"):
        Journal(tmp_path, "w", 1)


@pytest.mark.parametrize("name", ["", "../w", "a/b", ".hidden", "x" * 300, "a\0b"])
def test_a_process_needs_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="plain name"):
        Journal(tmp_path, name)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal, pytest.raises(KeyError, match="vanished"):
        journal.write("vanished")


def test_a_torn_record_is_no_event(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        for job in range(3):
            journal.write("done", job=job)
    data = bytearray(journal.path.read_bytes())
    assert data[HEADER.size + 2 * RECORD.size - 1] == KIND_NUMBER["done"], "the kind must be a record's last byte"
    data[HEADER.size + 2 * RECORD.size - 1] = 0
    journal.path.write_bytes(data)
    read = read_journal(journal.path)
    assert read is not None
    assert read.records["job"].tolist() == [0, 2]


WRITER = """
import os
import sys
from streamlab.observe.journal import Journal
heavy = {"numpy", "pandas", "matplotlib", "redis"} & set(sys.modules)
assert not heavy, f"a worker process loads {heavy}"
journal = Journal(sys.argv[1], "worker-1")
job = 0
while True:
    journal.write("done", job=job, note=f"job {job}" if job % 100 == 0 else "")
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
        while reported < 40_000:  # well into the third chunk
            line = writer.stdout.readline()
            assert line, "the writer died"
            reported = int(line)
        os.kill(writer.pid, signal.SIGKILL)
        last = [int(number) for number in writer.stdout.read().split()]
    finally:
        writer.kill()
        writer.wait(10)
        writer.stdout.close()
    reported = max([reported, *last])
    read = read_journal(tmp_path / "events" / "worker-1.1.events")
    assert read is not None
    jobs = read.records["job"].tolist()
    assert jobs == list(range(len(jobs)))
    assert len(jobs) >= reported
    notes = [read.texts[n] for n in read.records["note"].tolist() if n]
    assert notes == [f"job {job}" for job in jobs[::100]]


def test_a_reader_sees_events_while_they_are_written(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        journal.write("done", job=1)
        read = wait_until("the event is visible", lambda: read_journal(journal.path))
        assert read.records["job"].tolist() == [1]
