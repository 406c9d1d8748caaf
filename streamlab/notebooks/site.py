"""The notebooks as a site of static pages: no kernel, no script, nothing from the network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamlab.errors import DataError, UsageError
from streamlab.notebooks.files import load, stale

_GENERATOR = "streamlab notebooks --html"
_TITLE = "Redis Streams queues: build, break, read the picture"


def write_site(notebooks: Sequence[Path], folder: Path) -> Path:
    """Write a page for each notebook, in this order, and a contents page; return the contents page.

    The pages show the stored outputs. Pages of an earlier site in the folder are removed.

    Raises `UsageError` for a folder that holds anything else, for two notebooks of one name and for outputs that are
    older than their code, `DataError` for a notebook without a title; nothing is written then.
    """
    from nbformat.v4 import new_markdown_cell, new_notebook

    earlier = list(folder.iterdir()) if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or not all(map(_is_page, earlier)):
        raise UsageError(f"{folder} exists and is not a site of ours: give a new folder, or an empty one")
    names = [path.stem for path in notebooks]
    if len(set(names)) < len(names):
        raise UsageError(f"two notebooks have one name, and a page needs its own: {', '.join(names)}")
    loaded = [_loaded(path, names) for path in notebooks]
    titles = [notebook.cells[0].source.partition("\n")[0][2:] for notebook in loaded]
    row = [None, *zip(names, titles, strict=True), None]
    pages, contents = {}, f"# {_TITLE}"
    for n, (name, title, notebook) in enumerate(zip(names, titles, loaded, strict=True)):
        pages[name] = _page(notebook, title, notebooks[n].parent, neighbours=(row[n], row[n + 2]))
        first_paragraph = notebook.cells[0].source.partition("\n")[2].strip().partition("\n\n")[0]
        contents += f"\n\n**{name[:2]} [{title}]({name}.html)**\n\n{first_paragraph}"
    pages["index"] = _page(new_notebook(cells=[new_markdown_cell(contents)]), _TITLE, folder)  # type: ignore[no-untyped-call]
    for page in earlier:
        page.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder.absolute() / "index.html"


def _is_page(path: Path) -> bool:
    return path.suffix == ".html" and path.is_file() and f'content="{_GENERATOR}"' in path.read_text(errors="replace")


def _loaded(path: Path, names: Sequence[str]) -> Any:
    """Return a notebook whose links to other notebooks lead to their pages; without a page, only the words are kept."""
    if stale(path):
        raise UsageError(f"the outputs of {path.name} are older than its code: streamlab notebooks --write {path}")

    def to_page(link: re.Match[str]) -> str:
        words, name, place = link.groups(default="")
        return f"[{words}]({name}.html{place})" if name in names else words

    notebook = load(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\[([^]]*)\]\((?:\./)?([\w.-]+)\.ipynb(#[^)]*)?\)", to_page, cell.source.strip())
    if not notebook.cells or not notebook.cells[0].source.startswith("# "):
        raise DataError(f"{path.name} has no title: its first text cell begins with '# ...?'")
    return notebook


def _page(notebook: Any, title: str, folder: Path, **resources: Any) -> str:
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        template_file=str(Path(__file__).with_name("page.html.j2")),
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    resources |= {"generator": _GENERATOR, "metadata": {"name": title, "path": str(folder)}}
    return str(exporter.from_notebook_node(notebook, resources)[0])
