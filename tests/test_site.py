"""The notebooks as static pages: complete, linked, and quiet."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbformat import write as write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from streamlab.cli import app
from streamlab.errors import DataError, UsageError
from streamlab.notebooks import find_notebooks, source_sha256, stale
from streamlab.site import write_site

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NAMES = ("00_first", "01_second", "02_third")


def made(folder: Path, name: str, *, head: str = "# Who & why?\n\nA *first*\nparagraph.\n\nAnother.") -> Path:
    data = {"text/plain": "VBox()", "text/html": "<b>shown</b>", "application/vnd.jupyter.widget-view+json": {}}
    outputs = [
        new_output("display_data", {"image/png": PIXEL, "text/plain": "Picture"}),
        new_output("execute_result", data, execution_count=1),
    ]
    cells = [
        new_markdown_cell(head),
        new_code_cell("x = 1 < 2", execution_count=1, outputs=outputs),
        new_markdown_cell(
            "Next: [the second](01_second.ipynb), [a fourth](03_fourth.ipynb). [XADD](https://redis.io/docs/latest/commands/xadd/)"
        ),
    ]
    notebook = new_notebook(cells=cells, metadata={"widgets": {"x": {"state": {}}}})
    notebook.metadata["streamlab"] = {"source_sha256": source_sha256(notebook)}
    write_notebook(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [made(tmp_path, name) for name in NAMES]


class Links(HTMLParser):
    """What a page loads, and where it leads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.led: list[str] = []
        self.tags: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            if key in ("src", "srcset", "data", "poster") or (key, tag) == ("href", "link"):
                self.loaded.append(value or "")
            elif key == "href":
                self.led.append(value or "")


def check(folder: Path, names: tuple[str, ...]) -> None:
    """Every page is there, every link between them leads to one, and nothing comes from elsewhere."""
    assert {path.name for path in folder.iterdir()} == {"index.html", *(f"{name}.html" for name in names)}
    for page in folder.iterdir():
        found = Links(page)
        assert all(source.startswith("data:") for source in found.loaded), page.name
        assert not found.tags & {"script", "iframe", "link", "object"}, page.name
        assert not re.search(r"url\(\s*['\"]?(?!data:)|@import", page.read_text()), page.name
        for link in found.led:
            target = link.partition("#")[0]
            assert link.startswith("https://") or not target or (folder / target).is_file(), f"{page.name}: {link}"


def test_each_notebook_is_a_page_between_its_neighbours(three: list[Path], tmp_path: Path) -> None:
    site = tmp_path / "deep" / "site"

    assert write_site(three, site) == site / "index.html"
    check(site, NAMES)
    first, second, third = ((site / f"{name}.html").read_text() for name in NAMES)
    assert 'rel="next" href="01_second.html"' in first
    assert 'rel="prev"' not in first
    assert 'rel="prev" href="00_first.html"' in second
    assert 'rel="next" href="02_third.html"' in second
    assert 'rel="next"' not in third
    assert second.count("<nav>") == 2
    assert "<title>Who &amp; why?</title>" in second
    assert f"data:image/png;base64,{PIXEL}" in second
    assert "<b>shown</b>" in second
    assert '<a href="01_second.html">the second</a>, a fourth.' in first
    assert "VBox" not in second, "the richest output only"
    assert list(site.parent.iterdir()) == [site]


def test_the_contents_have_titles_and_first_paragraphs(three: list[Path], tmp_path: Path) -> None:
    contents = write_site(three, tmp_path / "site").read_text()

    assert re.findall(r'<a href="(\w+)\.html">Who &amp; why\?</a>', contents) == list(NAMES)
    assert contents.count("A <em>first</em>") == 3
    assert "Another" not in contents


def test_a_site_is_replaced_and_anything_else_is_left_alone(three: list[Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    write_site(three, site)
    write_site(three[:2], site)
    check(site, NAMES[:2])

    (site / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for foreign in (site, three[0]):
        with pytest.raises(UsageError, match="no site of ours"):
            write_site(three, foreign)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_fails_leaves_nothing(three: list[Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    three[2].write_text(three[2].read_text().replace("1 < 2", "1 < 3"))
    with pytest.raises(UsageError, match=r"outputs of 02_third\.ipynb are older"):
        write_site(three, site)
    with pytest.raises(DataError, match="has no title"):
        write_site([made(tmp_path, "03_untitled", head="No title")], site)
    assert not site.exists()
    assert not list(tmp_path.glob(".site*"))


def test_the_course_as_it_is_committed(tmp_path: Path) -> None:
    course = [path for path in find_notebooks() if not stale(path)]  # tests/notebooks/test_committed.py says which are

    write_site(course, tmp_path / "site")

    check(tmp_path / "site", tuple(path.stem for path in course))


def test_the_command(three: list[Path], tmp_path: Path) -> None:
    names = list(map(str, three))
    told = CliRunner().invoke(app, ["notebooks", *names, "--html", str(tmp_path / "site")])
    refused = CliRunner().invoke(app, ["notebooks", *names, "--html", str(tmp_path)])
    both = CliRunner().invoke(app, ["notebooks", *names, "--write", "--html", str(tmp_path / "other")])

    assert told.stdout.strip() == str(tmp_path / "site" / "index.html")
    check(tmp_path / "site", NAMES)
    for wrong in (refused, both):
        assert isinstance(wrong.exception, UsageError)
        assert wrong.exception.exit_code >= 64
        assert "\n" not in str(wrong.exception)
