"""The metrics themselves: name, help, labels and buckets of each. Who writes them when is said elsewhere.

Counters' names end in ``_total`` when they are read. A label has few values; that of a stream is bounded by ``series``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..domain import STATUSES, Care, FailedFor, SendReason

#: What is asked over a network, and may be away.
SERVICES = ("s3", "redis")

_LENGTHS = (10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_WAITS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Instruments:
    """Every metric of the daemon, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of_streams(registry)
        self._of_sending(registry)
        self._of_services(registry)
        self._of_the_folder(registry)
        self._of_tidying(registry)
        self.build = Gauge("cefmp4_build_info", "Always 1.", ["version", "python_version"], registry=registry)
        self._begin_at_zero()

    def remove(self, stream_id: str) -> None:
        """Take away the series of one stream."""
        for metric in (self.stream_parts, self.stream_bytes, self.stream_duration, self.stream_processing):
            metric.remove(stream_id)
        self.stream_failures.remove_by_labels({"stream_id": stream_id})

    def _of_streams(self, registry: CollectorRegistry) -> None:
        stream, kind = ["stream_id"], ["operation_type"]
        self.stream_parts = Counter(
            "video_chunks_uploaded", "Parts of this stream that S3 took.", stream, registry=registry
        )
        self.stream_bytes = Counter(
            "video_bytes_uploaded", "Bytes of this stream that were sent to S3.", stream, registry=registry
        )
        self.stream_duration = Histogram(
            "video_stream_duration_seconds",
            "Length of the processed recording, in seconds of media time.",
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
        self.active = Gauge(
            "active_streams_gauge", "Streams under way: recorded, sent or being finished.", registry=registry
        )
        self.completed = Counter("streams_completed", "Streams whose object and metadata are in S3.", registry=registry)
        self.failed = Counter("streams_failed", "Streams that need somebody's help.", registry=registry)
        self.failed_now = Gauge(
            "cefmp4_failed_streams", "Streams that are kept as failed now, by what for.", ["reason"], registry=registry
        )
        self.streams = Gauge(
            "cefmp4_streams", "Streams by the status in which they are now.", ["status"], registry=registry
        )
        self.capacity = Gauge(
            "cefmp4_capacity_used_ratio",
            "How full the fullest upload is (1: it is sent anew in larger parts).",
            registry=registry,
        )

    def _of_sending(self, registry: CollectorRegistry) -> None:
        self.bytes = Counter("cefmp4_bytes_uploaded", "Bytes that were sent to S3.", registry=registry)
        self.parts = Counter("cefmp4_parts_uploaded", "Parts that S3 took.", registry=registry)
        self.parts_copied = Counter("cefmp4_parts_copied", "Parts that S3 copied by itself.", registry=registry)
        self.parts_again = Counter(
            "cefmp4_parts_sent_again", "Parts that were sent before, by why again.", ["reason"], registry=registry
        )
        self.bytes_again = Counter(
            "cefmp4_bytes_sent_again",
            "Bytes that were sent before, by why again.",
            ["reason"],
            registry=registry,
        )
        self.seal = Histogram(
            "cefmp4_seal_seconds",
            "From finished to proved by the store's listing: tail, pass over the file, what changed.",
            buckets=_WAITS,
            registry=registry,
        )
        self.lifetime = Histogram(
            "cefmp4_stream_lifetime_seconds",
            "From the first sight of a recording to its completion.",
            buckets=_LENGTHS,
            registry=registry,
        )
        self.available = Histogram(
            "cefmp4_time_to_available_seconds",
            "From a recording's last change on disk to its proved object.",
            buckets=(*_WAITS, 14400, 86400),
            registry=registry,
        )

    def _of_services(self, registry: CollectorRegistry) -> None:
        kind = ["operation_type"]
        self.failures = Counter("cefmp4_failed_operations", "Attempts that failed.", kind, registry=registry)
        self.request_seconds: Mapping[str, Histogram] = {
            service: Histogram(
                f"cefmp4_{service}_request_duration_seconds",
                "How long single requests took, failed ones too.",
                ["operation"],
                buckets=_REQUESTS,
                registry=registry,
            )
            for service in SERVICES
        }
        self.request_errors: Mapping[str, Counter] = {
            service: Counter(
                f"cefmp4_{service}_request_errors",
                "Single requests that did not succeed.",
                ["operation", "error_class"],
                registry=registry,
            )
            for service in SERVICES
        }
        self.outage = Gauge("cefmp4_outage", "1: the service is away; 0: it is not.", ["service"], registry=registry)
        self.outage_start = Gauge(
            "cefmp4_outage_start_timestamp_seconds",
            "Since when the service is away, in Unix time; 0: it is not.",
            ["service"],
            registry=registry,
        )

    def _of_the_folder(self, registry: CollectorRegistry) -> None:
        self.skipped = Counter("cefmp4_files_skipped", "Files that are no recordings.", registry=registry)
        self.restarts = Counter("cefmp4_watcher_restarts", "Times that notifications ended.", registry=registry)
        self.files = Gauge("cefmp4_watched_files", "Recordings that the last scan found.", registry=registry)
        self.left_out = Gauge(
            "cefmp4_files_left_out", "Files that the start found older than IGNORE_OLDER_THAN.", registry=registry
        )
        self.scan = Gauge("cefmp4_scan_seconds", "How long the last scan took.", registry=registry)
        self.folder = Gauge(
            "cefmp4_watched_folder_present",
            "1: it is there; 0: it is away; NaN: the first scan has not ended.",
            registry=registry,
        )
        self.folder.set(math.nan)

    def _of_tidying(self, registry: CollectorRegistry) -> None:
        self.set_aside = Counter("cefmp4_records_set_aside", "Redis records that made no sense.", registry=registry)
        self.gone = Gauge(
            "cefmp4_objects_gone", "Finished recordings in the folder whose object is gone.", registry=registry
        )
        self.orphans = Gauge(
            "cefmp4_orphan_uploads", "Old open uploads that belong to no stream and stay.", registry=registry
        )
        self.orphans_aborted = Counter(
            "cefmp4_orphan_uploads_aborted", "Old open uploads that were thrown away.", registry=registry
        )

    def _begin_at_zero(self) -> None:
        """A series that is 0 shows that it never happened."""
        for reason in SendReason:
            if reason not in (SendReason.NEW, SendReason.COPIED):
                self.parts_again.labels(reason)
                self.bytes_again.labels(reason)
        for status, kept in STATUSES.items():
            if kept.care is not Care.DONE:
                self.streams.labels(status)
        for failed_for in FailedFor:
            self.failed_now.labels(failed_for)
        for service in SERVICES:
            self.outage.labels(service)
            self.outage_start.labels(service)
