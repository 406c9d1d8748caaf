"""A clean execution: in a kernel of its own, to the first error, with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from streamlab.errors import UsageError
from streamlab.notebooks import NotebookError, execute, stale
from tests.notebooks.files import REPOSITORY, Write, edit
from tests.waiting import wait_until


def test_it_runs_in_this_interpreter_in_its_folder_and_changes_nothing(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(
        "import os, sys, pathlib",
        "print(sys.executable, pathlib.Path.cwd(), os.environ['STREAMLAB_NOTEBOOK'], sep='\\n')",
    )
    before, steps = path.read_bytes(), []

    result = execute(path, progress=lambda done, of, line: steps.append((done, of, line)))

    assert result.notebook.cells[2].outputs[0].text.splitlines() == [sys.executable, str(tmp_path.resolve()), "1"]
    assert steps == [(0, 2, "import os, sys, pathlib"), (1, 2, steps[1][2]), (2, 2, "")]
    assert steps[1][2].startswith("print(sys.executable")
    assert (result.path, result.cells, result.written) == (path, 2, False)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_another_kernel_called_python3_is_not_used(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    path = write("import sys; print(sys.executable)")
    edit(path, lambda content: content["metadata"].update(kernelspec={"name": "elsewhere", "display_name": "Else"}))

    assert execute(path).notebook.cells[1].outputs[0].text == f"{sys.executable}\n"


def test_the_user_s_own_ipython_has_no_say(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("leaked = True")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    execute(write("assert 'leaked' not in globals()"))

    assert not list((tmp_path / "ipython").rglob("history.sqlite"))


def test_it_fails_on_the_first_error_with_one_line_that_names_the_cell(write: Write, tmp_path: Path) -> None:
    path = write(
        "print('fine')",
        "def share(of):\n    return 1 / of\nshare(0)",
        "open('went_on', 'w').close()",
    )
    before = path.read_bytes()

    with pytest.raises(NotebookError) as caught:
        execute(path, write=True)

    said = "07_made_up.ipynb, cell 3 of 4 (In [2]): ZeroDivisionError: division by zero"
    assert str(caught.value) == said
    assert caught.value.cell == 3
    assert "return 1 / of" in caught.value.traceback
    assert "\x1b" not in caught.value.traceback
    assert caught.value.exit_code >= 64
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_many_lines_is_told_in_one(write: Write) -> None:
    with pytest.raises(NotebookError) as caught:
        execute(write("raise ValueError('first\\nsecond')"))

    assert str(caught.value).endswith("cell 2 of 2 (In [1]): ValueError: first")
    assert "second" in caught.value.traceback


def test_an_error_that_is_meant_to_be_shown_does_not_stop_it(write: Write) -> None:
    path = write("1 / 0", "print('went on')")
    edit(path, lambda content: content["cells"][1]["metadata"].update(tags=["raises-exception"]))

    assert execute(path).notebook.cells[2].outputs[0].text == "went on\n"


def test_a_kernel_that_dies_is_an_error_with_its_last_words(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotebookError, match=r"cell 3 of 3 \(In \[2\]\): the kernel died") as caught:
        execute(write("import os", "os.write(2, b'farewell'); os._exit(3)"))

    assert caught.value.cell == 3
    assert capfd.readouterr() == ("", "")


def test_a_cell_that_takes_too_long_is_interrupted(write: Write) -> None:
    with pytest.raises(NotebookError, match=r"cell 2 of 2 \(In \[1\]\): took longer than 1 s"):
        execute(write("import threading; threading.Event().wait()"), timeout=1)


def test_a_notebook_without_code_runs_and_is_not_stale(write: Write) -> None:
    path = write("")

    assert execute(path, write=True).cells == 0
    assert not stale(path)


def test_ctrl_c_interrupts_the_cell_and_shuts_the_kernel_down(write: Write, tmp_path: Path) -> None:
    path = write(
        "import atexit, os, pathlib, threading\natexit.register(pathlib.Path('cleaned_up').touch)",
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "try:\n    threading.Event().wait()\nfinally:\n    pathlib.Path('interrupted').touch()",
    )
    command = "import pathlib, sys; from streamlab.notebooks import execute; execute(pathlib.Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", command, path], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until("the second cell runs", lambda: (tmp_path / "pid").exists() and _text(tmp_path / "pid"), timeout=30)
        kernel = int(_text(tmp_path / "pid"))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]

    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert "never awaited" not in said
    assert "was destroyed" not in said
    assert not psutil.pid_exists(kernel)
    assert (tmp_path / "interrupted").exists()
    assert (tmp_path / "cleaned_up").exists()


def _text(path: Path) -> str:
    return path.read_text()


def test_stored_outputs_are_those_of_a_clean_execution(write: Write, tmp_path: Path) -> None:
    path = write("x = 6", "", "x * 7")
    path.chmod(0o640)
    assert stale(path)

    assert execute(path, write=True).written

    stored = json.loads(path.read_text())
    assert not stale(path)
    assert [cell.get("execution_count") for cell in stored["cells"]] == [None, 1, None, 2]
    assert stored["cells"][3]["outputs"][0]["data"] == {"text/plain": ["42"]}
    assert all(cell["metadata"] == {} for cell in stored["cells"])
    assert stored["metadata"]["language_info"] == {"name": "python"}
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_notebook_edited_while_it_runs_is_not_overwritten(write: Write) -> None:
    path = write("1")

    with pytest.raises(UsageError, match=r"^07_made_up\.ipynb was changed while it ran"):
        execute(
            path,
            write=True,
            progress=lambda done, of, line: edit(path, lambda content: content["cells"][1].update(source="2")),
        )

    assert json.loads(path.read_text())["cells"][1]["source"] == "2"
