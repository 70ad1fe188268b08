"""What ``scripts/run`` starts: the daemon with a Redis and an S3 of its own."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.harness.e2e.bucket import sha256
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, write

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


def test_the_embedded_services_need_nothing_and_a_second_run_finds_everything_again(tmp_path: Path) -> None:
    settings = {"EMBEDDED_SERVICES": "auto", "STREAM_TIMEOUT_SECONDS": "1", "CHUNK_SIZE_BYTES": str(CHUNK)}
    daemon = Daemon(tmp_path, settings)
    try:
        daemon.start_and_wait()
        status, drop, copies, page, metrics = _five_lines(daemon)
        with urllib.request.urlopen(status, timeout=10) as answer:
            assert b"<title>" in answer.read()
        assert drop == tmp_path / "local_watch_dir"
        assert copies == tmp_path / "data" / "s3" / "video-streams"
        address, keys = re.fullmatch(r"(\S+)  \(keys: (.+)\)", page).groups()  # type: ignore[union-attr]
        assert "aws_secret_access_key" in Path(keys).read_text()
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(metrics, timeout=10) as answer:
            assert b"streams_completed_total" in answer.read()
        write(drop / "first.mp4", CHUNK + 10)
        eventually(lambda: (copies / "first.mp4.metadata.json").exists(), "the copy is described")
        assert sha256(copies / "first.mp4") == sha256(drop / "first.mp4")
        children = psutil.Process(daemon.pid).children()
        daemon.kill()
        eventually(lambda: not any(map(_runs, children)), "the services end with the daemon")

        daemon.start_and_wait(LOG_LEVEL="DEBUG")
        daemon.wait_for("already_stored", file_path="first.mp4")
        assert daemon.lines("part_stored") == []
        assert (_five_lines(daemon)[1:3]) == (drop, copies)
        write(drop / "second.mp4", 10)
        eventually(lambda: (copies / "second.mp4.metadata.json").exists(), "the second copy is described")
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.everything_said()
    finally:
        daemon.end()


def _five_lines(daemon: Daemon) -> tuple[str, Path, Path, str, str]:
    """The status page first; where to drop a file, where its copy lies, the page of the bucket, and /metrics."""
    lines = eventually(lambda: found if len(found := daemon.plain_lines()) >= 5 else [], "five lines are printed")
    assert len(lines) == 5, lines
    status, drop, copies, page, metrics = (re.split(r"  +| (?=/|http)", line, maxsplit=1)[-1].strip() for line in lines)
    return status, Path(drop), Path(copies), page, metrics


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
