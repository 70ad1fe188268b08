"""What becomes of each moment: its log line, what it counts, and its row of the operations reference.

The one table: to tell of something new is a class in ``domain/moments.py`` and a row here, and ``python -m
scripts.documents`` writes the reference. A test holds that each moment has its row, and each event that warns its
``means`` and ``do``: whoever is woken by it looks them up. Seconds are rounded in lines, never in metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, cast

from ..domain import STATUSES, Care, FailedFor, SendReason, moments
from ..exceptions import described
from . import instruments as metric
from .series import Series
from .trouble import operation_type

M = TypeVar("M", bound=moments.Moment)
Level = Literal["debug", "info", "warning", "error", "critical"]
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """The event's name, the room in whose name it is logged, and its level. ``{service}`` stands for the moment's."""

    event: str
    room: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Told(Generic[M]):
    """One row."""

    moment: type[M]
    line: Line | None = None
    #: The fields of the line; those of the moment, if nothing else is said. ``digits``: of which seconds are rounded.
    fields: Callable[[M], Fields] | None = None
    digits: Mapping[str, int] = field(default_factory=dict)
    hint: str = ""  # where it is always the same, but for fields in braces
    #: The kind of trouble, and of what: the first is written at once, then one line in a while with the number of
    #: ``failures``. An empty second one stands for the stream whose moment it is.
    limited: Callable[[M], tuple[str, str]] | None = None
    #: Written when this is another than the last time, and not 0.
    when_changed: Callable[[M], object] | None = None
    #: An end of trouble: the line has told of all failures of the kinds that begin so, and the next one of them is the
    #: first again. It is of no stream, whosever work it was that showed it.
    accounts_for: Callable[[M], str] | None = None
    metrics: Callable[[Series, M], None] | None = None
    means: str = ""
    do: str = ""

    def fields_of(self, moment: M) -> Fields:
        found = _as_it_is(moment, self.digits) if self.fields is None else self.fields(moment)
        return {**found, "hint": self.hint.format_map(found)} if self.hint else found


def _as_it_is(moment: moments.Moment, digits: Mapping[str, int]) -> Fields:
    """The fields of a moment as those of its line: an error tells what it is and what to change."""
    found: Fields = {}
    for each in fields(moment):  # type: ignore[arg-type]
        value = getattr(moment, each.name)
        if isinstance(value, BaseException):
            found |= described(value)
        elif isinstance(value, StrEnum):
            found[each.name] = str(value)
        else:
            found[each.name] = round(value, digits[each.name]) if each.name in digits else value
    return found


# -- what several count, or say in more than one expression ---------------------------------------------------------


def _part_stored(series: Series, moment: moments.PartStored) -> None:
    series(metric.PARTS).inc()
    series(metric.BYTES).inc(moment.size)
    if moment.reason is not SendReason.NEW:
        series(metric.PARTS_AGAIN).labels(moment.reason).inc()
        series(metric.BYTES_AGAIN).labels(moment.reason).inc(moment.size)
    series.add_own(metric.STREAM_PARTS, 1)
    series.add_own(metric.STREAM_BYTES, moment.size)


def _object_proved(series: Series, moment: moments.ObjectProved) -> None:
    since = moment.seconds_since_change
    if since is not None and series.has_watched_for(since):  # else nobody was there to send it
        series(metric.AVAILABLE).observe(since)


def _proved_fields(moment: moments.ObjectProved) -> Fields:
    since = moment.seconds_since_change
    known: Fields = {} if since is None else {"seconds_since_change": round(since, 3)}
    return {"key": moment.key, "size": moment.size, "etag": moment.etag, **known}


def _completed(series: Series, moment: moments.Completed) -> None:
    series(metric.COMPLETED).inc()
    series(metric.LIFETIME).observe(moment.stream_seconds)
    if moment.duration_seconds is not None:
        series.observe_own(metric.STREAM_DURATION, moment.duration_seconds)
    series.observe_own(metric.STREAM_PROCESSING, moment.processing_seconds)
    series.end()


def _stream_failed(series: Series, _: moments.Failed) -> None:
    series(metric.FAILED).inc()
    series.end()


def _trouble_fields(moment: moments.Trouble) -> Fields:
    wait: Fields = {} if moment.retry_seconds is None else {"retry_in_seconds": round(moment.retry_seconds, 1)}
    kind = operation_type(moment.operation, moment.error)
    return {"operation": kind, "failures": 1, **wait, **described(moment.error)}


def _unexpected_fields(moment: moments.Unexpected) -> Fields:
    return {
        "stream_id": moment.stream_id,
        "file_path": moment.file_path,
        "failures": 1,
        "retry_in_seconds": round(moment.retry_seconds, 1),
        "exc_info": moment.error,
        **described(moment.error),
    }


def _kept_streams(series: Series, moment: moments.KeptStreams) -> None:
    for reason in FailedFor:
        series(metric.FAILED_NOW).labels(reason).set(moment.failed_for.get(reason, 0))
    for status in (status for status, standing in STATUSES.items() if standing.care is Care.KEPT):
        series(metric.STREAMS).labels(status).set(moment.at.get(status, 0))


def _scanned(series: Series, moment: moments.FolderScanned) -> None:
    series(metric.FILES).set(moment.files)
    series(metric.SCAN).set(moment.seconds)
    series(metric.FOLDER).set(1)


def _abilities_unknown(series: Series, moment: moments.AbilitiesUnknown) -> None:
    for ability in moment.abilities:
        series(metric.ABLE).labels(ability).set(0)


def _abilities_fields(moment: moments.AbilitiesUnknown) -> Fields:
    error = described(moment.error) if moment.error else {}
    return {**error, "abilities": sorted(moment.abilities)}


def _request_ended(series: Series, moment: moments.RequestEnded) -> None:
    series(metric.REQUEST_SECONDS[moment.service]).labels(moment.operation).observe(moment.seconds)
    if moment.error_class is not None:
        series(metric.REQUEST_ERRORS[moment.service]).labels(moment.operation, moment.error_class).inc()


def _outage(series: Series, service: str, since: float) -> None:
    if service in metric.SERVICES:
        series(metric.OUTAGE).labels(service).set(since > 0)
        series(metric.OUTAGE_START).labels(service).set(since)


def _attempt_fields(moment: moments.ServiceAway | moments.AnswerNotUnderstood) -> Fields:
    told: Fields = {"operation": moment.operation, "attempt": moment.attempt, "failures": 1}
    if isinstance(moment, moments.ServiceAway) and moment.away_seconds is not None:
        told["away_seconds"] = round(moment.away_seconds, 1)
    if moment.wait_seconds:
        told["retry_in_seconds"] = round(moment.wait_seconds, 1)
    return {**told, **described(moment.error)}


def _readiness(series: Series, moment: moments.ReadinessLooked) -> None:
    for part, ok in moment.parts.items():
        series(metric.SERVICE_READY).labels(part).set(ok)
    series(metric.READY).set(all(moment.parts.values()))


def _loop_lagged(series: Series, moment: moments.LoopLagged) -> None:
    series(metric.LAG).observe(moment.seconds)
    series(metric.LONGEST_LAG).set(moment.longest)


# -- the table -------------------------------------------------------------------------------------------------------

_AROUND = "uploads go on without it; S3_CHECKSUM, S3_CONDITIONAL_WRITES and S3_PART_COPY say it for good"


_ROWS = (
    # Requests and outages. The first four only count, or move what follows from them.
    Told(moments.RequestEnded, metrics=_request_ended),
    Told(moments.OperationFailed, metrics=lambda series, m: series.failed(operation_type(m.operation, m.error))),
    Told(moments.OperationRecovered),
    Told(moments.OperationGivenUp),
    Told(moments.OutageBegan, metrics=lambda series, m: _outage(series, m.service, m.since)),
    Told(moments.OutageEnded, metrics=lambda series, m: _outage(series, m.service, 0.0)),
    Told(
        moments.ServiceAway,
        Line("{service}_unavailable", "retry", "warning"),
        fields=_attempt_fields,
        limited=lambda m: (m.operation, ""),
        means="{service} does not answer, or refuses",
        do="follow `hint`; nothing, if it is an outage",
    ),
    Told(
        moments.ServiceBack,
        Line("{service}_recovered", "retry"),
        fields=lambda m: {"failures": m.failures, "seconds": round(m.seconds, 1)},
        accounts_for=lambda m: f"{m.service}_",
    ),
    Told(
        moments.NotReady,
        Line("not_ready", "metrics", "warning"),
        digits={"seconds": 1},
        means="the `service` (`s3`, `redis`, `watched_folder`) was missing at two looks in a row, for `seconds` by now;"
        " told again once a minute, and `ready_again` when it is back",
        do="follow `hint` or `reason`; nothing, if it is an outage",
    ),
    Told(moments.ReadyAgain, Line("ready_again", "metrics"), digits={"seconds": 1}),
    Told(moments.ReadinessLooked, metrics=_readiness),
    Told(moments.LoopLagged, metrics=_loop_lagged),
    Told(
        moments.LoopHangs,
        Line("event_loop_hangs", "metrics", "critical"),
        digits={"seconds": 1},
        hint="the process ends now, so that it is started again; report it with this stack",
        means="the event loop gave no sign of life for `seconds`; the process ends with exit code 70",
        do="see that it was started again; report it with its `stack`",
    ),
    Told(
        moments.AnswerNotUnderstood,
        Line("operation_failed", "retry", "warning"),  # its row is that of ``Trouble``
        fields=_attempt_fields,
        limited=lambda m: (m.operation, ""),
    ),
    # One stream.
    Told(
        moments.Trouble,
        Line("operation_failed", "stream_processor", "warning"),
        fields=_trouble_fields,
        limited=lambda m: (operation_type(m.operation, m.error), ""),
        metrics=lambda series, m: series.failed(operation_type(m.operation, m.error)),
        means="a file cannot be read now (`file_read`); a part could not be noted in Redis, and is noted with the next"
        " (`redis_update`); the store refused a completion, and the stream goes back to proving or begins anew"
        " (`s3_complete`); the store answers something that is not understood, or does not know an optional header"
        " (`hint` names the setting that goes round it)",
        do="for `file_read`: rights, disk; for `s3_complete`, if it repeats: report it, with what store it is",
    ),
    Told(
        moments.Failed,
        Line("stream_failed", "stream_processor", "error"),
        metrics=_stream_failed,
        means="a stream needs help; see [Failed streams](#failed-streams)",
        do="follow `reason` and `hint`",
    ),
    Told(
        moments.Rescued,
        Line("stream_rescued", "stream_processor", "warning"),
        means="the file is gone, and what had been sent of it is an object now (`ON_SOURCE_MISSING=complete`)",
        do="nothing; the recording is not whole",
    ),
    Told(
        moments.KeyTaken,
        Line("key_taken", "stream_processor", "warning"),
        means="somebody else's object came to be at the key; the recording goes to `key`",
        do="nothing; find out who writes there",
    ),
    Told(
        moments.UploadLost,
        Line("upload_lost", "stream_processor", "warning"),
        means="the store no longer knows the upload; the object is looked at, else it is sent anew",
        do="if it repeats: a lifecycle rule that is too short",
    ),
    Told(
        moments.NearCapacity,
        Line("near_capacity", "stream_processor", "warning"),
        hint="a larger CHUNK_SIZE_BYTES makes room for longer recordings; this one is sent anew when it is full",
        means="the recording fills its 10,000 parts to 90 %",
        do="a larger `CHUNK_SIZE_BYTES`",
    ),
    Told(
        moments.DocumentTaken,
        Line("document_taken", "stream_processor", "warning"),
        hint="what lies where the metadata belongs is not ours",
        means="a document that is not of this recording is at the metadata's key; it stays",
        do="remove it, if it is in the way",
    ),
    Told(
        moments.ProbeFailed,
        Line("probe_failed", "stream_processor", "warning"),
        metrics=lambda series, _: series.failed("ffprobe"),
        means="ffprobe found no film or no duration; the object is complete all the same",
        do="is the recording whole?",
    ),
    Told(moments.StreamStarted, Line("stream_started", "stream_processor")),
    Told(moments.StreamResumed, Line("stream_resumed", "stream_processor")),
    Told(
        moments.PartStored,
        Line("part_stored", "stream_processor"),
        digits={"seconds": 3},
        metrics=_part_stored,
    ),
    Told(
        moments.PartCopied,
        Line("part_copied", "stream_processor"),
        digits={"seconds": 3},
        metrics=lambda series, _: series(metric.PARTS_COPIED).inc(),
    ),
    Told(moments.UploadAdopted, Line("upload_adopted", "stream_processor")),
    Told(moments.WentIdle, Line("stream_went_idle", "stream_processor"), digits={"quiet_seconds": 1}),
    Told(moments.GrewAgain, Line("stream_grew_again", "stream_processor")),
    Told(
        moments.Sealed,
        Line("stream_sealed", "stream_processor"),
        digits={"seconds": 3},
        metrics=lambda series, m: series(metric.SEAL).observe(m.seconds),
    ),
    Told(
        moments.ObjectProved,
        Line("object_proved", "stream_processor"),
        fields=_proved_fields,
        metrics=_object_proved,
    ),
    Told(moments.StreamIdTaken, Line("stream_id_taken", "stream_processor")),
    Told(moments.ObjectBeingReplaced, Line("object_being_replaced", "stream_processor")),
    Told(moments.StatusIs, metrics=lambda series, m: series.status_is(m.status)),
    Told(moments.CapacityUsed, metrics=lambda series, m: series.fill_is(m.ratio)),
    Told(
        moments.Completed,
        Line("stream_completed", "stream_processor"),
        digits={"stream_seconds": 3, "processing_seconds": 3},
        metrics=_completed,
    ),
    Told(
        moments.AlreadyStored,
        Line("already_stored", "stream_processor", "debug"),
        metrics=lambda series, _: series.end(),
    ),
    # What a sweep finds in the bucket.
    Told(
        moments.OrphansLeft,
        Line("orphan_uploads_found", "ownership", "warning"),
        when_changed=lambda m: m.count,
        metrics=lambda series, m: series(metric.ORPHANS).set(m.count),
        means="so many open uploads belong to no stream, are older than `ORPHAN_UPLOAD_RETENTION`, and lie where no"
        " recording of ours is complete; they stay",
        do="look at `keys`; abort them, if they are nobody's",
    ),
    Told(
        moments.OrphanAborted,
        Line("orphan_upload_aborted", "ownership"),
        metrics=lambda series, _: series(metric.ORPHANS_ABORTED).inc(),
    ),
    Told(
        moments.ObjectsGone,
        Line("objects_gone", "ownership", "warning"),
        when_changed=lambda m: m.count,
        metrics=lambda series, m: series(metric.GONE).set(m.count),
        means="the objects of so many finished recordings, still in the folder, are not in the bucket: somebody or a"
        " rule deleted them; they are not sent again",
        do="if it was a mistake: copy the file under a new name",
    ),
    # What the store can do.
    Told(
        moments.AbilityLearnt,
        Line("store_ability", "s3_client", "debug"),
        metrics=lambda series, m: series(metric.ABLE).labels(m.ability).set(m.able),
    ),
    Told(
        moments.AbilityLost,
        Line("store_ability_lost", "s3_client", "warning"),
        hint=_AROUND,
        means="the store could do this (`ability`) and no longer does",
        do="was it changed? Uploads go on without it",
    ),
    Told(
        moments.AbilitiesUnknown,
        Line("store_abilities_unknown", "s3_client", "warning"),
        fields=_abilities_fields,
        hint=_AROUND,
        metrics=_abilities_unknown,
        means="the probe finds out nothing about these `abilities`; said once",
        do="see [the probe key](#the-probe-key); `S3_CHECKSUM` and `S3_CONDITIONAL_WRITES` say it for good",
    ),
    Told(
        moments.UploadsExpire,
        Line("uploads_expire", "main", "warning"),
        hint="let the bucket's rule wait for longer than the longest recording and the longest outage",
        means="a rule of the bucket aborts unfinished uploads after so few `days`",
        do="see [Bucket lifecycle](#bucket-lifecycle)",
    ),
    # The dispatcher.
    Told(
        moments.Unexpected,
        Line("unexpected_error", "dispatcher", "error"),
        fields=_unexpected_fields,
        limited=lambda m: (operation_type("unexpected", m.error), m.file_path),
        metrics=lambda series, m: series.failed(operation_type("unexpected", m.error)),
        means="nobody foresaw this; the stream pauses (5 s, doubled up to 5 minutes) and tries again",
        do="report it with its traceback",
    ),
    Told(moments.ActiveStreams, metrics=lambda series, m: series(metric.ACTIVE).set(m.count)),
    Told(moments.KeptStreams, metrics=_kept_streams),
    Told(moments.EmptyFile, Line("empty_file", "dispatcher")),
    Told(moments.StreamsRecovered, Line("streams_recovered", "dispatcher")),
    Told(moments.Draining, Line("draining", "dispatcher")),
    Told(moments.Drained, Line("drained", "dispatcher")),
    # The watched folder.
    Told(
        moments.FolderMissing,
        Line("folder_missing", "watcher", "error"),
        hint="check WATCH_DIR, and that its disk is mounted; it is waited for, and nothing counts as deleted",
        metrics=lambda series, _: series(metric.FOLDER).set(0),
        means="the watched folder is gone, empty at once, or on another device; nothing counts as deleted",
        do="mount it; `folder_back` follows",
    ),
    Told(moments.FolderBack, Line("folder_back", "watcher"), metrics=lambda series, _: series(metric.FOLDER).set(1)),
    Told(moments.FolderScanned, Line("folder_scanned", "watcher", "debug"), digits={"seconds": 3}, metrics=_scanned),
    Told(
        moments.FilmUnmatched,
        Line("film_unmatched", "watcher", "warning"),
        hint='it is not uploaded; to take files like it, add "{pattern}" to the list of WATCH_FILTER_GLOBS',
        means="a file that looks like a film matches no pattern, and is not uploaded; once for each `pattern`",
        do="add the `pattern` to `WATCH_FILTER_GLOBS`, if it should be",
    ),
    Told(
        moments.WatcherRestarted,
        Line("watcher_restarted", "watcher", "warning"),
        digits={"retry_in_seconds": 1},
        limited=lambda _: ("watcher_restarted", ""),
        metrics=lambda series, _: series(metric.RESTARTS).inc(),
        means="notifications ended and begin again; the scan goes on",
        do="nothing; beside `folder_missing` it is the same trouble. If it repeats otherwise, look at `error` (inotify"
        " limits) or set `WATCH_FORCE_POLLING`",
    ),
    Told(
        moments.FileSkipped,
        Line("file_skipped", "watcher", "warning"),
        metrics=lambda series, _: series(metric.SKIPPED).inc(),
        means="something has a recording's name and is none: link, folder, FIFO; or a folder cannot be listed",
        do="rights, if it should be one",
    ),
    Told(moments.LeftOut, metrics=lambda series, m: series(metric.LEFT_OUT).set(m.count)),
    Told(
        moments.OldFilesLeftOut,
        Line("old_files_left_out", "watcher"),
        fields=lambda m: {"count": m.count, "file_path": m.file_path, "changed_at": m.changed_at.isoformat()},
        hint="they are older than IGNORE_OLDER_THAN; leave it empty to upload them too",
    ),
    Told(
        moments.ExcludedStreams,
        Line("excluded_streams", "watcher"),
        hint="WATCH_FILTER_GLOBS or WATCH_EXCLUDE_GLOBS leaves them out by now; what was begun is finished",
    ),
    # The start and the end.
    Told(
        moments.FfprobeMissing,
        Line("ffprobe_missing", "main", "warning"),
        hint="install ffmpeg or set FFPROBE_PATH; metadata will have no duration",
        means="there is no ffprobe",
        do="install ffmpeg, or set `FFPROBE_PATH`",
    ),
    Told(
        moments.SettingsNotice,
        Line("settings_notice", "main", "warning"),
        means="an older spelling of a setting still works",
        do="write the new one",
    ),
    Told(
        moments.DaemonStarted,
        Line("daemon_started", "main"),
        fields=lambda m: {"version": m.version, "ffprobe": m.ffprobe, **m.settings},
    ),
    Told(moments.DaemonStopped, Line("daemon_stopped", "main")),
    # Redis.
    Told(
        moments.RecordSetAside,
        Line("record_set_aside", "redis_client", "warning"),
        metrics=lambda series, _: series(metric.SET_ASIDE).inc(),
        means="a record in Redis could not be used: moved to `bad:…`, or left alone (another bucket's)",
        do="look at it, then delete it",
    ),
    Told(
        moments.RedisMayLose,
        Line("redis_may_lose", "redis_client", "warning"),
        means="Redis may evict or forget",
        do="the `reason` says what to set",
    ),
    Told(
        moments.RedisForgot,
        Line("redis_forgot", "redis_client", "warning"),
        means="Redis was emptied, or is another one; so many records were written anew",
        do="find out who did it; nothing is lost",
    ),
)

TOLD: Mapping[type[moments.Moment], Told[Any]] = {row.moment: row for row in cast("tuple[Told[Any], ...]", _ROWS)}
