"""The notebooks as a site of static pages, to be read without Jupyter, without a kernel, and without a network.

The pages show the outputs that are stored in the notebooks. They run no script and fetch nothing: the page itself
forbids it to its reader's browser.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from streamlab.errors import DataError, UsageError
from streamlab.notebooks import load, stale

_GENERATOR = '<meta name="generator" content="streamlab notebooks --html">'
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --ground: #fff; --line: #ccc; --soft: #f3f3f3; --link: #0060a0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --ground: #181818; --line: #4a4a4a; --soft: #262626;
  --link: #7ac0f0; } }
body { margin: 2em auto; max-width: 56em; padding: 0 1em; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--ground); overflow-wrap: break-word; }
a { color: var(--link); } a.anchor-link, .prompt { display: none; }
h1 { line-height: 1.25; } h2 { margin-top: 2em; border-bottom: 1px solid var(--line); }
nav { display: flex; gap: 2em; justify-content: space-between; padding: .6em 0; font-size: .9em; }
nav:last-child { margin-top: 2em; border-top: 1px solid var(--line); }
pre, code { font: 14px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
.highlight { background: var(--soft); border-left: 3px solid var(--line); }
pre { margin: .5em 0; padding: .6em .8em; overflow-x: auto; } .highlight pre { margin: 0; }
.output pre { padding: .2em .8em; } .output_area { margin: .4em 0; overflow-x: auto; }
img { max-width: 100%; height: auto; background: #fff; }
table { border-collapse: collapse; font-size: .9em; margin: .6em 0; } th, td { padding: .2em .8em; text-align: left;
  vertical-align: top; border-bottom: 1px solid var(--line); }
details { margin: .8em 0; padding: .4em .8em; border: 1px solid var(--line); } summary { cursor: pointer; }
dt { margin-top: 1.2em; font-weight: bold; } dd { margin: .2em 0 0; }
@media print { nav { display: none; } }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
{generator}
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class _Page:
    """A notebook on its way to be a page."""

    name: str
    title: str
    first: str  # paragraph, as HTML
    body: str


def write_site(notebooks: Sequence[Path], folder: str | Path) -> Path:
    """Write a page for each notebook, in this order, and a contents page; return the contents page.

    The folder is written whole or not at all. One that holds such a site, and nothing else, is replaced.

    Raises `UsageError` for a folder that holds anything else, and where a notebook's outputs are not those of its
    code; `DataError` for a notebook without a title.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not _is_ours(folder):
        raise UsageError(f"{folder} exists and is no site of ours: give a new folder, or an empty one")
    if two := {path.stem for path in notebooks if [other.stem for other in notebooks].count(path.stem) > 1}:
        raise UsageError(f"two notebooks are named {two.pop()}: a page has one name")
    for path in notebooks:
        if stale(path):
            raise UsageError(f"the outputs of {path.name} are older than its code: streamlab notebooks --write {path}")
    names = {path.stem for path in notebooks}
    pages = [_read(path, names) for path in notebooks]
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
            nav = _navigation(before, after)
            _write(draft / f"{page.name}.html", page.title, f"{nav}\n<main>\n{page.body}\n</main>\n{nav}")
        _write(draft / "index.html", "Redis Streams queues", _contents(pages))
        draft.chmod(0o777 & ~_umask())
        _put_in_place(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / "index.html"


def _is_ours(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    there = list(folder.iterdir())
    return not there or all(
        path.suffix == ".html" and path.is_file() and _GENERATOR in path.read_text(errors="replace") for path in there
    )


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def _put_in_place(draft: Path, folder: Path) -> None:
    """Rename; what stood there before is removed when the new is in its place."""
    before = Path(f"{draft}.before")
    if folder.exists():
        folder.rename(before)
    try:
        draft.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _write(path: Path, title: str, body: str) -> None:
    text = _PAGE.format(generator=_GENERATOR, title=escape(title), style=_STYLE + _highlighting(), body=body)
    path.write_text(text, encoding="utf-8")


def _highlighting() -> str:
    from pygments.formatters import HtmlFormatter

    light, dark = (
        HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight")
        for style in ("default", "github-dark")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _read(path: Path, names: set[str]) -> _Page:
    from nbconvert import HTMLExporter
    from nbconvert.filters import markdown2html

    notebook = load(path)
    heads = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"][:1]
    head, _, rest = (heads[0] if heads else "").strip().partition("\n")
    if not head.startswith("# "):
        raise DataError(f"{path.name} has no title: its first text cell begins with '# ...?'")
    # A widget needs a kernel: the next best output is shown in its place.
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    exporter: Any = HTMLExporter(template_name="basic", embed_images=True)  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(path.parent)}})
    paragraph = rest.strip().partition("\n\n")[0]
    return _Page(
        path.stem, head[2:].strip(), _between_pages(markdown2html(paragraph), names), _between_pages(body, names)
    )


def _between_pages(html: str, names: set[str]) -> str:
    """A link to a notebook leads to its page; to one that has no page here, it is only words."""

    def led(link: re.Match[str]) -> str:
        name, place, words = link.groups(default="")
        return f'<a href="{name}.html{place}">{words}</a>' if name in names else words

    return re.sub(r'<a\b[^>]*\shref="(?:\./)?([\w.-]+)\.ipynb(#[^"]*)?"[^>]*>(.*?)</a>', led, html, flags=re.DOTALL)


def _navigation(before: _Page | None, after: _Page | None) -> str:
    def link(page: _Page | None, mark: str, relation: str) -> str:
        if page is None:
            return "<span></span>"
        return f'<a rel="{relation}" href="{page.name}.html">{mark.format(escape(page.title))}</a>'

    contents = '<a href="index.html">Contents</a>'
    return f"<nav>{link(before, '← {}', 'prev')}{contents}{link(after, '{} →', 'next')}</nav>"


def _contents(pages: Sequence[_Page]) -> str:
    rows = "\n".join(
        f'<dt>{escape(page.name[:2])} &nbsp; <a href="{page.name}.html">{escape(page.title)}</a></dt>'
        f"<dd>{page.first}</dd>"
        for page in pages
    )
    return f"<main>\n<h1>Redis Streams queues: build, break, read the picture</h1>\n<dl>\n{rows}\n</dl>\n</main>"
