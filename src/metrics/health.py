"""What the daemon tells of its own state: which parts are there, how late its event loop is, and that it hangs."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram

from ..exceptions import described

_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Health:
    """The metrics and the events of ``readiness`` and ``watchdog``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ready = Gauge("cefmp4_ready", "1: everything that the daemon needs answers.", registry=registry)
        self._parts = Gauge("cefmp4_service_ready", "1: it answers; 0: it is missing.", ["service"], registry=registry)
        self._lag = Histogram(
            "cefmp4_event_loop_lag_seconds",
            "How much later than due the event loop came to a task.",
            buckets=_LAGS,
            registry=registry,
        )
        self._longest_lag = Gauge(
            "cefmp4_event_loop_lag_max_seconds", "The longest such delay of the last minute.", registry=registry
        )
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__package__)

    def looked(self, parts: Mapping[str, bool]) -> None:
        for part, ok in parts.items():
            self._parts.labels(part).set(ok)
        self._ready.set(all(parts.values()))

    def missing(self, *, part: str, seconds: float, reason: str, error: BaseException) -> None:
        self._log.warning("not_ready", service=part, seconds=round(seconds, 1), reason=reason, **described(error))

    def back(self, *, part: str, seconds: float) -> None:
        self._log.info("ready_again", service=part, seconds=round(seconds, 1))

    def loop_lagged(self, *, seconds: float, longest: float) -> None:
        self._lag.observe(seconds)
        self._longest_lag.set(longest)

    def loop_hangs(self, *, seconds: float, stack: str) -> None:
        hint = "the process ends now, so that it is started again; report it with this stack"
        self._log.critical("event_loop_hangs", seconds=round(seconds, 1), hint=hint, stack=stack)
