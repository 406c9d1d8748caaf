"""The command line as a user meets it: what it prints, where, and its exit codes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.histories import healthy

ROOT = Path(__file__).parents[1]


def streamlab(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from streamlab.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "200"} | environment,
        timeout=100,
        check=False,
    )


def refused(result, code, *words):
    """One clear line on standard error, no traceback, nothing on standard output."""
    assert result.returncode == code, result
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("·")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("streamlab: ")
    for word in words:
        assert word in lines[0]
    assert result.stdout == ""


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "tour"
    return folder, streamlab("tour", "--server", "process", "--out", folder, "--seed", "2")


def test_the_tour_is_valid_and_says_what_happens(toured):
    folder, result = toured
    assert result.returncode == 0, result.stderr
    assert "killed worker-2 (SIGKILL)" in result.stderr
    assert "the others have claimed all that worker-2 held" in result.stderr
    assert "valid: 120 added, 120 done, 0 lost" in result.stdout
    assert "00_start_here" in result.stdout
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["verdict"] == "valid"
    counts = verdict["counts"]
    assert (counts["jobs"], counts["done"], counts["lost"]) == (120, 120, 0)
    assert counts["reclaimed"] >= 1
    assert {"redelivered", "done_twice", "dead_lettered"} <= set(counts)
    for name in ("pel.png", "latency.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"  {name}" in result.stdout
    assert len(list((folder / "thumbnails").glob("*.jpg"))) == 120


def test_the_tour_refuses_a_folder_in_use(toured):
    folder, _ = toured
    refused(streamlab("tour", "--server", "process", "--out", folder), 64, "not empty", str(folder))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tour", "--server", "cloud"], 64, ["unknown server", "auto, process, container"]),
        (["tour", "--server", "http://localhost"], 64, ["http"]),
        (["tour", "--server", "redis://localhost:port"], 64, ["redis://"]),
        (["tour", "--server", "redis://127.0.0.1:1"], 69, ["127.0.0.1:1"]),
        (["tour", "--seed", "-1"], 64, ["--seed"]),
        (["tour", "--speed", "1"], 64, ["--speed"]),
        (["fly"], 64, ["fly"]),
        (["notebooks", "99"], 66, ["99"]),
        (["bench", "--messages", "1"], 64, ["--messages"]),
    ],
)
def test_bad_input_gets_one_line(tmp_path, arguments, code, words):
    refused(streamlab(*arguments, cwd=tmp_path), code, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_gets_one_line(any_server, tmp_path):
    url = f"redis://:wrong@{any_server.url.rsplit('@', 1)[1]}"
    result = streamlab("tour", "--server", url, cwd=tmp_path)
    refused(result, 77, "password")
    assert "wrong@" not in result.stderr


def test_somebody_elses_redis_is_left_as_it_was(any_server, tmp_path):
    with any_server.client() as client:
        mine = f"{any_server.prefix}mine"
        client.set(mine, "untouched")
        before = client.dbsize()
        result = streamlab("tour", "--json", "--out", tmp_path / "t", STREAMLAB_REDIS_URL=any_server.url)
        assert result.returncode == 0, result.stderr
        answer = json.loads(result.stdout)  # and nothing else is on standard output
        assert (answer["verdict"], answer["folder"]) == ("valid", str(tmp_path / "t"))
        assert "STREAMLAB_REDIS_URL is set" in result.stderr
        assert client.get(mine) == "untouched"
        assert client.dbsize() == before
        client.delete(mine)
    secret = any_server.url.split(":")[2].split("@")[0]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "t").rglob("*") if path.is_file())
    assert secret.encode() not in everything, "no password in a run's folder"
    assert secret not in result.stderr + result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cleans_up(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", "from streamlab.cli import main; main()", "tour", "--server", "process", "--out", "t"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with process:
        while "120 jobs" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "interrupted" in told
    assert (tmp_path / "t" / "events").is_dir()


def test_help_shows_examples():
    for command in ("tour", "doctor", "lab", "notebooks", "bench"):
        result = streamlab(command, "--help")
        assert result.returncode == 0
        assert "Example" in result.stdout


def test_without_a_command_it_shows_its_help():
    result = streamlab()
    assert result.returncode == 64
    assert "streamlab tour" in result.stdout
    assert result.stderr == ""


def test_doctor_answers_in_json():
    report = json.loads(streamlab("doctor", "--json").stdout)
    assert any("8.2" in server.get("version", "") for server in report["servers"])


def test_bench_measures_both_sides():
    result = streamlab("bench", "queue", "--server", "process", "--messages", "2000", "--rounds", "1", "--json")
    rows = json.loads(result.stdout)
    assert len(rows) == 7
    for row in rows:
        assert row["base"] > 0
        assert row["ours"] > 0


def test_the_readme_names_the_commands_that_exist():
    text = (ROOT / "README.md").read_text()
    for command in ("streamlab tour", "streamlab doctor", "streamlab lab", "streamlab notebooks", "streamlab bench"):
        assert command in text


def test_dependencies_are_declared_once():
    """Conda's file installs this checkout and names no Python package of its own."""
    text = (ROOT / "environment.yml").read_text()
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip().startswith("- ")]
    assert lines == ["conda-forge", "python=3.13", "redis-server", "pip", "pip:", "-e ."]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == "streamlab"


EXPERIMENT = """
name = "mine"
claim_after = 0.4
[workload]
kind = "sleep"
count = 30
rate = 100.0
seconds = 0.02
[[faults]]
kind = "pause"
target = "worker-1"
at = 0.1
seconds = 0.6
"""


def test_an_experiment_from_a_file_judged_and_drawn_again(tmp_path):
    file, folder = tmp_path / "mine.toml", tmp_path / "run"
    file.write_text(EXPERIMENT)
    arguments = [
        "--server",
        "process",
        "--out",
        folder,
        "--set",
        "workers=2",
        "--set",
        "workload.count=20",
        "--seed",
        "5",
    ]
    result = streamlab("run", file, *arguments)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "valid: 20 added, 20 done" in result.stdout
    assert "stopped worker-1 (SIGSTOP)" in result.stderr
    saved = tomllib.loads((folder / "experiment.toml").read_text())
    assert (saved["workers"], saved["workload"]["count"], saved["seed"]) == (2, 20, 5)

    made = {name: (folder / name).read_bytes() for name in ("verdict.json", "pel.png", "latency.png")}
    for name in made:
        (folder / name).unlink()
    assert streamlab("check", folder).returncode == 0
    assert streamlab("plot", folder).returncode == 0
    assert {name: (folder / name).read_bytes() for name in made} == made, "bit for bit the same"

    life = streamlab("message", folder, "7")
    assert life.returncode == 0
    assert "acknowledged it" in life.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nowhere.toml"], 66, ["nowhere.toml"]),
        (["run", "bad.toml"], 65, ["bad.toml", "colour"]),
        (["run", "good.toml", "--set", "workers"], 64, ["--set workers"]),
        (["run", "good.toml", "--set", "workers=none"], 64, ["--set workers=none"]),
        (["run", "good.toml", "--set", "workers=0"], 64, ["workers = 0"]),
        (["run", "good.toml", "--set", "faults.0.at=1"], 64, ["--set faults"]),
        (["run", "good.toml", "--set", "workers=2\nseed=3"], 64, ["--set workers"]),
        (["run", "good.toml", "--set", "workload=3"], 64, ["missing the table [workload]"]),
        (["run", "good.toml", "--rate", "nan"], 64, ["rate = nan"]),
        (["run", "good.toml", "--rate", "inf"], 64, ["rate = inf"]),
        (["run", "good.toml", "--server", "process", "--out", "out", "--worker", "nowhere:work"], 64, ["nowhere:work"]),
        (["run", "nobody.toml"], 65, ["nobody.toml", "target", "worker-9", "worker-3"]),
        (["run", "list.toml"], 65, ["list.toml", "kind"]),
        (["run", "torn.toml"], 65, ["torn.toml", "TOML"]),
        (["check", "[/red]nowhere[x]"], 66, ["[/red]nowhere[x]"]),
        (["check", "good.toml"], 66, ["good.toml"]),
        (["check", "nowhere"], 66, ["nowhere"]),
        (["check", "."], 66, ["experiment.toml"]),
        (["plot", "nowhere"], 66, ["nowhere"]),
        (["message", "nowhere", "7"], 66, ["nowhere"]),
    ],
)
def test_bad_files_get_one_line(tmp_path, arguments, code, words):
    (tmp_path / "good.toml").write_text(EXPERIMENT)
    (tmp_path / "bad.toml").write_text("colour = 1\n" + EXPERIMENT)
    (tmp_path / "nobody.toml").write_text(EXPERIMENT.replace("worker-1", "worker-9"))
    (tmp_path / "list.toml").write_text(EXPERIMENT.replace('"pause"', '["pause"]'))
    (tmp_path / "torn.toml").write_text(EXPERIMENT[:-8])
    before = sorted(tmp_path.iterdir())
    refused(streamlab(*arguments, cwd=tmp_path), code, *words)
    assert sorted(tmp_path.iterdir()) == before, "nothing half-written is left"


def test_a_result_that_cannot_be_written_gets_one_line(tmp_path):
    folder = healthy(tmp_path / "run").write()
    for command, name in (("check", "verdict.json"), ("plot", "pel.png")):
        (folder / name).mkdir()
        refused(streamlab(command, folder), 65, name, "directory")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "no draft stays behind"


ACKS_FIRST = """
def work(client, stream, group, consumer, handle):
    while True:
        for _, rows in client.xreadgroup(group, consumer, {stream: ">"}, count=5, block=100) or []:
            for entry, fields in rows:
                client.xack(stream, group, entry)
                handle(entry, fields)
"""


@pytest.mark.soak
def test_a_failing_seed_is_done_again_by_its_line(tmp_path):
    (tmp_path / "mine.py").write_text(ACKS_FIRST)
    (tmp_path / "mine.toml").write_text(EXPERIMENT.replace('"pause"', '"kill"').replace("seconds = 0.6", ""))
    arguments = ["--server", "process", "--worker", "mine:work", "--seed", "4", "--set", "drain=0.5"]
    result = streamlab("run", "mine.toml", *arguments, "--repeat", "2", cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "a folder for each seed" in result.stdout
    again = next(line for line in result.stdout.splitlines() if line.endswith("--seed 5")).split("streamlab ")[1]
    result = streamlab(*shlex.split(again), cwd=tmp_path)
    assert "(as asked)" in result.stderr
    assert result.stdout.strip().startswith("invalid"), result.stdout + result.stderr


def test_sigterm_ends_a_run_in_the_background(tmp_path):
    """A shell's script starts what is in the background with SIGINT ignored."""
    command = [sys.executable, "-c", "from streamlab.cli import main; main()", "tour", "--server", "process"]
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command, "--out", "t"], stderr=subprocess.PIPE, cwd=tmp_path
    )
    with process:
        while b"120 jobs" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 130
    assert "what was recorded until then is in t" in told
