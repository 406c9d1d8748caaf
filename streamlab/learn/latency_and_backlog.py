"""The exercises of notebooks/06_latency_and_backlog.ipynb: read no further before you have tried them.

1. What users felt, out of a load test's list of due, sent and done.
2. How many workers drain a backlog in time, and have air afterwards?
3. Trim what every group has finished with, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import check

if TYPE_CHECKING:
    from streamlab.servers import Server

_Job = tuple[float, float, float | None]

# ---------------------------------------------------------------------------------------------------- solutions


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


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "06/1",
    solution=p99_felt,
    why="from the time due, whoever was late to send; and what never came is the longest wait of all.",
)
def felt(answer: Callable[..., Any]) -> str | None:
    """A closed loop that stood still; then jobs that never came, few and many."""
    still: list[_Job] = [(n / 100, max(n / 100, 2.0 if n > 50 else 0.0), max(n / 100, 2.0) + 0.01) for n in range(300)]
    still[:50] = [(due, due, due + 0.01) for due, _, _ in still[:50]]
    right, said = p99_felt(still), answer(still)
    if not isinstance(said, (int, float)):
        return f"a number of seconds is asked for, it returned {type(said).__name__}."
    if math.isclose(said, _nearest([done - sent for _, sent, done in still if done is not None]), abs_tol=1e-6):
        return "that is the time since it was sent. From when on did a user wait?"
    if not math.isclose(said, right, abs_tol=1e-6):
        return f"{said:.3f} s for 300 jobs with a standstill, right is {right:.3f} s: sort, take number 297 of 300."
    few: list[_Job] = [(n, n, n + 1.0 + n / 1000) for n in range(200)]
    few[7:9] = [(7, 7, None), (8, 8, None)]
    said, right = answer(few), p99_felt(few)
    if not math.isclose(said, right, abs_tol=1e-6):
        return f"2 of 200 never came: {said:.4f} s, right is {right:.4f} s. They are part of the hundred percent."
    many = [(due, sent, None if n % 10 == 0 else done) for n, (due, sent, done) in enumerate(few)]
    said = answer(many)
    return None if said == math.inf else f"a tenth never came, and it says that 99% came in {said:.3f} s."


def _nearest(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1]


@check(
    "06/2",
    solution=workers_needed,
    why="while the backlog drains, the rate goes on coming: (rate + backlog / within) x seconds; and the load that "
    "stays must lie below the knee.",
)
def enough(answer: Callable[..., Any]) -> str | None:
    """A backlog that decides, air that decides, whole numbers, and none at all."""
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
            return f"{case}: it returned {said!r}. Nobody can start a part of a worker."
        if backlog and said == math.ceil(backlog / within * seconds):
            return f"{case}: {said} drain the backlog if nothing else comes. But it does."
        if said == math.ceil(rate * seconds) < right:
            return f"{case}: {said} would be busy all the time, at the knee and above."
        if said == math.ceil((rate + backlog / within) * seconds) < right:
            return f"{case}: {said} drain it, and are more than 80% busy afterwards."
        if said != right:
            return f"{case}: it returned {said}, right is {right}."
    return None


@check(
    "06/3",
    solution=trim,
    why="each group's bound is its oldest pending entry, else what comes after its last delivered one; the stream's is "
    "the oldest of these. Nothing can become needed again below it, so that the commands need not be one step.",
)
def without_loss(answer: Callable[..., Any], server: Server) -> str | None:
    """A fast group, a slow one, one that holds an old entry; then one that has read nothing; IDs of several lengths."""
    with scratch.key(server) as (client, stream):
        ids = [str(client.xadd(stream, {"job": n}, id=f"{9 + n // 12}-{n % 12 + 1}")) for n in range(60)]
        for group in ("fast", "slow", "holds"):
            client.xgroup_create(stream, group, id="0")
        _read(client, stream, "fast", 50)
        _read(client, stream, "slow", 30)
        read = _read(client, stream, "holds", 40, ack=False)
        client.xack(stream, "holds", *read[:11], *read[12:])
        hint = _compare(client, stream, answer, ids[11:], "group `holds` has an old entry pending")
        if hint:
            return hint
        client.xack(stream, "holds", read[11])
        hint = _compare(client, stream, answer, ids[30:], "nothing is pending, and group `slow` has read 30")
        if hint:
            return hint
        client.xgroup_create(stream, "new", id="0")
        _read(client, stream, "slow", 20)
        hint = _compare(client, stream, answer, ids[30:], "group `new` has read nothing")
        if hint:
            return hint
        for group in ("fast", "slow", "holds", "new"):
            _read(client, stream, group, 60)
        return _compare(client, stream, answer, [], "all groups have acknowledged all")


def _compare(client: Redis, stream: str, answer: Callable[..., Any], right: list[str], case: str) -> str | None:
    before: Any = client.xrange(stream)
    groups: Any = client.xinfo_groups(stream)
    said = answer(client, stream)
    after: Any = client.xrange(stream)
    left = [entry for entry, _ in after]
    later: Any = client.xinfo_groups(stream)
    if [(g["pending"], g["last-delivered-id"]) for g in groups] != [
        (g["pending"], g["last-delivered-id"]) for g in later
    ]:
        return "it changed what a group has read or holds: trimming only removes entries of the stream."
    if lost := set(right) - set(left):
        return f"{case}: {len(lost)} entries that are still needed are gone. Which is the oldest that anybody needs?"
    if len(left) > len(right):
        return f"{case}: {len(left) - len(right)} entries that nobody needs are there still."
    removed = len(before) - len(after)
    return None if said == removed else f"{removed} were removed, it returned {said!r}."


def _read(client: Redis, stream: str, group: str, count: int, ack: bool = True) -> list[str]:
    reply: Any = client.xreadgroup(group, "me", {stream: ">"}, count=count)
    ids = [entry for entry, _ in reply[0][1]] if reply else []
    if ack and ids:
        client.xack(stream, group, *ids)
    return ids
