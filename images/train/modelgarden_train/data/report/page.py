"""The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere. Pure.

All that comes from rows, files and specs is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from modelgarden.api.artifact import DatasetReport, FindingRecord, LengthBin, RunIdentity, SourceRecord
from modelgarden_train.data.report.style import STYLE

_WIDTH: Final = 720
_HEIGHT: Final = 180
_BASE: Final = 150
"""Where the bars stand, from above."""
_TOP: Final = 18
_MOST_LABELS: Final = 12
_MOST_PLACES: Final = 10


def page_of(report: DatasetReport, *, run: RunIdentity) -> str:
    """Return the page of a report."""
    title = f"{run.namespace}/{run.name}"
    sections = (
        _figures(report),
        _section("Lengths", _histogram(report.histogram) + _percentiles(report)),
        _section("What was found", _findings(report.findings)),
        _section("Sources", _sources(report.sources)),
        _section("First row, as the model sees it", _example(report.status.first_example)),
        _section("Identity", _identity(report)),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Dataset of {escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="over">Dataset report</p><h1>{escape(title)}</h1></header>\n'
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{body}</section>\n"


def _figures(report: DatasetReport) -> str:
    status = report.status
    shown = [
        ("rows read", status.rows),
        ("to train on", status.training_rows),
        ("for validation", status.validation_rows),
        *([("for the test", status.test_rows)] if status.test_rows else []),
        ("dropped", sum(status.dropped.values())),
        ("tokens to train on", status.tokens),
    ]
    figures = "".join(f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in shown)
    return f'<dl class="figures">{figures}</dl>\n'


def _histogram(bins: Sequence[LengthBin]) -> str:
    if not bins:
        return ""
    most = max(one.rows for one in bins)
    step = _WIDTH / len(bins)
    every = -(-len(bins) // _MOST_LABELS)
    bars = []
    for number, one in enumerate(bins):
        left, height = number * step, (_BASE - _TOP) * one.rows / most
        middle = left + step / 2
        told = f"{one.rows:,} rows of {one.from_tokens:,} to {one.to_tokens:,} tokens"
        bars.append(
            f'<g><title>{told}</title><rect class="hit" x="{left:.1f}" y="0" width="{step:.1f}" height="{_BASE}"/>'
            f'<rect class="bar" x="{left + 1:.1f}" y="{_BASE - height:.1f}" width="{step - 2:.1f}" height="{height:.1f}"'
            ' rx="2"/></g>'
        )
        if number % every == 0:
            bars.append(
                f'<text x="{middle:.1f}" y="{_BASE + 18}" text-anchor="middle">{one.to_tokens:,}</text>'
            )
    name = f"Histogram of row lengths; the highest bar is {most:,} rows"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}">'
        f'<line x1="0" y1="{_BASE}" x2="{_WIDTH}" y2="{_BASE}"/>{"".join(bars)}</svg>\n'
        '<p class="note">Rows by length; under a bar stands its longest row in tokens.</p>\n'
    )


def _percentiles(report: DatasetReport) -> str:
    lengths = report.status.lengths
    if lengths is None:
        return ""
    shown = (
        ("half of the rows", lengths.p50),
        ("90 %", lengths.p90),
        ("99 %", lengths.p99),
        ("all", lengths.max),
    )
    return _table(("rows", "no longer than (tokens)"), ((name, f"{value:,}") for name, value in shown))


def _findings(findings: Sequence[FindingRecord]) -> str:
    if not findings:
        return "<p>Nothing that was looked for.</p>\n"
    rows = (
        (
            one.reason,
            "dropped" if one.action == "Drop" else "kept, flagged",
            f"{one.rows:,}",
            _places(one),
        )
        for one in findings
    )
    return _table(("reason", "what became of them", "rows", "first places"), rows)


def _places(finding: FindingRecord) -> str:
    shown = "; ".join(finding.places[:_MOST_PLACES])
    return shown if finding.rows <= _MOST_PLACES else f"{shown} and {finding.rows - _MOST_PLACES:,} more"


def _sources(sources: Sequence[SourceRecord]) -> str:
    rows = (
        (
            source.uri,
            "validation" if source.validation else "training, splits",
            f"{source.files:,}",
            _count(source.rows),
            _count(source.kept),
        )
        for source in sources
    )
    return _table(("source", "for", "files", "rows read", "rows kept"), rows)


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _example(example: str | None) -> str:
    return f"<pre>{escape(example)}</pre>\n" if example else "<p>None.</p>\n"


def _identity(report: DatasetReport) -> str:
    shown = [("SHA-256 of the splits", report.status.digest), ("format", report.status.format)]
    if report.model_revision:
        shown.append(("revision of the tokenizer", report.model_revision))
    if report.model_listing:
        shown.append(("digest of the base model's listing", report.model_listing))
    return _table(("what", "value"), shown)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'
