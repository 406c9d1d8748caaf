"""environment.yml makes the course run where Binder would run it: from a fresh clone, without Docker or root."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# How this machine reaches a package index.
_NETWORK = {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "TMPDIR"}


def pip_lines(environment: str) -> list[str]:
    """What stands under `- pip:`, the last part of an environment.yml, line by line."""
    lines = [line.strip() for line in environment.partition("- pip:\n")[2].splitlines() if line.strip()]
    assert lines, "environment.yml has no pip part"
    assert all(line.startswith("- ") for line in lines), lines
    return [line.removeprefix("- ") for line in lines]


def test_the_pip_part_is_this_checkout() -> None:
    assert pip_lines((REPOSITORY / "environment.yml").read_text()) == ["-e ."]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_course_begins_from_a_fresh_clone(tmp_path: Path) -> None:
    clone, venv = tmp_path / "clone", tmp_path / "venv"
    # Nothing of this machine helps: no Docker, no settings of the user's, no package of the environment outside.
    environment = {"PATH": f"{venv / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path), "DOCKER_HOST": "tcp://127.0.0.1:1"}
    environment |= {name: value for name, value in os.environ.items() if name in _NETWORK or name.startswith("PIP_")}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout

    subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    for line in pip_lines((clone / "environment.yml").read_text()):
        run(venv / "bin" / "pip", "install", "-q", *shlex.split(line))

    assert Path(run("python", "-c", "import streamlab; print(streamlab.__file__)").strip()).is_relative_to(clone)
    assert "docker" in run("streamlab", "doctor").lower()
    assert run("streamlab", "notebooks", "00").startswith("00_start_here.ipynb: ")
