"""What stored outputs must not contain: times, addresses in memory, and the paths of this machine."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

_USUAL = "home|Users|root|tmp|private|var|usr|opt|srv|mnt|media|work|workspace|builds|app"
_FOLDERS = (Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path(sys.prefix), Path(__file__).parents[2])
_HERE = "|".join(re.escape(str(folder)) for folder in _FOLDERS if folder.name)
_PATH = re.compile(rf"(?<![\w.…:/-])(?:/(?:{_USUAL})/[\w.]|(?:{_HERE})(?![\w-]))[^\s'\"<>,;]*")
_VOLATILE = {r"\bipykernel_\d+/\d+\.py": "cell.py", r"\b0x[0-9a-f]{6,16}\b": "0x…"}
_NOT_TEXT = re.compile(r"(image|audio|video)/(?!svg)|application/pdf")


def clean(notebook: Any) -> None:
    """Remove from a notebook what the next execution, or another machine, would change for no reason.

    Of a path of this machine its last name is kept: `…/worker-1.log`.
    """
    for key in ("widgets", "vscode", "interpreter"):
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [_cleaned(output) for output in cell.outputs if not _is_widget(output.get("data", {}))]


def _is_widget(data: dict[str, Any]) -> bool:
    """Whether an output is nothing without its kernel; one that has HTML, too, becomes that."""
    return data.pop("application/vnd.jupyter.widget-view+json", None) is not None and "text/html" not in data


def _cleaned(value: Any) -> Any:
    """Return outputs with each text inside them cleaned, pictures and sounds left alone."""
    if isinstance(value, str):
        for pattern, instead in _VOLATILE.items():
            value = re.sub(pattern, instead, value)
        return _PATH.sub(lambda path: "…" if Path(path[0]) in _FOLDERS else f"…/{Path(path[0]).name}", value)
    if isinstance(value, dict):
        return type(value)({key: it if _NOT_TEXT.match(key) else _cleaned(it) for key, it in value.items()})
    return [_cleaned(it) for it in value] if isinstance(value, list) else value
