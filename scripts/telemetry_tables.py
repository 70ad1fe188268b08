"""The tables of log events and of metrics in ``docs/reference``, written from the table of moments.

``python -m scripts.documents`` writes them between two marks, in the order in which they stand in the code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Histogram

from scripts.phases import put_between_marks
from src.metrics.at_risk import OF_STREAM, TOTALS
from src.metrics.instruments import METRICS, Metric
from src.metrics.told import TOLD

_REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
LOG_EVENTS = _REFERENCE / "log-events.md"
METRICS_PAGE = _REFERENCE / "metrics.md"

#: An event whose name begins with its service is one for each of them; and how they are called in a sentence.
_SERVICES = {"s3": "S3", "redis": "Redis"}
#: Written by the log itself, when nothing else can be.
_OF_THE_LOG = ("log_line_lost", "error", "a log line could not be written", "report it")


def log_events() -> str:
    """The text of ``docs/reference/log-events.md`` as it would be written now."""
    return put_between_marks(LOG_EVENTS, _linked("".join(_event_lines())))


def _linked(table: str) -> str:
    """``DOCS/`` in a link of a row is the folder of the documents."""
    return table.replace("](DOCS/", f"]({os.pardir}/")


def metrics() -> str:
    """The text of ``docs/reference/metrics.md`` as it would be written now."""
    return put_between_marks(METRICS_PAGE, "".join(_metric_lines()))


def events_that_warn() -> Iterator[tuple[str, str, str, str]]:
    """Event, level, what it means and what to do, of each that is more than information. Two moments may be one
    event; the one that has no meaning of its own is left out."""
    for told in TOLD.values():
        if told.line is None or told.line.level in ("debug", "info") or not told.means:
            continue
        for service, name in _SERVICES.items() if told.line.event.startswith("{service}") else {"": ""}.items():
            event = told.line.event.format(service=service)
            yield event, told.line.level, told.means.format(service=name), told.do
    yield _OF_THE_LOG


def _event_lines() -> Iterator[str]:
    yield "| event | level | meaning | action |\n|---|---|---|---|\n"
    for event, level, means, do in events_that_warn():
        yield f"| `{event}` | {level} | {means} | {do} |\n"


def _metric_lines() -> Iterator[str]:
    yield "| metric | description |\n|---|---|\n"
    for metric in METRICS:
        yield f"| `{_scraped(metric)}` | {'histogram: ' if metric.kind is Histogram else ''}{metric.means} |\n"
    for name, _, means, _ in TOTALS:
        yield f"| `{name}` | {means} |\n"
    for name, _, means, _ in OF_STREAM:
        yield f"| `{name}{{stream_id}}` | {means} |\n"


def _scraped(metric: Metric[Any]) -> str:
    """The name as it is scraped, with its labels."""
    labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
    return f"{metric.name}{'_total' if metric.kind is Counter else ''}{labels}"
