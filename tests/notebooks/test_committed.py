"""The notebooks of this repository carry the outputs of one clean execution."""

from __future__ import annotations

import json

import pytest

from streamlab.notebooks import load, machine_paths, stale
from tests.notebooks.files import REPOSITORY

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
            assert not machine_paths(load(path)), path.name
        else:
            for _, output in outputs_of:
                for kind, content in output.get("data", {}).items():
                    size = len("".join(content)) * (3 / 4 if kind == "image/png" else 1)
                    assert not kind.startswith("image/") or size <= LARGEST_PICTURE, f"{path.name}: {size:,.0f} bytes"
