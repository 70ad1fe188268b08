"""The one figure that matters, on the real daemon: what exists only on this disk, with S3 and without it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording
from tests.harness.e2e.stage import Stage, frozen

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


def at_risk(daemon: Daemon) -> float:
    return daemon.metric("cefmp4_at_risk_bytes")


def oldest(daemon: Daemon) -> float:
    return daemon.metric("cefmp4_at_risk_oldest_seconds")


def test_an_outage_makes_bytes_and_age_grow_and_its_end_takes_them_back(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "outage.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="20")  # longer than it takes to see the tail
    with Writer(path) as writer:
        writer.append(CHUNK + 1000)
        eventually(lambda: at_risk(daemon) == 1000, "only the tail is at risk")
        stage.store.kill()
        began = time.monotonic()
        writer.append(2 * CHUNK)
        eventually(lambda: at_risk(daemon) == 2 * CHUNK + 1000, "what is new is at risk")
        assert daemon.metric("cefmp4_backlog_bytes") == 2 * CHUNK
        writer.append(1)
        eventually(lambda: at_risk(daemon) == 2 * CHUNK + 1001, "the figures go on")
        eventually(lambda: oldest(daemon) > 10, "the oldest byte ages")
        assert oldest(daemon) <= time.monotonic() - began + 10
        [stream] = stage.members("active")
        assert daemon.metric("cefmp4_stream_at_risk_bytes", stream_id=stream) == 2 * CHUNK + 1001
        assert daemon.metric("cefmp4_stream_at_risk_seconds", stream_id=stream) > 0
        assert daemon.metric("cefmp4_catch_up_seconds") > 0
        stage.store.start()
        eventually(lambda: at_risk(daemon) == 1001, "it is back to the tail")
        eventually(lambda: daemon.metric("cefmp4_backlog_bytes") == 0, "the backlog is sent")
        assert daemon.metric("cefmp4_uplink_bytes_per_second") > 0
    stage.wait_until_done(path)
    eventually(lambda: "cefmp4_stream_at_risk_bytes{" not in daemon.page("/metrics")[1], "the stream's series is gone")
    assert at_risk(daemon) == oldest(daemon) == daemon.metric("cefmp4_catch_up_seconds") == 0
    assert daemon.lines("unexpected_error") == []


@pytest.mark.ffmpeg
def test_a_fragmented_recording_shows_its_seconds_by_its_own_clock(
    own_stage: Stage, ffmpeg: Path, ffprobe: Path
) -> None:
    """Copied faster than real time, so that the growth would tell something else."""
    stage, daemon = own_stage, own_stage.daemon
    film, path = stage.home / "film.mp4", stage.folder / "film.mp4"
    with recording(ffmpeg, film, Shape.FRAGMENTED, seconds=8, mbit=4) as recorder:
        eventually(lambda: recorder.poll() is not None, "the film is made")
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="60", CHUNK_SIZE_BYTES=str(8 * CHUNK))
    with path.open("wb") as copy:
        copy.write(film.read_bytes())
        copy.flush()
        eventually(lambda: at_risk(daemon) == film.stat().st_size, "all of it is at risk")
        shown = eventually(lambda: daemon.metric("cefmp4_stream_at_risk_seconds"), "its seconds are shown")
    assert shown == pytest.approx(_duration(ffprobe, film), abs=0.2)
    assert daemon.metric("cefmp4_at_risk_seconds") == pytest.approx(shown)


def test_a_store_that_hangs_does_not_stop_the_figures(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "hangs.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="20")  # longer than it takes to see the tail
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        eventually(lambda: at_risk(daemon) == 1, "only the tail is at risk")
        with frozen(stage.store):
            for megabytes in (6, 7, 8):
                writer.append(megabytes * 1024 * 1024)
                eventually(lambda: at_risk(daemon) == writer.size - CHUNK, "what is new is at risk")
    stage.wait_until_done(path)
    eventually(lambda: at_risk(daemon) == 0, "nothing is at risk")


def _duration(ffprobe: Path, film: Path) -> float:
    asked = [*(str(ffprobe), "-v", "error", "-show_entries", "format=duration"), *("-of", "csv=p=0", str(film))]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
