"""A notebook of the course as its reader meets it: JupyterLab in a browser, Run All, in both themes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from streamlab.notebooks import load
from tests.learn.test_course import COURSE
from tests.live.test_browser import browser, jupyter  # noqa: F401 - a fixture
from tests.waiting import wait_until

_OPEN = "return !!document.querySelector('.jp-Notebook .jp-CodeCell') && !!window.jupyterapp"
_IDLE = "return !!document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')"
_COMMAND = "window.jupyterapp.commands.execute(arguments[0], arguments[1])"
_CELLS = """
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
    const images = [...document.querySelectorAll('.jp-OutputArea-output img')];
    return {
        waiting: cells.filter(cell => /\\[[ *]\\]/.test(cell.querySelector('.jp-InputPrompt')?.innerText ?? '')).length,
        errors: [...document.querySelectorAll('[data-mime-type$="jupyter.error"]')].map(e => e.innerText),
        drawn: images.filter(image => image.naturalWidth > 300).length,
        choices: document.querySelectorAll('.jp-OutputArea-output .widget-radio-box').length,
        outputs: [...document.querySelectorAll('.jp-OutputArea-output')].map(e => e.innerText).join('\\n'),
    };
"""


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_it_runs_in_jupyterlab(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("STREAMLAB_SERVER", "process")
    # All cells are in the page at once, not only those in view.
    tracker = tmp_path / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text('{"windowingMode": "none"}')
    path = COURSE[3]
    sources = [cell.source for cell in load(path).cells if cell.cell_type == "code"]
    run = browser.execute_script
    with jupyter(tmp_path) as url:
        shutil.copy(path, tmp_path / "notebooks")
        browser.get(url.replace("dashboard.ipynb", path.name))
        wait_until("the notebook is open, with its kernel", lambda: run(_OPEN) and run(_IDLE), timeout=60)
        run(_COMMAND, "notebook:clear-all-cell-outputs", {})
        run(_COMMAND, "notebook:run-all-cells", {})
        wait_until("every cell has run", lambda: run(_IDLE) and not run(_CELLS)["waiting"], timeout=240)
        for theme, is_light in (("Light", "true"), ("Dark", "false")):
            run(_COMMAND, "apputils:change-theme", {"theme": f"JupyterLab {theme}"})
            there = f"return document.body.dataset.jpThemeLight == '{is_light}'"
            wait_until(f"it is {theme}", lambda script=there: run(script))
            seen = run(_CELLS)
            assert seen["errors"] == []
            assert seen["drawn"] >= 1
            assert seen["choices"] == sum("sl.predict(" in source for source in sources)
            assert "No prediction made. It was " in seen["outputs"]
