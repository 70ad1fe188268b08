"""What recorders cost, by real recorders and the real daemon: on its page, in ``status`` and in ``doctor``."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.operator import type_command
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording, write
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


def _doctor(stage: Stage) -> dict[str, dict[str, Any]]:
    """The lines of ``doctor`` that name a fault."""
    return {line["fault"]: line for line in type_command(stage.daemon, "doctor", "--json").json["lines"]}


@pytest.mark.ffmpeg
def test_a_recorder_that_moves_its_index_is_named_with_the_bytes_and_the_setting(stage: Stage, ffmpeg: Path) -> None:
    daemon, folder = stage.daemon, stage.folder / "obs"
    folder.mkdir()
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    write(folder / "good.mp4", CHUNK + 7)
    with recording(ffmpeg, folder / "talk.mp4", Shape.FASTSTART, seconds=5) as recorder:
        recorder.wait()
    stage.wait_until_done(folder / "talk.mp4")
    stage.wait_until_done(folder / "good.mp4")
    again = sum(line["size"] for line in daemon.lines("part_stored", reason="faststart"))
    assert again > 0
    (advice,) = (
        each for each in type_command(daemon, "status", "--json").json["advice"] if each["kind"] == "faststart"
    )
    assert (advice["recordings"], advice["bytes_sent_again"]) == ("obs/*.mp4", again)
    assert advice["text"].startswith("1 of 2 recordings: the index is moved to the front at the end (faststart), ")
    page = unescape(daemon.page("/")[1])
    shown = page[page.index('id="recorders"') :]
    assert "leave out -movflags +faststart" in shown and "1 of 2 recordings" in shown
    line = _doctor(stage)["faststart"]
    assert line["text"].startswith("obs/*.mp4: 1 of 2 recordings: ")
    assert "OBS: Recording Format: Hybrid MP4; ffmpeg: leave out -movflags +faststart" in line["remedy"]


def test_short_recordings_whose_beginning_is_overwritten_cost_a_part_each(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    for number in range(3):
        path = stage.folder / f"{number}.mp4"
        with Writer(path) as writer:
            writer.append(2 * CHUNK)
            stage.wait_until_sent(path, 1, 2)
            writer.patch(40, 4)
        stage.wait_until_done(path)
    line = _doctor(stage)["heads"]
    assert "3 of 3 recordings: the beginning is overwritten at the end, 15.7 MB sent again (50% of" in line["text"]
    assert "MediaMTX: a longer recordSegmentDuration" in line["remedy"]


def test_two_daemons_on_one_folder_are_noticed_also_with_the_same_prefix_in_redis(stage: Stage) -> None:
    first, second = stage.daemon, stage.another_daemon("second")
    first.start_and_wait()
    assert "two-daemons" not in _doctor(stage)
    second.start_and_wait()
    second.wait_for("door_closed")
    line = eventually(lambda: _doctor(stage).get("two-daemons"), "doctor names both")
    assert line is not None and f"{first.pid}" in line["text"] and f"{second.pid}" in line["text"]
    assert second.stop() == 0
    assert "two-daemons" not in _doctor(stage)
