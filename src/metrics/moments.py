"""One method per noteworthy moment, which writes its log event and its metric together.

The number of series is bounded: a stream has series of its own from its first part until some time after its end,
and never more than so many streams have any; totals without a stream stay. Trouble that repeats is logged at once,
then at most once a minute for each operation, and its end is logged once.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from ..domain import STATUSES, Care, FailedFor, SendReason, Status
from ..exceptions import Permanent, S3NotAble, S3NotUnderstood, described
from ..retry import ANSWERS, ErrorClass
from .abilities import AbilityMoments
from .health import Health
from .instruments import SERVICES, Instruments
from .series import Roll
from .trouble import Outage, Outages, Quiet, operation_type

#: The label of what failed outside every stream, or in one that has no series of its own.
NO_STREAM = "none"
#: The stream whose work is being done, so that the edges' failures are counted as its own.
_at_work: ContextVar[StreamMoments | None] = ContextVar("stream_at_work", default=None)


def _logger(room: str) -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"{__name__.partition('.')[0]}.{room}")
    return found


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the daemon's and the streams' moments have in common. ``now`` gives monotonic seconds."""

    instruments: Instruments
    roll: Roll
    quiet: Quiet
    now: Callable[[], float]
    fill: dict[object, float]  # by live stream: how full its upload is
    began: float


class StreamMoments:
    """The port ``StreamTelemetry``. Nothing is counted under a stream that is not named (``stream_id`` empty)."""

    def __init__(self, shared: _Shared, stream_id: str, path: str) -> None:
        self._shared = shared
        self._stream_id = stream_id
        self._path = path
        self._admitted = False
        self._left = False
        self._status: Status | None = None

    @contextmanager
    def bind(self) -> Iterator[None]:
        token = _at_work.set(self)
        try:
            with structlog.contextvars.bound_contextvars(stream_id=self._stream_id, file_path=self._path):
                yield
        finally:
            _at_work.reset(token)
            self._leave()

    def started(self, *, key: str, resumed: bool) -> None:
        self._log().info("stream_resumed" if resumed else "stream_started", key=key)

    def part_stored(self, *, number: int, size: int, seconds: float, reason: SendReason) -> None:
        instruments = self._shared.instruments
        fields = {"number": number, "size": size, "seconds": round(seconds, 3)}
        if reason is SendReason.COPIED:
            instruments.parts_copied.inc()
            self._log().info("part_copied", **fields)
            return
        instruments.parts.inc()
        instruments.bytes.inc(size)
        if reason is not SendReason.NEW:
            instruments.parts_again.labels(reason).inc()
            instruments.bytes_again.labels(reason).inc(size)
        if self._has_series():
            instruments.stream_parts.labels(self._stream_id).inc()
            instruments.stream_bytes.labels(self._stream_id).inc(size)
        self._log().info("part_stored", **fields, reason=str(reason))

    def adopted(self, *, upload_id: str, parts: int) -> None:
        self._log().info("upload_adopted", upload_id=upload_id, parts=parts)

    def went_idle(self, *, quiet_seconds: float) -> None:
        self._log().info("stream_went_idle", quiet_seconds=round(quiet_seconds, 1))

    def grew_again(self) -> None:
        self._log().info("stream_grew_again")

    def sealed(self, *, size: int, seconds: float, sent_again: int) -> None:
        self._shared.instruments.seal.observe(seconds)
        self._log().info("stream_sealed", size=size, seconds=round(seconds, 3), sent_again=sent_again)

    def object_proved(self, *, key: str, size: int, etag: str, seconds_since_change: float | None) -> None:
        since: dict[str, float] = {}
        if seconds_since_change is not None:
            if seconds_since_change <= self._shared.now() - self._shared.began:  # else nobody was there to send it
                self._shared.instruments.available.observe(seconds_since_change)
            since["seconds_since_change"] = round(seconds_since_change, 3)
        self._log().info("object_proved", key=key, size=size, etag=etag, **since)

    def took_id(self, *, stream_id: str) -> None:
        self._log().info("stream_id_taken", object_stream_id=stream_id)

    def replacing(self, *, key: str, etag: str) -> None:
        self._log().info("object_being_replaced", key=key, etag=etag)

    def next_key(self, *, taken: str, key: str) -> None:
        self._log().warning("key_taken", taken=taken, key=key)

    def upload_lost(self, *, upload_id: str) -> None:
        self._log().warning("upload_lost", upload_id=upload_id)

    def status_is(self, status: Status) -> None:
        """Streams that are kept are counted where they are: by then nobody carries them."""
        self._leave_status()
        if STATUSES[status].care is Care.CARRIED:
            self._status = status
            self._shared.instruments.streams.labels(status).inc()

    def capacity_used(self, *, ratio: float) -> None:
        self._shared.fill[self] = ratio
        self._tell_fullest()

    def near_capacity(self, *, size: int, capacity: int) -> None:
        hint = "a larger CHUNK_SIZE_BYTES makes room for longer recordings; this one is sent anew when it is full"
        self._log().warning("near_capacity", size=size, capacity=capacity, hint=hint)

    def probe_failed(self, *, error: str) -> None:
        kind = "ffprobe"
        self._shared.instruments.failures.labels(kind).inc()
        self.count_failure(kind)
        self._log().warning("probe_failed", error=error)

    def completed(
        self, *, key: str, size: int, duration_seconds: float | None, stream_seconds: float, processing_seconds: float
    ) -> None:
        instruments = self._shared.instruments
        instruments.completed.inc()
        instruments.lifetime.observe(stream_seconds)
        if self._has_series():
            if duration_seconds is not None:
                instruments.stream_duration.labels(self._stream_id).observe(duration_seconds)
            instruments.stream_processing.labels(self._stream_id).observe(processing_seconds)
        self._end()
        self._log().info(
            "stream_completed",
            key=key,
            size=size,
            duration_seconds=duration_seconds,
            stream_seconds=round(stream_seconds, 3),
            processing_seconds=round(processing_seconds, 3),
        )

    def already_stored(self, *, key: str) -> None:
        self._end()
        self._log().debug("already_stored", key=key)

    def document_taken(self, *, key: str) -> None:
        self._log().warning(
            "document_taken",
            key=key,
            hint="what lies where the metadata belongs is not ours",
        )

    def rescued(self, *, key: str, size: int) -> None:
        self._log().warning("stream_rescued", key=key, size=size)

    def failed(self, *, reason: str, hint: str) -> None:
        self._shared.instruments.failed.inc()
        self._end()
        self._log().error("stream_failed", reason=reason, hint=hint)

    def trouble(self, *, operation: str, error: BaseException, retry_seconds: float | None) -> None:
        kind = operation_type(operation, error)
        self._shared.instruments.failures.labels(kind).inc()
        self.count_failure(kind)
        if failures := self._shared.quiet.worth_a_line((kind, self._stream_id or self._path), self._shared.now()):
            wait = {} if retry_seconds is None else {"retry_in_seconds": round(retry_seconds, 1)}
            self._log().warning("operation_failed", operation=kind, failures=failures, **wait, **described(error))

    def count_failure(self, kind: str) -> None:
        """Count a failed attempt under this stream, where it has series of its own."""
        label = self._stream_id if self._has_series() else NO_STREAM
        self._shared.instruments.stream_failures.labels(label, kind).inc()

    def _has_series(self) -> bool:
        """Whether this stream's own metrics may be written.

        One that lost its series to newer streams does not take them back: two hundred and one streams would push
        each other out at every part, and every counter would begin at 0 again. Nor does what a task that outlives
        the stream tells: nobody would end them once more.
        """
        if self._left or not self._stream_id or (self._admitted and self._stream_id not in self._shared.roll):
            return False
        self._admitted = self._shared.roll.admit(self._stream_id)
        return self._admitted

    def _leave(self) -> None:
        """Nobody carries this stream any longer; whoever takes it up again has other moments."""
        self._left = True
        self._leave_status()
        if self._shared.fill.pop(self, None) is not None:
            self._tell_fullest()
        self._end()

    def _leave_status(self) -> None:
        if self._status is not None:
            self._shared.instruments.streams.labels(self._status).dec()
            self._status = None

    def _tell_fullest(self) -> None:
        self._shared.instruments.capacity.set(max(self._shared.fill.values(), default=0.0))

    def _end(self) -> None:
        self._admitted = False
        self._shared.roll.end(self._stream_id, self._shared.now())

    def _log(self) -> structlog.stdlib.BoundLogger:
        return _logger("stream_processor").bind(stream_id=self._stream_id, file_path=self._path)


class Metrics(AbilityMoments):
    """The ports ``Telemetry`` and ``ServiceObserver``, and what watcher and Redis tell.

    ``now`` gives monotonic seconds, ``wall_clock`` Unix time.
    """

    def __init__(
        self,
        *,
        version: str,
        stream_max: int = 200,
        retention_seconds: float = 600.0,
        registry: CollectorRegistry | None = None,
        now: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # else every counter has a second series
        self.registry = CollectorRegistry() if registry is None else registry
        super().__init__(self.registry)
        ProcessCollector(registry=self.registry)
        self.health = Health(self.registry)
        self._instruments = Instruments(self.registry)
        self._instruments.build.labels(version, platform.python_version()).set(1)
        self._roll = Roll(stream_max, self._instruments.remove)
        self._version = version
        self._retention_seconds = retention_seconds
        self._now = now
        self._quiet = Quiet()
        self._shared = _Shared(self._instruments, self._roll, self._quiet, now, fill={}, began=now())
        self._wall_clock = wall_clock
        self._outages = Outages()
        self._orphans_told = self._gone_told = 0

    def expire(self, now: float) -> None:
        """Let go of the series of streams that ended long ago, and of old trouble; to be called now and then."""
        self._roll.leave_ended_before(now - self._retention_seconds)
        self._quiet.forget(now)
        for service in self._outages.forget(now):
            self._show_outage(service, since=None)

    # -- the daemon ---------------------------------------------------------------------------------------------------

    def daemon_started(self, *, settings: Mapping[str, object], notices: Sequence[str], ffprobe: str | None) -> None:
        """One line with the settings that matter, and one for each notice. ``ffprobe`` is its version, if there."""
        log = _logger("main")
        log.info("daemon_started", version=self._version, ffprobe=ffprobe, **settings)
        for notice in notices:
            log.warning("settings_notice", notice=notice)
        if not ffprobe:
            log.warning("ffprobe_missing", hint="install ffmpeg or set FFPROBE_PATH; metadata will have no duration")

    def daemon_stopped(self) -> None:
        _logger("main").info("daemon_stopped")

    def stream(self, stream_id: str, path: str) -> StreamMoments:
        return StreamMoments(self._shared, stream_id, path)

    def active_streams(self, count: int) -> None:
        self._instruments.active.set(count)

    def failed_streams(self, counts: Mapping[FailedFor, int]) -> None:
        for reason in FailedFor:
            self._instruments.failed_now.labels(reason).set(counts.get(reason, 0))
        self._instruments.streams.labels(Status.FAILED).set(sum(counts.values()))

    def empty_file(self, *, path: str) -> None:
        _logger("dispatcher").info("empty_file", file_path=path)

    def recovered(self, *, streams: int) -> None:
        _logger("dispatcher").info("streams_recovered", streams=streams)

    def draining(self, *, streams: int) -> None:
        _logger("dispatcher").info("draining", streams=streams)

    def drained(self, *, dropped: int) -> None:
        _logger("dispatcher").info("drained", dropped=dropped)

    def orphan_aborted(self, *, key: str, upload_id: str) -> None:
        self._instruments.orphans_aborted.inc()
        _logger("ownership").info("orphan_upload_aborted", key=key, upload_id=upload_id)

    def orphans_left(self, *, count: int, keys: Sequence[str]) -> None:
        """``keys`` are a few of theirs. Told when the number changes."""
        if count and count != self._orphans_told:
            _logger("ownership").warning("orphan_uploads_found", count=count, keys=list(keys))
        self._orphans_told = count
        self._instruments.orphans.set(count)

    def uploads_expire(self, *, days: int) -> None:
        hint = "let the bucket's rule wait for longer than the longest recording and the longest outage"
        _logger("main").warning("uploads_expire", days=days, hint=hint)

    def objects_gone(self, *, count: int, keys: Sequence[str]) -> None:
        """``keys`` are a few of theirs. Told when the number changes."""
        if count and count != self._gone_told:
            _logger("ownership").warning("objects_gone", count=count, keys=list(keys))
        self._gone_told = count
        self._instruments.gone.set(count)

    def unexpected(self, *, path: str, error: BaseException, retry_seconds: float, stream_id: str = "") -> None:
        """A bug or a rarity: with its traceback, since nobody foresaw it. ``stream_id`` where there is one already."""
        kind = self._count_failure("unexpected", error)
        if failures := self._quiet.worth_a_line((kind, path), self._now()):
            _logger("dispatcher").error(
                "unexpected_error",
                stream_id=stream_id,
                file_path=path,
                failures=failures,
                retry_in_seconds=round(retry_seconds, 1),
                exc_info=error,
                **described(error),
            )

    # -- watching -----------------------------------------------------------------------------------------------------

    def file_skipped(self, *, path: str, reason: str) -> None:
        self._instruments.skipped.inc()
        _logger("watcher").warning("file_skipped", file_path=path, reason=reason)

    def watcher_restarted(self, *, error: BaseException, retry_seconds: float) -> None:
        self._instruments.restarts.inc()
        if failures := self._quiet.worth_a_line(("watcher_restarted", ""), self._now()):
            wait = round(retry_seconds, 1)
            _logger("watcher").warning(
                "watcher_restarted", failures=failures, retry_in_seconds=wait, **described(error)
            )

    def left_out(self, *, count: int) -> None:
        self._instruments.left_out.set(count)

    def old_files_left_out(self, *, count: int, newest: str, changed_at: datetime) -> None:
        hint = "they are older than IGNORE_OLDER_THAN; leave it empty to upload them too"
        _logger("watcher").info(
            "old_files_left_out", count=count, file_path=newest, changed_at=changed_at.isoformat(), hint=hint
        )

    def excluded_streams(self, *, count: int, paths: list[str]) -> None:
        hint = "WATCH_FILTER_GLOBS or WATCH_EXCLUDE_GLOBS leaves them out by now; what was begun is finished"
        _logger("watcher").info("excluded_streams", count=count, paths=paths, hint=hint)

    def film_unmatched(self, *, path: str, pattern: str) -> None:
        hint = f'it is not uploaded; to take files like it, add "{pattern}" to the list of WATCH_FILTER_GLOBS'
        _logger("watcher").warning("film_unmatched", file_path=path, pattern=pattern, hint=hint)

    def folder_missing(self, *, path: str) -> None:
        self._instruments.folder.set(0)
        hint = "check WATCH_DIR, and that its disk is mounted; it is waited for, and nothing counts as deleted"
        _logger("watcher").error("folder_missing", folder=path, hint=hint)

    def folder_back(self, *, path: str) -> None:
        self._instruments.folder.set(1)
        _logger("watcher").info("folder_back", folder=path)

    def scanned(self, *, files: int, seconds: float) -> None:
        self._instruments.files.set(files)
        self._instruments.scan.set(seconds)
        self._instruments.folder.set(1)
        _logger("watcher").debug("folder_scanned", files=files, seconds=round(seconds, 3))

    # -- Redis --------------------------------------------------------------------------------------------------------

    def record_set_aside(self, *, key: str, reason: str) -> None:
        self._instruments.set_aside.inc()
        _logger("redis_client").warning("record_set_aside", key=key, reason=reason)

    def redis_may_lose(self, *, reason: str) -> None:
        _logger("redis_client").warning("redis_may_lose", reason=reason)

    def redis_forgot(self, *, records: int) -> None:
        _logger("redis_client").warning("redis_forgot", records=records)

    # -- services -----------------------------------------------------------------------------------------------------

    def request_ended(self, *, service: str, operation: str, seconds: float, error_class: ErrorClass | None) -> None:
        self._instruments.request_seconds[service].labels(operation).observe(seconds)
        if error_class is not None:
            self._instruments.request_errors[service].labels(operation, error_class).inc()
        if error_class is None or error_class in ANSWERS:
            self._tell_end(service, self._outages.answered(service))

    def operation_failed(self, *, operation: str, error: BaseException, attempt: int, wait_seconds: float) -> None:
        """``wait_seconds`` is 0 when it will not be tried again."""
        now, kind = self._now(), self._count_failure(operation, error)
        service = kind.partition("_")[0]
        # A refusal for good, or one that nobody understands, is no outage: the service is there.
        answers = isinstance(error, S3NotUnderstood | S3NotAble)
        outage = None if answers or isinstance(error, Permanent) else self._in_outage(service, now)
        if attempt == 1 and wait_seconds:
            self._outages.waits(service)
        if failures := self._quiet.worth_a_line((kind, ""), now):
            fields: dict[str, object] = {"operation": kind, "attempt": attempt, "failures": failures}
            if outage is not None:
                outage.said = True
                fields["away_seconds"] = round(now - outage.began, 1)
            if wait_seconds:
                fields["retry_in_seconds"] = round(wait_seconds, 1)
            told = {**fields, **described(error)}
            _logger("retry").warning("operation_failed" if answers else f"{service}_unavailable", **told)

    def operation_recovered(self, *, operation: str, failures: int, seconds: float) -> None:
        """The first operation that works again ends the outage; the others were waiting for their turn."""
        service = operation_type(operation).partition("_")[0]
        self._tell_end(service, self._outages.recovered(service))

    def operation_given_up(self, *, operation: str) -> None:
        self._outages.gave_up(operation_type(operation).partition("_")[0])

    def _in_outage(self, service: str, now: float) -> Outage:
        outage, begins = self._outages.failed(service, now)
        if begins:
            self._show_outage(service, since=self._wall_clock())
        return outage

    def _tell_end(self, service: str, outage: Outage | None) -> None:
        if outage is None:
            return
        self._show_outage(service, since=None)
        if outage.said:
            # This line tells of all its failures; the next outage begins at one.
            self._quiet.told(f"{service}_")
            seconds = round(self._now() - outage.began, 1)
            # It is the service that is back, not the recording whose request happened to be the first to work.
            tell = partial(_logger("retry").info, f"{service}_recovered", failures=outage.failures, seconds=seconds)
            Context().run(tell)

    def _show_outage(self, service: str, *, since: float | None) -> None:
        if service in SERVICES:
            self._instruments.outage.labels(service).set(since is not None)
            self._instruments.outage_start.labels(service).set(since or 0.0)

    def _count_failure(self, operation: str, error: BaseException) -> str:
        kind = operation_type(operation, error)
        stream = _at_work.get()
        if stream is None:
            self._instruments.stream_failures.labels(NO_STREAM, kind).inc()
        else:
            stream.count_failure(kind)
        self._instruments.failures.labels(kind).inc()
        return kind
