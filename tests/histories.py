"""Made-up histories: real folders, written through the real event log, of things that never happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import tomli_w

from streamlab.history import History
from streamlab.history.files import write_json
from streamlab.history.log import EventLog

START_NS = 1_000_000_000_000


class Story:
    """Tell what happened, second by second, then `load` it.

    story = Story(tmp_path)
    story.add(0, at=0.1)
    story.work(0, "worker-1", at=0.2)
    history = story.load()
    """

    def __init__(self, folder: Path, **experiment: Any) -> None:
        self.folder = folder
        self.logs: dict[tuple[str, int], EventLog] = {}
        self.samples: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events").mkdir(exist_ok=True)
        self.set(**experiment)
        write_json(folder / "environment.json", {"start_ns": START_NS, "server": "made up"})

    def set(self, **experiment: Any) -> Self:
        """Replace the experiment's settings."""
        (self.folder / "experiment.toml").write_text(tomli_w.dumps(experiment))
        return self

    @staticmethod
    def entry(job: int) -> str:
        return f"{1_700_000_000_000 + job * 10}-0"

    def event(self, kind: str, process: str, at: float, job: int = -1, *, incarnation: int = 1, **more: Any) -> Self:
        if (process, incarnation) not in self.logs:
            self.logs[process, incarnation] = EventLog(self.folder, process, incarnation, stream="jobs")
        more.setdefault("entry", self.entry(job) if job >= 0 else "")
        if "due" in more:
            more["due_ns"] = START_NS + round(more.pop("due") * 1e9)
        self.logs[process, incarnation].write(kind, job=job, time_ns=START_NS + round(at * 1e9), **more)
        return self

    def add(self, job: int, at: float, outcome: str = "added", **more: Any) -> Self:
        self.event("adding", "producer", at, job, due=at, entry="")
        if outcome:
            known = {} if outcome == "added" else {"entry": ""}
            self.event(outcome, "producer", at + 0.001, job, due=at, **{**known, **more})
        return self

    def work(self, job: int, worker: str, at: float, kinds: str = "read started done acked", **more: Any) -> Self:
        """The kinds in turn, a hundredth of a second apart."""
        for n, kind in enumerate(kinds.split()):
            self.event(kind, worker, at + n / 100, job, **{"deliveries": 1, **more})
        return self

    def fault(
        self, fault: str, target: str, at: float, until: float | None = None, off: Any = None, **more: Any
    ) -> Self:
        """`more` is the rest of its record, `off` what is added in the end."""
        declared = {"kills": fault in {"kill", "crash"}, "inside": fault in {"slow", "fail", "crash"}}
        note = {"fault": fault, "target": target, **declared, **more}
        self.event("fault_on", "lab", at, note=json.dumps(note))
        if until is not None:
            self.event("fault_off", "lab", until, note=json.dumps(note | (off or {})))
        return self

    def hit(self, process: str, at: float, job: int, index: int) -> Self:
        """A fault inside a worker met a message."""
        return self.event("fault_hit", process, at, job, note=json.dumps({"index": index}))

    def wire(self, kind: str, at: float, job: int = -1, note: str = "worker-1", **more: Any) -> Self:
        """What the lab's proxy saw; `note` is who spoke, and more."""
        return self.event(f"wire_{kind}", "wire", at, job, note=note, **more)

    def holds(self, *rows: int | tuple[str, int]) -> Self:
        """What the stream holds in the end: the entries of jobs, or entries and what job they name."""
        pairs = [(self.entry(row), row) if isinstance(row, int) else row for row in rows]
        (self.folder / "entries.csv").write_text("entry,job\n" + "".join(f"{entry},{job}\n" for entry, job in pairs))
        return self

    def sample(self, at: float, metric: str, value: float, consumer: str = "") -> Self:
        self.samples.append(f"{START_NS + round(at * 1e9)},{metric},{consumer},{value}\n")
        return self

    def end(self, ended: str = "drained", **outcome: Any) -> Self:
        empty = {"pending": {}, "undelivered": [], "dead": [], "length": 0, "stream": "jobs", "group": "workers"}
        write_json(self.folder / "outcome.json", {"ended": ended, "ended_ns": START_NS, **empty, **outcome})
        return self

    def write(self) -> Path:
        for log in self.logs.values():
            log.close()
        if self.samples:
            (self.folder / "samples.csv").write_text("time_ns,metric,consumer,value\n" + "".join(self.samples))
        return self.folder

    def load(self) -> History:
        return History.load(self.write())


def healthy(folder: Path, jobs: int = 3) -> Story:
    """Every job added, done and acked once."""
    story = Story(folder)
    for job in range(jobs):
        story.add(job, at=0.1 * job).work(job, f"worker-{job % 2 + 1}", at=0.1 * job + 0.01)
    return story.end()


def crash(folder: Path) -> Story:
    """The tour: a job every 25 ms; worker-2 is killed at 1.5 s with 3 in flight, which others claim at 2.5 s."""
    story = Story(folder, faults=[{"kind": "kill", "target": "worker-2", "at": 1.5}])
    free = dict.fromkeys(("worker-1", "worker-2", "worker-3"), 0.0)
    held: list[tuple[str, float, float]] = []  # by whom, from when to when
    stranded: list[int] = []
    for job in range(120):
        due = 0.1 + job * 0.025
        name = f"worker-{job // 4 % 3 + 1}"
        if name == "worker-2" and due > 1.5:
            name = f"worker-{2 * (job % 2) + 1}"
        start = max(due + 0.002, free[name])
        done = start + 0.050 + 0.015 * ((job * 7919) % 10) / 10
        story.add(job, due).event("read", name, due + 0.002, job, deliveries=1)
        if name == "worker-2" and done > 1.5:
            stranded.append(job)
            held.append((name, due + 0.002, 2.5))
            continue
        for kind, at in (("started", start), ("done", done), ("acked", done + 0.001)):
            story.event(kind, name, at, job, deliveries=1)
        free[name] = done
        held.append((name, due + 0.002, done + 0.001))
    story.fault("kill", "worker-2", 1.5, until=3.0, held=len(stranded))
    story.event("worker_exit", "lab", 1.5, note="worker-2: killed")
    story.event("worker_up", "lab", 3.0, note="worker-2: pid 8, incarnation 2")
    for n, job in enumerate(stranded):
        name, start = f"worker-{3 if n % 2 else 1}", 2.5 + 0.02 * n
        for kind, at in (("claimed", 2.5), ("started", start), ("done", start + 0.03), ("acked", start + 0.031)):
            story.event(kind, name, at, job, deliveries=2)
        held.append((name, 2.5, start + 0.031))
    for tick in range(84):
        for name in free:
            pending = sum(who == name and begin <= tick / 20 < end for who, begin, end in held)
            story.sample(tick / 20, "pending", pending, name)
    return story.end()
