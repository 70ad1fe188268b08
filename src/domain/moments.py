"""The noteworthy moments: what happened, as data, one class for each.

Whoever sees one builds it and emits it: ``emit(moments.FileSkipped(file_path=path, reason="a FIFO"))``. That is all
that the rooms know of telemetry. Which log line a moment becomes, and what it counts, is one row of
``metrics/told.py``; the tables of ``docs/operations.md`` are written from the same row.

A moment's fields are those of its log line, unrounded; a field that is not in the line says so. Moments of a stream are
emitted by what ``Telemetry.stream`` gives, which knows whose they are; all others by ``Telemetry.emit``.
Sizes are bytes, times seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, dataclass_transform

from .recording import FailedFor, SendReason, Status


@dataclass_transform(frozen_default=True)
class Moment:
    """Something happened that somebody may want to read or to count. What is derived from it is a frozen dataclass."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


class DaemonMoment(Moment):
    """A moment of the daemon, of a folder, or of a service."""


class StreamMoment(Moment):
    """A moment of one stream; its line also has ``stream_id`` and ``file_path``."""


#: The only thing that an edge needs in order to say what happened. Never raises, never waits; any thread may call it.
Emit = Callable[[DaemonMoment], None]


class StreamTelemetry(Protocol):
    """Takes the moments of one stream."""

    def emit(self, moment: StreamMoment) -> None: ...

    def bind(self) -> AbstractContextManager[None]:
        """Put ``stream_id`` and ``file_path`` on everything that is logged inside, also by the edges. When it is left,
        nobody carries the stream any longer."""


class Telemetry(Protocol):
    """Takes all moments."""

    def emit(self, moment: DaemonMoment) -> None: ...

    def stream(self, stream_id: str, path: str) -> StreamTelemetry:
        """For the moments of this stream. ``stream_id`` is empty where there is none yet."""


# -- one stream ----------------------------------------------------------------------------------------------------


class StreamStarted(StreamMoment):
    key: str


class StreamResumed(StreamMoment):
    key: str


class PartStored(StreamMoment):
    """A part was sent, for the first time or again."""

    number: int
    size: int
    seconds: float
    reason: SendReason


class PartCopied(StreamMoment):
    """The store has made a part out of an object of its own; nothing was sent."""

    number: int
    size: int
    seconds: float


class UploadAdopted(StreamMoment):
    upload_id: str
    parts: int


class WentIdle(StreamMoment):
    quiet_seconds: float


class GrewAgain(StreamMoment):
    pass


class Sealed(StreamMoment):
    """All of the file is in parts that the store lists; ``seconds`` since it counted as finished."""

    size: int
    seconds: float
    sent_again: int


class ObjectProved(StreamMoment):
    """``seconds_since_change``: since the file's last change; None where nobody can say."""

    key: str
    size: int
    etag: str
    seconds_since_change: float | None


class StreamIdAdopted(StreamMoment):
    """The object was there already, and the stream goes by its id from now on."""

    object_stream_id: str


class ObjectBeingReplaced(StreamMoment):
    key: str
    etag: str


class KeyConflict(StreamMoment):
    """Another program's object is at ``key``; the recording goes to ``next_key``."""

    key: str
    next_key: str


class UploadLost(StreamMoment):
    upload_id: str


class StatusIs(StreamMoment):
    """No line."""

    status: Status


class CapacityUsed(StreamMoment):
    """How full the upload is, from 0 to 1. No line."""

    ratio: float


class NearCapacity(StreamMoment):
    size: int
    capacity: int


class FfprobeFailed(StreamMoment):
    error: str


class Completed(StreamMoment):
    """``duration_seconds``: the film's length, None where unknown; ``stream_seconds``: from first sight to now."""

    key: str
    size: int
    duration_seconds: float | None
    stream_seconds: float
    processing_seconds: float


class AlreadyStored(StreamMoment):
    key: str


class MetadataKeyOccupied(StreamMoment):
    key: str


class Rescued(StreamMoment):
    key: str
    size: int


class Failed(StreamMoment):
    reason: str
    hint: str


class Trouble(StreamMoment):
    """What failed and is tried again after ``retry_seconds``; None: with what comes next."""

    operation: str
    error: BaseException
    retry_seconds: float | None


# -- the daemon and its recordings ---------------------------------------------------------------------------------


class DaemonStarted(DaemonMoment):
    """``settings`` are the ones that matter, each a field of the line; ``ffprobe`` is its version, if there is one."""

    version: str
    ffprobe: str | None
    settings: Mapping[str, object]


class SettingsNotice(DaemonMoment):
    notice: str


class FfprobeMissing(DaemonMoment):
    pass


class DaemonStopped(DaemonMoment):
    pass


class ActiveStreams(DaemonMoment):
    """No line."""

    count: int


class KeptStreams(DaemonMoment):
    """How many are kept now and carried by nobody, by what they wait for and by their status. No line."""

    failed_for: Mapping[FailedFor, int]
    at: Mapping[Status, int]


class EmptyFile(DaemonMoment):
    file_path: str


class StreamsRecovered(DaemonMoment):
    streams: int


class Draining(DaemonMoment):
    streams: int


class Drained(DaemonMoment):
    dropped: int


class Unexpected(DaemonMoment):
    """A bug or a rarity: told with its traceback, since nobody foresaw it. ``stream_id`` where there is one already."""

    file_path: str
    error: BaseException
    retry_seconds: float
    stream_id: str = ""


class OrphanAborted(DaemonMoment):
    key: str
    upload_id: str


class OrphansLeft(DaemonMoment):
    """``keys`` are a few of theirs. Told when the number changes."""

    count: int
    keys: Sequence[str]


class ObjectsGone(DaemonMoment):
    """``keys`` are a few of theirs. Told when the number changes."""

    count: int
    keys: Sequence[str]


class LifecycleRuleTooShort(DaemonMoment):
    days: int


# -- watching ------------------------------------------------------------------------------------------------------


class FileSkipped(DaemonMoment):
    """Once for each path, until it is something else."""

    file_path: str
    reason: str


class WatcherRestarted(DaemonMoment):
    """Notifications ended; they are tried again after so many seconds. The scan goes on."""

    retry_in_seconds: float
    error: BaseException


class LeftOut(DaemonMoment):
    """How many files are left out now. No line."""

    count: int


class OldFilesIgnored(DaemonMoment):
    """``file_path`` is the newest of them, and ``changed_at`` when it changed last."""

    count: int
    file_path: str
    changed_at: datetime


class ExcludedStreams(DaemonMoment):
    """``paths`` are a few of theirs."""

    count: int
    paths: Sequence[str]


class UnmatchedMediaFile(DaemonMoment):
    """A file that looks like a film matches no pattern; ``pattern`` would take it. Once for each pattern."""

    file_path: str
    pattern: str


class FolderMissing(DaemonMoment):
    """The watched folder is away, empty at once, or on another device than before: nothing counts as deleted."""

    folder: str


class FolderRecovered(DaemonMoment):
    folder: str


class FolderScanned(DaemonMoment):
    """A whole scan of a folder that is there; ``files``: recordings in it."""

    files: int
    seconds: float


# -- Redis and the store -------------------------------------------------------------------------------------------


class RecordSetAside(DaemonMoment):
    """Something under ``key`` could not be used; where it was moved, ``reason`` says where to."""

    key: str
    reason: str


class RedisDurabilityRisk(DaemonMoment):
    """Redis is configured so that it can lose records."""

    reason: str


class RedisDataLost(DaemonMoment):
    """Redis no longer knew so many streams of this process; they were written anew."""

    records: int


class AbilityLearnt(DaemonMoment):
    ability: str
    able: bool


class AbilityLost(DaemonMoment):
    """The store could do this and no longer does."""

    ability: str


class AbilitiesUnknown(DaemonMoment):
    """What cannot be learnt; once."""

    abilities: Collection[str]
    error: BaseException | None


# -- requests and outages ------------------------------------------------------------------------------------------


class RequestEnded(DaemonMoment):
    """A single request. ``operation`` is one of few names, ``error_class`` None after a success; ``answered``: the
    service said what it was asked, be it that a key is free. No line."""

    service: str
    operation: str
    seconds: float
    error_class: StrEnum | None
    answered: bool


class OperationFailed(DaemonMoment):
    """An attempt has failed. ``wait_seconds`` is 0 when it will not be tried again. Which line comes of it depends on
    what failed before: ``ServiceAway``, ``AnswerNotUnderstood`` or none."""

    operation: str
    error: BaseException
    attempt: int
    wait_seconds: float


class OperationRecovered(DaemonMoment):
    """An operation that had failed works. No line of its own: ``ServiceBack`` comes of it, if there was an outage."""

    operation: str
    failures: int
    seconds: float


class OperationGivenUp(DaemonMoment):
    """Nobody waits for it any longer. No line."""

    operation: str


class OutageBegan(DaemonMoment):
    """``since`` is Unix time. No line: the first attempt that failed has one."""

    service: str
    since: float


class OutageEnded(DaemonMoment):
    """Somebody was answered, or nobody asks any more. No line."""

    service: str


class ServiceAway(DaemonMoment):
    """An attempt failed: the service is away or refuses. ``away_seconds`` None: a refusal for good, no outage."""

    service: str
    operation: str
    attempt: int
    away_seconds: float | None
    wait_seconds: float
    error: BaseException


class AnswerNotUnderstood(DaemonMoment):
    """An attempt failed because of what the service answers; it is there."""

    operation: str
    attempt: int
    wait_seconds: float
    error: BaseException


class ServiceBack(DaemonMoment):
    """The end of an outage that the log has a line of, with all failures in it."""

    service: str
    failures: int
    seconds: float


# -- the process ---------------------------------------------------------------------------------------------------


class ReadinessLooked(DaemonMoment):
    """Which parts are there. No line."""

    parts: Mapping[str, bool]


class NotReady(DaemonMoment):
    """A part stays missing, for so many seconds by now."""

    service: str
    seconds: float
    reason: str
    error: BaseException


class ReadyAgain(DaemonMoment):
    service: str
    seconds: float


class LoopLagged(DaemonMoment):
    """How late the event loop came to a task, and the longest such delay of the last minute. No line."""

    seconds: float
    longest: float


class LoopHung(DaemonMoment):
    """The process ends now."""

    seconds: float
    stack: str
