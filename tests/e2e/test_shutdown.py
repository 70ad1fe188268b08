"""Stopping: in order within the grace time, at once when asked twice; the next start goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.harness.e2e.recorders import CHUNK, Shape, end_recording, recording, write
from tests.harness.e2e.stage import Stage, frozen

pytestmark = [pytest.mark.slow, pytest.mark.new_interpreter, pytest.mark.versitygw, pytest.mark.redis]


@pytest.mark.ffmpeg
def test_a_stop_in_mid_recording_is_quick_and_the_next_start_goes_on(stage: Stage, ffmpeg: Path) -> None:
    daemon, path = stage.daemon, stage.folder / "stopped.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    with recording(ffmpeg, path, Shape.FRAGMENTED, seconds=300) as recorder:
        stage.wait_until_sent(path, 1)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10  # nothing hangs: far from the 20 s of grace
        assert daemon.lines("daemon_stopped")
        assert daemon.lines("drained", dropped=0)
        sent = stage.sent(path)
        daemon.start(STREAM_TIMEOUT_SECONDS="2")
        daemon.wait_for("stream_resumed", file_path="stopped.mp4")
        end_recording(recorder)
    stage.wait_until_done(path)
    stage.wait_until_clean("stopped.mp4")
    assert daemon.lines("stream_resumed", file_path="stopped.mp4")
    assert set(sent).isdisjoint(stage.sent(path))


def test_a_stop_while_the_store_hangs_ends_within_the_grace_time(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "hangs.mp4"
    daemon.start_and_wait(SHUTDOWN_GRACE_SECONDS="2")
    write(path, CHUNK + 1)
    stage.wait_until_sent(path, 1)
    with frozen(stage.store):
        daemon.wait_for("stream_went_idle")  # and hangs while it sends the tail
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        began = time.monotonic()
        assert daemon.exit_code(within=30) == 0
        assert time.monotonic() - began < 10
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("hangs.mp4")


def test_a_second_signal_ends_the_daemon_at_once(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "hangs.mp4"
    daemon.start_and_wait(SHUTDOWN_GRACE_SECONDS="600")
    write(path, CHUNK + 1)
    stage.wait_until_sent(path, 1)
    with frozen(stage.store):
        daemon.wait_for("stream_went_idle")  # and hangs while it sends the tail
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        assert daemon.is_running()
        daemon.signal(signal.SIGINT)
        assert daemon.exit_code(within=10) == 1
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("hangs.mp4")


def test_a_stop_while_nothing_answers_is_a_stop_too(own_stage: Stage) -> None:
    stage, daemon = own_stage, own_stage.daemon
    assert stage.redis_server is not None
    stage.store.stop()
    stage.redis_server.stop()
    write(stage.folder / "waits.mp4", CHUNK + 1)
    daemon.start(SHUTDOWN_GRACE_SECONDS="2")
    daemon.wait_for("redis_unavailable")
    assert daemon.stop(within=30) == 0
    assert "Traceback" not in daemon.everything_said()
