"""What an operator sees of a whole outage, of why bytes were sent again, and of a stream in every line of the log."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import Daemon, Line, eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording, write
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


def _is_away(daemon: Daemon, service: str) -> bool:
    return daemon.metric("cefmp4_outage", service=service) == 1


def test_a_store_that_is_taken_away_and_comes_back_is_seen_from_its_first_failure_to_its_end(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "outage.mp4"
    daemon.start_and_wait()
    assert not _is_away(daemon, "s3")
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        gone = time.time()
        stage.store.kill()
        writer.append(CHUNK)
        eventually(lambda: _is_away(daemon, "s3"), "the outage is shown")
        since = daemon.metric("cefmp4_outage_start_timestamp_seconds", service="s3")
        assert gone <= since <= time.time()
        eventually(lambda: daemon.metric("cefmp4_s3_request_errors_total", error_class="connection") >= 3, "errors")
        assert daemon.metric("cefmp4_streams", status="active") == 1
        assert not _is_away(daemon, "redis")
        stage.store.start()
        writer.append(1)
    stage.wait_until_done(path)
    recovered = daemon.wait_for("s3_recovered")
    back = time.time()
    eventually(lambda: not _is_away(daemon, "s3"), "the outage is over")
    assert daemon.metric("cefmp4_outage_start_timestamp_seconds", service="s3") == 0
    assert 0 < recovered["seconds"] <= back - since + 0.1
    assert recovered["failures"] == _failures(daemon, "s3")
    daemon.wait_for("stream_completed")
    assert daemon.metric("cefmp4_s3_request_duration_seconds_count", operation="upload_part") >= 3
    assert daemon.metric("cefmp4_redis_request_duration_seconds_count", operation="save_part") >= 3
    assert daemon.metric("cefmp4_seal_seconds_count") == daemon.metric("cefmp4_time_to_available_seconds_count") == 1
    assert 1 <= daemon.metric("cefmp4_time_to_available_seconds_sum") <= back - gone + 60
    assert daemon.metric("cefmp4_streams") == daemon.metric("cefmp4_failed_streams") == 0


def _failures(daemon: Daemon, service: str) -> float:
    """All attempts that failed, looks at readiness too."""
    kinds = ("create", "upload", "list", "complete", "abort", "head", "metadata", "ping", "probe")
    return sum(daemon.metric("cefmp4_failed_operations_total", operation_type=f"{service}_{kind}") for kind in kinds)


def test_a_store_that_goes_away_while_nothing_is_recorded_is_noticed_by_whoever_asks_for_readiness(
    own_stage: Stage,
) -> None:
    daemon = own_stage.daemon
    daemon.start_and_wait()
    own_stage.store.kill()
    eventually(lambda: daemon.page("/-/ready")[0] == 503, "the daemon is not ready")
    assert daemon.wait_for("s3_unavailable", operation="s3_ping")["hint"]
    assert _is_away(daemon, "s3")
    own_stage.store.start()
    daemon.wait_until_ready()
    daemon.wait_for("s3_recovered")
    assert not _is_away(daemon, "s3")


def test_a_bucket_that_somebody_deletes_while_nothing_is_recorded_is_one_outage_that_says_what_to_do(
    own_stage: Stage,
) -> None:
    daemon, folder = own_stage.daemon, own_stage.bucket.folder
    daemon.start_and_wait()
    own_stage.wait_until_probed()  # what the store answers to a probe that was begun before is an answer, too
    shutil.rmtree(folder)
    line = daemon.wait_for("not_ready", service="s3")
    assert "create the bucket" in line["hint"] and "S3_BUCKET_NAME" in line["reason"]
    assert daemon.wait_for("s3_unavailable", operation="s3_ping")["hint"] == line["hint"]
    assert _is_away(daemon, "s3") and not daemon.lines("s3_recovered")
    folder.mkdir()
    daemon.wait_for("ready_again", service="s3")
    assert daemon.wait_for("s3_recovered")["failures"] >= 2
    assert not _is_away(daemon, "s3")


@pytest.mark.ffmpeg
def test_a_recorder_that_moves_its_index_to_the_front_is_told_from_others(stage: Stage, ffmpeg: Path) -> None:
    daemon, path = stage.daemon, stage.folder / "faststart.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    with recording(ffmpeg, path, Shape.FASTSTART, seconds=6) as recorder:
        stage.wait_until_sent(path, 1, 2)
        eventually(lambda: recorder.poll() == 0, "the recording ends")
    document = stage.wait_until_done(path)
    again = [reason for chunk in document["chunks"] for reason in chunk["sent_again"]]
    assert "faststart" in again and set(again) <= {"faststart", "tail_grew"}
    daemon.wait_for("stream_completed")
    assert daemon.metric("cefmp4_bytes_sent_again_total", reason="faststart") >= 2 * CHUNK
    assert daemon.metric("cefmp4_bytes_sent_again_total", reason="rewrite") == 0


def test_a_streams_series_go_after_its_end_and_the_totals_stay(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(METRICS_STREAM_RETENTION_SECONDS="1", METRICS_STREAM_MAX="2")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write(stage.folder / name, 1000)
    daemon.wait_for("stream_completed", count=3)
    eventually(lambda: daemon.metric("video_chunks_uploaded_total") == 0, "no stream has series of its own")
    assert daemon.metric("cefmp4_parts_uploaded_total") == daemon.metric("streams_completed_total") == 3


#: Lines about the daemon or a service, not about a recording. A stream's work may carry them all the same.
ABOUT_NO_STREAM = frozenset(
    {
        *("daemon_started", "daemon_stopped", "streams_recovered", "draining", "drained", "settings_notice"),
        *(
            "s3_unavailable",
            "s3_recovered",
            "redis_unavailable",
            "redis_recovered",
            "redis_durability_risk",
            "redis_data_lost",
        ),
        *("folder_scanned", "store_ability", "store_ability_lost", "store_abilities_unknown"),
    }
)
#: Files that are no streams.
ABOUT_A_FILE = frozenset({"file_skipped", "empty_file"})


def test_every_line_of_a_real_run_is_an_event_and_names_the_stream_that_it_is_about(own_stage: Stage) -> None:
    stage, daemon = own_stage, own_stage.daemon
    daemon.start_and_wait(LOG_LEVEL="DEBUG")
    (stage.folder / "empty.mp4").touch()
    (stage.folder / "link.mp4").symlink_to("nowhere")
    stage.bucket.put("taken.mp4", b"somebody else's")
    write(stage.folder / "taken.mp4", 1000)
    with Writer(stage.folder / "grown.mp4") as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(stage.folder / "grown.mp4", 1)
        stage.store.kill()
        writer.append(CHUNK)
        daemon.wait_for("s3_unavailable")
        stage.store.start()
        writer.patch(10, 4)
    gone = stage.folder / "gone.mp4"
    write(gone, CHUNK + 1)
    daemon.wait_for("stream_started", file_path="gone.mp4")
    gone.unlink()
    daemon.wait_for("stream_failed", file_path="gone.mp4")
    stage.wait_until_done(stage.folder / "grown.mp4")
    daemon.wait_for("stream_completed", count=2)
    for name in ("file_skipped", "empty_file", "s3_recovered", "ffprobe_failed"):
        daemon.wait_for(name)
    assert daemon.stop() == 0
    lines = daemon.lines()
    assert daemon.plain_lines() == [] and len({line["event"] for line in lines}) >= 15
    assert [line for line in lines if not _is_complete(line)] == []


def _is_complete(line: Line) -> bool:
    if not all(line.get(field) for field in ("timestamp", "level", "logger_name", "event")):
        return False
    if line["event"] in ABOUT_NO_STREAM:
        return True
    wanted = ("file_path",) if line["event"] in ABOUT_A_FILE else ("file_path", "stream_id")
    return all(line.get(field) for field in wanted)
