"""The dashboard as somebody meets it: JupyterLab in a browser, a notebook, a button."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import nbformat
import psutil
import pytest
from selenium import webdriver

from tests.waiting import wait_until

CELLS = [
    "import streamlab as sl\n\nlab = sl.Lab('process')\ndashboard = lab.live()\ndashboard",
    "print('the kernel is free:', 6 * 7)",
]


@contextmanager
def jupyter(home):
    """Start JupyterLab on a folder with one notebook; the address of the notebook, with its token."""
    for folder in ("notebooks", "runtime"):
        (home / folder).mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, home / "notebooks" / "dashboard.ipynb")
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    places = {f"JUPYTER_{place.upper()}_DIR": place for place in ("config", "data", "runtime")}
    places |= {f"JUPYTERLAB_{place.upper()}_DIR": place for place in ("settings", "workspaces")}
    places["IPYTHONDIR"] = "ipython"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    options = ["--ServerApp.port=0", f"--ServerApp.root_dir={home / 'notebooks'}", "--IdentityProvider.token=secret"]
    environment = os.environ | {name: str(home / folder) for name, folder in places.items()}
    with (home / "jupyter.log").open("wb") as log:
        server = subprocess.Popen([*command, *options], env=environment, cwd=home, stdout=log, stderr=log)
    try:
        told = wait_until("JupyterLab listens", lambda: list((home / "runtime").glob("jpserver-*.json")), timeout=30)
        url = wait_until(
            "JupyterLab says where", lambda: told[0].read_text() and json.loads(told[0].read_text())["url"]
        )
        yield f"{url}lab/tree/dashboard.ipynb?token=secret"
    finally:
        below = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(signal.SIGTERM)  # kernels are shut down in order
        server.wait(20)
        wait_until("nothing of JupyterLab is left", lambda: not [it for it in below if it.is_running()], timeout=15)


@pytest.fixture
def browser(tmp_path):
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):  # on CI nothing is missing
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no Chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    size = ("--window-size=1280,1400", f"--user-data-dir={tmp_path / 'chromium'}")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *size):
        options.add_argument(argument)
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield window
    finally:
        window.save_screenshot(str(tmp_path / "last.png"))
        window.quit()


class Page:
    """What the test sees of the dashboard, and what it presses."""

    def __init__(self, browser):
        self.browser = browser

    def text(self, name):
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return self.browser.execute_script(script, f".streamlab-{name}")

    def pending(self, worker):
        return int(self.text(f"pending-{worker}") or 0)

    def press(self, name):
        script = "return document.querySelector(arguments[0])"
        found = wait_until(f"{name} is there", lambda: self.browser.execute_script(script, f".streamlab-{name}"), 30)
        wait_until(f"{name} can be pressed", found.is_enabled)
        found.click()

    def fits(self):
        """Whether nothing of the dashboard is cut off at its right."""
        script = """
            const all = document.querySelector('.streamlab-dashboard'), right = all.getBoundingClientRect().right + 1;
            return [...all.querySelectorAll('button, svg, .widget-html')].every(
                it => it.getBoundingClientRect().right <= right && it.scrollWidth <= it.clientWidth + 1);
        """
        return self.browser.execute_script(script)


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_worker_is_killed_by_a_click_and_what_it_held_is_claimed(browser, tmp_path):
    with jupyter(tmp_path) as url:
        page = Page(browser)
        browser.get(url)
        ready = "return !!document.querySelector('.jp-Notebook .jp-CodeCell') && !!window.jupyterapp"
        wait_until("the notebook is open", lambda: browser.execute_script(ready), timeout=30)
        idle = "return document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')"
        wait_until("its kernel is there", lambda: browser.execute_script(idle), timeout=30)
        browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        wait_until("the run goes on", lambda: "running" in page.text("status"), timeout=30)
        free = "return document.body.innerText.includes('the kernel is free: 42')"
        wait_until("the next cell has run meanwhile", lambda: browser.execute_script(free))
        wait_until("worker-2 works", lambda: page.pending("worker-2") > 0)

        page.press("kill-worker-2")
        wait_until("it is dead", lambda: page.text("state-worker-2") == "killed")
        held = page.pending("worker-2")
        assert held > 0, "what it held is pending"
        wait_until("the others have claimed it", lambda: page.pending("worker-2") == 0, timeout=5)
        assert page.text("state-worker-2") == "killed"
        assert int(re.search(r"(\d+) claimed", page.text("status"))[1]) >= held

        page.press("restart-worker-2")
        wait_until("it runs again", lambda: page.text("state-worker-2") == "running")
        wait_until("and works", lambda: page.pending("worker-2") > 0)
        page.press("freeze-redis")
        wait_until("Redis stands still", lambda: page.text("state-redis") == "stands still")
        wait_until("Redis is back", lambda: page.text("state-redis") == "running")
        handle = browser.execute_script("return document.querySelector('.streamlab-dashboard .noUi-handle')")
        handle.send_keys("".join(["\ue014"] * 5))  # right, right, ...
        wait_until("the rate is another", lambda: "from now on 25 messages a second" in page.text("log"))
        for width in (1000, 1280):
            browser.set_window_size(width, 1400)
            wait_until(f"all fits into {width} pixels", page.fits)

        page.press("dashboard .mod-danger")
        wait_until("the verdict is there", lambda: page.text("verdict").startswith("valid"), timeout=20)
        drawn = "const it = document.querySelector('.streamlab-dashboard img'); return !!it && it.naturalWidth > 500"
        wait_until("and the pictures", lambda: browser.execute_script(drawn))
        assert "kill worker-2" in page.text("verdict")
