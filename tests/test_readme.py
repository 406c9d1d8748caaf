"""What the README names exists: its links, its commands and scenarios, and its code's imports."""

import re
from pathlib import Path

import typer

from streamlab import scenarios
from streamlab.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_notebooks_exist():
    named = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    named += [f"notebooks/{name}.ipynb" for name in re.findall(r"^\| `(\d\d_\w+)`", README, re.MULTILINE)]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_commands_and_scenarios_exist():
    commands = set(re.findall(r"(?:^|[`/])streamlab (\w+)", README, re.MULTILINE))
    assert commands <= set(typer.main.get_command(app).commands)
    assert set(re.findall(r"streamlab run ([a-z][\w-]+)", README)) <= set(scenarios.names())


def test_code_blocks_import_what_there_is():
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        compile(code, "README.md", "exec")
        exec("\n".join(line for line in code.splitlines() if re.match(r"(from|import) ", line)), {})
