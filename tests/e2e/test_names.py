"""Names that hurt: whatever the file system allows is a recording, and what is no file is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.domain import object_key
from tests.corpus.names import NO_RECORDINGS, RECORDINGS
from tests.harness.e2e.recorders import write
from tests.harness.e2e.stage import Stage
from tests.harness.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

FILM = (ROOT / "test_data" / "sample.mp4").read_bytes()
#: Folders with these names come with their files, so that nobody is told of the files inside.
FOLDERS = {name.path.partition(b"/")[0] for name in RECORDINGS if b"/" in name.path}
MANY_SECONDS = 300.0


@pytest.mark.ffmpeg
@pytest.mark.timeout(900)
def test_every_name_that_the_file_system_allows_ends_as_an_object_of_its_own(stage: Stage) -> None:
    """A film of its own under each name, half of them before the daemon starts and half under its eyes."""
    daemon, beside = stage.daemon, stage.home / "beside"
    for number, name in enumerate(RECORDINGS):
        if number == len(RECORDINGS) // 2:
            daemon.start_and_wait()
        _film(_at(beside if b"/" in name.path else stage.folder, name.path), number)
    for name in NO_RECORDINGS:
        _film(_at(stage.folder, name.path), 0)
    for folder in FOLDERS:
        _at(beside, folder).rename(_at(stage.folder, folder))

    daemon.wait_for("stream_completed", count=len(RECORDINGS), within=MANY_SECONDS)
    keys = {object_key("", os.fsdecode(name.path)): _at(stage.folder, name.path) for name in RECORDINGS}
    stage.wait_until_clean(*keys)
    wrong = [key for key, recording in keys.items() if not stage.bucket.holds(key, recording)]
    assert wrong == []
    for key, recording in keys.items():
        document = stage.bucket.check_document(key, recording)
        assert (document["duration_seconds"], document["media"]["probe_error"]) == (2.0, None), key
    _assert_that_no_name_wrote_into_the_log(stage)
    assert daemon.metric("streams_failed_total") == 0
    assert set(os.listdir(daemon.home)) == {"run-1.log", "run-1.err"}, "a name was taken for a command"

    assert daemon.stop() == 0
    daemon.start_and_wait(LOG_LEVEL="DEBUG")
    daemon.wait_for("already_stored", count=len(RECORDINGS), within=MANY_SECONDS)
    assert daemon.lines("part_stored") == []


def _assert_that_no_name_wrote_into_the_log(stage: Stage) -> None:
    """Each line is the daemon's own: one for each stream at each moment of its life, none that a name made up."""
    daemon = stage.daemon
    streams = sorted(document["stream_id"] for document in stage.bucket.documents().values())
    for moment in ("stream_started", "object_proved", "stream_completed"):
        assert sorted(line["stream_id"] for line in daemon.lines(moment)) == streams, moment
    for forged in ("unexpected_error", "daemon_stopped"):
        assert daemon.lines(forged) == []
    assert daemon.lines(level="critical") == []
    assert daemon.plain_lines() == []
    assert daemon.errors() == ""
    written = (daemon.home / "run-1.log").read_bytes().decode()
    assert [line for line in written.split("\n") if _controls(line)] == []


def _controls(line: str) -> list[str]:
    return [character for character in line if ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0]


def _at(folder: Path, path: bytes) -> Path:
    return Path(os.fsdecode(os.path.join(os.fsencode(folder), path)))


def _film(path: Path, number: int) -> None:
    """Two seconds of film, closed, that differ from any other number's by a box at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FILM + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))


def test_what_is_no_file_of_the_tree_is_skipped_and_said_once(stage: Stage) -> None:
    daemon, outside = stage.daemon, stage.home / "outside"
    outside.mkdir()
    write(outside / "secret.mp4", 100)
    (stage.folder / "link.mp4").symlink_to(outside / "secret.mp4")
    (stage.folder / "elsewhere").symlink_to(outside, target_is_directory=True)
    os.mkfifo(stage.folder / "pipe.mp4")
    (stage.folder / "folder.mp4").mkdir()
    write(stage.folder / "folder.mp4" / "inside.mp4", 100)
    daemon.start_and_wait(WATCH_SCAN_SECONDS="0.5")
    stage.wait_until_done(stage.folder / "folder.mp4" / "inside.mp4")
    stage.wait_until_clean("folder.mp4/inside.mp4")
    skipped = [line["file_path"] for line in daemon.lines("file_skipped")]
    assert sorted(skipped) == ["elsewhere", "folder.mp4", "link.mp4", "pipe.mp4"]
