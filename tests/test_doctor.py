"""What is found on this machine, and what is missing with its fix."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from streamlab import doctor
from streamlab.servers import Server
from streamlab.servers.features import FEATURES


def examined() -> tuple[dict[str, Any], str]:
    """The report, and what is printed of it."""
    report, out = doctor.examine(), io.StringIO()
    assert json.loads(json.dumps(report)) == report
    doctor.describe(report, Console(file=out, width=200))
    return report, out.getvalue()


def test_the_servers_of_this_machine_are_started_and_asked(monkeypatch: pytest.MonkeyPatch, any_server: Server) -> None:
    monkeypatch.setenv("STREAMLAB_REDIS_URL", any_server.url)
    report, text = examined()
    external, wheel, *_ = report["servers"]
    assert (external["source"], external["url"]) == ("external", any_server.safe_url)
    assert external["features"] == [name for name in FEATURES if name in any_server.features]
    assert (wheel["source"], wheel["error"]) == ("wheel", None)
    assert {"streams", "autoclaim"} <= set(wheel["features"]) <= FEATURES.keys()
    if report["docker"]["answers"]:
        in_docker = [row["image"] for row in report["servers"] if row["source"] == "container"]
        assert in_docker == report["docker"]["images"][:1]
    assert f"{wheel['name']} {wheel['version']}" in text
    assert all(f" {name} " in text for name in FEATURES)


def test_what_is_missing_is_said_with_its_fix(monkeypatch: pytest.MonkeyPatch, any_server: Server) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("STREAMLAB_REDIS_URL", any_server.url.replace("redis://:", "redis://:wrong"))
    monkeypatch.setenv("STREAMLAB_REDIS_SERVER", "/nowhere/redis-server")
    report, text = examined()
    assert report["docker"]["images"] == []
    problems = {problem["what"].split(" ")[0]: problem["fix"] for problem in report["problems"]}
    assert "--server process" in problems["Docker"]
    assert problems["there"].startswith("correct the path")  # there is no server binary
    assert "refuses the password" in text
    assert "wrong" not in text + json.dumps(report)
