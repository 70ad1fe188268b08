"""Telemetry events ("moments") as data, one class for each.

Code that observes an event emits it: ``emit(moments.FileSkipped(file_path=path, reason="a FIFO"))``. Nothing else in
the other packages deals with telemetry. One row in ``metrics/told.py``, or in ``metrics/stream_rows.py`` for the
events of a stream, defines the log line and the metrics; the tables in ``docs/operations.md`` are generated from it.

The fields are those of the log line, unrounded; the docstring names fields that the line does not have. Events of a
stream are emitted through ``ports.Telemetry.stream``, which adds the stream's identity; all others through
``Telemetry.emit``. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from .moment_kinds import DaemonMoment as DaemonMoment
from .moment_kinds import Emit as Emit
from .moment_kinds import Moment as Moment
from .moment_kinds import StreamMoment as StreamMoment
from .recorder_moments import MediaSeen as MediaSeen
from .recorder_moments import RecorderAdvice as RecorderAdvice
from .recording import FailedFor, SendReason, Status

# -- one stream ----------------------------------------------------------------------------------------------------


class StreamStarted(StreamMoment):
    key: str


class StreamResumed(StreamMoment):
    key: str


class PartStored(StreamMoment):
    """A part was uploaded, for the first time or again."""

    number: int
    size: int
    seconds: float
    reason: SendReason


class PartCopied(StreamMoment):
    """The store copied a part from one of its objects; nothing was uploaded."""

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
    """The whole file is in parts that the store lists. ``seconds``: time since the recording counted as finished."""

    size: int
    seconds: float
    sent_again: int


class ObjectProved(StreamMoment):
    """``seconds_since_change``: time since the file's last change; None if unknown."""

    key: str
    size: int
    etag: str
    seconds_since_change: float | None


class StreamIdAdopted(StreamMoment):
    """The object already existed, and the stream uses its ID from now on."""

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
    """Metrics only, no log line."""

    status: Status


class CapacityUsed(StreamMoment):
    """The used part capacity of the upload, 0 to 1. No log line."""

    ratio: float


class NearCapacity(StreamMoment):
    size: int
    capacity: int


class FfprobeFailed(StreamMoment):
    error: str


class Completed(StreamMoment):
    """``duration_seconds``: media duration, None if unknown. ``stream_seconds``: time since the discovery of the
    file."""

    key: str
    size: int
    duration_seconds: float | None
    stream_seconds: float
    processing_seconds: float


class AlreadyStored(StreamMoment):
    key: str


class ObjectDeleted(StreamMoment):
    """By the document beside it the file was done as it is; the object is gone. Once a file."""

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
    """An attempt failed and is retried after ``retry_seconds``; None: together with the next operation."""

    operation: str
    error: BaseException
    retry_seconds: float | None


# -- the daemon and its recordings ---------------------------------------------------------------------------------


class DaemonStarted(DaemonMoment):
    """``settings``: the main settings, each a field of the line. ``ffprobe``: its version, or None."""

    version: str
    ffprobe: str | None
    settings: Mapping[str, object]


class SettingsNotice(DaemonMoment):
    notice: str


class OperatorAsked(DaemonMoment):
    """A command was accepted on the local socket. ``uid``: the user who typed it."""

    command: str
    stream_id: str
    uid: int
    result: str


class DoorRefused(DaemonMoment):
    """Another user connected to the local socket."""

    uid: int


class DoorClosed(DaemonMoment):
    """The local socket for commands cannot be opened. Logged when ``reason`` changes."""

    reason: str


class FfprobeMissing(DaemonMoment):
    pass


class DaemonStopped(DaemonMoment):
    pass


class ActiveStreams(DaemonMoment):
    """No log line."""

    count: int


class KeptStreams(DaemonMoment):
    """Streams that are kept and not carried: by what they wait for, and by status. No log line."""

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
    """A bug or a rare error, logged with its traceback. ``stream_id`` is set if the stream already has one."""

    file_path: str
    error: BaseException
    retry_seconds: float
    stream_id: str = ""


class OrphanAborted(DaemonMoment):
    key: str
    upload_id: str


class OrphansLeft(DaemonMoment):
    """``keys``: a sample. Logged when the number changes."""

    count: int
    keys: Sequence[str]


class ObjectsGone(DaemonMoment):
    """``keys``: a sample. Logged when the number changes."""

    count: int
    keys: Sequence[str]


class MarkersCompared(DaemonMoment):
    """What is remembered of finished recordings was compared with the folder. ``pruned`` of those whose file is gone
    are forgotten, ``gone`` are kept."""

    gone: int
    pruned: int


class LifecycleRuleTooShort(DaemonMoment):
    days: int


# -- watching ------------------------------------------------------------------------------------------------------


class FileSkipped(DaemonMoment):
    """Logged once for each path, until the file at it changes its kind."""

    file_path: str
    reason: str


class WatcherRestarted(DaemonMoment):
    """Notifications failed and are restarted after ``retry_in_seconds``. Scans continue."""

    retry_in_seconds: float
    error: BaseException


class LeftOut(DaemonMoment):
    """Number of files currently ignored because of their age. No log line."""

    count: int


class OldFilesIgnored(DaemonMoment):
    """``file_path``: the newest of them. ``changed_at``: its last change."""

    count: int
    file_path: str
    changed_at: datetime


class ExcludedStreams(DaemonMoment):
    """``paths``: a sample."""

    count: int
    paths: Sequence[str]


class UnmatchedMediaFile(DaemonMoment):
    """A media file matches no pattern; ``pattern`` would match it. Logged once for each pattern."""

    file_path: str
    pattern: str


class FolderMissing(DaemonMoment):
    """The watched folder is missing, suddenly empty, or on another device: no file is treated as deleted."""

    folder: str


class FolderRecovered(DaemonMoment):
    folder: str


class FolderScanned(DaemonMoment):
    """A scan of the whole folder has ended. ``files``: the recordings in it."""

    files: int
    seconds: float


# -- Redis and the store -------------------------------------------------------------------------------------------


class RecordSetAside(DaemonMoment):
    """The entry at ``key`` is invalid; ``reason`` also says where it was moved."""

    key: str
    reason: str


class RedisDurabilityRisk(DaemonMoment):
    """The configuration of Redis allows data loss."""

    reason: str


class RedisDataLost(DaemonMoment):
    """Redis lost the data of this process's streams; ``records`` checkpoints were written again."""

    records: int


class AbilityLearnt(DaemonMoment):
    ability: str
    able: bool


class AbilityLost(DaemonMoment):
    """The store no longer supports a feature that it supported before."""

    ability: str


class AbilitiesUnknown(DaemonMoment):
    """Features whose support could not be determined. Logged once."""

    abilities: Collection[str]
    error: BaseException | None


# -- requests and outages ------------------------------------------------------------------------------------------


class RequestEnded(DaemonMoment):
    """A single request. ``operation``: one of a few names. ``error_class``: None after a success. ``answered``: the
    service gave an answer to the request, including "not found". No log line."""

    service: str
    operation: str
    seconds: float
    error_class: StrEnum | None
    answered: bool


class OperationFailed(DaemonMoment):
    """An attempt failed. ``wait_seconds`` is 0 if there is no retry. Whether it is logged, as ``ServiceAway`` or as
    ``AnswerNotUnderstood``, depends on earlier failures."""

    operation: str
    error: BaseException
    attempt: int
    wait_seconds: float


class OperationRecovered(DaemonMoment):
    """An operation works again after failures. Not logged itself; ``ServiceBack`` is, if there was an outage."""

    operation: str
    failures: int
    seconds: float


class OperationGivenUp(DaemonMoment):
    """No caller waits for the operation any longer. No log line."""

    operation: str


class OutageBegan(DaemonMoment):
    """``since``: Unix time. No log line: the first failed attempt has one."""

    service: str
    since: float


class OutageEnded(DaemonMoment):
    """A request was answered, or no caller asks any longer. No log line."""

    service: str


class ServiceAway(DaemonMoment):
    """An attempt failed because the service is unavailable or refuses. ``away_seconds`` None: a permanent refusal."""

    service: str
    operation: str
    attempt: int
    away_seconds: float | None
    wait_seconds: float
    error: BaseException


class AnswerNotUnderstood(DaemonMoment):
    """An attempt failed because of an unexpected answer; the service is available."""

    operation: str
    attempt: int
    wait_seconds: float
    error: BaseException


class ServiceBack(DaemonMoment):
    """The end of an outage that was logged, with the total number of failures."""

    service: str
    failures: int
    seconds: float


# -- the process ---------------------------------------------------------------------------------------------------


class ReadinessLooked(DaemonMoment):
    """The availability of each service. No log line."""

    parts: Mapping[str, bool]


class NotReady(DaemonMoment):
    """A service has been unavailable for ``seconds``."""

    service: str
    seconds: float
    reason: str
    error: BaseException


class ReadyAgain(DaemonMoment):
    service: str
    seconds: float


class LoopLagged(DaemonMoment):
    """Scheduling delay of the event loop, and its maximum in the last minute. No log line."""

    seconds: float
    longest: float


class LoopHung(DaemonMoment):
    """The process exits now."""

    seconds: float
    stack: str
