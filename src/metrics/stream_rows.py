"""The rows for the events of one stream; ``told`` has those of the daemon, and joins both tables.

One row for each class in ``domain/moments.py`` that is a ``StreamMoment``.
"""

from __future__ import annotations

from ..domain import SendReason, moments
from ..exceptions import described
from . import instruments as metric
from .row import Fields, Line, Told
from .series import Series
from .trouble import operation_type


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
    if since is not None and series.has_watched_for(since):  # otherwise the daemon was not running to send it
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


ROWS = (
    Told(
        moments.Trouble,
        Line("operation_failed", "stream_processor", "warning"),
        fields=_trouble_fields,
        limited=lambda m: (operation_type(m.operation, m.error), ""),
        metrics=lambda series, m: series.failed(operation_type(m.operation, m.error)),
        means="an attempt failed and is retried: a file cannot be read (`file_read`); a part could not be saved in "
        "Redis, and is saved with the next one (`redis_update`); the store refused a completion, and the upload is "
        "checked again or restarted (`s3_complete`); the store sent an unexpected response or does not support an "
        "optional header (`hint` names the setting that avoids it)",
        do="for `file_read`, check permissions and disk; for `s3_complete`, if it repeats, report it with the name "
        "of the store",
    ),
    Told(
        moments.Failed,
        Line("stream_failed", "stream_processor", "error"),
        metrics=_stream_failed,
        means="the stream was set aside and needs a change; see [Failed streams](DOCS/how-to/failed-recordings.md)",
        do="follow `reason` and `hint`",
    ),
    Told(
        moments.Rescued,
        Line("stream_rescued", "stream_processor", "warning"),
        means="the file is missing, and the bytes sent so far were completed as an object "
        "(`ON_SOURCE_MISSING=complete`)",
        do="none; the recording is incomplete",
    ),
    Told(
        moments.KeyConflict,
        Line("key_conflict", "stream_processor", "warning"),
        means="another program's object appeared at `key`; the recording goes to `next_key`",
        do="find the program that writes to this key",
    ),
    Told(
        moments.UploadLost,
        Line("upload_lost", "stream_processor", "warning"),
        means="the store no longer knows the upload; if there is no matching object, the recording is uploaded again",
        do="if it repeats, check the bucket's lifecycle rule: it may be too short",
    ),
    Told(
        moments.NearCapacity,
        Line("near_capacity", "stream_processor", "warning"),
        hint="raise CHUNK_SIZE_BYTES to allow longer recordings; this one is uploaded again with larger parts when "
        "it is full",
        means="the recording has used 90 % of its part capacity",
        do="raise `CHUNK_SIZE_BYTES`",
    ),
    Told(
        moments.MetadataKeyOccupied,
        Line("metadata_key_occupied", "stream_processor", "warning"),
        hint="the object at the metadata key belongs to another program",
        means="the metadata key is occupied by an object that does not belong to this recording; it is kept",
        do="delete or rename that object if you need the metadata",
    ),
    Told(
        moments.FfprobeFailed,
        Line("ffprobe_failed", "stream_processor", "warning"),
        metrics=lambda series, _: series.failed("ffprobe"),
        means="ffprobe found no media or no duration; the object is complete anyway",
        do="check the recording",
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
    Told(moments.StreamIdAdopted, Line("stream_id_adopted", "stream_processor")),
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
        Line("already_stored", "dispatcher", "debug"),
        metrics=lambda series, _: series.end(),
    ),
    Told(
        moments.ObjectDeleted,
        Line("object_deleted", "ownership", "warning"),
        hint="the file is not uploaded again while it is unchanged; touch FILE uploads it again",
        means="the metadata document says that this unchanged file was uploaded, but its object was deleted, for "
        "example by a lifecycle rule",
        do="nothing; to upload the file again under the same key: `touch FILE`",
    ),
)
