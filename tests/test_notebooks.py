from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from nbformat import write as write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from streamlab import notebooks
from streamlab.errors import DataError, MissingError, UsageError
from streamlab.notebooks import NotebookError, execute, find_notebooks, machine_paths, stale
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a notebook of these code cells, under a heading."""

    def write(*codes: str, name: str = "07_made_up.ipynb") -> Path:
        path = tmp_path / name
        cells = [new_markdown_cell("# Does it run?", id="heading"), *map(new_code_cell, codes)]
        write_notebook(new_notebook(cells=cells), path)
        return path

    return write


def outputs(path: Path) -> str:
    """All that the code cells of a notebook show, as text."""
    return json.dumps([cell.get("outputs") for cell in json.loads(path.read_text())["cells"]], ensure_ascii=False)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# Running


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


# Storing


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


def test_storing_twice_gives_the_same_bytes(write: Write) -> None:
    path = write("import sys", "print('out'); print('error', file=sys.stderr); object()", "print(lambda: 0)")
    execute(path, write=True)
    first = path.read_bytes()

    execute(path, write=True)

    assert path.read_bytes() == first
    assert "<object object at 0x…>" in outputs(path) or "<object at 0x…>" in outputs(path)


def test_editing_code_makes_it_stale_and_editing_text_does_not(write: Write) -> None:
    path = write("x = 1", "x")
    execute(path, write=True)
    executed = path.read_text()

    edit(path, lambda content: content["cells"][0].update(source="# Another question"))
    assert not stale(path)

    for change in (
        lambda content: content["cells"][1].update(source="x = 2"),
        lambda content: content["cells"].reverse(),
        lambda content: content["cells"].pop(),
        lambda content: content["cells"][2].update(execution_count=None, outputs=[]),
        lambda content: content["cells"][2].update(execution_count=7),
        lambda content: content["metadata"].pop("streamlab"),
    ):
        path.write_text(executed)
        edit(path, change)
        assert stale(path)


def test_cells_keep_their_ids_and_those_without_get_stable_ones(write: Write) -> None:
    path = write("x = 1", "x = 1", "x", "x")

    def forget(content: Any) -> None:
        content["nbformat_minor"] = 4
        for cell in content["cells"][1:4]:
            del cell["id"]
        content["cells"][4]["id"] = "heading"

    edit(path, forget)
    ids = [cell.id for cell in notebooks.load(path).cells]
    edit(path, lambda content: content["cells"].insert(1, {"cell_type": "markdown", "metadata": {}, "source": "new"}))

    assert ids[0] == "heading"
    assert len(set(ids)) == 5
    again = [cell.id for cell in notebooks.load(path).cells]
    assert again[:1] + again[2:] == ids


def test_no_path_of_this_machine_is_stored(write: Write) -> None:
    path = write(
        "import os, pathlib, sys, tempfile, streamlab",
        "print(pathlib.Path.home() / 'secret', pathlib.Path.cwd(), streamlab.__file__, sys.executable)",
        "print(tempfile.gettempdir() + '/run-1/redis.log', file=sys.stderr)",
        "pathlib.Path.cwd() / 'figure.png'",
        "from IPython.display import HTML; HTML(f\"<a href='{os.getcwd()}/x'>here</a>\")",
        "import warnings; warnings.warn('careful')",
    )

    result = execute(path, write=True)

    for told in (str(Path.home()), str(path.parent), str(REPOSITORY), sys.prefix, "ipykernel_"):
        assert told not in outputs(path)
    assert "…/secret" in outputs(path)
    assert "<a href='…/x'>" in outputs(path)
    assert not machine_paths(result.notebook)


def showing(data: dict[str, str]) -> Any:
    """A notebook whose only cell shows this, as if it had run."""
    return new_notebook(cells=[new_code_cell("show()", execution_count=1, outputs=[new_output("display_data", data)])])


def shown(notebook: Any) -> Any:
    return notebook.cells[0].outputs[0].data


@pytest.mark.parametrize("told", ["/opt/lib/x", "/home/somebody/x", "see (/var/lib/redis)", "file=/Users/me/a b"])
@pytest.mark.parametrize("kind", ["text/plain", "text/html", "image/svg+xml"])
def test_an_output_that_still_names_a_path_is_refused(kind: str, told: str) -> None:
    with pytest.raises(NotebookError, match=r"07_made_up.ipynb, cell 1: its output names '/.*print a relative path"):
        notebooks._normalise(showing({kind: told}), Path("07_made_up.ipynb"), "hash")


@pytest.mark.parametrize(
    "harmless", ["1/2", "redis://…/0", "http://localhost/usr/x", "a/usr/b", "and/or", "</var>", "/", "0xff"]
)
def test_what_only_looks_like_a_path_is_kept(harmless: str) -> None:
    notebook = showing({"text/plain": harmless})

    notebooks._normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert shown(notebook) == {"text/plain": harmless}


def test_pictures_are_kept_as_they_are() -> None:
    # The bytes of a picture may well spell a path: base64 is made of letters and slashes.
    notebook = showing({"image/png": " /home/user/tmp 0x12345678", "text/plain": "<Figure at 0x12345678>"})

    notebooks._normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert shown(notebook) == {"image/png": " /home/user/tmp 0x12345678", "text/plain": "<Figure at 0x…>"}


def test_what_other_programs_noted_is_dropped_and_what_the_author_noted_is_kept() -> None:
    widget = "application/vnd.jupyter.widget-view+json"
    notebook = showing({widget: "{}", "text/plain": "IntProgress()"})
    notebook.metadata.update(widgets={"state": {}}, vscode={}, title="Why groups?")
    notebook.cells[0].metadata.update(execution={"iopub.status.busy": "2024-01-01"}, scrolled=True, tags=["exercise"])

    notebooks._normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert notebook.cells[0].outputs == []
    assert notebook.cells[0].metadata == {"tags": ["exercise"]}
    assert set(notebook.metadata) == {"kernelspec", "language_info", "streamlab", "title"}
    assert notebook.metadata.streamlab == {"source_sha256": "hash"}


def test_a_widget_that_is_told_in_html_too_is_kept_as_that() -> None:
    told = {"text/html": "<p>Who?</p>", "text/plain": "Who?"}
    notebook = showing({"application/vnd.jupyter.widget-view+json": "{}"} | told)

    notebooks._normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert shown(notebook) == told


def test_a_notebook_edited_while_it_runs_is_not_overwritten(write: Write) -> None:
    path = write("1")

    with pytest.raises(UsageError, match=r"^07_made_up\.ipynb was changed while it ran"):
        execute(
            path,
            write=True,
            progress=lambda done, of, line: edit(path, lambda content: content["cells"][1].update(source="2")),
        )

    assert json.loads(path.read_text())["cells"][1]["source"] == "2"


# Finding and reading


def test_notebooks_are_found_by_number_name_and_path(write: Write, tmp_path: Path) -> None:
    first, second = write(name="00_start_here.ipynb"), write(name="01_groups.ipynb")
    write_hidden = tmp_path / ".ipynb_checkpoints"
    write_hidden.mkdir()
    (write_hidden / "00_start_here-checkpoint.ipynb").write_text("{}")

    assert find_notebooks(folder=tmp_path) == [first, second]
    assert find_notebooks(["01", "00_start_here", "01_groups.ipynb"], folder=tmp_path) == [second, first]
    assert find_notebooks([str(first)], folder=tmp_path / "nowhere") == [first]
    assert find_notebooks([str(first), "01"], folder=tmp_path) == [first, second]


def test_an_unknown_or_ambiguous_name_says_what_there_is(write: Write, tmp_path: Path) -> None:
    write(name="00_start_here.ipynb")
    write(name="00_again.ipynb")

    with pytest.raises(MissingError, match=r"no notebook '0'; there are 00_again, 00_start_here$"):
        find_notebooks(["0"], folder=tmp_path)
    with pytest.raises(MissingError, match=r"no notebook 'lost/00_again\.ipynb'; there are"):
        find_notebooks(["lost/00_again.ipynb"], folder=tmp_path)
    with pytest.raises(UsageError, match="'00' is the name of several notebooks"):
        find_notebooks(["00"], folder=tmp_path)


def test_no_notebooks_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no notebooks in .*: run this in a checkout"):
        find_notebooks(folder=tmp_path)


def test_outside_of_a_checkout_they_are_looked_for_here(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebooks, "_REPOSITORY", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    write(name="notebooks/00_here.ipynb")

    assert find_notebooks(["00"]) == [Path("notebooks/00_here.ipynb")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"nbformat": 3, "worksheets": []}',
        '{"nbformat": 4, "cells": 5}',
        '{"nbformat": 4, "cells": [{}]}',
        '{"nbformat": 4, "metadata": {}, "cells": [5]}',
    ],
)
def test_a_file_that_is_no_notebook(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_text(content)

    for read in (stale, execute):
        with pytest.raises(DataError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_notebook_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no notebook .*lost\.ipynb"):
        stale(tmp_path / "lost.ipynb")


# The notebooks of this repository

LARGEST_PICTURE = 100_000

committed = sorted(path for path in (REPOSITORY / "notebooks").rglob("*.ipynb") if "checkpoint" not in str(path))


@pytest.mark.parametrize("check", ["fresh", "no error", "no machine", "small pictures"])
def test_committed_notebooks(check: str) -> None:
    for path in committed:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs_of = [(cell, output) for cell in cells for output in cell.get("outputs", ())]
        if check == "fresh":
            assert not stale(path), f"outputs older than sources: streamlab notebooks --write {path.stem}"
        elif check == "no error":
            for cell, output in outputs_of:
                meant = "raises-exception" in cell["metadata"].get("tags", ())
                assert output["output_type"] != "error" or meant, f"{path.name} shows an error"
        elif check == "no machine":
            assert not machine_paths(notebooks.load(path)), path.name
        else:
            for _, output in outputs_of:
                for kind, content in output.get("data", {}).items():
                    size = len("".join(content)) * (3 / 4 if kind == "image/png" else 1)
                    assert not kind.startswith("image/") or size <= LARGEST_PICTURE, f"{path.name}: {size:,.0f} bytes"
