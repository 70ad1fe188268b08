"""What operators are shown, built for the running daemon.

Beside ``main`` and ``trying_out`` this module may know the settings. The rest of the daemon does not know that anybody
looks at it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

from . import __version__
from .config import Settings
from .dispatcher import Dispatcher
from .domain import Clock, moments
from .exceptions import ConfigurationError
from .logging_config import mask, masked
from .metrics import AtRiskCollector, Lookout, Metrics, Readiness
from .page import (
    NOT_SERVED,
    RENDERING_KEPT_SECONDS,
    SWITCHED_OFF,
    Listening,
    LiveStatus,
    Mode,
    Route,
    Rules,
    StatusPage,
    is_served,
    no_page,
)
from .status import Chronicle, DaemonFacts, Gathering

_SAME_MOMENT_SECONDS = 0.2
#: How commands are typed where this runs.
_PROGRAM = "cefmp4" if __package__ == "cefmp4" else f"python -m {__package__}"


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
        program=_PROGRAM,
    )


class Page(NamedTuple):
    """The status page of this process: its routes, and the task that samples the throughput."""

    routes: Sequence[Route]
    sample: Callable[[], Coroutine[Any, Any, None]]
    is_served: bool


def status_page(
    settings: Settings,
    gathering: Gathering,
    at_risk: AtRiskCollector,
    lookout: Lookout,
    readiness: Readiness,
    emit: moments.Emit,
) -> Page:
    """The page as the settings want it; without one, ``/`` says why."""
    mode, listening = Mode(settings.status_page), Listening(settings.prom_host, settings.status_published_on)
    password = _password(settings)
    # Figures as old as the sizes of the files, so that a sum and its parts agree.
    refreshes = (partial(lookout.not_older_than, _SAME_MOMENT_SECONDS), readiness.answer)
    live = LiveStatus(gathering.facts, lambda: at_risk.figures, refreshes, program=_PROGRAM)
    if not is_served(mode, listening, has_password=password is not None):
        return Page(no_page(SWITCHED_OFF if mode is Mode.OFF else NOT_SERVED), live.sample, False)
    rules = Rules(names=settings.status_hosts or (), password=password)
    page = StatusPage(live.look, rules, report=partial(_report, emit))
    return Page(page.routes(), live.sample, True)


def _password(settings: Settings) -> str | None:
    """Raises ``ConfigurationError`` if the file has become unreadable since the settings were checked."""
    if settings.status_password_file is None:
        return None
    try:
        password = settings.status_password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError([f"STATUS_PASSWORD_FILE cannot be read: {exc}."]) from exc
    mask(password)
    return password


def _report(emit: moments.Emit, error: Exception) -> None:
    emit(moments.Unexpected(file_path="", error=error, retry_seconds=RENDERING_KEPT_SECONDS))
