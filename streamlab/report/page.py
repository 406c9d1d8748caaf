"""The report: one HTML file with all that is known of a run, to be sent, printed, and opened without a network.

Whatever a run wrote down (names, notes, settings) is text from elsewhere: all of it is escaped, and the page forbids
its reader's browser to run or to fetch anything.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from streamlab.check import CLASSES, Verdict
from streamlab.check.fates import FATES
from streamlab.errors import UsageError
from streamlab.history import History
from streamlab.history.fault_record import FaultRecord
from streamlab.history.files import write_whole
from streamlab.report.trace import Trace

#: The classes of which the report shows traces, and how many of each.
SHOWN = ("lost", "stuck", "done_twice", "reclaimed")
TRACES = 3
_HEADINGS = {
    "pel": "Who held how many messages, and when",
    "latency": "How long each message took, from the moment at which it was due",
    "lanes": "What each worker held, and what was taken from whom",
    "backlog": "What the group had not read yet, and the stream's length",
    "rate": "Messages a second: added, done, delivered again",
}
_SAID = {
    "jobs": "Offered by the producer.",
    "added": "Redis answered the XADD with an entry ID.",
    "failed_attempts": "Attempts, not jobs: the handler raised.",
}
_MARKS = {"valid": "✓", "invalid": "✗", "unknown": "?"}
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --ground: #fff; --line: #ccc; --soft: #f3f3f3;
  --valid: #00795a; --invalid: #b34700; --unknown: #a03f76; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --ground: #181818; --line: #4a4a4a; --soft: #262626;
  --valid: #2fd0a2; --invalid: #ff9154; --unknown: #eda6cd; } }
body { margin: 2em auto; max-width: 60em; padding: 0 1em; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--ground); }
h1 { margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid var(--line); }
.verdict { font-size: 1.3em; font-weight: bold; }
.valid { color: var(--valid); } .invalid { color: var(--invalid); } .unknown { color: var(--unknown); }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
td { padding: .2em .9em .2em 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td:last-child { overflow-wrap: anywhere; } td:first-child, td:first-child + td { white-space: nowrap; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; border: 1px solid var(--line); }
pre { padding: .8em; background: var(--soft); overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { :root { --ink: #000; --ground: #fff; --line: #999; --soft: #fff; --valid: #000; --invalid: #000;
  --unknown: #000; } body { max-width: none; margin: 0; font-size: 10pt; }
  figure, tr, pre.short { break-inside: avoid; } h2, h3 { break-after: avoid; } .wide { overflow: visible; } }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(history: History, verdict: Verdict, pictures: Mapping[str, bytes]) -> str:
    """The whole report as HTML; `pictures` are PNG by name ('pel', 'latency', ...)."""
    experiment = history.experiment
    name = str(experiment.get("name", "experiment"))
    question = str(experiment.get("question", ""))
    body = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{escape(question)}</p>" if question else "",
        _verdict(verdict),
        "<h2>What became of the messages</h2>",
        _counts(verdict),
        "<h2>What was broken, and when</h2>",
        _faults(history),
        "<h2>Pictures</h2>",
        *(_figure(png, _HEADINGS.get(name, name)) for name, png in pictures.items()),
        *_traces(history, verdict),
        "<h2>Settings</h2>",
        _table(_flat({key: value for key, value in experiment.items() if key not in ("faults", "question")})),
        "<h2>Environment</h2>",
        _table(_flat({"ended": history.outcome["ended"], **history.environment})),
        *_again(history),
    ]
    title = f"{name}: {verdict.verdict}"
    return _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(part for part in body if part))


def write(text: str, path: Path) -> Path:
    """Write the page whole or not at all. Raises UsageError where the path cannot be written."""
    try:
        write_whole(path, text.encode(errors="replace"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): name a file in a folder that exists") from error
    return path


def _verdict(verdict: Verdict) -> str:
    line = escape(str(verdict).removeprefix(verdict.verdict))
    return (
        f'<p class="verdict {verdict.verdict}">{_MARKS[verdict.verdict]} {verdict.verdict}{line}</p>'
        f"<p>The guarantee that it claims: <b>{escape(verdict.guarantee)}</b>.</p>"
        f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in verdict.reasons)}</ul>"
    )


def _counts(verdict: Verdict) -> str:
    meaning = FATES | CLASSES | _SAID
    counts = verdict.counts.items()
    return _table([(name.replace("_", " "), f"{count:,}", meaning.get(name, "")) for name, count in counts])


def _faults(history: History) -> str:
    rows = [("from", "to", "family", "fault", "target", "held", "hit", "details")]
    for fault in history.faults.to_dict("records"):
        begin, end = f"{fault['start']:.2f} s", "never undone" if pd.isna(fault["end"]) else f"{fault['end']:.2f} s"
        held, hit = ("" if pd.isna(fault[name]) else f"{fault[name]:,.0f}" for name in ("held", "hit"))
        what = fault["family"] or "worker", fault["fault"], fault["target"]
        rows.append((begin, end, *what, held, hit, _details(fault["record"])))
    return _table(rows) if len(rows) > 1 else "<p>Nothing.</p>"


def _details(record: FaultRecord) -> str:
    """What has no column of its own; of a long list the beginning."""
    parts = [record.said, "" if record.planned else "not planned"]
    for name in ("entries", "skipped", "lost", "started", "doubt"):
        value = getattr(record, name)
        if isinstance(value, list):
            value = ", ".join(value[:3]) + (f", ... ({len(value):,})" if len(value) > 3 else "")
        parts.append(f"{name}: {value}" if value else "")
    return "; ".join(filter(None, parts))


def _figure(png: bytes, alt: str) -> str:
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(png).decode()}"></figure>'


def _traces(history: History, verdict: Verdict) -> Iterable[str]:
    for name in SHOWN:
        evidence = verdict.evidence.get(name, [])
        if evidence:
            words = name.replace("_", " ")
            shown = f": the first {TRACES} of {len(evidence):,}" if len(evidence) > TRACES else ""
            yield f"<h2>Traces of messages that were {words}{shown}</h2>"
        for which in evidence[:TRACES]:
            trace = Trace.of(history, which)
            yield f"<h3>{escape(trace.title)}</h3>"
            yield _table((f"{time:+.3f} s", who, what) for time, who, what in trace.lines())
            yield _figure(trace.plot()._repr_png_(), f"Who held {trace.title}")


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f'<div class="wide"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """workload.rate: 60.0."""
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def _again(history: History) -> Iterable[str]:
    """How to judge it again, and how to do it again."""
    folder = escape(str(history.folder))
    yield "<h2>How to make it again</h2>"
    yield "<p>Judge and draw the saved history once more, without Redis:</p>"
    yield f'<pre class="short">streamlab check {folder}\nstreamlab plot {folder}</pre>'
    yield "<p>Do the experiment once more: save this, then <code>streamlab run experiment.toml</code>.</p>"
    yield f"<pre>{escape((history.folder / 'experiment.toml').read_text(encoding='utf-8', errors='replace'))}</pre>"
