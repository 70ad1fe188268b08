"""Each moment is one log event and one metric; series stay bounded; repeated trouble is told at a limited rate."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from src.domain import FailedFor, SendReason, Status, StreamTelemetry, Telemetry, moments
from src.exceptions import (
    ChunkProcessingError,
    FileChanged,
    RedisUnavailable,
    S3NotAble,
    S3NotUnderstood,
    S3Rejected,
    S3Unavailable,
)
from src.metrics import Metrics, stream_rows
from src.metrics.emitter import StreamEmitter
from src.metrics.told import TOLD
from src.metrics.trouble import FORGOTTEN_SECONDS, OPERATION_TYPES, QUIET_SECONDS, operation_type
from src.retry import ANSWERS, ErrorClass, RetryPolicy, until_it_works

SRC = Path(__file__).parents[2] / "src"
AWAY = S3Unavailable("nobody answers", operation="upload_part", hint="look at S3_ENDPOINT_URL")


class Bench:
    """Metrics with a clock that is moved by hand."""

    def __init__(self, stream_max: int = 200, retention_seconds: float = 600) -> None:
        self.now = 1000.0
        self.metrics = Metrics(
            version="1.2.3",
            stream_max=stream_max,
            retention_seconds=retention_seconds,
            now=lambda: self.now,
            wall_clock=lambda: 1e9 + self.now,
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def streams_with_series(self) -> set[str]:
        return {
            sample.labels["stream_id"]
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.labels.get("stream_id", "none") != "none"
        }

    def series(self) -> int:
        return sum(len(family.samples) for family in self.metrics.registry.collect())

    def failure(
        self, operation: str = "s3.upload_part", error: BaseException = AWAY, *, attempt: int = 1, wait: float = 1.25
    ) -> None:
        self.metrics.emit(moments.OperationFailed(operation=operation, error=error, attempt=attempt, wait_seconds=wait))

    def answer(
        self, service: str = "s3", error_class: ErrorClass | None = None, operation: str = "head_object"
    ) -> None:
        self.metrics.emit(
            moments.RequestEnded(
                service=service,
                operation=operation,
                seconds=0.25,
                error_class=error_class,
                answered=error_class is None or error_class in ANSWERS,
            )
        )

    def outage(self, service: str = "s3") -> tuple[float | None, float | None]:
        """Whether it is shown, and since when."""
        start = self.value("cefmp4_outage_start_timestamp_seconds", service=service)
        return self.value("cefmp4_outage", service=service), start

    def recovery(self, operation: str = "s3.upload_part") -> None:
        self.metrics.emit(moments.OperationRecovered(operation=operation, failures=1, seconds=1))


def part(stream: StreamTelemetry, number: int = 1, size: int = 5, reason: SendReason = SendReason.NEW) -> None:
    stream.emit(moments.PartStored(number=number, size=size, seconds=0.25, reason=reason))


def complete(stream: StreamTelemetry) -> None:
    stream.emit(moments.Completed(key="a.mp4", size=5, duration_seconds=60.5, stream_seconds=70, processing_seconds=2))


def test_the_ports_are_kept() -> None:
    metrics = Metrics(version="1")
    daemon: Telemetry = metrics
    stream: StreamTelemetry = daemon.stream("s", "a.mp4")
    assert isinstance(stream, StreamEmitter)


def test_every_moment_has_its_row_and_every_row_its_moment() -> None:
    classes = [one for one in vars(moments).values() if isinstance(one, type) and issubclass(one, moments.Moment)]
    assert {one for one in classes if not one.__subclasses__()} == set(TOLD)


def _packages_that_emit(kind: type[moments.Moment]) -> set[str]:
    named = re.compile(rf"\bmoments\.{kind.__name__}\b")
    found = (path for path in SRC.rglob("*.py") if named.search(path.read_text(encoding="utf-8")))
    return {path.relative_to(SRC).parts[0].removesuffix(".py") for path in found} - {"domain", "metrics"}


def test_a_line_is_logged_in_the_name_of_a_package_that_emits_it() -> None:
    made_of_failed_attempts = {moments.ServiceAway, moments.ServiceBack, moments.AnswerNotUnderstood}  # by the outages
    assert {told.line.room for kind, told in TOLD.items() if told.line and kind in made_of_failed_attempts} == {"retry"}
    for kind in TOLD.keys() - made_of_failed_attempts:
        line, packages = TOLD[kind].line, _packages_that_emit(kind) or {"metrics"}
        assert line is None or line.room in packages, f"{line.event} is emitted by {packages}"


def test_the_rows_of_streams_are_those_of_their_moments() -> None:
    of_streams = {kind for kind in TOLD if issubclass(kind, moments.StreamMoment)}
    assert {row.moment for row in stream_rows.ROWS} == of_streams


def test_nobody_reads_metrics_back_to_learn_what_the_daemon_does() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in SRC.rglob("*.py")}
    reads = re.compile(r"restricted_registry|get_sample_value|\b\w*registry\.collect|generate_latest")
    assert {path.name for path, text in sources.items() if reads.search(text)} == {"http_server.py"}


def test_a_row_counts_or_is_said_or_a_listener_hears_of_it() -> None:
    heard = {moments.OperationRecovered, moments.OperationGivenUp, moments.MediaSeen}  # by the outages, by the notes
    assert {kind for kind, told in TOLD.items() if told.line is None and told.metrics is None} == heard


# ---- names ----


def test_the_metrics_have_the_promised_names() -> None:
    bench = Bench()
    stream = bench.metrics.stream("s1", "a.mp4")
    part(stream, size=7)
    part(stream, number=2, size=3)
    bench.metrics.emit(moments.ActiveStreams(4))
    stream.emit(moments.Trouble(operation="file_read", error=OSError("EIO"), retry_seconds=1))
    complete(stream)
    bench.metrics.stream("s2", "b.mp4").emit(moments.Failed(reason="gone", hint=""))
    assert bench.value("video_chunks_uploaded_total", stream_id="s1") == 2
    assert bench.value("video_bytes_uploaded_total", stream_id="s1") == 10
    assert bench.value("video_stream_duration_seconds_sum", stream_id="s1") == 60.5
    assert bench.value("cefmp4_stream_lifetime_seconds_sum") == 70
    assert bench.value("video_processing_time_seconds_sum", stream_id="s1") == 2
    assert bench.value("video_failed_operations_total", stream_id="s1", operation_type="file_read") == 1
    assert bench.value("active_streams_gauge") == 4
    assert bench.value("streams_completed_total") == 1
    assert bench.value("streams_failed_total") == 1
    assert bench.value("cefmp4_bytes_uploaded_total") == 10
    assert bench.value("cefmp4_parts_uploaded_total") == 2
    assert bench.value("cefmp4_failed_operations_total", operation_type="file_read") == 1
    text = generate_latest(bench.metrics.registry).decode()
    assert 'cefmp4_build_info{python_version="' in text
    assert 'version="1.2.3"' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


def test_a_recording_whose_length_nobody_knows_is_counted_without_one() -> None:
    bench = Bench()
    stream = bench.metrics.stream("s1", "a.mp4")
    part(stream)
    stream.emit(moments.Completed(key="a.mp4", size=5, duration_seconds=None, stream_seconds=70, processing_seconds=2))
    assert bench.value("video_stream_duration_seconds_count", stream_id="s1") is None
    assert bench.value("cefmp4_stream_lifetime_seconds_count") == 1


def test_everything_else_of_ours_begins_with_the_projects_name() -> None:
    promised = {
        *("video_chunks_uploaded", "video_bytes_uploaded", "video_stream_duration_seconds"),
        *("video_processing_time_seconds", "video_failed_operations", "active_streams_gauge"),
        *("streams_completed", "streams_failed"),
    }
    for family in Metrics(version="1").registry.collect():
        assert family.name in promised or family.name.startswith(("cefmp4_", "process_"))


def test_two_daemons_in_one_process_do_not_share_metrics() -> None:
    first, second = Bench(), Bench()
    part(first.metrics.stream("s", "a"))
    assert second.value("cefmp4_parts_uploaded_total") == 0
    own = CollectorRegistry()
    assert Metrics(version="1", registry=own).registry is own


def test_parts_sent_again_are_counted_by_their_reason() -> None:
    bench = Bench()
    stream = bench.metrics.stream("s", "a.mp4")
    assert bench.value("cefmp4_parts_sent_again_total", reason="rewrite") == 0
    part(stream, reason=SendReason.HEAD_PATCH)
    part(stream, reason=SendReason.NEW)
    assert bench.value("cefmp4_parts_sent_again_total", reason="head_patch") == 1
    assert bench.value("cefmp4_bytes_sent_again_total", reason="head_patch") == 5
    assert bench.value("cefmp4_bytes_sent_again_total", reason="faststart") == 0
    assert bench.value("cefmp4_parts_sent_again_total", reason="new") is None


def test_a_part_copied_inside_the_store_is_no_upload() -> None:
    bench = Bench()
    with capture_logs() as logs:
        bench.metrics.stream("s", "a.mp4").emit(moments.PartCopied(number=1, size=5, seconds=0.25))
    assert bench.value("cefmp4_parts_copied_total") == 1
    assert bench.value("cefmp4_bytes_uploaded_total") == 0
    assert bench.streams_with_series() == set()
    assert logs[0]["event"] == "part_copied"


@pytest.mark.parametrize(
    ("kind", "metric"),
    [(moments.OrphansLeft, "cefmp4_orphan_uploads"), (moments.ObjectsGone, "cefmp4_objects_gone")],
)
def test_what_a_sweep_finds_is_told_when_its_number_changes(
    kind: type[moments.OrphansLeft | moments.ObjectsGone], metric: str
) -> None:
    bench = Bench()
    with capture_logs() as logs:
        for count in (0, 2, 2, 3, 0, 3):
            bench.metrics.emit(kind(count=count, keys=["k"]))
            assert bench.value(metric) == count
    assert [log["count"] for log in logs] == [2, 3, 3]


# ---- events ----

STREAM_EVENTS: list[tuple[Callable[[StreamTelemetry], None], str, str]] = [
    (lambda s: s.emit(moments.StreamStarted(key="k")), "stream_started", "info"),
    (lambda s: s.emit(moments.StreamResumed(key="k")), "stream_resumed", "info"),
    (lambda s: part(s), "part_stored", "info"),
    (lambda s: s.emit(moments.WentIdle(quiet_seconds=30)), "stream_went_idle", "info"),
    (lambda s: s.emit(moments.GrewAgain()), "stream_grew_again", "info"),
    (lambda s: s.emit(moments.Sealed(size=1, seconds=1, sent_again=1)), "stream_sealed", "info"),
    (
        lambda s: s.emit(moments.ObjectProved(key="k", size=1, etag="e", seconds_since_change=2)),
        "object_proved",
        "info",
    ),
    (lambda s: s.emit(moments.ObjectBeingReplaced(key="k", etag="e")), "object_being_replaced", "info"),
    (lambda s: s.emit(moments.KeyConflict(key="k", next_key="k~2")), "key_conflict", "warning"),
    (lambda s: s.emit(moments.UploadLost(upload_id="u")), "upload_lost", "warning"),
    (lambda s: s.emit(moments.NearCapacity(size=9, capacity=10)), "near_capacity", "warning"),
    (lambda s: s.emit(moments.FfprobeFailed(error="no moov")), "ffprobe_failed", "warning"),
    (lambda s: complete(s), "stream_completed", "info"),
    (lambda s: s.emit(moments.AlreadyStored(key="k")), "already_stored", "debug"),
    (lambda s: s.emit(moments.ObjectDeleted(key="k")), "object_deleted", "warning"),
    (lambda s: s.emit(moments.MetadataKeyOccupied(key="k")), "metadata_key_occupied", "warning"),
    (lambda s: s.emit(moments.Rescued(key="k", size=1)), "stream_rescued", "warning"),
    (lambda s: s.emit(moments.Failed(reason="gone", hint="look")), "stream_failed", "error"),
    (
        lambda s: s.emit(moments.Trouble(operation="save_part", error=AWAY, retry_seconds=None)),
        "operation_failed",
        "warning",
    ),
]


@pytest.mark.parametrize(("moment", "event", "level"), STREAM_EVENTS)
def test_every_moment_of_a_stream_is_one_event_that_names_it(
    moment: Callable[[StreamTelemetry], None], event: str, level: str
) -> None:
    with capture_logs() as logs:
        moment(Bench().metrics.stream("s1", "cam/a.mp4"))
    (log,) = logs
    assert (log["event"], log["log_level"]) == (event, level)
    assert (log["stream_id"], log["file_path"]) == ("s1", "cam/a.mp4")


@pytest.mark.parametrize("error", [S3NotUnderstood("odd", hint="try"), S3NotAble("501", hint="try")])
def test_a_store_that_answers_what_nobody_understands_is_not_away(error: Exception) -> None:
    """Its readiness says that it is there, and so does the metric of outages."""
    metrics = Metrics(version="test")
    with capture_logs() as logs:
        metrics.emit(moments.OperationFailed(operation="s3.head", error=error, attempt=1, wait_seconds=1.0))
    assert metrics.registry.get_sample_value("cefmp4_outage", {"service": "s3"}) in (None, 0.0)
    assert [(line["event"], line["hint"]) for line in logs] == [("operation_failed", "try")]


DAEMON_EVENTS: list[tuple[Callable[[Metrics], None], str, str]] = [
    (lambda m: m.emit(moments.EmptyFile(file_path="a")), "empty_file", "info"),
    (lambda m: m.emit(moments.StreamsRecovered(streams=2)), "streams_recovered", "info"),
    (lambda m: m.emit(moments.Draining(streams=2)), "draining", "info"),
    (lambda m: m.emit(moments.Drained(dropped=0)), "drained", "info"),
    (
        lambda m: m.emit(moments.Unexpected(file_path="a", error=KeyError("x"), retry_seconds=1)),
        "unexpected_error",
        "error",
    ),
    (lambda m: m.emit(moments.OrphanAborted(key="k", upload_id="u")), "orphan_upload_aborted", "info"),
    (lambda m: m.emit(moments.OrphansLeft(count=1, keys=["k"])), "orphan_uploads_found", "warning"),
    (lambda m: m.emit(moments.ObjectsGone(count=1, keys=["k"])), "objects_gone", "warning"),
    (lambda m: m.emit(moments.MarkersCompared(gone=2, pruned=1)), "markers_compared", "debug"),
    (lambda m: m.emit(moments.LifecycleRuleTooShort(days=1)), "lifecycle_rule_too_short", "warning"),
    (lambda m: m.emit(moments.AbilityLearnt(ability="checksum", able=True)), "store_ability", "debug"),
    (lambda m: m.emit(moments.AbilityLost(ability="checksum")), "store_ability_lost", "warning"),
    (
        lambda m: m.emit(moments.AbilitiesUnknown(abilities=["checksum"], error=None)),
        "store_abilities_unknown",
        "warning",
    ),
    (lambda m: m.emit(moments.SettingsNotice("CHUNK_SIZE_MB is older")), "settings_notice", "warning"),
    (lambda m: m.emit(moments.FfprobeMissing()), "ffprobe_missing", "warning"),
    (lambda m: m.emit(moments.DaemonStopped()), "daemon_stopped", "info"),
    (lambda m: m.emit(moments.FileSkipped(file_path="a", reason="a FIFO")), "file_skipped", "warning"),
    (
        lambda m: m.emit(moments.WatcherRestarted(error=OSError("x"), retry_in_seconds=1)),
        "watcher_restarted",
        "warning",
    ),
    (lambda m: m.emit(moments.FolderMissing(folder="/in")), "folder_missing", "error"),
    (lambda m: m.emit(moments.FolderRecovered(folder="/in")), "folder_recovered", "info"),
    (
        lambda m: m.emit(moments.UnmatchedMediaFile(file_path="a.MP4", pattern="*.MP4")),
        "unmatched_media_file",
        "warning",
    ),
    (
        lambda m: m.emit(moments.OldFilesIgnored(count=2, file_path="a", changed_at=datetime.now(UTC))),
        "old_files_ignored",
        "info",
    ),
    (lambda m: m.emit(moments.ExcludedStreams(count=1, paths=["a"])), "excluded_streams", "info"),
    (lambda m: m.emit(moments.FolderScanned(files=3, seconds=0.5)), "folder_scanned", "debug"),
    (lambda m: m.emit(moments.RecordSetAside(key="k", reason="no JSON")), "record_set_aside", "warning"),
    (lambda m: m.emit(moments.RedisDurabilityRisk(reason="allkeys-lru")), "redis_durability_risk", "warning"),
    (lambda m: m.emit(moments.RedisDataLost(records=2)), "redis_data_lost", "warning"),
]


@pytest.mark.parametrize(("moment", "event", "level"), DAEMON_EVENTS)
def test_every_moment_of_the_daemon_is_one_event(moment: Callable[[Metrics], None], event: str, level: str) -> None:
    with capture_logs() as logs:
        moment(Bench().metrics)
    assert [(log["event"], log["log_level"]) for log in logs] == [(event, level)]


def test_a_bug_in_the_course_of_a_stream_names_the_stream() -> None:
    with capture_logs() as logs:
        Bench().metrics.emit(
            moments.Unexpected(file_path="a.mp4", error=KeyError("x"), retry_seconds=1, stream_id="s1")
        )
    assert (logs[0]["stream_id"], logs[0]["file_path"], logs[0]["error"]) == ("s1", "a.mp4", "'x'")


def test_notifications_that_end_again_and_again_are_told_at_a_limited_rate() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for _ in range(7):
            bench.metrics.emit(moments.WatcherRestarted(error=FileNotFoundError("the folder"), retry_in_seconds=0.5))
            bench.now += 10
    assert [log["failures"] for log in logs] == [1, 6]
    assert bench.value("cefmp4_watcher_restarts_total") == 7


def test_the_folder_and_its_scan_are_gauges() -> None:
    bench = Bench()
    assert math.isnan(bench.value("cefmp4_watched_folder_present") or 0)  # nobody has looked yet
    bench.metrics.emit(moments.FolderScanned(files=3, seconds=0.5))
    assert (bench.value("cefmp4_watched_files"), bench.value("cefmp4_scan_seconds")) == (3, 0.5)
    assert bench.value("cefmp4_watched_folder_present") == 1
    bench.metrics.emit(moments.FolderMissing(folder="/in"))
    assert bench.value("cefmp4_watched_folder_present") == 0
    bench.metrics.emit(moments.FolderRecovered(folder="/in"))
    assert bench.value("cefmp4_watched_folder_present") == 1


def test_the_start_is_one_line_with_the_settings() -> None:
    with capture_logs() as logs:
        Bench().metrics.emit(moments.DaemonStarted(version="1.2.3", ffprobe="7.1", settings={"prom_port": 8000}))
    (start,) = logs
    assert (start["event"], start["log_level"]) == ("daemon_started", "info")
    assert (start["prom_port"], start["version"], start["ffprobe"]) == (8000, "1.2.3", "7.1")


def test_inside_bind_everything_that_is_logged_names_the_stream() -> None:
    from structlog.contextvars import get_contextvars

    with Bench().metrics.stream("s1", "a.mp4").bind():
        assert get_contextvars() == {"stream_id": "s1", "file_path": "a.mp4"}
    assert get_contextvars() == {}


async def test_streams_side_by_side_do_not_mix_their_names() -> None:
    from structlog.contextvars import get_contextvars

    bench = Bench()
    seen: list[Any] = []

    async def work(name: str) -> None:
        with bench.metrics.stream(name, name).bind():
            await asyncio.sleep(0)
            bench.failure()
            seen.append(get_contextvars()["stream_id"])

    await asyncio.gather(work("a"), work("b"))
    assert sorted(seen) == ["a", "b"]
    for name in ("a", "b"):
        assert bench.value("video_failed_operations_total", stream_id=name, operation_type="s3_upload") == 1


# ---- failed operations ----


@pytest.mark.parametrize(
    ("operation", "error", "kind"),
    [
        ("s3.upload_part", AWAY, "s3_upload"),
        ("put_object", AWAY, "s3_upload"),
        ("s3.complete_upload", AWAY, "s3_complete"),
        ("complete_upload", AWAY, "s3_complete"),
        ("s3.probe", AWAY, "s3_probe"),
        ("s3.something_new", AWAY, "s3_something_new"),
        ("redis.save_part", AWAY, "redis_update"),
        ("redis.load", AWAY, "redis_read"),
        ("redis_update", AWAY, "redis_update"),
        ("file_read", AWAY, "file_read"),
        ("probe", AWAY, "ffprobe"),
        ("ffprobe", AWAY, "ffprobe"),
        ("look", S3Rejected("no"), "s3_look"),
        ("look", RedisUnavailable("no"), "redis_look"),
        ("look", FileChanged("no"), "file_read"),
        ("look", ChunkProcessingError("no"), "file_read"),
        ("look", OSError("no"), "file_read"),
        ("look", ValueError("no"), "look"),
    ],
)
def test_operations_are_told_by_their_kind(operation: str, error: BaseException, kind: str) -> None:
    assert operation_type(operation, error) == kind


def test_every_kind_begins_with_its_family() -> None:
    assert {kind.split("_")[0] for kind in OPERATION_TYPES.values()} == {"s3", "redis", "file", "ffprobe"}


def test_a_failure_outside_every_stream_is_counted_under_none() -> None:
    bench = Bench()
    bench.failure("redis.load", RedisUnavailable("away"))
    assert bench.value("video_failed_operations_total", stream_id="none", operation_type="redis_read") == 1
    assert bench.value("cefmp4_failed_operations_total", operation_type="redis_read") == 1


def test_a_failure_says_what_happened_what_to_change_and_when_it_is_tried_again() -> None:
    with capture_logs() as logs:
        Bench().failure()
    assert logs == [
        {
            "event": "s3_unavailable",
            "log_level": "warning",
            "operation": "s3_upload",
            "error": "nobody answers",
            "error_type": "S3Unavailable",
            "hint": "look at S3_ENDPOINT_URL",
            "attempt": 1,
            "failures": 1,
            "away_seconds": 0.0,
            "retry_in_seconds": 1.2,
        }
    ]


def test_a_line_says_how_long_the_service_has_been_away() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for _ in range(2):
            bench.failure()
            bench.now += QUIET_SECONDS
    assert [log["away_seconds"] for log in logs] == [0, QUIET_SECONDS]


def test_what_is_not_tried_again_promises_no_next_attempt() -> None:
    with capture_logs() as logs:
        Bench().failure("s3.ping", wait=0.0)
    assert "retry_in_seconds" not in logs[0]


def test_an_outage_does_not_begin_with_the_failures_of_the_one_before() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for _ in range(20):
            bench.failure()
        bench.recovery()
        bench.now += QUIET_SECONDS
        bench.failure()
    assert [log["failures"] for log in logs] == [1, 20, 1]


def test_the_end_of_an_outage_is_the_services_and_no_streams() -> None:
    bench = Bench()
    bench.failure()
    with capture_logs(processors=[merge_contextvars]) as logs, bound_contextvars(stream_id="one", file_path="a.mp4"):
        bench.failure("s3.list_parts")
        bench.recovery()
    assert [("stream_id" in log, log["event"]) for log in logs] == [(True, "s3_unavailable"), (False, "s3_recovered")]


def test_repeated_failures_are_told_at_once_and_then_once_a_minute() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for _ in range(181):
            bench.failure()
            bench.now += 1
    assert [log["failures"] for log in logs] == [1, 60, 60, 60]
    assert bench.value("cefmp4_failed_operations_total", operation_type="s3_upload") == 181


def test_each_operation_has_its_own_first_line() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for operation in ("s3.upload_part", "s3.list_parts", "redis.save", "s3.upload_part"):
            bench.failure(operation)
    assert [log["operation"] for log in logs] == ["s3_upload", "s3_list", "redis_update"]


def test_the_end_of_an_outage_is_told_once_with_its_length() -> None:
    bench = Bench()
    for _ in range(5):
        bench.failure()
        bench.now += 10
    with capture_logs() as logs:
        for _ in range(5):
            bench.recovery()
    assert logs == [{"event": "s3_recovered", "log_level": "info", "failures": 5, "seconds": 50.0}]


def test_redis_and_s3_recover_each_on_their_own() -> None:
    bench = Bench()
    bench.failure("s3.upload_part")
    bench.failure("redis.save", RedisUnavailable("away"))
    with capture_logs() as logs:
        bench.recovery("redis.save")
    assert [log["event"] for log in logs] == ["redis_recovered"]


def test_a_service_that_comes_and_goes_does_not_fill_the_log() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for _ in range(int(10 * QUIET_SECONDS)):
            bench.failure()
            bench.now += 0.5
            bench.recovery()
            bench.now += 0.5
    assert len(logs) <= 2 * 10
    assert [log["event"] for log in logs[:2]] == ["s3_unavailable", "s3_recovered"]


def test_an_outage_whose_end_nobody_told_does_not_lengthen_the_next() -> None:
    bench = Bench()
    bench.failure("complete_upload", wait=0.0)
    bench.now += 86_400
    bench.failure()
    bench.now += 2
    with capture_logs() as logs:
        bench.recovery()
    assert (logs[0]["seconds"], logs[0]["failures"]) == (2, 1)


def test_the_trouble_of_one_stream_does_not_hide_that_of_another() -> None:
    bench = Bench()
    with capture_logs() as logs:
        for _ in range(3):
            for name in ("a", "b"):
                bench.metrics.stream(name, name).emit(
                    moments.Trouble(operation="file_read", error=OSError(), retry_seconds=2)
                )
    assert [(log["stream_id"], log["error"]) for log in logs] == [("a", "OSError"), ("b", "OSError")]


def test_what_was_said_long_ago_is_forgotten() -> None:
    bench = Bench()
    for number in range(1000):
        bench.metrics.stream(str(number), "a").emit(
            moments.Trouble(operation="file_read", error=OSError("x"), retry_seconds=2)
        )
    bench.now += 86_400
    bench.metrics.expire(bench.now)
    assert bench.metrics._quiet._lines == {}


def test_an_outage_is_shown_from_its_first_failure_until_an_operation_works_again() -> None:
    bench = Bench()
    assert bench.outage() == (0, 0)
    bench.failure()
    began = 1e9 + bench.now
    bench.now += 100
    bench.failure(attempt=2)
    bench.failure("s3.list_parts")
    assert bench.outage() == (1, began)
    assert bench.outage("redis") == (0, 0)
    bench.recovery()
    assert bench.outage() == (0, 0)


def test_another_operation_that_is_answered_does_not_end_what_one_is_waiting_for() -> None:
    """Uploads are denied, say, and listings are not."""
    bench = Bench()
    bench.failure()
    bench.answer()
    assert bench.outage()[0] == 1
    bench.recovery()
    assert bench.outage()[0] == 0


@pytest.mark.parametrize("error_class", [None, ErrorClass.NOT_FOUND, ErrorClass.CONFLICT])
def test_what_is_not_tried_again_is_over_with_the_next_answer(error_class: ErrorClass | None) -> None:
    bench = Bench()
    bench.failure("complete_upload", wait=0.0)
    bench.answer(error_class=ErrorClass.SERVER)
    bench.answer("redis")
    assert bench.outage()[0] == 1
    bench.now += 3
    with capture_logs() as logs:
        bench.answer(error_class=error_class)
        bench.answer()
    assert bench.outage() == (0, 0)
    assert logs == [{"event": "s3_recovered", "log_level": "info", "failures": 1, "seconds": 3.0}]


def test_an_operation_that_is_given_up_leaves_the_end_to_the_next_answer() -> None:
    bench = Bench()
    bench.failure()
    bench.metrics.emit(moments.OperationGivenUp(operation="s3.upload_part"))
    assert bench.outage()[0] == 1
    bench.answer()
    assert bench.outage()[0] == 0


def test_an_outage_that_nobody_asks_about_any_more_is_not_shown_for_ever() -> None:
    bench = Bench()
    bench.failure("complete_upload", wait=0.0)
    bench.metrics.expire(bench.now + FORGOTTEN_SECONDS)
    assert bench.outage()[0] == 1
    bench.metrics.expire(bench.now + FORGOTTEN_SECONDS + 1)
    assert bench.outage() == (0, 0)


def test_an_outage_that_somebody_waits_out_is_shown_however_long_an_attempt_takes() -> None:
    bench = Bench()
    bench.failure()
    bench.metrics.expire(bench.now + 86_400)
    assert bench.outage()[0] == 1


def test_a_refusal_for_good_is_no_outage() -> None:
    bench = Bench()
    bench.failure("complete_upload", S3Rejected("InvalidPart"), wait=0.0)
    assert bench.outage() == (0, 0)


async def test_a_real_retry_is_told_from_its_beginning_to_its_end() -> None:
    bench = Bench()
    failures = iter([AWAY, AWAY])

    async def call() -> str:
        if error := next(failures, None):
            raise error
        return "done"

    policy = RetryPolicy(first_wait=0.001, longest_wait=0.002)
    with capture_logs() as logs, bench.metrics.stream("s1", "a.mp4").bind():
        assert await until_it_works("s3.upload_part", call, policy=policy, emit=bench.metrics.emit) == "done"
    assert [log["event"] for log in logs] == ["s3_unavailable", "s3_recovered"]
    assert logs[1]["failures"] == 2
    assert bench.value("video_failed_operations_total", stream_id="s1", operation_type="s3_upload") == 2


async def test_a_real_retry_that_is_cancelled_waits_no_longer() -> None:
    bench = Bench()

    async def call() -> None:
        raise AWAY

    waiting = until_it_works(
        "s3.head", call, policy=RetryPolicy(first_wait=600, longest_wait=600), emit=bench.metrics.emit
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await waiting
    assert bench.outage()[0] == 1
    bench.answer()
    assert bench.outage()[0] == 0


# ---- requests ----


@pytest.mark.parametrize("service", ["s3", "redis"])
def test_requests_are_timed_and_their_errors_counted_by_operation_and_class(service: str) -> None:
    bench = Bench()
    bench.answer(service, None, "save")
    bench.answer(service, ErrorClass.TIMEOUT, "save")
    bench.answer(service, ErrorClass.NOT_FOUND, "load")
    assert bench.value(f"cefmp4_{service}_request_duration_seconds_count", operation="save") == 2
    assert bench.value(f"cefmp4_{service}_request_duration_seconds_sum", operation="save") == 0.5
    errors = f"cefmp4_{service}_request_errors_total"
    assert bench.value(errors, operation="save", error_class="timeout") == 1
    assert bench.value(errors, operation="load", error_class="not_found") == 1


# ---- levels ----


def test_streams_are_counted_by_their_status_while_somebody_carries_them() -> None:
    bench = Bench()

    def counted() -> dict[str, float | None]:
        return {str(status): bench.value("cefmp4_streams", status=status) for status in Status if status != "completed"}

    stream, other = bench.metrics.stream("s1", "a"), bench.metrics.stream("s2", "b")
    with stream.bind(), other.bind():
        stream.emit(moments.StatusIs(Status.ACTIVE))
        other.emit(moments.StatusIs(Status.ACTIVE))
        stream.emit(moments.StatusIs(Status.PENDING_COMPLETION))
        assert counted() == {"active": 1, "pending_completion": 1, "s3_completed": 0, "failed": 0}
        other.emit(moments.StatusIs(Status.FAILED))
        bench.metrics.emit(moments.KeptStreams({FailedFor.OTHER: 1}, {Status.FAILED: 1}))
        assert counted() == {"active": 0, "pending_completion": 1, "s3_completed": 0, "failed": 1}
    bench.metrics.emit(moments.KeptStreams({}, {}))
    assert set(counted().values()) == {0}


def test_failed_streams_are_counted_by_what_they_wait_for() -> None:
    bench = Bench()
    for counts in ({}, {FailedFor.DISPOSED: 2, FailedFor.OTHER: 1}, {FailedFor.SOURCE_MISSING: 3}, {}):
        bench.metrics.emit(moments.KeptStreams(counts, {}))
        for reason in FailedFor:
            assert bench.value("cefmp4_failed_streams", reason=reason) == counts.get(reason, 0)


def test_the_fullest_upload_is_shown_until_it_ends() -> None:
    bench = Bench()
    fuller, other = bench.metrics.stream("s1", "a"), bench.metrics.stream("s2", "b")
    with other.bind():
        other.emit(moments.CapacityUsed(ratio=0.2))
        with fuller.bind():
            for ratio in (0.1, 0.9):
                fuller.emit(moments.CapacityUsed(ratio=ratio))
            assert bench.value("cefmp4_capacity_used_ratio") == 0.9
        assert bench.value("cefmp4_capacity_used_ratio") == 0.2
    assert bench.value("cefmp4_capacity_used_ratio") == 0


def test_the_time_of_the_seal_and_until_the_object_is_there_are_histograms() -> None:
    bench = Bench()
    stream = bench.metrics.stream("s", "a")
    bench.now += 60
    stream.emit(moments.Sealed(size=5, seconds=1.5, sent_again=0))
    stream.emit(moments.ObjectProved(key="a", size=5, etag="e", seconds_since_change=32.5))
    stream.emit(moments.ObjectProved(key="a", size=5, etag="e", seconds_since_change=None))
    assert (bench.value("cefmp4_seal_seconds_count"), bench.value("cefmp4_seal_seconds_sum")) == (1, 1.5)
    available = "cefmp4_time_to_available_seconds"
    assert (bench.value(f"{available}_count"), bench.value(f"{available}_sum")) == (1, 32.5)


def test_a_recording_that_was_closed_before_the_start_says_nothing_of_how_long_one_takes() -> None:
    bench = Bench()
    bench.now += 60
    for seconds, count in ((60.1, 0), (59.9, 1)):
        bench.metrics.stream("s", "a").emit(
            moments.ObjectProved(key="a", size=5, etag="e", seconds_since_change=seconds)
        )
        assert bench.value("cefmp4_time_to_available_seconds_count") == count


# ---- bounds ----


def test_a_stream_that_ends_in_whatever_way_does_not_keep_its_series() -> None:
    """It may end without a word: its file has become another recording, which is done."""
    bench = Bench(retention_seconds=600)
    stream = bench.metrics.stream("s", "a")
    with stream.bind():
        part(stream)
    bench.metrics.expire(bench.now + 600)
    assert bench.streams_with_series() == set()


async def test_what_a_task_tells_after_its_stream_has_ended_counts_for_no_stream() -> None:
    """It has the context in which it was made."""
    bench = Bench(retention_seconds=600)
    ended = asyncio.Event()

    async def fail_late() -> None:
        await ended.wait()
        bench.failure()

    stream = bench.metrics.stream("s", "a")
    with stream.bind():
        part(stream)
        late = asyncio.create_task(fail_late())
    ended.set()
    await late
    kind = {"operation_type": "s3_upload"}
    assert bench.value("video_failed_operations_total", stream_id="none", **kind) == 1
    bench.metrics.expire(bench.now + 600)
    assert bench.streams_with_series() == set()


def test_ten_thousand_streams_leave_a_bounded_number_of_series() -> None:
    bench = Bench(stream_max=50)
    most = 0
    for number in range(10_000):
        stream = bench.metrics.stream(f"s{number}", "a.mp4")
        part(stream)
        stream.emit(moments.Trouble(operation="file_read", error=OSError("x"), retry_seconds=1))
        complete(stream)
        bench.now += 0.01
        if number % 500 == 0:
            most = max(most, bench.series())
    assert len(bench.streams_with_series()) == 50
    assert most <= bench.series() < 50 * 40 + 200
    assert bench.value("streams_completed_total") == 10_000
    assert bench.value("cefmp4_parts_uploaded_total") == 10_000
    bench.metrics.expire(bench.now + 600)
    assert bench.streams_with_series() == set()
    assert bench.value("cefmp4_parts_uploaded_total") == 10_000


def test_finished_files_that_are_only_recognized_have_no_series() -> None:
    bench = Bench()
    for number in range(1000):
        bench.metrics.stream(f"s{number}", "a.mp4").emit(moments.AlreadyStored(key="a.mp4"))
    assert bench.streams_with_series() == set()


def test_a_streams_series_go_some_time_after_its_end() -> None:
    bench = Bench(retention_seconds=600)
    stream, other = bench.metrics.stream("s1", "a.mp4"), bench.metrics.stream("s2", "b.mp4")
    part(stream)
    part(other)
    complete(stream)
    bench.metrics.expire(bench.now + 599)
    assert bench.streams_with_series() == {"s1", "s2"}
    bench.metrics.expire(bench.now + 600)
    assert bench.streams_with_series() == {"s2"}


def test_the_stream_that_ended_first_makes_room_and_then_the_oldest() -> None:
    bench = Bench(stream_max=3)
    streams = {name: bench.metrics.stream(name, name) for name in "abcdef"}
    for name in "abc":
        part(streams[name])
    bench.now += 1
    complete(streams["c"])
    bench.now += 1
    complete(streams["b"])
    part(streams["d"])
    assert bench.streams_with_series() == {"a", "b", "d"}
    part(streams["e"])
    assert bench.streams_with_series() == {"a", "d", "e"}
    part(streams["f"])
    assert bench.streams_with_series() == {"d", "e", "f"}


def test_a_stream_that_lost_its_series_to_newer_ones_does_not_push_them_out() -> None:
    bench = Bench(stream_max=1)
    old, new = bench.metrics.stream("old", "a"), bench.metrics.stream("new", "b")
    part(old)
    part(new)
    part(old)
    old.emit(moments.Trouble(operation="file_read", error=OSError("x"), retry_seconds=1))
    complete(old)
    assert bench.streams_with_series() == {"new"}
    assert bench.value("cefmp4_parts_uploaded_total") == 3
    assert bench.value("video_failed_operations_total", stream_id="none", operation_type="file_read") == 1


def test_a_stream_that_goes_on_after_its_end_keeps_its_series() -> None:
    bench = Bench()
    stream = bench.metrics.stream("s", "a")
    part(stream)
    complete(stream)
    part(stream)
    bench.metrics.expire(bench.now + 10_000)
    assert bench.value("video_chunks_uploaded_total", stream_id="s") == 2


def test_no_streams_of_their_own_is_a_choice() -> None:
    bench = Bench(stream_max=0)
    stream = bench.metrics.stream("s", "a")
    part(stream)
    complete(stream)
    assert bench.streams_with_series() == set()
    assert bench.value("streams_completed_total") == 1


def test_a_stream_without_a_name_yet_has_no_series() -> None:
    bench = Bench()
    stream = bench.metrics.stream("", "a.mp4")
    part(stream)
    stream.emit(moments.Failed(reason="no key", hint=""))
    assert bench.streams_with_series() == set()
    assert bench.value("video_chunks_uploaded_total", stream_id="") is None
