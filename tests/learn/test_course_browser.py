"""The course as its reader meets it: JupyterLab in a browser, Run All, in the light and in the dark theme.

`STREAMLAB_SHOTS=DIR` keeps the screenshots.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from streamlab.notebooks import load
from tests.learn.course import ALL
from tests.live.test_browser import Page, browser, jupyter  # noqa: F401 - a fixture
from tests.waiting import wait_until

_OPEN = "return !!document.querySelector('.jp-Notebook .jp-CodeCell') && !!window.jupyterapp"
_IDLE = "return !!document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')"
_CELLS = """
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
    const count = selector => cells.reduce((sum, cell) => sum + cell.querySelectorAll(selector).length, 0);
    return {
        cells: cells.length,
        waiting: cells.filter(cell => /\\[[ *]\\]/.test(cell.querySelector('.jp-InputPrompt')?.innerText ?? '')).length,
        errors: [...document.querySelectorAll('[data-mime-type$="jupyter.error"]')].map(e => e.innerText),
        pictures: count('.jp-OutputArea-output img'),
        drawn: [...document.querySelectorAll('.jp-OutputArea-output img')].every(image => image.naturalWidth > 300),
        choices: count('.widget-radio-box'),
    };
"""
_SCROLLED = "const it = document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer');"
_HEIGHT = f"{_SCROLLED} return it.scrollHeight"
_SCROLL = f"{_SCROLLED} it.scrollTop = arguments[0]"
_OUTPUTS = "return [...document.querySelectorAll('.jp-OutputArea-output')].map(e => e.innerText).join('\\n')"
_STEP = 1200  # of a window that shows a little more than that


def expected(path: Path) -> tuple[int, int]:
    """How many predictions and how many pictures its stored outputs have."""
    cells = load(path).cells
    predictions = sum("sl.predict(" in cell.source for cell in cells if cell.cell_type == "code")
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    return predictions, sum("image/png" in data for data in shown)


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_runs_in_jupyterlab(
    path: Path,
    browser: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAMLAB_SERVER", "process")
    shots = Path(os.environ.get("STREAMLAB_SHOTS", tmp_path / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    # All cells are in the page at once, not only those in view.
    tracker = tmp_path / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text('{"windowingMode": "none"}')
    predictions, pictures = expected(path)
    with jupyter(tmp_path) as url:
        shutil.copy(path, tmp_path / "notebooks")
        page = Page(browser, shots)
        browser.get(url.replace("dashboard.ipynb", path.name))
        wait_until("the notebook is open", lambda: browser.execute_script(_OPEN), timeout=30)
        wait_until("its kernel is there", lambda: browser.execute_script(_IDLE), timeout=30)
        page.command("notebook:clear-all-cell-outputs")
        page.command("notebook:run-all-cells")
        wait_until(
            "every cell has run",
            lambda: browser.execute_script(_IDLE) and not browser.execute_script(_CELLS)["waiting"],
            timeout=240,
        )
        seen = browser.execute_script(_CELLS)
        assert seen["errors"] == []
        assert seen["pictures"] >= pictures
        assert seen["drawn"]
        assert seen["choices"] == predictions

        if predictions:
            assert "No prediction made. It was " in browser.execute_script(_OUTPUTS)
        for theme, is_light in (("Light", "true"), ("Dark", "false")):
            page.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            there = f"""return document.body.dataset.jpThemeLight == '{is_light}'
                && !document.querySelector('#jupyterlab-splash')"""
            wait_until(f"it is {theme}", lambda script=there: browser.execute_script(script))
            for top in range(0, browser.execute_script(_HEIGHT), _STEP):
                browser.execute_script(_SCROLL, top)
                page.shot(f"{path.stem}-{theme.lower()}-{top // _STEP:02}")
