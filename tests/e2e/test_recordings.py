"""The main job: a recording is in the store while it grows, and byte for byte once it is closed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording, write
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.new_interpreter, pytest.mark.versitygw, pytest.mark.redis]

SECONDS = 8.0


@pytest.mark.also_on("minio")
@pytest.mark.ffmpeg
def test_recordings_of_every_shape_are_sent_while_they_grow_and_equal_their_files_at_the_end(
    stage: Stage, ffmpeg: Path
) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    files = {shape: stage.folder / f"{shape}.mp4" for shape in Shape}
    patched = stage.folder / "patched.mp4"
    with ExitStack() as recorders, Writer(patched, seed=7) as writer:
        running = [recorders.enter_context(recording(ffmpeg, files[s], s, seconds=SECONDS)) for s in Shape]
        while any(recorder.poll() is None for recorder in running):
            writer.append(CHUNK // 10)
            writer.patch_anywhere()
            time.sleep(0.2)  # the pace of a recorder
        sent_early = {path: stage.sent(path) for path in (*files.values(), patched)}
        writer.append(1)
        writer.patch(0, 8)
    assert [recorder.returncode for recorder in running] == [0, 0, 0]
    for path, numbers in sent_early.items():
        assert len(numbers) >= 3, f"{path.name}: only parts {numbers} were sent while it was recorded"

    documents = {path: stage.wait_until_done(path) for path in sent_early}

    for path in files.values():
        document = documents[path]
        assert document["duration_seconds"] == pytest.approx(SECONDS, abs=0.5)
        assert document["media"]["probe_error"] is None
        kinds = {stream["kind"]: stream for stream in document["media"]["streams"]}
        assert (kinds["video"]["codec"], kinds["video"]["width"], kinds["video"]["height"]) == ("h264", 640, 360)
        assert kinds["video"]["frame_rate"] == pytest.approx(25, abs=0.2)
        assert kinds["audio"]["codec"] == "aac"
    assert documents[patched]["duration_seconds"] is None
    again = {path: {c["part_number"]: c["sent_again"] for c in d["chunks"]} for path, d in documents.items()}
    repeated = {path: {number for number, reasons in parts.items() if reasons} for path, parts in again.items()}
    assert repeated[files[Shape.ORDINARY]] == {1}
    assert again[files[Shape.ORDINARY]][1] == ["head_patch"]
    assert repeated[files[Shape.FASTSTART]] >= set(sent_early[files[Shape.FASTSTART]])
    assert repeated[files[Shape.FRAGMENTED]] == set()
    assert 1 in repeated[patched]
    names = [path.name for path in sent_early]
    eventually(lambda: len(daemon.lines("stream_completed")) == 4, "four streams are reported as completed")
    for path in files.values():
        length = daemon.metric("video_stream_duration_seconds_sum", stream_id=str(documents[path]["stream_id"]))
        assert length == documents[path]["duration_seconds"]
    stage.wait_until_clean(*names)
    assert len(stage.markers()) == 4


@pytest.mark.ffmpeg
def test_a_recording_that_is_proved_closed_need_not_be_quiet_for_long(stage: Stage, ffmpeg: Path) -> None:
    stage.daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="600")
    files = {shape: stage.folder / f"early-{shape}.mp4" for shape in Shape}
    with ExitStack() as recorders:
        running = [recorders.enter_context(recording(ffmpeg, path, s, seconds=3)) for s, path in files.items()]
        copied = stage.folder / "no-film.mp4"
        write(copied, 1000)
        eventually(lambda: all(recorder.poll() == 0 for recorder in running), "the recorders are done")
    for path in files.values():
        assert stage.wait_until_done(path)["total_size_bytes"] == path.stat().st_size
    assert not stage.bucket.holds(copied.name, copied), "what is no film has to be quiet for its whole time"


@pytest.mark.also_on("minio")
def test_what_is_sent_is_what_the_metrics_say(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "counted.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="6")  # on a busy machine the test itself is quiet for seconds
    with Writer(path) as writer:
        writer.append(2 * CHUNK)
        stage.wait_until_sent(path, 1, 2)
        assert daemon.metric("active_streams_gauge") == 1
        writer.append(100)
        writer.patch(10, 4)
    document = stage.wait_until_done(path)
    daemon.wait_for("stream_completed")
    own = {"stream_id": str(document["stream_id"])}
    assert daemon.metric("video_bytes_uploaded_total", **own) == 3 * CHUNK + 100  # the first part went twice
    assert daemon.metric("video_chunks_uploaded_total", **own) == 4
    assert daemon.metric("cefmp4_parts_sent_again_total", reason="head_patch") == 1
    assert daemon.metric("streams_completed_total") == 1
    assert daemon.metric("cefmp4_stream_lifetime_seconds_count") == 1
    assert daemon.metric("video_stream_duration_seconds_count", **own) == 0  # it is no MP4: nobody knows how long it is
    assert daemon.metric("active_streams_gauge") == 0
    assert daemon.metric("video_failed_operations_total", operation_type="ffprobe", **own) == 1  # it is no MP4
    assert daemon.metric("video_failed_operations_total") == 1


def test_a_recording_that_begins_is_an_open_upload_and_a_record_under_the_known_keys(stage: Stage) -> None:
    path, daemon = stage.folder / "begins.mp4", stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="600")
    with Writer(path) as writer:
        writer.append(CHUNK + 1000)
        begun = daemon.wait_for("stream_started", file_path="begins.mp4")
        stage.wait_until_sent(path, 1)
        stream_id = begun["stream_id"]
        record, parts = f"{stage.redis_prefix}stream:{stream_id}:meta", f"{stage.redis_prefix}stream:{stream_id}:parts"
        eventually(lambda: stage.redis.hlen(parts) == 1, "the part is checkpointed")
        assert stage.members("active") == {stream_id}
        assert stage.redis_keys("stream:*") == [record, parts]
        assert stage.redis.hget(record, "status") == "active"
        assert stage.bucket.open_uploads() == ["begins.mp4"]
        assert stage.bucket.parts_left_open() == {"begins.mp4": 1}
        assert stage.bucket.objects() == []


@pytest.mark.also_on("minio")
def test_files_that_are_there_at_the_start_are_taken_up(stage: Stage) -> None:
    sizes = {"one.mp4": 1, "chunk.mp4": CHUNK, "more.mp4": CHUNK + 1}
    for name, size in sizes.items():
        write(stage.folder / name, size, seed=size)
    write(stage.folder / "notes.txt", 10)
    stage.daemon.start_and_wait()
    for name, size in sizes.items():
        document = stage.wait_until_done(stage.folder / name)
        assert len(document["chunks"]) == 1 + size // (CHUNK + 1)
    stage.wait_until_clean(*sizes)


def test_an_empty_file_is_no_object_until_bytes_come(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "stub.mp4"
    path.touch()
    daemon.start_and_wait()
    daemon.wait_for("empty_file", file_path="stub.mp4")
    write(stage.folder / "other.mp4", 10)
    stage.wait_until_done(stage.folder / "other.mp4")
    assert stage.bucket.objects() == ["other.mp4"]
    with Writer(path, new=False) as writer:
        writer.append(1000)
    stage.wait_until_done(path)
    stage.wait_until_clean("other.mp4", "stub.mp4")
    assert len(daemon.lines("empty_file")) == 1


@pytest.mark.ffmpeg
def test_what_is_no_mp4_is_stored_all_the_same_and_the_document_says_so(stage: Stage) -> None:
    daemon = stage.daemon
    playlist = stage.folder / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    write(stage.folder / "noise.mp4", 5000)
    daemon.start_and_wait()
    for name in ("list.mp4", "noise.mp4"):
        document = stage.wait_until_done(stage.folder / name)
        assert document["duration_seconds"] is None
        assert document["media"]["probe_error"]
        assert daemon.wait_for("ffprobe_failed", file_path=name)
    stage.wait_until_clean("list.mp4", "noise.mp4")
    assert daemon.metric("streams_failed_total") == 0


def test_without_ffprobe_the_daemon_works_and_says_so(stage: Stage) -> None:
    daemon = stage.daemon
    write(stage.folder / "a.mp4", 5000)
    daemon.start_and_wait(FFPROBE_PATH="/nowhere/ffprobe")
    assert "FFPROBE_PATH" in daemon.wait_for("ffprobe_missing")["hint"]
    document = stage.wait_until_done(stage.folder / "a.mp4")
    assert "/nowhere/ffprobe" in document["media"]["probe_error"]


def test_an_ffprobe_that_hangs_from_the_start_delays_no_recording_and_no_stop(stage: Stage, tmp_path: Path) -> None:
    hangs = tmp_path / "hanging-ffprobe"
    hangs.write_text("#!/bin/sh\nexec sleep 1000\n")
    hangs.chmod(0o755)
    daemon = stage.daemon
    write(stage.folder / "a.mp4", 5000)
    daemon.start(FFPROBE_PATH=str(hangs), FFPROBE_TIMEOUT_SECONDS="900")
    daemon.wait_for("object_proved")
    assert daemon.lines()[0]["event"] == "daemon_started"
    assert daemon.lines("ffprobe_missing") == [], "it is not known yet"
    assert daemon.stop() == 0
