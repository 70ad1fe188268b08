"""What operators are shown, built for the running daemon.

Beside ``main`` and ``trying_out`` this module may know the settings. The rest of the daemon does not know that anybody
looks at it.
"""

from __future__ import annotations

import os

from . import __version__
from .config import Settings
from .dispatcher import Dispatcher
from .domain import Clock
from .logging_config import masked
from .metrics import AtRiskCollector, Metrics, Readiness
from .status import Chronicle, DaemonFacts, Gathering


def gathered_status(
    settings: Settings,
    dispatcher: Dispatcher,
    at_risk: AtRiskCollector,
    readiness: Readiness,
    metrics: Metrics,
    clock: Clock,
) -> Gathering:
    """The status of this process; it is to be built before the first recording, since it listens to all of them."""
    chronicle = Chronicle(clock)
    metrics.listen_to_streams(chronicle.hear)
    package = str(__package__)
    daemon = DaemonFacts(
        version=__version__,
        pid=os.getpid(),
        started_at=clock.utc_now(),
        folder=str(settings.watch_dir.absolute()),
        bucket=settings.s3_bucket_name,
        group=settings.redis_key_prefix,
    )
    return Gathering(
        daemon,
        chronicle,
        clock,
        unfinished=dispatcher.unfinished,
        figures=lambda: at_risk.figures,
        services=lambda: readiness.newest,
        masked=masked,
        program=package if package == "cefmp4" else f"python -m {package}",
    )
