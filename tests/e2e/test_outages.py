"""The store or Redis goes away in the middle of a recording: the daemon catches up by itself."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


@pytest.mark.also_on("minio")
@pytest.mark.ffmpeg
def test_a_store_that_is_killed_in_mid_recording_and_comes_back_has_it_all(own_stage: Stage, ffmpeg: Path) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "outage.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    with recording(ffmpeg, path, Shape.ORDINARY, seconds=10) as recorder:
        stage.wait_until_sent(path, 1)
        stage.store.kill()
        daemon.wait_for("s3_unavailable")
        eventually(lambda: daemon.page("/-/ready")[0] == 503, "the daemon is not ready")
        eventually(lambda: recorder.poll() is not None, "the recording ends")
        assert daemon.page("/-/healthy")[0] == 200
        stage.store.start()
    daemon.wait_until_ready()
    stage.wait_until_done(path)
    daemon.wait_for("s3_recovered")
    stage.wait_until_clean("outage.mp4")
    assert len(daemon.lines("s3_unavailable")) < 10  # one line for many attempts


def test_a_daemon_that_was_frozen_in_mid_recording_goes_on_where_it_was(stage: Stage) -> None:
    """As a machine that was suspended: every deadline of the daemon has passed when it wakes."""
    daemon, path = stage.daemon, stage.folder / "frozen.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="3")
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        daemon.signal(signal.SIGSTOP)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            writer.append(CHUNK // 4)
            time.sleep(0.5)  # the pace of a recorder
        writer.patch(0, 4)
        daemon.signal(signal.SIGCONT)
        stage.wait_until_sent(path, 1, 2)
        writer.append(1)
    stage.wait_until_done(path)
    stage.wait_until_clean("frozen.mp4")
    assert daemon.lines("unexpected_error") == [] and daemon.lines("stream_failed") == []


def test_redis_that_is_killed_in_mid_recording_and_comes_back_costs_nothing(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "outage.mp4"
    server = own_stage.redis_server
    assert server is not None
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        server.kill()
        writer.append(CHUNK)
        stage.wait_until_sent(path, 2)  # parts go on: only the checkpoint waits
        until = time.monotonic() + 5
        while time.monotonic() < until:
            writer.append(CHUNK // 8)
            time.sleep(0.3)  # the pace of a recorder
        assert daemon.page("/-/ready")[0] == 503
        server.start()
        writer.append(1)
        writer.patch(0, 4)
    document = stage.wait_until_done(path)
    stage.wait_until_clean("outage.mp4")
    numbers = stage.sent(path)
    assert len(numbers) == len(document["chunks"]) + 1  # the patched head


def test_a_redis_that_comes_back_empty_in_mid_recording_costs_nothing_either(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "outage.mp4"
    server = own_stage.redis_server
    assert server is not None
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(2 * CHUNK + 1)
        stage.wait_until_sent(path, 1, 2)
        server.kill()
        kept = [file for file in server.directory.rglob("*") if file.suffix in (".aof", ".manifest", ".rdb")]
        assert kept
        for file in kept:
            file.unlink()
        server.start()
        writer.append(CHUNK)
    stage.wait_until_done(path)
    stage.wait_until_clean("outage.mp4")
    assert sorted(stage.sent(path)) == [1, 2, 3, 4]
