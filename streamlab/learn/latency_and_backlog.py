"""The exercises of notebooks/06_latency_and_backlog.ipynb: read no further before you have tried them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.servers import Server

_Job = tuple[float, float, float | None]


def p99_felt(jobs: Sequence[_Job]) -> float:
    """Return the smallest time in which at least 99% of the jobs came; infinity if fewer came at all."""
    took = sorted(math.inf if done is None else done - due for due, _, done in jobs)
    return took[math.ceil(0.99 * len(took)) - 1]


def workers_needed(rate: float, seconds: float, backlog: float, within: float) -> int:
    """Return the smallest number that drains `backlog` in `within` s, and is at most 80% busy afterwards."""
    to_drain = (rate + backlog / within) * seconds
    to_breathe = rate * seconds / 0.8
    return math.ceil(max(to_drain, to_breathe))


def trim(client: Redis, stream: str) -> int:
    """Remove all entries older than the oldest that some group still needs; return how many were removed."""
    needed = []
    groups: Any = client.xinfo_groups(stream)
    for group in groups:
        ms, sequence = group["last-delivered-id"].split("-")
        after: Any = f"{ms}-{int(sequence) + 1}"
        oldest: Any = client.xpending(stream, group["name"])
        needed.append(oldest["min"] or after)
    if not needed:
        return 0  # without a group nobody has read anything
    bound = min(needed, key=lambda entry: [int(part) for part in entry.split("-")])
    removed: Any = client.xtrim(stream, minid=bound, approximate=False)
    return int(removed)


@check(
    "06/1",
    p99_felt,
    "from the time due, also where the producer was late; and what never came is the longest wait of all.",
)
def felt(answer: Answer) -> Iterator[str]:
    """Ask about a closed loop that stood still; then about jobs that never came, few and many."""
    still: list[_Job] = [(n / 100, n / 100, n / 100 + 0.01) for n in range(50)]
    still += [(n / 100, max(n / 100, 2.0 if n > 50 else 0.0), max(n / 100, 2.0) + 0.01) for n in range(50, 300)]
    right, said = p99_felt(still), answer(still)
    if math.isclose(said, p99_felt([(sent, sent, done) for _, sent, done in still]), abs_tol=1e-6):
        yield "that is the time since it was sent. From when on did a user wait?"
    if not math.isclose(said, right, abs_tol=1e-6):
        yield f"{said:.3f} s for 300 jobs with a standstill, right is {right:.3f} s: sort, take number 297 of 300."
    few: list[_Job] = [(n, n, None if n in (7, 8) else n + 1.0 + n / 1000) for n in range(200)]
    said, right = answer(few), p99_felt(few)
    if not math.isclose(said, right, abs_tol=1e-6):
        yield f"2 of 200 never came: {said:.4f} s, right is {right:.4f} s. They are part of the hundred percent."
    said = answer([(due, sent, None if n % 10 == 0 else done) for n, (due, sent, done) in enumerate(few)])
    if said != math.inf:
        yield f"a tenth never came, and it says that 99% came in {said:.3f} s."


@check(
    "06/2",
    workers_needed,
    "while the backlog drains, the rate goes on coming: (rate + backlog / within) x seconds; and the load that "
    "stays must lie below the knee.",
)
def enough(answer: Answer) -> Iterator[str]:
    """Ask with a backlog that decides, with air that decides, with whole numbers, and with no backlog."""
    for rate, seconds, backlog, within in (
        (100, 0.05, 6000, 60),
        (100, 0.05, 0, 60),
        (100, 0.05, 600, 60),
        (10, 0.25, 90, 30),
        (1, 0.01, 0, 10),
        (16, 0.0625, 64, 16),
    ):
        said, right = answer(rate, seconds, backlog, within), workers_needed(rate, seconds, backlog, within)
        case = f"{rate}/s of {seconds} s each, backlog {backlog}, within {within} s"
        if isinstance(said, bool) or not isinstance(said, (int, float)) or said != int(said):
            yield f"{case}: it returned {said!r}. Nobody can start a part of a worker."
        if backlog and said == math.ceil(backlog / within * seconds):
            yield f"{case}: {said} drain the backlog if nothing else comes. But it does."
        if said == math.ceil(rate * seconds) < right:
            yield f"{case}: {said} would be busy all the time, at the knee and above."
        if said == math.ceil((rate + backlog / within) * seconds) < right:
            yield f"{case}: {said} drain it, and are more than 80% busy afterwards."
        if said != right:
            yield f"{case}: it returned {said}, right is {right}."


@check(
    "06/3",
    trim,
    "each group's bound is its oldest pending entry, else what comes after its last delivered one; the stream's is "
    "the oldest of these. Nothing can become needed again below it, so that the commands need not be one step.",
)
def without_loss(answer: Answer, server: Server) -> Iterator[str]:
    """Trim with a fast group, a slow one, one with an old entry pending, and one that has read nothing."""
    with scratch.key(server) as (client, stream):
        ids = [str(client.xadd(stream, {"job": n}, id=f"{9 + n // 12}-{n % 12 + 1}")) for n in range(60)]
        for group in ("fast", "slow", "holds"):
            client.xgroup_create(stream, group, id="0")
        _finish(client, stream, "fast", 50)
        _finish(client, stream, "slow", 30)
        _finish(client, stream, "holds", 40, but=ids[11])
        yield from _compare(client, stream, answer, ids[11:], "group `holds` has an old entry pending")
        client.xack(stream, "holds", ids[11])
        yield from _compare(client, stream, answer, ids[30:], "nothing is pending, and group `slow` has read 30")
        client.xgroup_create(stream, "new", id="0")
        _finish(client, stream, "slow", 20)
        yield from _compare(client, stream, answer, ids[30:], "group `new` has read nothing")
        for group in ("fast", "slow", "holds", "new"):
            _finish(client, stream, group, 60)
        yield from _compare(client, stream, answer, [], "all groups have acknowledged all")


def _compare(client: Redis, stream: str, answer: Answer, right: list[str], case: str) -> Iterator[str]:
    """Trim once; `right` has the IDs that must be left."""
    before, groups = client.xlen(stream), _positions(client, stream)
    said = answer(client, stream)
    rows: Any = client.xrange(stream)
    left = [entry for entry, _ in rows]
    if _positions(client, stream) != groups:
        yield "it changed what a group has read or holds: trimming only removes entries of the stream."
    if lost := set(right) - set(left):
        yield f"{case}: {len(lost)} entries that are still needed are gone. Which is the oldest that anybody needs?"
    if len(left) > len(right):
        yield f"{case}: {len(left) - len(right)} entries that nobody needs are there still."
    if said != before - len(left):
        yield f"{before - len(left)} were removed, it returned {said!r}."


def _positions(client: Redis, stream: str) -> list[Any]:
    groups: Any = client.xinfo_groups(stream)
    return [(group["pending"], group["last-delivered-id"]) for group in groups]


def _finish(client: Redis, stream: str, group: str, count: int, but: str = "") -> None:
    """Have a group read entries and acknowledge them, but one."""
    if ids := [entry for entry in scratch.read(client, stream, "me", count, group) if entry != but]:
        client.xack(stream, group, *ids)
