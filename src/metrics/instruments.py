"""The metrics themselves: name, help, labels and buckets of each, and its row of the operations reference.

Which moment writes which of them is said in ``told``; streams and failures are counted by ``series``, the build by
``emitter``; what is at risk is measured and not written, see ``at_risk``. A new label also begins at 0 in
``Instruments``, and the rules and dashboards in ``deploy`` may sum it up.

Counters' names end in ``_total`` when they are read. A label has few values; that of a stream is bounded by ``series``.
The order here is the order in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..domain import STATUSES, Care, FailedFor, SendReason

Kind = TypeVar("Kind", Counter, Gauge, Histogram)

#: What is asked over a network, and may be away.
SERVICES = ("s3", "redis")

_LENGTHS = (10.0, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_WAITS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True, eq=False)
class Metric(Generic[Kind]):
    """One metric. ``help`` is what a scrape shows, ``means`` what the reference says of it."""

    kind: type[Kind]
    name: str
    help: str
    means: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def made(self, registry: CollectorRegistry) -> Kind:
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return self.kind(self.name, self.help, self.labels, registry=registry, **more)


METRICS: list[Metric[Any]] = []


def _counter(name: str, help_text: str, means: str, *labels: str) -> Metric[Counter]:
    return _listed(Metric(Counter, name, help_text, means, labels))


def _gauge(name: str, help_text: str, means: str, *labels: str) -> Metric[Gauge]:
    return _listed(Metric(Gauge, name, help_text, means, labels))


def _histogram(name: str, help_text: str, means: str, *labels: str, buckets: tuple[float, ...]) -> Metric[Histogram]:
    return _listed(Metric(Histogram, name, help_text, means, labels, buckets))


def _listed(metric: Metric[Kind]) -> Metric[Kind]:
    METRICS.append(metric)
    return metric


# -- streams -------------------------------------------------------------------------------------------------------

ACTIVE = _gauge(
    "active_streams_gauge",
    "Streams under way: recorded, sent or being finished.",
    "streams under way: recorded, sent or being finished; neither failed nor completed ones",
)
COMPLETED = _counter(
    "streams_completed", "Streams whose object and metadata are in S3.", "object and metadata are in S3"
)
FAILED = _counter("streams_failed", "Streams that need somebody's help.", "times that a stream needed somebody")
STREAM_PARTS = _counter(
    "video_chunks_uploaded",
    "Parts of this stream that S3 took.",
    "parts that S3 took, repetitions too",
    "stream_id",
)
STREAM_BYTES = _counter(
    "video_bytes_uploaded", "Bytes of this stream that were sent to S3.", "their bytes", "stream_id"
)
STREAM_DURATION = _histogram(
    "video_stream_duration_seconds",
    "Length of the processed recording, in seconds of media time.",
    "length of the processed recording, in seconds of media time; nothing where ffprobe cannot tell it",
    "stream_id",
    buckets=_LENGTHS,
)
STREAM_PROCESSING = _histogram(
    "video_processing_time_seconds",
    "From the moment a recording counted as finished to its completion.",
    "from finished to completion",
    "stream_id",
    buckets=_WAITS,
)
STREAM_FAILURES = _counter(
    "video_failed_operations", "Attempts that failed.", "failed attempts", "stream_id", "operation_type"
)

# -- sending -------------------------------------------------------------------------------------------------------

BYTES = _counter("cefmp4_bytes_uploaded", "Bytes that were sent to S3.", "bytes sent, all streams")
PARTS = _counter("cefmp4_parts_uploaded", "Parts that S3 took.", "parts sent, all streams")
PARTS_COPIED = _counter("cefmp4_parts_copied", "Parts that S3 copied by itself.", "parts that S3 copied by itself")
PARTS_AGAIN = _counter(
    "cefmp4_parts_sent_again",
    "Parts that were sent before, by why again.",
    "`head_patch`, `faststart`, `rewrite`, `tail_grew`, `lost`",
    "reason",
)
BYTES_AGAIN = _counter("cefmp4_bytes_sent_again", "Bytes that were sent before, by why again.", "their bytes", "reason")
SEAL = _histogram(
    "cefmp4_seal_seconds",
    "From finished to proved by the store's listing: tail, pass over the file, what changed.",
    "from finished to proved by the store's listing (tail, one read of the file, what changed)",
    buckets=_WAITS,
)
LIFETIME = _histogram(
    "cefmp4_stream_lifetime_seconds",
    "From the first sight of a recording to its completion.",
    "from the first sight of a recording to its completion",
    buckets=_LENGTHS,
)
AVAILABLE = _histogram(
    "cefmp4_time_to_available_seconds",
    "From a recording's last change on disk to its proved object.",
    "from the recording's last change (its ctime) to its proved object, the quiet time included; without recordings"
    " that nobody has written to since the daemon started",
    buckets=(*_WAITS, 14400, 86400),
)
FAILED_NOW = _gauge(
    "cefmp4_failed_streams",
    "Streams that are kept as failed now, by what for.",
    "streams that are kept as failed now: `source_missing` (S3 holds an open upload), `disposed` (the file is gone, and"
    " no upload of it is open), `other`; `streams_failed_total` never goes down",
    "reason",
)
#: A stream that is done is counted no more: there would be as many as there ever were.
_COUNTED = tuple(status for status, standing in STATUSES.items() if standing.care is not Care.DONE)
STREAMS = _gauge(
    "cefmp4_streams",
    "Streams by the status in which they are now.",
    f"streams by where they are now: {', '.join(f'`{status}`' for status in _COUNTED)}",
    "status",
)
CAPACITY = _gauge(
    "cefmp4_capacity_used_ratio",
    "How full the fullest upload is (1: it is sent anew in larger parts).",
    "how full the fullest upload is, 0 to 1",
)

# -- services ------------------------------------------------------------------------------------------------------

OUTAGE = _gauge(
    "cefmp4_outage",
    "1: the service is away; 0: it is not.",
    "1: `s3` or `redis` is away or refuses, and something waits for it",
    "service",
)
OUTAGE_START = _gauge(
    "cefmp4_outage_start_timestamp_seconds",
    "Since when the service is away, in Unix time; 0: it is not.",
    "since when, in Unix time; 0: it is not",
    "service",
)


def _request_seconds(service: str, means: str) -> Metric[Histogram]:
    name, text = f"cefmp4_{service}_request_duration_seconds", "How long single requests took, failed ones too."
    return _histogram(name, text, means, "operation", buckets=_REQUESTS)


def _request_errors(service: str, means: str) -> Metric[Counter]:
    name, text = f"cefmp4_{service}_request_errors", "Single requests that did not succeed."
    return _counter(name, text, means, "operation", "error_class")


REQUEST_SECONDS: Mapping[str, Metric[Histogram]] = {
    "s3": _request_seconds("s3", "single requests, failed ones too; a download until its first byte"),
    "redis": _request_seconds("redis", "single exchanges, with the wait for a connection"),
}
REQUEST_ERRORS: Mapping[str, Metric[Counter]] = {
    "s3": _request_errors("s3", "requests that did not succeed"),
    "redis": _request_errors("redis", "exchanges that did not succeed"),
}
FAILURES = _counter(
    "cefmp4_failed_operations", "Attempts that failed.", "failed attempts, all streams", "operation_type"
)

# -- the folder, and tidying ---------------------------------------------------------------------------------------

SKIPPED = _counter(
    "cefmp4_files_skipped", "Files that are no recordings.", "things with a recording's name that are none"
)
SET_ASIDE = _counter(
    "cefmp4_records_set_aside", "Redis records that made no sense.", "Redis records that could not be used"
)
RESTARTS = _counter("cefmp4_watcher_restarts", "Times that notifications ended.", "times that notifications ended")
LEFT_OUT = _gauge(
    "cefmp4_files_left_out",
    "Files that the start found older than IGNORE_OLDER_THAN.",
    "files that the start found older than `IGNORE_OLDER_THAN`, less those that changed since",
)
FILES = _gauge("cefmp4_watched_files", "Recordings that the last scan found.", "recordings that the last scan found")
SCAN = _gauge("cefmp4_scan_seconds", "How long the last scan took.", "how long the last scan took")
FOLDER = _gauge(
    "cefmp4_watched_folder_present",
    "1: it is there; 0: it is away; NaN: the first scan has not ended.",
    "0: the folder is away; `NaN`: the first scan has not ended",
)
GONE = _gauge(
    "cefmp4_objects_gone",
    "Finished recordings in the folder whose object is gone.",
    "finished recordings in the folder whose object somebody deleted",
)
ABLE = _gauge(
    "cefmp4_store_ability",
    "1: the store can do this; 0: it cannot.",
    "1: the store can do this, 0: it cannot or it is not known; nothing for what is set or Amazon's own",
    "ability",
)
ORPHANS = _gauge(
    "cefmp4_orphan_uploads",
    "Old open uploads that belong to no stream and stay.",
    "old open uploads that belong to no stream and stay",
)
ORPHANS_ABORTED = _counter(
    "cefmp4_orphan_uploads_aborted",
    "Old open uploads that were thrown away.",
    "old open uploads that were thrown away",
)

# -- the process ---------------------------------------------------------------------------------------------------

READY = _gauge(
    "cefmp4_ready",
    "1: everything that the daemon needs answers.",
    "1: S3, Redis and the watched folder are there (looked at every 15 s)",
)
SERVICE_READY = _gauge(
    "cefmp4_service_ready",
    "1: it answers; 0: it is missing.",
    "1: this one is there: `s3`, `redis`, `watched_folder`",
    "service",
)
LAG = _histogram(
    "cefmp4_event_loop_lag_seconds",
    "How much later than due the event loop came to a task.",
    "how much later than due the event loop came to a task, four times a second",
    buckets=_LAGS,
)
LONGEST_LAG = _gauge(
    "cefmp4_event_loop_lag_max_seconds",
    "The longest such delay of the last minute.",
    "the longest such delay of the last minute",
)
BUILD = _gauge("cefmp4_build_info", "Always 1.", "always 1", "version", "python_version")

#: Those that have a series for each of some streams.
OF_STREAM = tuple(metric for metric in METRICS if "stream_id" in metric.labels)


class Instruments:
    """Every metric above, in one registry: ``instruments(PARTS).inc()``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._made: Mapping[Metric[Any], Any] = {metric: metric.made(registry) for metric in METRICS}
        self(FOLDER).set(math.nan)
        self._begin_at_zero()

    def __call__(self, metric: Metric[Kind]) -> Kind:
        made: Kind = self._made[metric]
        return made

    def remove(self, stream_id: str) -> None:
        """Take away the series of one stream."""
        for metric in OF_STREAM:
            self(metric).remove_by_labels({"stream_id": stream_id})

    def _begin_at_zero(self) -> None:
        """A series that is 0 shows that it never happened."""
        for reason in SendReason:
            if reason not in (SendReason.NEW, SendReason.COPIED):
                self(PARTS_AGAIN).labels(reason)
                self(BYTES_AGAIN).labels(reason)
        for status in _COUNTED:
            self(STREAMS).labels(status)
        for failed_for in FailedFor:
            self(FAILED_NOW).labels(failed_for)
        for service in SERVICES:
            self(OUTAGE).labels(service)
            self(OUTAGE_START).labels(service)
