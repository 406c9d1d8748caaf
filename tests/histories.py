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

    def __init__(self, folder: Path, stream: str = "jobs", **experiment: Any) -> None:
        self.folder = folder
        self.stream = stream
        self.logs: dict[tuple[str, int], EventLog] = {}
        self.samples: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events").mkdir(exist_ok=True)
        (folder / "experiment.toml").write_text(tomli_w.dumps(experiment))
        write_json(folder / "environment.json", {"start_ns": START_NS, "server": "made up"})

    @staticmethod
    def entry(job: int) -> str:
        return f"{1_700_000_000_000 + job * 10}-0"

    def event(self, kind: str, process: str, at: float, job: int = -1, *, life: int = 1, **more: Any) -> Self:
        if (process, life) not in self.logs:
            self.logs[process, life] = EventLog(self.folder, process, life, stream=self.stream)
        more.setdefault("entry", self.entry(job) if job >= 0 else "")
        if "due" in more:
            more["due_ns"] = START_NS + round(more.pop("due") * 1e9)
        self.logs[process, life].write(kind, job=job, time_ns=START_NS + round(at * 1e9), **more)
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
        empty = {"pending": {}, "undelivered": [], "dead": [], "length": 0, "stream": self.stream, "group": "workers"}
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


def crash(folder: Path, jobs: int = 120, workers: int = 3, kill_at: float = 1.5, claim_at: float = 2.5) -> Story:
    """The tour: jobs every 25 ms; worker-2 is killed with what it holds, the others claim that a second later."""
    story = Story(folder, faults=[{"kind": "kill", "target": "worker-2", "at": kill_at}])
    held: list[int] = []
    free = [0.0] * workers
    deliveries: dict[int, list[tuple[float, float]]] = {w: [] for w in range(workers)}
    for job in range(jobs):
        due = 0.1 + job * 0.025
        story.add(job, at=due)
        worker = job // 4 % workers
        if worker == 1 and due > kill_at:
            worker = 2 * (job % 2) if workers > 2 else 0
        start = max(due + 0.002, free[worker])
        done = start + 0.050 + 0.015 * ((job * 7919) % 10) / 10
        name = f"worker-{worker + 1}"
        story.event("read", name, due + 0.002, job, deliveries=1)
        if worker == 1 and done > kill_at:
            held.append(job)
            deliveries[1].append((due + 0.002, claim_at))
            continue
        story.event("started", name, start, job, deliveries=1).event("done", name, done, job, deliveries=1)
        story.event("acked", name, done + 0.001, job, deliveries=1)
        free[worker] = done
        deliveries[worker].append((due + 0.002, done + 0.001))
    story.fault("kill", "worker-2", kill_at, until=kill_at + 1.5, held=len(held))
    story.event("worker_exit", "lab", kill_at, note="worker-2: killed")
    story.event("worker_up", "lab", kill_at + 1.5, note="worker-2: pid 8, incarnation 2")
    for n, job in enumerate(held):
        name = f"worker-{3 if n % 2 and workers > 2 else 1}"
        story.event("claimed", name, claim_at, job, deliveries=2)
        story.event("started", name, claim_at + 0.02 * n, job, deliveries=2)
        story.event("done", name, claim_at + 0.02 * n + 0.03, job, deliveries=2)
        story.event("acked", name, claim_at + 0.02 * n + 0.031, job, deliveries=2)
        deliveries[int(name[-1]) - 1].append((claim_at, claim_at + 0.02 * n + 0.031))
    for tick in range(0, round((jobs * 0.025 + 1.2) * 20)):
        for worker, spans in deliveries.items():
            now = tick / 20
            story.sample(now, "pending", sum(a <= now < b for a, b in spans), f"worker-{worker + 1}")
    return story.end()
