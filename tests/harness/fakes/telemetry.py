"""Telemetry that remembers: every moment as its name and its values, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from src.domain import FailedFor, SendReason, Status, moments
from src.retry import ErrorClass

Moment = tuple[str, dict[str, Any]]


class _Remembering:
    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.times: list[float] = []  # of each moment, in the time of the running loop

    def _note(self, moment: str, **values: Any) -> None:
        self.moments.append((moment, values))
        loop = asyncio._get_running_loop()
        self.times.append(loop.time() if loop else 0.0)

    def names(self) -> list[str]:
        """The names of the moments in their order."""
        return [name for name, _ in self.moments]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The values of each moment of this name."""
        return [values for found, values in self.moments if found == name]


class FakeStreamTelemetry(_Remembering):
    """The twin of ``ports.StreamTelemetry``."""

    def __init__(self, stream_id: str, path: str) -> None:
        super().__init__()
        self.stream_id = stream_id
        self.path = path

    def bind(self) -> AbstractContextManager[None]:
        return nullcontext()

    def started(self, *, key: str, resumed: bool) -> None:
        self._note("started", key=key, resumed=resumed)

    def part_stored(self, *, number: int, size: int, seconds: float, reason: SendReason) -> None:
        self._note("part_stored", number=number, size=size, seconds=seconds, reason=reason)

    def adopted(self, *, upload_id: str, parts: int) -> None:
        self._note("adopted", upload_id=upload_id, parts=parts)

    def went_idle(self, *, quiet_seconds: float) -> None:
        self._note("went_idle", quiet_seconds=quiet_seconds)

    def grew_again(self) -> None:
        self._note("grew_again")

    def sealed(self, *, size: int, seconds: float, sent_again: int) -> None:
        self._note("sealed", size=size, seconds=seconds, sent_again=sent_again)

    def object_proved(self, *, key: str, size: int, etag: str, seconds_since_change: float | None) -> None:
        self._note("object_proved", key=key, size=size, etag=etag, seconds_since_change=seconds_since_change)

    def took_id(self, *, stream_id: str) -> None:
        self._note("took_id", stream_id=stream_id)

    def replacing(self, *, key: str, etag: str) -> None:
        self._note("replacing", key=key, etag=etag)

    def next_key(self, *, taken: str, key: str) -> None:
        self._note("next_key", taken=taken, key=key)

    def upload_lost(self, *, upload_id: str) -> None:
        self._note("upload_lost", upload_id=upload_id)

    def status_is(self, status: Status) -> None:
        self._note("status_is", status=status)

    def capacity_used(self, *, ratio: float) -> None:
        self._note("capacity_used", ratio=ratio)

    def near_capacity(self, *, size: int, capacity: int) -> None:
        self._note("near_capacity", size=size, capacity=capacity)

    def probe_failed(self, *, error: str) -> None:
        self._note("probe_failed", error=error)

    def completed(
        self, *, key: str, size: int, duration_seconds: float | None, stream_seconds: float, processing_seconds: float
    ) -> None:
        self._note(
            "completed",
            key=key,
            size=size,
            duration_seconds=duration_seconds,
            stream_seconds=stream_seconds,
            processing_seconds=processing_seconds,
        )

    def already_stored(self, *, key: str) -> None:
        self._note("already_stored", key=key)

    def document_taken(self, *, key: str) -> None:
        self._note("document_taken", key=key)

    def rescued(self, *, key: str, size: int) -> None:
        self._note("rescued", key=key, size=size)

    def failed(self, *, reason: str, hint: str) -> None:
        self._note("failed", reason=reason, hint=hint)

    def trouble(self, *, operation: str, error: BaseException, retry_seconds: float | None) -> None:
        self._note("trouble", operation=operation, error=error, retry_seconds=retry_seconds)


class FakeTelemetry(_Remembering):
    """The twin of ``ports.Telemetry``; also hears what edges tell of retries, of Redis and of single requests."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, ErrorClass | None]] = []
        self.streams: list[FakeStreamTelemetry] = []

    def stream(self, stream_id: str, path: str) -> FakeStreamTelemetry:
        self.streams.append(FakeStreamTelemetry(stream_id, path))
        return self.streams[-1]

    def of_stream(self, stream_id: str) -> list[Moment]:
        """All moments of one stream, over all processors that it had."""
        return [moment for stream in self.streams if stream.stream_id == stream_id for moment in stream.moments]

    def of_path(self, path: str) -> list[Moment]:
        """All moments of the streams that were begun for this path."""
        return [moment for stream in self.streams if stream.path == path for moment in stream.moments]

    def everything(self) -> Iterable[Moment]:
        """The daemon's moments, then those of each stream."""
        yield from self.moments
        for stream in self.streams:
            yield from stream.moments

    def emit(self, moment: moments.DaemonMoment) -> None:
        if isinstance(moment, moments.Unexpected):
            self._note("unexpected", error=moment.error)

    def active_streams(self, count: int) -> None:
        self._note("active_streams", count=count)

    def failed_streams(self, counts: Mapping[FailedFor, int]) -> None:
        self._note("failed_streams", counts=dict(counts))

    def file_skipped(self, *, path: str, reason: str) -> None:
        self._note("file_skipped", path=path, reason=reason)

    def empty_file(self, *, path: str) -> None:
        self._note("empty_file", path=path)

    def recovered(self, *, streams: int) -> None:
        self._note("recovered", streams=streams)

    def draining(self, *, streams: int) -> None:
        self._note("draining", streams=streams)

    def orphan_aborted(self, *, key: str, upload_id: str) -> None:
        self._note("orphan_aborted", key=key, upload_id=upload_id)

    def objects_gone(self, *, count: int, keys: Sequence[str]) -> None:
        self._note("objects_gone", count=count, keys=tuple(keys))

    def orphans_left(self, *, count: int, keys: Sequence[str]) -> None:
        self._note("orphans_left", count=count, keys=tuple(keys))

    def unexpected(self, *, path: str, error: BaseException, retry_seconds: float, stream_id: str = "") -> None:
        self._note("unexpected", path=path, error=error, retry_seconds=retry_seconds, stream_id=stream_id)

    def drained(self, *, dropped: int) -> None:
        self._note("drained", dropped=dropped)

    def operation_failed(self, *, operation: str, error: BaseException, attempt: int, wait_seconds: float) -> None:
        self._note("operation_failed", operation=operation, error=error, attempt=attempt, wait_seconds=wait_seconds)

    def operation_recovered(self, *, operation: str, failures: int, seconds: float) -> None:
        self._note("operation_recovered", operation=operation, failures=failures, seconds=seconds)

    def operation_given_up(self, *, operation: str) -> None:
        self._note("operation_given_up", operation=operation)

    def request_ended(self, *, service: str, operation: str, seconds: float, error_class: ErrorClass | None) -> None:
        assert seconds >= 0
        self.requests.append((service, operation, error_class))

    def ability_learnt(self, *, ability: str, able: bool) -> None:
        self._note("ability_learnt", ability=ability, able=able)

    def ability_lost(self, *, ability: str) -> None:
        self._note("ability_lost", ability=ability)

    def abilities_unknown(self, *, abilities: Collection[str], error: BaseException | None) -> None:
        self._note("abilities_unknown", abilities=tuple(abilities), error=error)

    def record_set_aside(self, *, key: str, reason: str) -> None:
        self._note("record_set_aside", key=key, reason=reason)

    def redis_may_lose(self, *, reason: str) -> None:
        self._note("redis_may_lose", reason=reason)

    def redis_forgot(self, *, records: int) -> None:
        self._note("redis_forgot", records=records)
