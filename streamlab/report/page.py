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

from streamlab.check import Verdict
from streamlab.check.classes import definitions
from streamlab.check.facts import FATES
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
    "jobs": "offered by the producer",
    "added": "Redis answered the XADD with an entry ID",
    "failed_attempts": "attempts, not jobs: the handler raised",
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
th, td { padding: .2em .9em .2em 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th, td:first-child, td:first-child + td { white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.none { opacity: .6; }
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
        _table(_flat({"ended": (history.outcome or {}).get("ended", "interrupted"), **history.environment})),
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
    meaning = FATES | definitions() | _SAID
    rows = "".join(
        f"<tr{'' if count else ' class=none'}><th>{escape(name.replace('_', ' '))}</th>"
        f'<td class="number">{count:,}</td><td>{escape(_sentence(meaning.get(name, "")))}</td></tr>'
        for name, count in verdict.counts.items()
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _faults(history: History) -> str:
    if history.faults.empty:
        return "<p>Nothing.</p>"
    columns = ("from", "to", "family", "fault", "target", "held", "hit", "details")
    rows = []
    for fault in history.faults.to_dict("records"):
        values = {
            "from": f"{fault['start']:.2f} s",
            "to": "never undone" if pd.isna(fault["end"]) else f"{fault['end']:.2f} s",
            "family": fault.get("family") or "worker",
            "held": _whole(fault["held"]),
            "hit": _whole(fault.get("hit")),
            "details": _details(fault["record"]),
        }
        cells = (escape(str(values.get(column, fault.get(column, "")))) for column in columns)
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f"<th>{column}</th>" for column in columns)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'


def _details(record: FaultRecord) -> str:
    """What has no column of its own."""
    told = {name: getattr(record, name) for name in ("entries", "skipped", "lost", "started", "doubt")}
    parts = [record.said, "" if record.planned else "not planned"]
    return "; ".join(filter(None, [*parts, *(f"{name}: {_short(value)}" for name, value in told.items() if value)]))


def _whole(number: Any) -> str:
    return "" if number is None or pd.isna(number) else f"{number:,.0f}"


def _short(value: Any) -> str:
    """A value in a cell; of a long list its beginning."""
    if isinstance(value, list) and len(value) > 3:
        return f"{', '.join(map(str, value[:3]))}, ... ({len(value):,})"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 200 else text[:199] + "…"


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
            yield f'<h3>{escape(trace.title)}</h3><div class="wide">{trace.table()}</div>'
            yield _figure(trace.plot()._repr_png_(), f"The trace of {trace.title} as a drawing")


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in rows)
    return f'<div class="wide"><table>{lines}</table></div>'


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
    folder = str(history.folder)
    yield "<h2>How to make it again</h2>"
    yield "<p>Judge and draw the saved history once more, without Redis:</p>"
    yield f'<pre class="short">streamlab check {escape(folder)}\nstreamlab plot {escape(folder)}</pre>'
    yield "<p>Do the experiment once more: save this, then <code>streamlab run experiment.toml</code>.</p>"
    try:
        text = (history.folder / "experiment.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        text = f"experiment.toml cannot be read: {error}"
    yield f"<pre>{escape(text)}</pre>"
