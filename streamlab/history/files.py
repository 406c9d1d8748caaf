"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

from streamlab.errors import DataError, MissingError, PermissionRefusedError


def read(path: Path) -> bytes:
    """All of a file. Raises MissingError, PermissionRefusedError, or DataError where it is none."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device never ends
        raise DataError(f"{path} cannot be read: not a file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file") from None
    except PermissionError:
        raise PermissionRefusedError(f"{path} cannot be read: permission denied") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def write_json(path: str | Path, data: object) -> None:
    """Write a JSON file whole or not at all: to a draft beside it, then rename."""
    write_whole(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: to a draft beside it, then rename; OSError names the file."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise type(error)(error.errno, error.strerror, str(path)) from error
