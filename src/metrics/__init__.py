"""What the daemon tells of itself: log events, metrics, readiness, and a process that ends when its event loop hangs.

prometheus-client and structlog's events are known here alone. The others say what happened (``domain.moments``); what
becomes of it, a line, a metric and a row of the reference, is decided in one table here (``told``).
"""

from .at_risk import AtRiskCollector, Lookout
from .emitter import Metrics
from .http_server import serve
from .readiness import Readiness
from .watchdog import watched_loop

__all__ = [
    "AtRiskCollector",
    "Lookout",
    "Metrics",
    "Readiness",
    "serve",
    "watched_loop",
]
