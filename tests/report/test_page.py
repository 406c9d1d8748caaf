"""The report: one file with all of it, that trusts nobody and asks nobody."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from streamlab.errors import UsageError
from streamlab.report import Run, Trace
from streamlab.report.page import page, write
from tests.histories import Story, crash

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """What a browser would make of it: the elements, their attributes, their texts; and whether they are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    story = crash(tmp_path_factory.mktemp("report") / "tour")
    (story.folder / "experiment.toml").write_text(
        'name = "tour"\nquestion = "Who does the work of the dead?"\nclaim_after = 1.0\n[workload]\nrate = 40.0\n'
    )
    run = Run(story.write())
    return run, run.report().read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lives are told and not drawn: the drawings have tests of their own, and take their time."""

    class Blank:
        def _repr_png_(self) -> bytes:
            return b""

    monkeypatch.setattr(Trace, "plot", lambda trace: Blank())


def read(story: Story) -> Reader:
    """The report without the pictures."""
    run = Run(story.write())
    return Reader(page(run.history, run.verdict, {}))


def test_all_of_it_is_there(tour: tuple[Run, str]) -> None:
    run, page = tour
    reader = Reader(page)
    assert not reader.open
    for said in (
        "Who does the work of the dead?",
        "at-least-once",
        *run.verdict.reasons,
        "reclaimed 3 Claimed by another worker",
        "1.50 s 3.00 s worker kill worker-2 3",
        "claim_after 1.0",
        "workload.rate 40.0",
        "server made up",
        "ended drained",
        f"streamlab check {run.folder}",
        'question = "Who does the work of the dead?"',
        "Traces of messages that were reclaimed",
        "acknowledged it (delivery 2)",
    ):
        assert said in reader.said, said
    assert reader.said.startswith("tour: valid")
    pictures = reader.tags("img")
    assert len(pictures) == 5 + 3
    assert all(one["alt"] and one["src"].startswith("data:image/png;base64,") for one in pictures)
    assert len({one["alt"] for one in pictures}) == 8


def test_it_needs_no_script_and_no_network(tour: tuple[Run, str]) -> None:
    reader = Reader(tour[1])
    assert not reader.tags("script")
    assert not reader.tags("link")
    for tag, attributes in reader.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert "href" not in attributes
    assert not re.findall(r"https?://|url\(|@import", tour[1])
    (policy,) = [one["content"] for one in reader.tags("meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_light_dark_and_paper(tour: tuple[Run, str]) -> None:
    assert {"prefers-color-scheme: dark", "@media print"} <= set(
        re.findall(r"prefers-color-scheme: dark|@media print", tour[1])
    )


def test_a_narrow_window_moves_a_wide_table_and_breaks_no_time(tour: tuple[Run, str]) -> None:
    assert tour[1].count("<table>") == tour[1].count('<div class="wide"><table>')
    assert "td:first-child, td:first-child + td { white-space: nowrap; }" in tour[1]


@pytest.mark.usefixtures("undrawn")
def test_the_same_history_gives_the_same_report(tour: tuple[Run, str]) -> None:
    pages = [page(again.history, again.verdict, {}) for again in (tour[0], Run(tour[0].folder))]
    assert pages[0] == pages[1]
    assert not list(tour[0].folder.glob(".*report.html")), "no draft beside it"


@pytest.mark.usefixtures("undrawn")
def test_messages_names_and_settings_are_text_and_nothing_else(tmp_path: Path) -> None:
    worker = "<script>alert(1)<&"  # a journal's name can hold no slash
    story = Story(tmp_path / "evil", name=EVIL, question=EVIL, guarantee=EVIL, **{f'"{EVIL}': EVIL})
    story.add(0, 0.1).work(0, worker, 0.2, "read started")
    story.event("failed", worker, 0.25, 0, note=f"{EVIL}\x00\ud7ff")
    story.work(0, "worker-2", 1.0, "claimed started done acked", deliveries=2)
    story.fault(EVIL, worker, 0.3, 0.4, said=EVIL, entries=[EVIL] * 2).sample(0.1, "pending", 1, worker)
    environment = json.loads((story.folder / "environment.json").read_text()) | {EVIL: {EVIL: [EVIL]}}
    (story.folder / "environment.json").write_text(json.dumps(environment))
    reader = read(story.end())
    assert not reader.open
    assert not reader.tags("script")
    assert reader.said.count(EVIL) > 10, "it is there to be read"


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_was_broken_off_has_a_report(tmp_path: Path) -> None:
    reader = read(Story(tmp_path).add(0, 0.1))
    assert "unknown: " in reader.said
    assert "ended interrupted" in reader.said
    assert "What was broken, and when Nothing." in reader.said


@pytest.mark.usefixtures("undrawn")
def test_the_first_three_traces_of_each_kind(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for job in range(10):
        story.add(job, 0.1 + job / 100)
    for job in range(5):
        story.work(job, "worker-1", 0.3, "read started done").work(job, "worker-2", 1.3, "claimed done acked")
    story.work(5, "worker-1", 0.3, "read acked")
    pending = {Story.entry(job): "worker-1" for job in range(6, 10)}
    jobs = {entry: int(job) for job, entry in enumerate(pending, start=6)}
    reader = read(story.end("timed out", pending=pending, jobs=jobs))
    for words, shown in (("lost", ""), ("stuck", ": the first 3 of 4"), ("done twice", ": the first 3 of 5")):
        assert f"Traces of messages that were {words}{shown} message" in reader.said
    assert len([one for one in reader.tags("img") if one["alt"].startswith("The trace of")]) == 1 + 3 + 3 + 3


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.report.html cannot be written .*: name a file in a folder"):
        write("", tmp_path / "nowhere" / "report.html")
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write("", tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
