"""The command line as a user meets it: what it prints, where, and its exit codes."""

import json
import shlex
import signal
import subprocess
import sys
import tomllib
from typing import NamedTuple

import pytest

from streamlab import cli
from tests.histories import healthy

COMMAND = [sys.executable, "-c", "from streamlab.cli import main; main()"]


class Answer(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def streamlab(tmp_path, monkeypatch, capsys):
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    usual = signal.getsignal(signal.SIGTERM)

    def streamlab(*arguments):
        monkeypatch.setattr(sys, "argv", ["streamlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Answer(ended.value.code, *capsys.readouterr())

    yield streamlab
    signal.signal(signal.SIGTERM, usual)


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


def refused(result, code, *words):
    """One clear line on standard error, no traceback, nothing on standard output."""
    assert result.returncode == code, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("·")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("streamlab: ")
    assert [word for word in words if word not in lines[0]] == [], lines
    assert result.stdout == ""


def test_the_tour_and_its_folder_judged_and_drawn_again(streamlab, tmp_path):
    """The command as a process: what it prints, and what a later command makes of the folder that it leaves."""
    command = [*COMMAND, "tour", "--server", "process", "--out", "tour", "--seed", "2"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    assert "killed worker-2 (SIGKILL)" in result.stderr
    assert "the others have claimed all that worker-2 held" in result.stderr
    assert "valid: 120 added, 120 done, 0 lost" in result.stdout
    assert "00_start_here" in result.stdout
    folder = tmp_path / "tour"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["verdict"] == "valid"
    assert verdict["counts"]["reclaimed"] >= 1
    assert {"redelivered", "done_twice", "dead_lettered"} <= set(verdict["counts"])
    assert len(list((folder / "thumbnails").glob("*.jpg"))) == 120
    refused(streamlab("tour", "--server", "process", "--out", "tour"), 64, "not empty", "tour")

    made = {name: (folder / name).read_bytes() for name in ("verdict.json", "pel.png", "latency.png")}
    for name in made:
        assert f"  {name}" in result.stdout
        (folder / name).unlink()
    assert streamlab("check", "tour").returncode == 0
    assert streamlab("plot", "tour").returncode == 0
    assert {name: (folder / name).read_bytes() for name in made} == made, "bit for bit the same"
    assert "acknowledged it" in streamlab("message", "tour", "7").stdout


def test_bad_input_gets_one_line(streamlab, tmp_path):
    (tmp_path / "good.toml").write_text(EXPERIMENT)
    (tmp_path / "bad.toml").write_text("colour = 1\n" + EXPERIMENT)
    (tmp_path / "torn.toml").write_text(EXPERIMENT[:-8])
    before = sorted(tmp_path.iterdir())
    good = ["run", "good.toml"]
    for arguments, code, words in (
        (["tour", "--server", "cloud"], 64, ["unknown server", "auto, process, container"]),
        (["tour", "--server", "http://localhost"], 64, ["http"]),
        (["tour", "--server", "redis://localhost:port"], 64, ["redis://"]),
        (["tour", "--server", "redis://127.0.0.1:1"], 69, ["127.0.0.1:1"]),
        (["tour", "--seed", "-1"], 64, ["--seed"]),
        (["tour", "--speed", "1"], 64, ["--speed"]),
        (["fly"], 64, ["fly"]),
        (["notebooks", "99"], 66, ["99"]),
        (["bench", "--messages", "1"], 64, ["--messages"]),
        (["run", "nowhere.toml"], 66, ["nowhere.toml"]),
        (["run", "bad.toml"], 65, ["bad.toml", "colour"]),
        (["run", "torn.toml"], 65, ["torn.toml", "TOML"]),
        ([*good, "--set", "workers"], 64, ["--set workers"]),
        ([*good, "--set", "workers=none"], 64, ["--set workers=none"]),
        ([*good, "--set", "workers=0"], 64, ["workers = 0"]),
        ([*good, "--set", "faults.0.at=1"], 64, ["--set faults"]),
        ([*good, "--set", "workers=2\nseed=3"], 64, ["--set workers"]),
        ([*good, "--set", "workload=3"], 64, ["missing the table [workload]"]),
        ([*good, "--rate", "nan"], 64, ["rate = nan"]),
        ([*good, "--rate", "inf"], 64, ["rate = inf"]),
        ([*good, "--server", "process", "--out", "out", "--worker", "nowhere:work"], 64, ["nowhere:work"]),
        (["check", "[/red]nowhere[x]"], 66, ["[/red]nowhere[x]"]),
        (["check", "good.toml"], 66, ["good.toml"]),
        (["check", "."], 66, ["experiment.toml"]),
        (["plot", "nowhere"], 66, ["nowhere"]),
        (["message", "nowhere", "7"], 66, ["nowhere"]),
    ):
        refused(streamlab(*arguments), code, *words)
        assert sorted(tmp_path.iterdir()) == before, "nothing half-written is left"


def test_a_result_that_cannot_be_written_gets_one_line(streamlab, tmp_path):
    folder = healthy(tmp_path / "run").write()
    for command, name in (("check", "verdict.json"), ("plot", "pel.png")):
        (folder / name).mkdir()
        refused(streamlab(command, folder), 65, name, "directory")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "no draft stays behind"


def test_somebody_elses_redis_is_left_as_it_was(streamlab, any_server, tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    arguments = ["run", "mine.toml", "--json", "--out", "t", "--set", "workers=2", "--count", "20", "--seed", "5"]
    monkeypatch.setenv("STREAMLAB_REDIS_URL", any_server.url)
    password = any_server.url.split(":")[2].split("@")[0]
    with any_server.client() as client:
        mine = f"{any_server.prefix}mine"
        client.set(mine, "untouched")
        before = client.dbsize()
        result = streamlab(*arguments)
        assert result.returncode == 0, result.stderr
        assert "STREAMLAB_REDIS_URL is set" in result.stderr
        assert "stopped worker-1 (SIGSTOP)" in result.stderr
        answer = json.loads(result.stdout)  # and nothing else is on standard output
        assert (answer["verdict"], answer["folder"]) == ("valid", "t")
        assert client.get(mine) == "untouched"
        assert client.dbsize() == before
        client.delete(mine)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "t").rglob("*") if path.is_file())
    assert password.encode() not in everything, "no password in a run's folder"
    assert password not in result.stderr + result.stdout
    saved = tomllib.loads((tmp_path / "t" / "experiment.toml").read_text())
    assert (saved["workers"], saved["workload"]["count"], saved["seed"]) == (2, 20, 5)

    wrong = f"redis://:wrong@{any_server.url.rsplit('@', 1)[1]}"
    result = streamlab("tour", "--server", wrong)
    refused(result, 77, "password")
    assert "wrong@" not in result.stderr


@pytest.mark.parametrize(("number", "ignored"), [(signal.SIGINT, ""), (signal.SIGTERM, "INT")])
def test_what_ends_it_cleans_up(tmp_path, number, ignored):
    """A shell's script starts what is in the background with SIGINT ignored."""
    command = ["sh", "-c", f'trap "" {ignored}; exec "$@"', "sh", *COMMAND, "tour", "--server", "process", "--out", "t"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    with process:
        while "120 jobs" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "interrupted" in told
    assert "what was recorded until then is in t" in told


def test_help_shows_examples(streamlab):
    for command in ("tour", "run", "doctor", "lab", "notebooks", "bench"):
        result = streamlab(command, "--help")
        assert result.returncode == 0
        assert "Example" in result.stdout
    result = streamlab()
    assert (result.returncode, result.stderr) == (64, "")
    assert "streamlab tour" in result.stdout


def test_doctor_and_bench_answer_in_json(streamlab):
    report = json.loads(streamlab("doctor", "--json").stdout)
    assert any("8.2" in server.get("version", "") for server in report["servers"])
    result = streamlab("bench", "queue", "--server", "process", "--messages", "1000", "--rounds", "1", "--json")
    rows = json.loads(result.stdout)
    assert len(rows) == 7
    assert all(row["base"] > 0 and row["ours"] > 0 for row in rows)


ACKS_FIRST = """
def work(client, stream, group, consumer, handle):
    while True:
        for _, rows in client.xreadgroup(group, consumer, {stream: ">"}, count=5, block=100) or []:
            for entry, fields in rows:
                client.xack(stream, group, entry)
                handle(entry, fields)
"""


@pytest.mark.soak
def test_a_failing_seed_is_done_again_by_its_line(streamlab, tmp_path):
    (tmp_path / "mine.py").write_text(ACKS_FIRST)
    (tmp_path / "mine.toml").write_text(EXPERIMENT.replace('"pause"', '"kill"').replace("seconds = 0.6", ""))
    arguments = ["--server", "process", "--worker", "mine:work", "--seed", "4", "--set", "drain=0.5"]
    result = streamlab("run", "mine.toml", *arguments, "--repeat", "2")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "a folder for each seed" in result.stdout
    again = next(line for line in result.stdout.splitlines() if line.endswith("--seed 5")).split("streamlab ")[1]
    result = streamlab(*shlex.split(again))
    assert "(as asked)" in result.stderr
    assert result.stdout.strip().startswith("invalid"), result.stdout + result.stderr
