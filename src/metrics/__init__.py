"""What the daemon tells of itself: log events, metrics, readiness, and a process that ends when its event loop hangs.

prometheus-client and structlog's events are known here alone. The others say that something happened, in a method for
each moment; how it is counted and what the line looks like is decided here.
"""

from .at_risk import AtRiskCollector, Lookout
from .http_server import serve
from .moments import Metrics
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
