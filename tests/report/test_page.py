"""The report: one file with all of it, that trusts nobody and asks nobody."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from streamlab.errors import UsageError
from streamlab.report import Run
from tests.histories import Story, crash

EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """What a browser would make of it: the elements, their attributes, their texts; and whether they are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
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


def read(story: Story) -> Reader:
    return Reader(Run(story.write()).report().read_text(encoding="utf-8"))


def test_all_of_it_is_there_and_needs_no_script_and_no_network(tmp_path: Path) -> None:
    story = crash(tmp_path / "tour").set(
        name="tour", question="Who does the work of the dead?", claim_after=1.0, workload={"rate": 40.0}
    )
    run = Run(story.write())
    text = run.report().read_text(encoding="utf-8")
    reader = Reader(text)
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
    assert len({one["alt"] for one in pictures}) == len(pictures) == 5 + 3
    assert all(one["src"].startswith("data:image/png;base64,") for one in pictures)
    assert not reader.tags("script")
    assert not reader.tags("link")
    for tag, attributes in reader.elements:
        assert not any(name.startswith("on") or name == "href" for name in attributes), tag
    assert not re.findall(r"https?://|url\(|@import", text)
    (policy,) = [one["content"] for one in reader.tags("meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert text.count("<table>") == text.count('<div class="wide"><table>'), "a narrow window moves a wide table"
    assert Run(run.folder).report().read_text(encoding="utf-8") == text, "the same history gives the same report"


def test_messages_names_and_settings_are_text_and_nothing_else(tmp_path: Path) -> None:
    worker = "<script>alert(1)<&"  # an event log's name can hold no slash
    story = Story(tmp_path / "evil", name=EVIL, question=EVIL, guarantee=EVIL, **{f'"{EVIL}': EVIL})
    story.add(0, 0.1).work(0, worker, 0.2, "read started")
    story.event("failed", worker, 0.25, 0, note=f"{EVIL}\x00\ud7ff")
    story.work(0, "worker-2", 1.0, "claimed started done acked", deliveries=2)
    story.fault(EVIL, worker, 0.3, 0.4, said=EVIL, entries=[EVIL] * 2).sample(0.1, "pending", 1, worker)
    environment = json.loads((story.folder / "environment.json").read_text()) | {EVIL: {EVIL: [EVIL]}}
    (story.folder / "environment.json").write_text(json.dumps(environment))
    reader = read(story.end())
    assert not reader.tags("script")
    assert reader.said.count(EVIL) > 10, "it is there to be read"


def test_the_first_three_traces_of_each_kind_and_of_a_run_that_was_broken_off(tmp_path: Path) -> None:
    story = Story(tmp_path / "some")
    for job in range(10):
        story.add(job, 0.1 + job / 100)
    for job in range(5):
        story.work(job, "worker-1", 0.3, "read started done").work(job, "worker-2", 1.3, "claimed done acked")
    story.work(5, "worker-1", 0.3, "read acked")
    pending = {Story.entry(job): "worker-1" for job in range(6, 10)}
    reader = read(story.end("timed out", pending=pending))
    for words, shown in (("lost", ""), ("stuck", ": the first 3 of 4"), ("done twice", ": the first 3 of 5")):
        assert f"Traces of messages that were {words}{shown} message" in reader.said
    assert len([one for one in reader.tags("img") if "message" in str(one["alt"]).split()[2]]) == 1 + 3 + 3 + 3
    reader = read(Story(tmp_path / "broken").add(0, 0.1))
    assert all(said in reader.said for said in ("unknown: ", "ended interrupted", "What was broken, and when Nothing."))


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = Run(Story(tmp_path / "run").add(0, 0.1).write())
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "nowhere" / "report.html", tmp_path / "taken"):
        with pytest.raises(UsageError, match=r"cannot be written .*: name a file in a folder"):
            run.report(path)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "taken"}
