"""The metrics: name, help text, labels and buckets of each, and its entry in the operations reference.

``told`` and ``stream_rows`` define which moment updates which metric; streams and failures are counted by ``series``,
the build by ``emitter``; at-risk metrics are measured, see ``at_risk``.

The value of a new label is a field of the moment. For a constant of the process it is an argument of ``Metrics``, which
``main`` builds before embedded services start, so their addresses are not known yet. A metric of one stream also needs
the value in ``Series.add_own`` or ``observe_own``, since labels are given by position. Known values begin at 0 in
``Instruments._begin_at_zero``. The rules and dashboards in ``deploy`` may aggregate over the label.

The names of counters end in ``_total`` when scraped. A label has few values; the number of stream labels is bounded by
``series``. The order here is the order in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..domain import STATUSES, Care, FailedFor, SendReason

Kind = TypeVar("Kind", Counter, Gauge, Histogram)

#: Network services, which may be unavailable.
SERVICES = ("s3", "redis")

_LENGTHS = (10.0, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_WAITS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True, eq=False)
class Metric(Generic[Kind]):
    """One metric. ``help`` is shown in a scrape, ``means`` in the reference."""

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
    "Streams in progress: growing, uploading or finishing.",
    "streams in progress (growing, uploading or finishing), without failed and completed ones",
)
COMPLETED = _counter(
    "streams_completed",
    "Streams completed: object and metadata document are in S3.",
    "streams completed: object and metadata document are in S3",
)
FAILED = _counter("streams_failed", "Times a stream was set aside as failed.", "times a stream was set aside as failed")
STREAM_PARTS = _counter(
    "video_chunks_uploaded",
    "Parts of this stream uploaded to S3.",
    "parts uploaded to S3, including re-uploads",
    "stream_id",
)
STREAM_BYTES = _counter(
    "video_bytes_uploaded", "Bytes of this stream uploaded to S3.", "the same in bytes", "stream_id"
)
STREAM_DURATION = _histogram(
    "video_stream_duration_seconds",
    "Media duration of the completed recording, in seconds.",
    "media duration of the completed recording, in seconds; absent if ffprobe cannot determine it",
    "stream_id",
    buckets=_LENGTHS,
)
STREAM_PROCESSING = _histogram(
    "video_processing_time_seconds",
    "Time from the detected end of a recording to its completion.",
    "time from the detected end of the recording to its completion",
    "stream_id",
    buckets=_WAITS,
)
STREAM_FAILURES = _counter(
    "video_failed_operations", "Failed attempts.", "failed attempts", "stream_id", "operation_type"
)

# -- uploads -------------------------------------------------------------------------------------------------------

BYTES = _counter("cefmp4_bytes_uploaded", "Bytes uploaded to S3.", "bytes uploaded, all streams")
PARTS = _counter("cefmp4_parts_uploaded", "Parts uploaded to S3.", "parts uploaded, all streams")
PARTS_COPIED = _counter(
    "cefmp4_parts_copied", "Parts copied inside S3.", "parts copied inside S3 instead of being uploaded"
)
PARTS_AGAIN = _counter(
    "cefmp4_parts_sent_again",
    "Re-uploaded parts, by reason.",
    "re-uploaded parts, by reason: `head_patch`, `faststart`, `rewrite`, `tail_grew`, `lost`",
    "reason",
)
BYTES_AGAIN = _counter("cefmp4_bytes_sent_again", "Re-uploaded bytes, by reason.", "the same in bytes", "reason")
SEAL = _histogram(
    "cefmp4_seal_seconds",
    "Time to seal a recording: upload the tail, compare all parts with the file, re-upload changed parts.",
    "time to seal a recording: upload the tail, compare all parts with the file, re-upload changed parts, confirm "
    "with ListParts",
    buckets=_WAITS,
)
LIFETIME = _histogram(
    "cefmp4_stream_lifetime_seconds",
    "Time from the discovery of a recording to its completion.",
    "time from the discovery of a recording to its completion",
    buckets=_LENGTHS,
)
AVAILABLE = _histogram(
    "cefmp4_time_to_available_seconds",
    "Time from a recording's last change on disk to its verified object.",
    "time from the recording's last change (ctime) to its verified object, including the idle timeout; only "
    "recordings that changed after the daemon started",
    buckets=(*_WAITS, 14400, 86400),
)
FAILED_NOW = _gauge(
    "cefmp4_failed_streams",
    "Streams currently failed, by reason.",
    "streams currently failed, by reason: `source_missing` (the file is missing, its upload is open), `disposed` "
    "(the file is missing, no upload is open), `other`; `streams_failed_total` counts all failures",
    "reason",
)
#: Completed streams are not counted: their number would grow without bound.
_COUNTED = tuple(status for status, standing in STATUSES.items() if standing.care is not Care.DONE)
STREAMS = _gauge(
    "cefmp4_streams",
    "Current number of streams, by status.",
    f"current number of streams by status: {', '.join(f'`{status}`' for status in _COUNTED)}",
    "status",
)
CAPACITY = _gauge(
    "cefmp4_capacity_used_ratio",
    "Used part capacity of the fullest upload, 0 to 1. At 1 the recording is uploaded again with larger parts.",
    "used part capacity of the fullest upload, 0 to 1",
)

# -- services ------------------------------------------------------------------------------------------------------

OUTAGE = _gauge(
    "cefmp4_outage",
    "Whether the service is unavailable (1) or not (0).",
    "1: `s3` or `redis` is unavailable or refuses requests, and the daemon is retrying",
    "service",
)
OUTAGE_START = _gauge(
    "cefmp4_outage_start_timestamp_seconds",
    "Start of the current outage, in Unix time; 0 if there is none.",
    "start of the current outage, in Unix time; 0 if there is none",
    "service",
)


def _request_seconds(service: str, means: str) -> Metric[Histogram]:
    name, text = f"cefmp4_{service}_request_duration_seconds", "Duration of single requests, including failed ones."
    return _histogram(name, text, means, "operation", buckets=_REQUESTS)


def _request_errors(service: str, means: str) -> Metric[Counter]:
    name, text = f"cefmp4_{service}_request_errors", "Failed single requests."
    return _counter(name, text, means, "operation", "error_class")


REQUEST_SECONDS: Mapping[str, Metric[Histogram]] = {
    "s3": _request_seconds(
        "s3", "duration of single requests, including failed ones; for downloads, time to the first byte"
    ),
    "redis": _request_seconds(
        "redis", "duration of single requests, including failed ones and the wait for a connection"
    ),
}
REQUEST_ERRORS: Mapping[str, Metric[Counter]] = {
    "s3": _request_errors("s3", "failed requests"),
    "redis": _request_errors("redis", "failed requests"),
}
FAILURES = _counter("cefmp4_failed_operations", "Failed attempts.", "failed attempts, all streams", "operation_type")

# -- the folder and orphan uploads ---------------------------------------------------------------------------------

SKIPPED = _counter(
    "cefmp4_files_skipped",
    "Skipped files: they match the patterns but are not recordings.",
    "skipped files: they match the patterns but are not recordings",
)
SET_ASIDE = _counter(
    "cefmp4_records_set_aside",
    "Invalid Redis entries that were set aside.",
    "invalid Redis entries that were set aside",
)
RESTARTS = _counter(
    "cefmp4_watcher_restarts", "Restarts of the file system notifications.", "restarts of the file system notifications"
)
LEFT_OUT = _gauge(
    "cefmp4_files_left_out",
    "Files ignored because of IGNORE_OLDER_THAN.",
    "files ignored because of `IGNORE_OLDER_THAN`; a file that changes is no longer counted",
)
FILES = _gauge("cefmp4_watched_files", "Recordings found by the last scan.", "recordings found by the last scan")
SCAN = _gauge("cefmp4_scan_seconds", "Duration of the last scan.", "duration of the last scan")
FOLDER = _gauge(
    "cefmp4_watched_folder_present",
    "Whether the watched folder is present (1) or missing (0). NaN: before the end of the first scan.",
    "1: the watched folder is present; 0: it is missing; `NaN`: before the end of the first scan",
)
GONE = _gauge(
    "cefmp4_objects_gone",
    "Completed recordings in the folder whose object was deleted.",
    "completed recordings in the folder whose object was deleted from the bucket",
)
GONE_FILES = _gauge(
    "cefmp4_gone_files_remembered",
    "Finished recordings that Redis remembers though their file is gone.",
    "finished recordings that Redis remembers though their file is gone, when they were last counted (once a day of"
    " running time); at most `MARKER_MAX`",
)
PRUNED = _counter(
    "cefmp4_markers_pruned",
    "Finished recordings that Redis no longer remembers, because their file is gone.",
    "finished recordings that Redis no longer remembers, because their file has been gone for `MARKER_RETENTION`, or"
    " there were more than `MARKER_MAX` of them",
)
ABLE = _gauge(
    "cefmp4_store_ability",
    "Whether the store supports this feature (1) or not (0).",
    "1: the store supports this feature; 0: it does not, or it is not known; absent for features fixed by a setting "
    "and for Amazon S3",
    "ability",
)
ORPHANS = _gauge(
    "cefmp4_orphan_uploads",
    "Orphan uploads that the daemon keeps.",
    "orphan uploads (old, open, without a stream) that the daemon keeps",
)
ORPHANS_ABORTED = _counter(
    "cefmp4_orphan_uploads_aborted",
    "Orphan uploads aborted.",
    "orphan uploads aborted",
)

# -- the process ---------------------------------------------------------------------------------------------------

READY = _gauge(
    "cefmp4_ready",
    "Whether S3, Redis and the watched folder are available (1).",
    "1: S3, Redis and the watched folder are available (checked every 15 s)",
)
SERVICE_READY = _gauge(
    "cefmp4_service_ready",
    "Whether the service is available (1) or not (0).",
    "1: the service is available: `s3`, `redis`, `watched_folder`",
    "service",
)
LAG = _histogram(
    "cefmp4_event_loop_lag_seconds",
    "Event-loop scheduling delay.",
    "event-loop scheduling delay, sampled four times a second",
    buckets=_LAGS,
)
LONGEST_LAG = _gauge(
    "cefmp4_event_loop_lag_max_seconds",
    "Maximum event-loop scheduling delay of the last minute.",
    "maximum event-loop scheduling delay of the last minute",
)
BUILD = _gauge(
    "cefmp4_build_info",
    "Version of the daemon and of Python, as labels; the value is 1.",
    "version of the daemon and of Python, as labels; the value is 1",
    "version",
    "python_version",
)

#: Metrics with a series per stream.
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
        """Remove the series of one stream."""
        for metric in OF_STREAM:
            self(metric).remove_by_labels({"stream_id": stream_id})

    def _begin_at_zero(self) -> None:
        """A series with value 0 shows that the event never happened."""
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
