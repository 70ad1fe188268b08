"""Observability: log events, metrics, readiness, and a watchdog that ends the process when its event loop hangs.

The only package that uses prometheus-client and structlog's events. Other packages report what happened
(``domain.moments``); one table here (``told`` and ``stream_rows``) defines the resulting log line, metrics and
reference entry. ``instruments`` lists the metrics and says how to add a label.
"""

from .at_risk import AtRiskCollector, Lookout
from .emitter import Metrics
from .http_server import serve
from .readiness import Condition, Readiness
from .watchdog import watched_loop

__all__ = [
    "AtRiskCollector",
    "Condition",
    "Lookout",
    "Metrics",
    "Readiness",
    "serve",
    "watched_loop",
]
