"""What operators are shown and may ask for, built for the running daemon.

Beside ``main`` and ``trying_out`` this module may know the settings. The rest of the daemon does not know that anybody
looks at it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from . import PROGRAM, __version__
from .config import Settings
from .dispatcher import Dispatcher, GivingUp
from .domain import Clock, FailedFor, moments
from .exceptions import ConfigurationError
from .logging_config import mask, masked
from .metrics import AtRiskCollector, Condition, Lookout, Metrics, Readiness
from .ownership import LeftOut
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
from .settings import without_user_info
from .status import Chronicle, DaemonFacts, Gathering, RecorderNotes, RecordingView, State, status_json
from .timeouts import timeout
from .watcher import Watcher

_WATCHED_FOLDER = "watched_folder"
#: How long a status may wait for a service that was unavailable.
_CHECK_SECONDS = 0.5
#: How often the growth of the recordings is noted, for the advice on recorders.
ADVICE_SECONDS = 60.0
#: How old the sizes may be that are shown: those who look at the same time share one update.
_SAME_MOMENT_SECONDS = 0.2


def gathered_status(
    settings: Settings,
    dispatcher: Dispatcher,
    at_risk: AtRiskCollector,
    readiness: Readiness,
    metrics: Metrics,
    clock: Clock,
) -> Gathering:
    """The status of this process; it is to be built before the first recording, since it listens to all of them."""
    chronicle, services, recorders = Chronicle(clock), _Services(readiness), RecorderNotes(clock)
    metrics.listen_to_streams(chronicle.hear)
    metrics.listen_to_streams(recorders.hear_stream)
    metrics.listen(services.hear)
    metrics.listen(recorders.hear)
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
        services=services.now,
        recorders=recorders,
        masked=masked,
        program=PROGRAM,
        stopping=lambda: dispatcher.requests.is_stopping,
    )


async def advise(gathering: Gathering, emit: moments.Emit) -> None:
    """Log what recorders cost: soon after it is known, and then once a day."""
    while True:
        await asyncio.sleep(ADVICE_SECONDS)
        recordings = await asyncio.to_thread(gathering.recordings())
        for each in gathering.advise(recordings):
            emit(
                moments.RecorderAdvice(
                    advice=each.kind,
                    recordings=each.recordings,
                    reason=each.text,
                    bytes_sent_again=each.bytes_sent_again,
                    seconds_at_risk=each.seconds_at_risk,
                    hint=each.hint,
                )
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
    refreshes = (partial(lookout.not_older_than, _SAME_MOMENT_SECONDS), readiness.answer)
    live = LiveStatus(gathering.shown, lambda: at_risk.figures, refreshes, program=PROGRAM)
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


class _Services:
    """The services as readiness found them, and as the recordings' own requests did since: those are sooner to know of
    an outage."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._away: dict[str, datetime] = {}

    def hear(self, moment: moments.Moment) -> None:
        match moment:
            case moments.OutageBegan(service=service, since=since):
                self._away[service] = datetime.fromtimestamp(since, UTC)
            case moments.OutageEnded(service=service):
                self._away.pop(service, None)

    def now(self) -> Mapping[str, Condition]:
        found = dict(self._readiness.newest)
        for name, since in self._away.items():
            if name in found and found[name].ok:
                found[name] = Condition(False, since, "requests fail and are retried")
        return found


def _is_unsafe(failed: RecordingView) -> bool:
    """Whether bytes of a failed recording are only here, or only in an open upload: it is not an object, and the store
    may end it."""
    is_unfinished = failed.failure is not None and failed.failure.waits_for == FailedFor.OTHER
    return failed.at_risk_bytes > 0 or is_unfinished


@dataclass(frozen=True, slots=True)
class DaemonDesk:
    """Answers the commands; see ``doorkeeper.Desk``."""

    settings: Settings
    status_now: Gathering
    dispatcher: Dispatcher
    left_out: LeftOut
    watcher: Watcher
    readiness: Readiness
    lookout: Lookout

    def daemon(self) -> dict[str, Any]:
        return {
            "folder": str(self.settings.watch_dir.absolute()),
            "group": self.settings.redis_key_prefix,
            "version": __version__,
            "pid": os.getpid(),
            "keys": f"{self.settings.s3_bucket_name}/{self.settings.s3_key_prefix}",
            "redis": without_user_info(self.settings.redis_url),
        }

    async def status(self) -> dict[str, Any]:
        if not all(each.ok for each in self.readiness.newest.values()):
            with suppress(TimeoutError):  # the newest look may be from before it came back
                async with timeout(_CHECK_SECONDS):
                    await self.readiness.answer()
        with suppress(TimeoutError):  # a disk may hang
            async with timeout(_CHECK_SECONDS):
                await self.lookout.not_older_than(_SAME_MOMENT_SECONDS)
        shown = self.status_now.shown()  # on the event loop, where nothing changes meanwhile
        return await asyncio.to_thread(lambda: status_json(shown()))

    def scan(self) -> dict[str, Any]:
        return {"scan": self.watcher.scan_soon(), "pid": os.getpid()}

    async def waiting(self, scan: int) -> dict[str, Any]:
        services = await self.readiness.answer()
        away = [name for name, each in services.items() if not each.ok]
        # All of one moment: nothing is awaited before the view is made.
        told = {
            "scanned": self.watcher.newest_scan >= scan and _WATCHED_FOLDER not in away,
            "pid": os.getpid(),
            "nothing_is_left": self.dispatcher.requests.nothing_is_left and self.left_out.nothing_is_left,
            "unreadable": self.watcher.unreadable,
            "away": {name: services[name].reason for name in away},
        }
        view = await asyncio.to_thread(self.status_now.newest())
        failed = [each for each in view.recordings if each.state is State.FAILED and _is_unsafe(each)]
        return told | {
            "unfinished": sum(each.state is not State.FAILED for each in view.recordings) + view.totals.waiting,
            "failed": [
                {"id": each.short_id, "name": each.name, "at_risk_bytes": each.at_risk_bytes} for each in failed
            ],
            "missing": sum(
                each.failure is not None and each.failure.waits_for == FailedFor.SOURCE_MISSING
                for each in view.recordings
            ),
            "at_risk_bytes": view.totals.at_risk_bytes,
            "catch_up_seconds": view.totals.catch_up_seconds,
        }

    async def retry(self, stream_id: str) -> dict[str, Any]:
        refusal = await self.dispatcher.requests.retry(stream_id)
        return {"id": stream_id, "result": "begun" if refusal is None else str(refusal)}

    async def give_up(self, stream_id: str, *, apply: bool) -> dict[str, Any]:
        found = await self.dispatcher.requests.give_up(stream_id, apply=apply)
        if not isinstance(found, GivingUp):
            return {"id": stream_id, "result": str(found)}
        return {
            "id": stream_id,
            "result": "given_up" if apply else "planned",
            "key": found.key,
            "uploads": list(found.upload_ids),
            "stored": found.stored,
        }
