"""Adapters: a method for each moment builds it and emits it, for the rooms that do not emit by themselves yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from ..domain import FailedFor, SendReason, Status, moments
from ..retry import ANSWERS, ErrorClass
from .emitter import Emitter, StreamEmitter


class StreamMethods:
    """The port ``ports.StreamTelemetry``, for whoever takes moments."""

    emit: Callable[[moments.StreamMoment], None]

    def started(self, *, key: str, resumed: bool) -> None:
        self.emit(moments.StreamResumed(key) if resumed else moments.StreamStarted(key))

    def part_stored(self, *, number: int, size: int, seconds: float, reason: SendReason) -> None:
        if reason is SendReason.COPIED:
            self.emit(moments.PartCopied(number, size, seconds))
        else:
            self.emit(moments.PartStored(number, size, seconds, reason))

    def adopted(self, *, upload_id: str, parts: int) -> None:
        self.emit(moments.UploadAdopted(upload_id, parts))

    def went_idle(self, *, quiet_seconds: float) -> None:
        self.emit(moments.WentIdle(quiet_seconds))

    def grew_again(self) -> None:
        self.emit(moments.GrewAgain())

    def sealed(self, *, size: int, seconds: float, sent_again: int) -> None:
        self.emit(moments.Sealed(size, seconds, sent_again))

    def object_proved(self, *, key: str, size: int, etag: str, seconds_since_change: float | None) -> None:
        self.emit(moments.ObjectProved(key, size, etag, seconds_since_change))

    def took_id(self, *, stream_id: str) -> None:
        self.emit(moments.StreamIdTaken(stream_id))

    def replacing(self, *, key: str, etag: str) -> None:
        self.emit(moments.ObjectBeingReplaced(key, etag))

    def next_key(self, *, taken: str, key: str) -> None:
        self.emit(moments.KeyTaken(taken, key))

    def upload_lost(self, *, upload_id: str) -> None:
        self.emit(moments.UploadLost(upload_id))

    def status_is(self, status: Status) -> None:
        self.emit(moments.StatusIs(status))

    def capacity_used(self, *, ratio: float) -> None:
        self.emit(moments.CapacityUsed(ratio))

    def near_capacity(self, *, size: int, capacity: int) -> None:
        self.emit(moments.NearCapacity(size, capacity))

    def probe_failed(self, *, error: str) -> None:
        self.emit(moments.ProbeFailed(error))

    def completed(
        self, *, key: str, size: int, duration_seconds: float | None, stream_seconds: float, processing_seconds: float
    ) -> None:
        self.emit(moments.Completed(key, size, duration_seconds, stream_seconds, processing_seconds))

    def already_stored(self, *, key: str) -> None:
        self.emit(moments.AlreadyStored(key))

    def document_taken(self, *, key: str) -> None:
        self.emit(moments.DocumentTaken(key))

    def rescued(self, *, key: str, size: int) -> None:
        self.emit(moments.Rescued(key, size))

    def failed(self, *, reason: str, hint: str) -> None:
        self.emit(moments.Failed(reason, hint))

    def trouble(self, *, operation: str, error: BaseException, retry_seconds: float | None) -> None:
        self.emit(moments.Trouble(operation, error, retry_seconds))


class DaemonMethods:
    """The ports ``ports.Telemetry`` and ``ServiceObserver``, and what watcher, Redis and the store tell."""

    emit: moments.Emit

    def active_streams(self, count: int) -> None:
        self.emit(moments.ActiveStreams(count))

    def failed_streams(self, counts: Mapping[FailedFor, int]) -> None:
        self.emit(moments.FailedStreams(counts))

    def empty_file(self, *, path: str) -> None:
        self.emit(moments.EmptyFile(path))

    def recovered(self, *, streams: int) -> None:
        self.emit(moments.StreamsRecovered(streams))

    def draining(self, *, streams: int) -> None:
        self.emit(moments.Draining(streams))

    def drained(self, *, dropped: int) -> None:
        self.emit(moments.Drained(dropped))

    def orphan_aborted(self, *, key: str, upload_id: str) -> None:
        self.emit(moments.OrphanAborted(key, upload_id))

    def orphans_left(self, *, count: int, keys: Sequence[str]) -> None:
        self.emit(moments.OrphansLeft(count, list(keys)))

    def objects_gone(self, *, count: int, keys: Sequence[str]) -> None:
        self.emit(moments.ObjectsGone(count, list(keys)))

    def unexpected(self, *, path: str, error: BaseException, retry_seconds: float, stream_id: str = "") -> None:
        self.emit(moments.Unexpected(path, error, retry_seconds, stream_id))

    def file_skipped(self, *, path: str, reason: str) -> None:
        self.emit(moments.FileSkipped(path, reason))

    def watcher_restarted(self, *, error: BaseException, retry_seconds: float) -> None:
        self.emit(moments.WatcherRestarted(retry_seconds, error))

    def left_out(self, *, count: int) -> None:
        self.emit(moments.LeftOut(count))

    def old_files_left_out(self, *, count: int, newest: str, changed_at: datetime) -> None:
        self.emit(moments.OldFilesLeftOut(count, newest, changed_at))

    def excluded_streams(self, *, count: int, paths: list[str]) -> None:
        self.emit(moments.ExcludedStreams(count, paths))

    def film_unmatched(self, *, path: str, pattern: str) -> None:
        self.emit(moments.FilmUnmatched(path, pattern))

    def folder_missing(self, *, path: str) -> None:
        self.emit(moments.FolderMissing(path))

    def folder_back(self, *, path: str) -> None:
        self.emit(moments.FolderBack(path))

    def scanned(self, *, files: int, seconds: float) -> None:
        self.emit(moments.FolderScanned(files, seconds))

    def record_set_aside(self, *, key: str, reason: str) -> None:
        self.emit(moments.RecordSetAside(key, reason))

    def redis_may_lose(self, *, reason: str) -> None:
        self.emit(moments.RedisMayLose(reason))

    def redis_forgot(self, *, records: int) -> None:
        self.emit(moments.RedisForgot(records))

    def ability_learnt(self, *, ability: str, able: bool) -> None:
        self.emit(moments.AbilityLearnt(ability, able))

    def ability_lost(self, *, ability: str) -> None:
        self.emit(moments.AbilityLost(ability))

    def abilities_unknown(self, *, abilities: Collection[str], error: BaseException | None) -> None:
        self.emit(moments.AbilitiesUnknown(abilities, error))

    def request_ended(self, *, service: str, operation: str, seconds: float, error_class: ErrorClass | None) -> None:
        answered = error_class is None or error_class in ANSWERS
        self.emit(moments.RequestEnded(service, operation, seconds, error_class, answered))

    def operation_failed(self, *, operation: str, error: BaseException, attempt: int, wait_seconds: float) -> None:
        self.emit(moments.OperationFailed(operation, error, attempt, wait_seconds))

    def operation_recovered(self, *, operation: str, failures: int, seconds: float) -> None:
        self.emit(moments.OperationRecovered(operation, failures, seconds))

    def operation_given_up(self, *, operation: str) -> None:
        self.emit(moments.OperationGivenUp(operation))


class StreamMoments(StreamMethods, StreamEmitter):
    pass


class Metrics(DaemonMethods, Emitter):
    def stream(self, stream_id: str, path: str) -> StreamMoments:
        return StreamMoments(self, self._series_of(stream_id), stream_id, path)
