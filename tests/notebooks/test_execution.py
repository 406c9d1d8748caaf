"""A clean execution: in a kernel of its own, to the first error, with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from streamlab.errors import UsageError
from streamlab.notebooks import NotebookError, execute, stale
from tests.notebooks.files import REPOSITORY, edit, written
from tests.waiting import wait_until


def test_it_runs_in_this_interpreter_in_its_folder_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No other kernel called python3 is used, and the user's own IPython has no say."""
    other, startup = tmp_path / "jupyter/kernels/python3", tmp_path / "ipython/profile_default/startup"
    for folder in (other, startup):
        folder.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    (startup / "00.py").write_text("leaked = True")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    path = written(
        tmp_path,
        "import os, sys, pathlib",
        "print(sys.executable, pathlib.Path.cwd(), os.environ['STREAMLAB_NOTEBOOK'], 'leaked' in globals(), sep='\\n')",
    )
    edit(path, lambda content: content["metadata"].update(kernelspec={"name": "elsewhere", "display_name": "Else"}))
    before, files, steps = path.read_bytes(), sorted(tmp_path.rglob("*")), []

    notebook = execute(path, progress=lambda done, of: steps.append((done, of)))

    assert notebook.cells[2].outputs[0].text.splitlines() == [sys.executable, str(tmp_path.resolve()), "1", "False"]
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert path.read_bytes() == before
    assert sorted(tmp_path.rglob("*")) == files
    assert capfd.readouterr() == ("", "")


def test_it_fails_on_the_first_error_with_one_line_that_names_the_cell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for code, told, traceback in (
        ("def share(of):\n    return 1 / of\nshare(0)", "ZeroDivisionError: division by zero", "return 1 / of"),
        ("import os; os.write(2, b'farewell'); os._exit(3)", "the kernel died", ""),
        ("import threading; threading.Event().wait()", "took longer than 2 s", ""),
    ):
        path = written(tmp_path, "print('fine')", code, "open('went_on', 'w').close()")
        before = path.read_bytes()

        with pytest.raises(NotebookError) as caught:
            execute(path, write=True, timeout=2)

        assert str(caught.value).startswith(f"07_made_up.ipynb, cell 3 of 4 (In [2]): {told}")
        assert "\n" not in str(caught.value)
        assert traceback in caught.value.traceback
        assert "\x1b" not in caught.value.traceback
        assert caught.value.exit_code >= 64
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_interrupts_the_cell_and_shuts_the_kernel_down(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "import atexit, os, pathlib, threading\natexit.register(pathlib.Path('cleaned_up').touch)",
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "try:\n    threading.Event().wait()\nfinally:\n    pathlib.Path('interrupted').touch()",
    )
    command = "import pathlib, sys; from streamlab.notebooks import execute; execute(pathlib.Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])}
    pid = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", command, path], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until("the second cell runs", lambda: pid.exists() and pid.read_text(), timeout=30)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]

    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert "never awaited" not in said
    assert not psutil.pid_exists(int(pid.read_text()))
    assert (tmp_path / "interrupted").exists()
    assert (tmp_path / "cleaned_up").exists()


def test_what_is_stored_is_a_clean_execution_without_this_machine_and_twice_the_same(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "import os, pathlib, sys, tempfile, streamlab",
        "",
        "print(pathlib.Path.home() / 'secret', pathlib.Path.home(), pathlib.Path.cwd(), streamlab.__file__)",
        "print(sys.executable, tempfile.gettempdir() + '/run-1/redis.log', file=sys.stderr); object()",
        "from IPython.display import HTML; HTML(f\"<a href='{os.getcwd()}/x'>here</a>\")",
        "import warnings; warnings.warn('careful')",
        "1 / 0",
    )
    edit(path, lambda content: content["cells"][7]["metadata"].update(tags=["raises-exception"]))
    execute(path, write=True)
    first = path.read_bytes()
    execute(path, write=True)

    assert path.read_bytes() == first
    assert not stale(path)
    assert list(tmp_path.iterdir()) == [path]
    stored = json.loads(first)
    assert [cell.get("execution_count") for cell in stored["cells"]] == [None, 1, None, 2, 3, 4, 5, 6]
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    shown = json.dumps([cell.get("outputs") for cell in stored["cells"]], ensure_ascii=False)
    for told in (str(Path.home()), str(path.parent), str(REPOSITORY), sys.prefix, "ipykernel_"):
        assert told not in shown
    for kept in ("…/secret", "…/redis.log", "<a href='…/x'>", "object at 0x…>", "ZeroDivisionError"):
        assert kept in shown


def test_a_notebook_edited_while_it_runs_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "1")

    def edited(*_: int) -> None:
        edit(path, lambda content: content["cells"][1].update(source="2"))

    with pytest.raises(UsageError, match=r"^07_made_up\.ipynb was changed while it ran"):
        execute(path, write=True, progress=edited)

    assert json.loads(path.read_text())["cells"][1]["source"] == "2"
