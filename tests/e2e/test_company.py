"""The daemon is not alone: another one on the same folder, and many recordings at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

OPEN_FILES = 60
MEMORY_LIMIT = 120 * 1024 * 1024 + 5 * 2 * CHUNK


@pytest.mark.ffmpeg
def test_two_daemons_on_one_folder_by_accident_make_one_object(stage: Stage, ffmpeg: Path) -> None:
    path = stage.folder / "shared.mp4"
    daemons = [stage.another_daemon(name, REDIS_KEY_PREFIX=f"{stage.redis_prefix}{name}:") for name in ("one", "two")]
    for daemon in daemons:
        daemon.start(STREAM_TIMEOUT_SECONDS="2")
    for daemon in daemons:
        daemon.wait_until_ready()
    with recording(ffmpeg, path, Shape.ORDINARY, seconds=6) as recorder:
        recorder.wait()
    for daemon in daemons:
        daemon.wait_for("stream_completed")
    for key in stage.bucket.objects():
        assert stage.bucket.holds(key, path), key
    assert stage.bucket.objects() == ["shared.mp4"]
    stage.bucket.check_document("shared.mp4", path)
    eventually(lambda: not stage.bucket.open_uploads(), "no upload is left open", within=10)


@pytest.mark.also_on("minio")
def test_the_daemon_that_comes_second_leaves_no_upload_behind(stage: Stage) -> None:
    path = stage.folder / "shared.mp4"
    quick, slow = (
        stage.another_daemon(name, REDIS_KEY_PREFIX=f"{stage.redis_prefix}{name}:", STREAM_TIMEOUT_SECONDS=seconds)
        for name, seconds in (("quick", "2"), ("slow", "5"))
    )
    quick.start()
    slow.start_and_wait()
    quick.wait_until_ready()
    with Writer(path) as writer:
        writer.append(CHUNK)
        eventually(lambda: len(stage.bucket.open_uploads()) == 2, "each has begun an upload")
        writer.append(10)
        for daemon in (quick, slow):
            daemon.wait_for("part_stored", number=1)
        writer.patch(0, 4)
    for daemon in (quick, slow):
        daemon.wait_for("stream_completed")
    assert stage.bucket.objects() == ["shared.mp4"]
    stage.bucket.check_document("shared.mp4", path)
    assert stage.bucket.open_uploads() == []


def test_memory_stays_bounded_while_sixty_recordings_are_open(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="300")
    writers = [Writer(stage.folder / f"camera {number}.mp4", seed=number) for number in range(OPEN_FILES)]
    try:
        for writer in writers:
            writer.append(100)
        eventually(lambda: daemon.metric("active_streams_gauge") == OPEN_FILES, "all recordings are open")
        for writer in writers:
            writer.truncate(2 * CHUNK + 1)  # holes read as zeros
        daemon.wait_for("part_stored", count=2 * OPEN_FILES)
        assert daemon.peak_memory() < MEMORY_LIMIT
    finally:
        for writer in writers:
            writer.close()
    assert daemon.metric("active_streams_gauge") == OPEN_FILES
