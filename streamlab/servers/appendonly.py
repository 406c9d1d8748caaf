"""The file to which Redis appends what it does: which one it is, and how it is cut short inside a tar archive."""

from __future__ import annotations

import io
import tarfile
from pathlib import PurePosixPath

#: Since 7.0 a folder of files, of which the manifest says which is which; before, one file.
MANIFEST = PurePosixPath("appendonlydir", "appendonly.aof.manifest")
ONE_FILE = PurePosixPath("appendonly.aof")


def growing(manifest: str) -> PurePosixPath:
    r"""The file that grows, by the text of the manifest beside it: the last increment.

    >>> growing("file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n").name
    'a.aof.1.incr.aof'
    """
    words = [line.split() for line in manifest.splitlines()]
    rows = [dict(zip(row[::2], row[1::2], strict=False)) for row in words]  # newer servers say more of each file
    return MANIFEST.with_name([row["file"] for row in rows if row.get("type") == "i"][-1])


def unpacked(archive: bytes) -> bytes:
    """The content of an archive's only file."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None
        return file.read()


def cut_archive(archive: bytes, size: int) -> bytes:
    """The archive with the last `size` bytes of its only file taken off; owner and mode stay."""
    content = unpacked(archive)
    content = content[: max(0, len(content) - size)]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        about = tar.getmembers()[0]
    about.size = len(content)
    shorter = io.BytesIO()
    with tarfile.open(fileobj=shorter, mode="w") as tar:
        tar.addfile(about, io.BytesIO(content))
    return shorter.getvalue()
