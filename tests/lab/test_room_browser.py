"""The control room as somebody meets it: JupyterLab in a browser, a notebook, a button."""

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

from tests.waiting import wait_until

CELLS = [
    "import streamlab as sl\n\nlab = sl.Lab('process')\nroom = lab.live()\nroom",
    "print('the kernel is free:', 6 * 7)",
]
SETTINGS = {
    "themes": {"theme": "JupyterLab Light"},
    "notification": {"fetchNews": "false", "checkForUpdates": False},
}


def missing(what):
    """Skip with the reason; on CI nothing is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} on CI")
    pytest.skip(what)


@contextmanager
def jupyter(home):
    """JupyterLab on a folder with one notebook; the address of the notebook, with its token."""
    for folder in ("notebooks", "runtime"):
        (home / folder).mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, home / "notebooks" / "room.ipynb")
    for name, setting in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / "apputils-extension" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(setting))
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    places |= {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    options = ["--ServerApp.port=0", f"--ServerApp.root_dir={home / 'notebooks'}", "--IdentityProvider.token=secret"]
    with (home / "jupyter.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *options],
            env=os.environ | {name: str(home / folder) for name, folder in places.items()},
            cwd=home,
            stdout=log,
            stderr=log,
        )
    try:
        told = wait_until("JupyterLab listens", lambda: list((home / "runtime").glob("jpserver-*.json")), timeout=30)
        url = wait_until("JupyterLab says where", lambda: told[0].read_text() and json.loads(told[0].read_text()))[
            "url"
        ]
        yield f"{url}lab/tree/room.ipynb?token=secret"
    finally:
        below = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(signal.SIGTERM)  # kernels are shut down in order
        server.wait(20)
        wait_until("nothing of JupyterLab is left", lambda: not [it for it in below if it.is_running()], timeout=15)


@pytest.fixture
def browser(tmp_path):
    try:
        from selenium import webdriver
    except ImportError:
        missing("no selenium")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        missing("no Chromium with its chromedriver")
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
    """What the test sees of the room, and what it presses."""

    def __init__(self, browser, shots):
        self.browser = browser
        self.shots = shots

    def text(self, name):
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return self.browser.execute_script(script, f".streamlab-{name}")

    def pending(self, worker):
        return int(self.text(f"pending-{worker}") or 0)

    def press(self, name):
        script = "return document.querySelector(arguments[0])"
        button = wait_until(
            f"there is a button {name}", lambda: self.browser.execute_script(script, f".streamlab-{name}"), timeout=30
        )
        wait_until(f"{name} can be pressed", button.is_enabled)
        button.click()

    def command(self, name, **values):
        self.browser.execute_script("window.jupyterapp.commands.execute(arguments[0], arguments[1])", name, values)

    def shot(self, name):
        self.browser.save_screenshot(str(self.shots / f"{name}.png"))

    def theme(self, name):
        """Change JupyterLab's theme; the room's text is readable then."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        light = "return document.body.dataset.jpThemeLight == 'true' && !document.querySelector('#jupyterlab-splash')"
        dark = light.replace("true", "false")
        wait_until(f"it is {name}", lambda: self.browser.execute_script(light if name == "Light" else dark))
        for text in (".streamlab-status", ".streamlab-log", ".streamlab-room svg text"):
            assert self.contrast(text) > 7, f"{text} in the theme {name}"

    def contrast(self, name):
        """Of a text against what it stands on, from 1 to 21."""
        script = """
            const ground = getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim();
            const canvas = document.createElement('canvas').getContext('2d');
            const light = colour => {
                canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
                const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(
                    v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
            };
            const one = document.querySelector(arguments[0]), style = getComputedStyle(one);
            const pair = [light(one.tagName == 'text' ? style.fill : style.color), light(ground)].sort();
            return Math.max(...pair) / Math.min(...pair);
        """
        return self.browser.execute_script(script, name)


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_worker_is_killed_by_a_click_and_what_it_held_is_claimed(browser, tmp_path):
    with jupyter(tmp_path) as url:
        page = Page(browser, tmp_path)
        browser.get(url)
        ready = "return !!document.querySelector('.jp-Notebook .jp-CodeCell') && !!window.jupyterapp"
        wait_until("the notebook is open", lambda: browser.execute_script(ready), timeout=30)
        idle = "return document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')"
        wait_until("its kernel is there", lambda: browser.execute_script(idle), timeout=30)
        page.command("notebook:run-all-cells")
        wait_until("the run goes on", lambda: "running" in page.text("status"), timeout=30)
        free = "return document.body.innerText.includes('the kernel is free: 42')"
        wait_until("the next cell has run meanwhile", lambda: browser.execute_script(free))
        wait_until("worker-2 works", lambda: page.pending("worker-2") > 0)

        page.press("kill-worker-2")
        wait_until("it is dead", lambda: page.text("state-worker-2") == "killed")
        held = page.pending("worker-2")
        assert held > 0, "what it held is pending"
        page.shot("killed")
        wait_until("the others have claimed it", lambda: page.pending("worker-2") == 0, timeout=5)
        assert page.text("state-worker-2") == "killed"
        assert int(re.search(r"(\d+) claimed", page.text("status"))[1]) >= held

        page.press("restart-worker-2")
        wait_until("it runs again", lambda: page.text("state-worker-2") == "running")
        wait_until("and works", lambda: page.pending("worker-2") > 0)
        page.press("freeze-redis")
        wait_until("Redis stands still", lambda: page.text("state-redis") == "stands still")
        wait_until("Redis is back", lambda: page.text("state-redis") == "running")
        handle = browser.execute_script("return document.querySelector('.streamlab-room .noUi-handle')")
        handle.send_keys("".join(["\ue014"] * 5))  # right, right, ...
        wait_until("the rate is another", lambda: "from now on 25 messages a second" in page.text("log"))
        page.shot("light")
        page.theme("Dark")
        page.shot("dark")

        page.press("room .mod-danger")
        wait_until("the verdict is there", lambda: page.text("verdict").startswith("valid"), timeout=20)
        drawn = "const it = document.querySelector('.streamlab-room img'); return !!it && it.naturalWidth > 500"
        wait_until("and the pictures", lambda: browser.execute_script(drawn))
        page.shot("verdict-dark")
        page.theme("Light")
        page.shot("verdict")
        assert "kill worker-2" in page.text("verdict")
