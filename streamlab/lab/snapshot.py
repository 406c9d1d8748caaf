"""What Redis holds when a run has ended: the last facts that a history needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redis import Redis

from streamlab.history.files import write_whole
from streamlab.queue.keys import dead_stream

_PAGE = 1000


class Snapshot:
    """Asks Redis about one stream and group, page by page.

    A group that is gone delivers nothing: nothing is pending then, and every entry of the stream is undelivered.
    """

    def __init__(self, client: Redis, stream: str, group: str) -> None:
        self._client = client
        self._stream = stream
        self._group = group

    def empty(self) -> bool:
        """Whether the group has read everything and nothing is pending."""
        group = self.group()
        return group is not None and not group["pending"] and next(self._after(group), None) is None

    def group(self) -> dict[str, Any] | None:
        """What XINFO GROUPS says of the group; None where there is none."""
        if not self._client.exists(self._stream):
            return None
        rows: Any = self._client.xinfo_groups(self._stream)
        return next((row for row in rows if row["name"] == self._group), None)

    def outcome(self, folder: Path) -> dict[str, Any]:
        """Write `entries.csv` into the folder, and return the rest of what `outcome.json` has to say."""
        group = self.group()
        jobs = self._write_entries(folder / "entries.csv")
        pending = self._pending() if group else {}
        undelivered = [entry for entry, _ in self._after(group)]
        return {
            "stream": self._stream,
            "group": self._group,
            "group_exists": group is not None,
            "last_delivered": str(group["last-delivered-id"]) if group else "",
            "length": int(self._client.xlen(self._stream)),
            "pending": pending,
            "undelivered": undelivered,
            "jobs": {entry: jobs[entry] for entry in [*pending, *undelivered] if entry in jobs},
            "dead": self._dead(),
        }

    def _write_entries(self, path: Path) -> dict[str, int]:
        """All entries that the stream holds, and the job of each; -1 where it names none."""
        jobs = {entry: job_of(fields) for entry, fields in self._pages("-")}
        write_whole(path, ("entry,job\n" + "".join(f"{entry},{job}\n" for entry, job in jobs.items())).encode())
        return jobs

    def _after(self, group: Mapping[str, Any] | None) -> Iterator[tuple[str, dict[str, str]]]:
        return self._pages(f"({group['last-delivered-id']}" if group else "-")

    def _pages(self, after: str, stream: str = "") -> Iterator[tuple[str, dict[str, str]]]:
        while True:
            rows: Any = self._client.xrange(stream or self._stream, min=after, count=_PAGE)
            if not rows:
                return
            yield from rows
            after = f"({rows[-1][0]}"

    def _pending(self) -> dict[str, str]:
        pending: dict[str, str] = {}
        after = "-"
        while True:
            rows: Any = self._client.xpending_range(self._stream, self._group, min=after, max="+", count=_PAGE)
            if not rows:
                return pending
            pending |= {row["message_id"]: row["consumer"] for row in rows}
            after = f"({rows[-1]['message_id']}"

    def _dead(self) -> list[dict[str, Any]]:
        """The dead letters; a worker that is not ours writes them as it likes, with the entry's ID as `id`."""
        letters = self._pages("-", dead_stream(self._stream, self._group))
        return [
            {
                "entry": fields.get("id", ""),
                "job": job_of(fields),
                "reason": fields.get("reason", ""),
                "error": fields.get("error", ""),
            }
            for _, fields in letters
        ]


def job_of(fields: Mapping[str, str]) -> int:
    """The lab's job number in a message; -1 where it has none. Anybody may have added it, with anything in it."""
    try:
        job = int(fields.get("job", -1))
    except ValueError:
        return -1
    return job if 0 <= job < 2**63 else -1
