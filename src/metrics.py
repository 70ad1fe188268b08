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
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from .exceptions import ChunkProcessingError, FileChanged, RedisOperationError, S3OperationError, StreamProcessorError
from .health import Health
from .recording import SendReason

#: The label of what failed outside every stream, or in one that has no series of its own.
NO_STREAM = "none"
#: At most one line of an operation's failures in so many seconds.
QUIET_SECONDS = 60.0
#: Trouble that was not heard of for so long is over, though nobody said so (its caller gave up).
FORGOTTEN_SECONDS = 600.0

_LENGTHS = (10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_WAITS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)

#: Operations, as the code names them, by the kind that the metrics tell. Others are told under their family's name.
OPERATION_TYPES: Mapping[str, str] = {
    "create_upload": "s3_create",
    "upload_part": "s3_upload",
    "copy_part": "s3_copy",
    "list_parts": "s3_list",
    "list_uploads": "s3_list",
    "complete_upload": "s3_complete",
    "abort_upload": "s3_abort",
    "head": "s3_head",
    "object_crc64": "s3_get",
    "get_object": "s3_get",
    "get_document": "s3_metadata",
    "put_document": "s3_metadata",
    "load": "redis_read",
    "marker": "redis_read",
    "configuration": "redis_read",
    "save": "redis_update",
    "save_part": "redis_update",
    "finish": "redis_update",
    "forget": "redis_update",
    "put_marker": "redis_update",
    "open": "file_read",
    "read": "file_read",
    "digest": "file_read",
    "snapshot": "file_read",
    "probe": "ffprobe",
}
_FAMILIES = ("s3", "redis", "file", "ffprobe")

#: The stream whose work is being done, so that the edges' failures are counted as its own.
_at_work: ContextVar[StreamMoments | None] = ContextVar("stream_at_work", default=None)


def operation_type(operation: str, error: BaseException | None = None) -> str:
    """The kind of ``operation``, which may begin with its family and a dot; ``error`` tells the family of others."""
    family, dot, name = operation.rpartition(".")
    if dot:  # "s3.probe" is no "probe"
        known = OPERATION_TYPES.get(name, "")
        return known if known.startswith(family) else f"{family}_{name}"
    if operation in OPERATION_TYPES:
        return OPERATION_TYPES[operation]
    if operation.split("_")[0] in _FAMILIES:
        return operation
    if isinstance(error, S3OperationError):
        return f"s3_{operation}"
    if isinstance(error, RedisOperationError):
        return f"redis_{operation}"
    return "file_read" if isinstance(error, ChunkProcessingError | FileChanged | OSError) else operation


def _logger(area: str) -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"{__name__.rpartition('.')[0]}.{area}")
    return found


def _described(error: BaseException) -> dict[str, object]:
    """The fields that tell an error; its hint says what to change."""
    fields: dict[str, object] = {"error": str(error) or type(error).__name__, "error_type": type(error).__name__}
    if isinstance(error, StreamProcessorError) and error.hint:
        fields["hint"] = error.hint
    return fields


@dataclass(slots=True)
class _Line:
    """When an operation's failure was logged last, and how many went unsaid since."""

    at: float
    unsaid: int = 0


class _Quiet:
    """Which failures are worth a line: the first at once, then one in ``QUIET_SECONDS``."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], _Line] = {}

    def worth_a_line(self, key: tuple[str, str], now: float) -> int | None:
        """How many failures a line now stands for; None: no line."""
        line = self._lines.get(key)
        if line is not None and now - line.at < QUIET_SECONDS:
            line.unsaid += 1
            return None
        self._lines[key] = _Line(now)
        return 1 + (line.unsaid if line else 0)

    def forget(self, now: float) -> None:
        for key in [key for key, line in self._lines.items() if now - line.at > FORGOTTEN_SECONDS]:
            del self._lines[key]


@dataclass(slots=True)
class _Outage:
    """Trouble with one of the outside services, from its first failure on."""

    began: float
    last: float
    failures: int = 0
    said: bool = False


class _Instruments:
    """The metrics themselves. Counters' names end in ``_total`` when they are read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        stream, kind = ["stream_id"], ["operation_type"]
        self.stream_parts = Counter(
            "video_chunks_uploaded", "Parts of this stream that S3 took.", stream, registry=registry
        )
        self.stream_bytes = Counter(
            "video_bytes_uploaded", "Bytes of this stream that were sent to S3.", stream, registry=registry
        )
        self.stream_duration = Histogram(
            "video_stream_duration_seconds",
            "From the first sight of a recording to its completion.",
            stream,
            buckets=_LENGTHS,
            registry=registry,
        )
        self.stream_processing = Histogram(
            "video_processing_time_seconds",
            "From the moment a recording counted as finished to its completion.",
            stream,
            buckets=_WAITS,
            registry=registry,
        )
        self.stream_failures = Counter(
            "video_failed_operations", "Attempts that failed.", stream + kind, registry=registry
        )
        self.active = Gauge("active_streams_gauge", "Streams that are not completed.", registry=registry)
        self.completed = Counter("streams_completed", "Streams whose object and metadata are in S3.", registry=registry)
        self.failed = Counter("streams_failed", "Streams that need somebody's help.", registry=registry)
        self.bytes = Counter("cefmp4_bytes_uploaded", "Bytes that were sent to S3.", registry=registry)
        self.parts = Counter("cefmp4_parts_uploaded", "Parts that S3 took.", registry=registry)
        self.parts_copied = Counter("cefmp4_parts_copied", "Parts that S3 copied by itself.", registry=registry)
        self.parts_again = Counter(
            "cefmp4_parts_sent_again", "Parts that were sent before, by why again.", ["reason"], registry=registry
        )
        self.failures = Counter("cefmp4_failed_operations", "Attempts that failed.", kind, registry=registry)
        self.skipped = Counter("cefmp4_files_skipped", "Files that are no recordings.", registry=registry)
        self.set_aside = Counter("cefmp4_records_set_aside", "Redis records that made no sense.", registry=registry)
        self.restarts = Counter("cefmp4_watcher_restarts", "Times that notifications ended.", registry=registry)
        self.files = Gauge("cefmp4_watched_files", "Recordings that the last scan found.", registry=registry)
        self.scan = Gauge("cefmp4_scan_seconds", "How long the last scan took.", registry=registry)
        self.folder = Gauge("cefmp4_watched_folder_present", "1: it is there; 0: it is away.", registry=registry)
        self.gone = Gauge(
            "cefmp4_objects_gone", "Finished recordings in the folder whose object is gone.", registry=registry
        )
        self.orphans = Gauge(
            "cefmp4_orphan_uploads", "Old open uploads that belong to no stream and stay.", registry=registry
        )
        self.orphans_aborted = Counter(
            "cefmp4_orphan_uploads_aborted", "Old open uploads that were thrown away.", registry=registry
        )
        self.build = Gauge("cefmp4_build_info", "Always 1.", ["version", "python_version"], registry=registry)
        for reason in SendReason:
            if reason not in (SendReason.NEW, SendReason.COPIED):
                self.parts_again.labels(reason)  # a series that is 0 shows that it never happened

    def remove(self, stream_id: str) -> None:
        for metric in (self.stream_parts, self.stream_bytes, self.stream_duration, self.stream_processing):
            metric.remove(stream_id)
        self.stream_failures.remove_by_labels({"stream_id": stream_id})


class _Roll:
    """Which streams have series of their own; when one has to go, the one that ended first, else the oldest."""

    def __init__(self, most: int, remove: Callable[[str], None]) -> None:
        self._most = most
        self._remove = remove
        self._ended_at: dict[str, float | None] = {}

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._ended_at

    def admit(self, stream_id: str) -> bool:
        """Make room for the stream; False when no stream may have series."""
        if stream_id not in self._ended_at and self._most == 0:
            return False
        while stream_id not in self._ended_at and len(self._ended_at) >= self._most:
            ended = {each: at for each, at in self._ended_at.items() if at is not None}
            self._leave(min(ended, key=lambda each: ended[each]) if ended else next(iter(self._ended_at)))
        self._ended_at[stream_id] = None
        return True

    def end(self, stream_id: str, now: float) -> None:
        if stream_id in self._ended_at:
            self._ended_at[stream_id] = now

    def leave_ended_before(self, moment: float) -> None:
        for stream_id in [each for each, at in self._ended_at.items() if at is not None and at <= moment]:
            self._leave(stream_id)

    def _leave(self, stream_id: str) -> None:
        del self._ended_at[stream_id]
        self._remove(stream_id)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the daemon's and the streams' moments have in common. ``now`` gives monotonic seconds."""

    instruments: _Instruments
    roll: _Roll
    quiet: _Quiet
    now: Callable[[], float]


class StreamMoments:
    """The port ``StreamTelemetry``. Nothing is counted under a stream that is not named (``stream_id`` empty)."""

    def __init__(self, shared: _Shared, stream_id: str, path: str) -> None:
        self._shared = shared
        self._stream_id = stream_id
        self._path = path
        self._admitted = False

    @contextmanager
    def bind(self) -> Iterator[None]:
        token = _at_work.set(self)
        try:
            with structlog.contextvars.bound_contextvars(stream_id=self._stream_id, file_path=self._path):
                yield
        finally:
            _at_work.reset(token)

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
        self._log().info("stream_sealed", size=size, seconds=round(seconds, 3), sent_again=sent_again)

    def object_proved(self, *, key: str, size: int, etag: str) -> None:
        self._log().info("object_proved", key=key, size=size, etag=etag)

    def took_id(self, *, stream_id: str) -> None:
        self._log().info("stream_id_taken", object_stream_id=stream_id)

    def replacing(self, *, key: str, etag: str) -> None:
        self._log().info("object_being_replaced", key=key, etag=etag)

    def next_key(self, *, taken: str, key: str) -> None:
        self._log().warning("key_taken", taken=taken, key=key)

    def upload_lost(self, *, upload_id: str) -> None:
        self._log().warning("upload_lost", upload_id=upload_id)

    def near_capacity(self, *, size: int, capacity: int) -> None:
        hint = "a larger CHUNK_SIZE_BYTES makes room for longer recordings; this one is sent anew when it is full"
        self._log().warning("near_capacity", size=size, capacity=capacity, hint=hint)

    def probe_failed(self, *, error: str) -> None:
        kind = "ffprobe"
        self._shared.instruments.failures.labels(kind).inc()
        self.count_failure(kind)
        self._log().warning("probe_failed", error=error)

    def completed(self, *, key: str, size: int, duration_seconds: float, processing_seconds: float) -> None:
        instruments = self._shared.instruments
        instruments.completed.inc()
        if self._has_series():
            instruments.stream_duration.labels(self._stream_id).observe(duration_seconds)
            instruments.stream_processing.labels(self._stream_id).observe(processing_seconds)
        self._end()
        self._log().info(
            "stream_completed",
            key=key,
            size=size,
            stream_seconds=round(duration_seconds, 3),
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
            self._log().warning("operation_failed", operation=kind, failures=failures, **wait, **_described(error))

    def count_failure(self, kind: str) -> None:
        """Count a failed attempt under this stream, where it has series of its own."""
        label = self._stream_id if self._has_series() else NO_STREAM
        self._shared.instruments.stream_failures.labels(label, kind).inc()

    def _has_series(self) -> bool:
        """Whether this stream's own metrics may be written.

        One that lost its series to newer streams does not take them back: two hundred and one streams would push
        each other out at every part, and every counter would begin at 0 again.
        """
        if not self._stream_id or (self._admitted and self._stream_id not in self._shared.roll):
            return False
        self._admitted = self._shared.roll.admit(self._stream_id)
        return self._admitted

    def _end(self) -> None:
        self._admitted = False
        self._shared.roll.end(self._stream_id, self._shared.now())

    def _log(self) -> structlog.stdlib.BoundLogger:
        return _logger("stream_processor").bind(stream_id=self._stream_id, file_path=self._path)


class Metrics:
    """The ports ``Telemetry`` and ``RetryObserver``, and what watcher and Redis tell. ``now`` is monotonic seconds."""

    def __init__(
        self,
        *,
        version: str,
        stream_max: int = 200,
        retention_seconds: float = 600.0,
        registry: CollectorRegistry | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # else every counter has a second series
        self.registry = CollectorRegistry() if registry is None else registry
        ProcessCollector(registry=self.registry)
        self.health = Health(self.registry)
        self._instruments = _Instruments(self.registry)
        self._instruments.build.labels(version, platform.python_version()).set(1)
        self._roll = _Roll(stream_max, self._instruments.remove)
        self._version = version
        self._retention_seconds = retention_seconds
        self._now = now
        self._quiet = _Quiet()
        self._shared = _Shared(self._instruments, self._roll, self._quiet, now)
        self._outages: dict[str, _Outage] = {}
        self._orphans_told = self._gone_told = 0

    def expire(self, now: float) -> None:
        """Let go of the series of streams that ended long ago; to be called now and then."""
        self._roll.leave_ended_before(now - self._retention_seconds)
        self._quiet.forget(now)

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
        _logger("sweep").info("orphan_upload_aborted", key=key, upload_id=upload_id)

    def orphans_left(self, *, count: int, keys: Sequence[str]) -> None:
        """``keys`` are a few of theirs. Told when the number changes."""
        if count and count != self._orphans_told:
            _logger("sweep").warning("orphan_uploads_found", count=count, keys=list(keys))
        self._orphans_told = count
        self._instruments.orphans.set(count)

    def uploads_expire(self, *, days: int) -> None:
        hint = "let the bucket's rule wait for longer than the longest recording and the longest outage"
        _logger("main").warning("uploads_expire", days=days, hint=hint)

    def objects_gone(self, *, count: int, keys: Sequence[str]) -> None:
        """``keys`` are a few of theirs. Told when the number changes."""
        if count and count != self._gone_told:
            _logger("sweep").warning("objects_gone", count=count, keys=list(keys))
        self._gone_told = count
        self._instruments.gone.set(count)

    def unexpected(self, *, path: str, error: BaseException, retry_seconds: float) -> None:
        """A bug or a rarity: with its traceback, since nobody foresaw it."""
        kind = self._count_failure("unexpected", error)
        if failures := self._quiet.worth_a_line((kind, path), self._now()):
            _logger("dispatcher").error(
                "unexpected_error",
                file_path=path,
                failures=failures,
                retry_in_seconds=round(retry_seconds, 1),
                exc_info=error,
                **_described(error),
            )

    # -- watching -----------------------------------------------------------------------------------------------------

    def file_skipped(self, *, path: str, reason: str) -> None:
        self._instruments.skipped.inc()
        _logger("watcher").warning("file_skipped", file_path=path, reason=reason)

    def watcher_restarted(self, *, error: BaseException, retry_seconds: float) -> None:
        self._instruments.restarts.inc()
        _logger("watcher").warning("watcher_restarted", retry_in_seconds=round(retry_seconds, 1), **_described(error))

    def folder_missing(self, *, path: str) -> None:
        self._instruments.folder.set(0)
        _logger("watcher").error("folder_missing", folder=path, hint="is its disk mounted? nothing counts as deleted")

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

    # -- retries ------------------------------------------------------------------------------------------------------

    def operation_failed(self, *, operation: str, error: BaseException, attempt: int, wait_seconds: float) -> None:
        now, kind = self._now(), self._count_failure(operation, error)
        family = kind.partition("_")[0]
        outage = self._outages.get(family)
        if outage is None or now - outage.last > FORGOTTEN_SECONDS:
            outage = self._outages[family] = _Outage(began=now, last=now)
        outage.last = now
        outage.failures += 1
        if failures := self._quiet.worth_a_line((kind, ""), now):
            outage.said = True
            _logger("retry").warning(
                f"{family}_unavailable",
                operation=kind,
                attempt=attempt,
                failures=failures,
                retry_in_seconds=round(wait_seconds, 1),
                **_described(error),
            )

    def operation_recovered(self, *, operation: str, failures: int, seconds: float) -> None:
        """The first operation that works again ends the outage; the others were waiting for their turn."""
        family = operation_type(operation).partition("_")[0]
        outage = self._outages.pop(family, None)
        if outage is not None and outage.said:
            _logger("retry").info(
                f"{family}_recovered", failures=outage.failures, seconds=round(self._now() - outage.began, 1)
            )

    def _count_failure(self, operation: str, error: BaseException) -> str:
        kind = operation_type(operation, error)
        stream = _at_work.get()
        if stream is None:
            self._instruments.stream_failures.labels(NO_STREAM, kind).inc()
        else:
            stream.count_failure(kind)
        self._instruments.failures.labels(kind).inc()
        return kind
