"""Names that hurt: whatever the file system allows is a recording, and what is no file is none."""

from __future__ import annotations

import base64
import os
import unicodedata
from pathlib import Path

import pytest

from tests.e2e.daemon import eventually
from tests.e2e.recorders import write
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

NAMES = [
    b"plain.mp4",
    b"two words.mp4",
    b"new\nline.mp4",
    b"caf\xe9 in latin-1.mp4",
    b"-rf.mp4",
    b".hidden.mp4",
    b"n" * 251 + b".mp4",
    "ü".encode() * 125 + b"x.mp4",
    b"quo'te\"s `id` $HOME &amp; <b>.mp4",
    b"100%2e.mp4",
    b"100..mp4",
    b"back\\slash.mp4",
    b"plus+and?query#hash.mp4",
    b"\x1b[31mred.mp4",
    b'{"event": "daemon_stopped"}.mp4',
    b"x.metadata.json.mp4",
    unicodedata.normalize("NFC", "zwilling é.mp4").encode(),
    unicodedata.normalize("NFD", "zwilling é.mp4").encode(),
    "录像 🎥.mp4".encode(),
]
PARTNERS = [b"new folder/kamera 1/first.mp4", b"new folder/plain.mp4", b"new folder/b\xff\xfe/last.mp4"]


def test_every_name_that_the_file_system_allows_ends_as_an_object_of_its_own(stage: Stage) -> None:
    daemon, paths = stage.daemon, [Path(os.fsdecode(os.path.join(os.fsencode(stage.folder), name))) for name in NAMES]
    daemon.start_and_wait()
    for number, path in enumerate(paths):
        write(path, 1000 + number, seed=number)
    paths += _folder_that_comes_with_its_files(stage)
    expected = {os.fsencode(path): path for path in paths}

    eventually(lambda: len(stage.bucket.documents()) >= len(expected), f"{len(expected)} documents are there")

    keys = {}
    for key, document in stage.bucket.documents().items():
        exact = document.get("original_file_path_bytes_base64")
        original = base64.b64decode(exact) if exact else document["original_file_path"].encode()
        keys[original] = key
    assert keys.keys() == expected.keys()
    for original, key in keys.items():
        assert stage.bucket.holds(key, expected[original]), key
        stage.bucket.check_document(key, expected[original])
    assert keys[os.fsencode(stage.folder / "plain.mp4")] == "plain.mp4"
    stage.wait_until_clean(*keys.values())
    assert daemon.metric("streams_failed_total") == 0
    assert daemon.lines("unexpected_error") == []
    assert daemon.lines("daemon_stopped") == []
    assert daemon.plain_lines() == []

    assert daemon.stop() == 0
    daemon.start_and_wait(LOG_LEVEL="DEBUG")
    daemon.wait_for("already_stored", count=len(expected))
    assert daemon.lines("part_stored") == []


def _folder_that_comes_with_its_files(stage: Stage) -> list[Path]:
    """Moved into place whole, so that nobody is told of the files inside."""
    beside = os.fsencode(stage.home / "beside")
    for number, name in enumerate(PARTNERS):
        path = Path(os.fsdecode(os.path.join(beside, name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, 500 + number, seed=100 + number)
    os.rename(os.path.join(beside, b"new folder"), stage.folder / "new folder")
    return [Path(os.fsdecode(os.path.join(os.fsencode(stage.folder), name))) for name in PARTNERS]


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
