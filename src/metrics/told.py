"""The table of moments: the log line of each, its metrics, and its entry in the operations reference.

One table in two files: a new event is a class in ``domain/moments.py`` and a row here, or in ``stream_rows`` if it is a
``StreamMoment``; ``python -m scripts.documents`` then writes the reference. A test checks that each event has its row,
and each warning its ``means`` and ``do``, which operators look up. Seconds are rounded in log lines, never in metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..domain import STATUSES, Care, FailedFor, moments
from ..exceptions import described
from . import instruments as metric
from . import stream_rows
from .row import Fields, Line, Told
from .series import Series
from .trouble import operation_type

# -- helpers of several rows ----------------------------------------------------------------------------------------


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


def _markers_compared(series: Series, moment: moments.MarkersCompared) -> None:
    series(metric.GONE_FILES).set(moment.gone)
    series(metric.PRUNED).inc(moment.pruned)


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

_AROUND = "uploads continue without it; set S3_CHECKSUM, S3_CONDITIONAL_WRITES or S3_PART_COPY to fix the choice"


_ROWS = (
    # Requests and outages. The first four only count, or update state.
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
        means="{service} does not respond, or refuses requests",
        do="follow `hint`; during an outage no action is needed",
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
        means="the `service` (`s3`, `redis`, `watched_folder`) failed two checks in a row, and has been unavailable "
        "for `seconds`; logged once a minute until `ready_again`",
        do="follow `hint` or `reason`; during an outage no action is needed",
    ),
    Told(moments.ReadyAgain, Line("ready_again", "metrics"), digits={"seconds": 1}),
    Told(moments.ReadinessLooked, metrics=_readiness),
    Told(moments.LoopLagged, metrics=_loop_lagged),
    Told(
        moments.LoopHung,
        Line("event_loop_hung", "metrics", "critical"),
        digits={"seconds": 1},
        hint="the process exits now so that the service manager restarts it; report this with the stack",
        means="the event loop was blocked for `seconds`; the process exits with code 70",
        do="check that the daemon was restarted; report the event with its `stack`",
    ),
    Told(
        moments.AnswerNotUnderstood,
        Line("operation_failed", "retry", "warning"),  # ``Trouble`` has the entry in the reference
        fields=_attempt_fields,
        limited=lambda m: (m.operation, ""),
    ),
    # Results of a sweep of the bucket.
    Told(
        moments.OrphansLeft,
        Line("orphan_uploads_found", "ownership", "warning"),
        when_changed=lambda m: m.count,
        metrics=lambda series, m: series(metric.ORPHANS).set(m.count),
        means="`count` open uploads belong to no stream, are older than `ORPHAN_UPLOAD_RETENTION`, and have no "
        "completed recording at their key; they are kept",
        do="check `keys`; abort the uploads if no other program needs them",
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
        means="the objects of `count` completed recordings were deleted from the bucket while their files are still "
        "in the folder; they are not uploaded again",
        do="to upload a file again under the same key: `touch FILE`",
    ),
    Told(
        moments.MarkersCompared,
        Line("markers_compared", "ownership", "debug"),
        metrics=_markers_compared,
    ),
    # Features of the store.
    Told(
        moments.AbilityLearnt,
        Line("store_ability", "s3_client", "debug"),
        metrics=lambda series, m: series(metric.ABLE).labels(m.ability).set(m.able),
    ),
    Told(
        moments.AbilityLost,
        Line("store_ability_lost", "s3_client", "warning"),
        hint=_AROUND,
        means="the store no longer supports this feature (`ability`)",
        do="check whether the store was changed; uploads continue without the feature",
    ),
    Told(
        moments.AbilitiesUnknown,
        Line("store_abilities_unknown", "s3_client", "warning"),
        fields=_abilities_fields,
        hint=_AROUND,
        metrics=_abilities_unknown,
        means="the daemon could not determine whether the store supports these `abilities`; logged once",
        do="see [the probe key](DOCS/operations.md#the-probe-key), or set `S3_CHECKSUM` and `S3_CONDITIONAL_WRITES`",
    ),
    Told(
        moments.LifecycleRuleTooShort,
        Line("lifecycle_rule_too_short", "main", "warning"),
        hint="set the lifecycle rule to more than the longest recording plus the longest outage",
        means="a lifecycle rule of the bucket aborts unfinished uploads after `days` days, which is too short",
        do="see [Bucket lifecycle](DOCS/operations.md#bucket-lifecycle)",
    ),
    # The dispatcher.
    Told(
        moments.Unexpected,
        Line("unexpected_error", "dispatcher", "error"),
        fields=_unexpected_fields,
        limited=lambda m: (operation_type("unexpected", m.error), m.file_path),
        metrics=lambda series, m: series.failed(operation_type("unexpected", m.error)),
        means="unexpected error; the stream pauses (5 s, doubled up to 5 minutes) and retries",
        do="report it with the traceback",
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
        hint="check WATCH_DIR, and that its disk is mounted; the daemon waits for it and treats no file as deleted",
        metrics=lambda series, _: series(metric.FOLDER).set(0),
        means="the watched folder is missing, suddenly empty, or on another device; no file is treated as deleted",
        do="mount it; `folder_recovered` follows",
    ),
    Told(
        moments.FolderRecovered,
        Line("folder_recovered", "watcher"),
        metrics=lambda series, _: series(metric.FOLDER).set(1),
    ),
    Told(moments.FolderScanned, Line("folder_scanned", "watcher", "debug"), digits={"seconds": 3}, metrics=_scanned),
    Told(
        moments.UnmatchedMediaFile,
        Line("unmatched_media_file", "watcher", "warning"),
        hint='the file is not uploaded; to upload such files, add "{pattern}" to WATCH_FILTER_GLOBS',
        means="a media file matches no pattern and is not uploaded; logged once for each `pattern`",
        do="add `pattern` to `WATCH_FILTER_GLOBS` to upload such files",
    ),
    Told(
        moments.WatcherRestarted,
        Line("watcher_restarted", "watcher", "warning"),
        digits={"retry_in_seconds": 1},
        limited=lambda _: ("watcher_restarted", ""),
        metrics=lambda series, _: series(metric.RESTARTS).inc(),
        means="file system notifications failed and are restarted; scans continue",
        do="none together with `folder_missing`, which has the same cause; if it repeats otherwise, check `error` "
        "(inotify limits) or set `WATCH_FORCE_POLLING`",
    ),
    Told(
        moments.FileSkipped,
        Line("file_skipped", "watcher", "warning"),
        metrics=lambda series, _: series(metric.SKIPPED).inc(),
        means="a name matches the patterns but is not a regular file (link, folder, FIFO), or a folder cannot be "
        "listed",
        do="check the permissions if it should be uploaded",
    ),
    Told(moments.MediaSeen),
    Told(
        moments.RecorderAdvice,
        Line("recorder_advice", "answering", "warning"),
        digits={"seconds_at_risk": 1},
        means="a recorder writes its files in a way that costs something: `advice` names it, `reason` says what it "
        "costs, `recordings` which files; known since the daemon's start, and logged once a day",
        do="follow `hint`, which names the setting of the recorder; [what each advice "
        "means](DOCS/reference/doctor.md#recorders)",
    ),
    Told(moments.LeftOut, metrics=lambda series, m: series(metric.LEFT_OUT).set(m.count)),
    Told(
        moments.OldFilesIgnored,
        Line("old_files_ignored", "ownership"),
        fields=lambda m: {"count": m.count, "file_path": m.file_path, "changed_at": m.changed_at.isoformat()},
        hint="these files are older than IGNORE_OLDER_THAN; clear the setting to upload them too",
    ),
    Told(
        moments.ExcludedStreams,
        Line("excluded_streams", "ownership"),
        hint="WATCH_FILTER_GLOBS or WATCH_EXCLUDE_GLOBS now excludes these files; uploads that have begun are finished",
    ),
    # Start and stop.
    Told(
        moments.FfprobeMissing,
        Line("ffprobe_missing", "main", "warning"),
        hint="install ffmpeg or set FFPROBE_PATH; without it the metadata has no duration",
        means="ffprobe is not installed",
        do="install ffmpeg or set `FFPROBE_PATH`",
    ),
    Told(
        moments.SettingsNotice,
        Line("settings_notice", "main", "warning"),
        means="an older name of a setting still works, or a setting is ignored",
        do="use the new name",
    ),
    Told(
        moments.OperatorAsked,
        Line("operator_asked", "doorkeeper"),
        means="an operator typed a command such as `retry` or `give-up`; `uid` is the user, `result` the answer",
        do="none",
    ),
    Told(
        moments.DoorRefused,
        Line("door_refused", "doorkeeper", "warning"),
        limited=lambda m: ("door", str(m.uid)),
        means="a user other than the daemon's and root connected to the socket for commands, and was refused",
        do="run commands as root or as the daemon's user",
    ),
    Told(
        moments.DoorClosed,
        Line("door_closed", "doorkeeper", "warning"),
        when_changed=lambda m: m.reason,
        means="commands cannot reach this daemon; uploads are not affected",
        do="follow `reason`; if another daemon has the socket, stop one of them",
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
        means="an invalid entry in Redis was moved to `bad:…`, or ignored because it belongs to another bucket",
        do="inspect it, then delete it",
    ),
    Told(
        moments.RedisDurabilityRisk,
        Line("redis_durability_risk", "redis_client", "warning"),
        means="the configuration of Redis allows eviction or data loss",
        do="change the setting named in `reason`",
    ),
    Told(
        moments.RedisDataLost,
        Line("redis_data_lost", "redis_client", "warning"),
        means="Redis lost its data or was replaced; `records` checkpoints were written again",
        do="find the cause; no recording is lost",
    ),
)

TOLD: Mapping[type[moments.Moment], Told[Any]] = {
    row.moment: row for row in cast("tuple[Told[Any], ...]", (*_ROWS, *stream_rows.ROWS))
}
