"""The notebooks as static pages: complete, linked, and without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nbformat import write as write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from streamlab.cli import app
from streamlab.errors import DataError, UsageError
from streamlab.notebooks import source_sha256
from streamlab.notebooks.site import write_site

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NAMES = ("00_first", "01_second", "02_third")
LINKS = "Next: [the second](01_second.ipynb), [a fourth](03_fourth.ipynb). [XADD](https://redis.io/docs/)"
NO_NETWORK = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def made(folder: Path, name: str, *, head: str = "# Who & why?\n\nA *first*\nparagraph.\n\nAnother.") -> Path:
    outputs = [
        new_output("display_data", {"image/png": PIXEL, "text/plain": "Picture"}),
        new_output("execute_result", {"text/plain": "VBox()", "text/html": "<b>shown</b>"}, execution_count=1),
    ]
    code = new_code_cell("x = 1 < 2", execution_count=1, outputs=outputs)
    notebook = new_notebook(cells=[new_markdown_cell(head), code, new_markdown_cell(LINKS)])
    notebook.metadata["streamlab"] = {"source_sha256": source_sha256(notebook)}
    write_notebook(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def check(folder: Path, *names: str) -> None:
    """Every page is there, every link between them leads to one, and no browser loads anything else for them."""
    assert {path.name for path in folder.iterdir()} == {"index.html", *(f"{name}.html" for name in names)}
    for page in folder.iterdir():
        text = page.read_text(encoding="utf-8")
        assert f'<meta content="{NO_NETWORK}" http-equiv="Content-Security-Policy"/>' in text
        assert not re.search(r'<img [^>]*?src="(?!data:)', text), page.name
        for link in re.findall(r'<a [^>]*?href="([^"#]+)', text):
            assert link.startswith("https://") or (folder / link).is_file(), f"{page.name}: {link}"


def test_each_notebook_is_a_page_between_its_neighbours(tmp_path: Path) -> None:
    site = tmp_path / "deep" / "site"

    assert write_site([made(tmp_path, name) for name in NAMES], site) == site / "index.html"
    check(site, *NAMES)
    index, first, second, third = ((site / f"{name}.html").read_text() for name in ("index", *NAMES))
    around = [re.findall(r'<a href="(\S+)" rel="(\w+)"', page) for page in (first, second, third)]
    before, after = ("00_first.html", "prev"), ("02_third.html", "next")
    assert around == [[("01_second.html", "next")] * 2, [before, after] * 2, [("01_second.html", "prev")] * 2]
    assert "<title>Who &amp; why?</title>" in second
    assert f"data:image/png;base64,{PIXEL}" in second
    assert "<b>shown</b>" in second
    assert "VBox" not in second, "the richest output only"
    assert '<a href="01_second.html">the second</a>, a fourth.' in first
    assert re.findall(r'<a href="(\w+)\.html">Who &amp; why\?</a>', index) == list(NAMES)
    assert index.count("A <em>first</em>") == 3
    assert "Another" not in index


def test_a_site_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    three = [made(tmp_path, name) for name in NAMES]
    site = tmp_path / "site"
    write_site(three, site)
    write_site(three[:2], site)
    check(site, *NAMES[:2])

    untitled = made(tmp_path, "03_untitled", head="No title")
    (site / "notes.txt").write_text("mine")
    three[2].write_text(three[2].read_text().replace("1 < 2", "1 < 3"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for notebooks, folder, error, told in (
        (three[:2], site, UsageError, "is not a site of ours"),
        (three[:2], three[0], UsageError, "is not a site of ours"),
        (three, tmp_path / "new", UsageError, r"outputs of 02_third\.ipynb are older"),
        ([untitled], tmp_path / "new", DataError, "has no title"),
        ([three[0], three[0]], tmp_path / "new", UsageError, "one name"),
    ):
        with pytest.raises(error, match=told):
            write_site(notebooks, folder)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_command_writes_pages_of_the_course(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["notebooks", "00", "01", "--html", str(tmp_path / "site")])
    both = CliRunner().invoke(app, ["notebooks", "--write", "--html", str(tmp_path / "other")])

    assert told.stdout.strip() == str(tmp_path / "site" / "index.html")
    check(tmp_path / "site", "00_start_here", "01_streams")
    assert isinstance(both.exception, UsageError)
