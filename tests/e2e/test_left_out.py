"""What is watched and what is left alone, and the signals that a terminal sends, with the whole daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import ROOT, eventually
from tests.harness.e2e.recorders import CHUNK, write
from tests.harness.e2e.stage import Stage, frozen

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]
DAY = 86_400


def _aged(path: Path, days: float) -> Path:
    """A small file of so many days ago; its ctime is from now, which is before the daemon's start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, 1000)
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def test_a_missing_folder_is_waited_for_and_never_made(stage: Stage) -> None:
    folder = stage.home / "disk" / "recordings"
    daemon = stage.another_daemon("daemon", WATCH_DIR=str(folder))
    daemon.start()
    assert "mounted" in daemon.wait_for("folder_missing", folder=str(folder))["hint"]

    def is_named() -> bool:
        """The first look at readiness may come before the watcher's first at the folder."""
        code, body = daemon.page("/-/ready")
        return code == 503 and json.loads(body)["watched_folder"]["ok"] is False

    eventually(is_named, "it is not ready, because of the folder")
    assert not folder.parent.exists()
    folder.mkdir(parents=True)
    write(folder / "late.mp4", 1000)
    daemon.wait_for("folder_recovered")
    daemon.wait_for("stream_completed", file_path="late.mp4")
    daemon.wait_until_ready()


def test_of_an_old_archive_only_what_comes_is_taken(stage: Stage) -> None:
    folder, daemon = stage.folder, stage.daemon
    begun = _aged(folder / "begun.mp4", 50)
    daemon.start_and_wait()
    stage.wait_until_done(begun)
    assert daemon.stop() == 0
    old = [_aged(folder / "2019" / f"{number}.mp4", 100 + number) for number in range(3)]
    young = _aged(folder / "young.mp4", 1)
    time.sleep(
        0.05
    )  # the clock of the file system is coarser than the daemon's: let the ctimes be older than the start
    daemon.start_and_wait(IGNORE_OLDER_THAN="30d")
    stage.wait_until_done(young)
    told = daemon.wait_for("old_files_ignored")
    assert (told["count"], told["file_path"]) == (3, "2019/0.mp4")
    assert daemon.metric("cefmp4_files_left_out") == 3
    copied = folder / "copied.mp4"
    shutil.copy2(old[0], copied)  # as cp -p: it appears now, with its old mtime
    stage.wait_until_done(copied)
    with old[1].open("ab") as again:
        again.write(b"more")
    stage.wait_until_done(old[1])
    assert daemon.metric("cefmp4_files_left_out") == 2
    assert stage.bucket.objects() == sorted(["2019/1.mp4", "begun.mp4", "copied.mp4", "young.mp4"])
    assert daemon.stop() == 0
    daemon.start_and_wait()  # without it everything is taken
    for path in old:
        stage.wait_until_done(path)


def test_a_recording_that_was_begun_is_finished_though_it_is_old_or_excluded(stage: Stage) -> None:
    folder, daemon = stage.folder, stage.daemon
    paths = [folder / "@eaDir" / "a.mp4", folder / "old.mp4"]
    paths[0].parent.mkdir()
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="600", FINISH_EARLY_SECONDS="off", WATCH_EXCLUDE_GLOBS="[]")
    for path in paths:
        write(path, CHUNK + 10)
        stage.wait_until_sent(path, 1)
    daemon.kill()
    for path in paths:
        then = time.time() - 90 * DAY
        os.utime(path, (then, then))
    write(folder / "@eaDir" / "new.mp4", 1000)
    time.sleep(0.05)
    daemon.start(IGNORE_OLDER_THAN="30d")
    for path in paths:
        stage.wait_until_done(path)
    assert daemon.wait_for("excluded_streams")["paths"] == ["@eaDir/a.mp4"]
    assert not daemon.lines("old_files_ignored")
    stage.wait_until_clean("@eaDir/a.mp4", "old.mp4")


def test_films_that_match_no_pattern_are_said_once_per_pattern(stage: Stage) -> None:
    for name in ("GX010001.MP4", "GX010002.MP4", "cam/a.mov", "b.mov", "notes.txt", "c.mp4.part", "._d.MOV"):
        path = stage.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
    stage.daemon.start_and_wait()
    eventually(lambda: len(stage.daemon.lines("unmatched_media_file")) == 2, "both are said")
    write(stage.folder / "e.mp4", 1000)
    stage.wait_until_done(stage.folder / "e.mp4")
    said = stage.daemon.lines("unmatched_media_file")
    assert sorted(line["pattern"] for line in said) == ["*.MP4", "*.mov"]
    assert all(
        f'"{line["pattern"]}"' in line["hint"] and line["file_path"].endswith(line["pattern"][1:]) for line in said
    )


def test_a_terminal_that_closes_is_an_orderly_stop_and_its_second_signal_changes_nothing(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "hangs.mp4"
    daemon.start_and_wait(SHUTDOWN_GRACE_SECONDS="2")
    write(path, CHUNK + 1)
    stage.wait_until_sent(path, 1)
    with frozen(stage.store):
        daemon.wait_for("stream_went_idle")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("draining")
        daemon.signal(signal.SIGHUP)
        assert daemon.exit_code() == 0
    assert daemon.lines("daemon_stopped")


def test_signals_that_mean_nothing_end_nothing(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
        daemon.signal(number)
    write(stage.folder / "after.mp4", 1000)
    stage.wait_until_done(stage.folder / "after.mp4")
    assert daemon.stop() == 0


def test_under_nohup_a_closing_terminal_changes_nothing(stage: Stage) -> None:
    daemon = stage.daemon
    shim = stage.home / "nohup.py"
    shim.write_text(
        "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    starter = stage.home / "python"
    starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{shim}" "$@"\n')
    starter.chmod(0o755)
    daemon.python = str(starter)
    daemon.start_and_wait()
    daemon.signal(signal.SIGHUP)
    write(stage.folder / "after.mp4", 1000)
    stage.wait_until_done(stage.folder / "after.mp4")
    assert daemon.stop() == 0


def test_only_the_default_folder_is_made(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PROM_PORT": "0",
        "REDIS_URL": "unix:///nowhere",
    }
    daemon = subprocess.Popen(
        [sys.executable, "-m", "src.main"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: (tmp_path / "local_watch_dir").is_dir(), "the default folder is made")
    finally:
        daemon.terminate()
        daemon.wait(60)
