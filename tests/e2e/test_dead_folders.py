"""A file system that no longer answers, as a network share does when its server is gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.hanging_files import mounted

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


@contextmanager
def dead(folder: Path) -> Iterator[None]:
    """A mount on ``folder`` whose server never says a word: whoever looks into it hangs in the kernel until the end."""
    with mounted(folder):
        yield


def hangs(pid: int) -> bool:
    """Whether a thread of the process waits in the kernel for what does not come."""
    return any("fuse" in where.read_text() for where in Path(f"/proc/{pid}/task").glob("*/wchan"))


def test_a_share_that_no_longer_answers_delays_what_lies_in_it_and_loses_nothing(stage: Stage) -> None:
    """A recording that is under way elsewhere is carried to its end meanwhile; all else when the share is back."""
    daemon, share = stage.daemon, stage.folder / "share"
    share.mkdir()
    old, live, new = share / "old.mp4", stage.folder / "live.mp4", stage.folder / "new.mp4"
    write(old, CHUNK + 5)
    daemon.start_and_wait(WATCH_SCAN_SECONDS="1")
    stage.wait_until_done(old)
    with Writer(live, seed=1) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(live, 1)
        with dead(share):
            eventually(lambda: hangs(daemon.pid), "the scan has met it")
            write(new, 1000, seed=2)
            writer.append(CHUNK)
            writer.close()
            eventually(lambda: stage.bucket.holds("live.mp4", live), "live.mp4 is carried on")
            assert daemon.page("/-/healthy")[0] == 200
    for path in (old, live, new):
        stage.wait_until_done(path)
    stage.wait_until_clean("share/old.mp4", "live.mp4", "new.mp4")
    assert daemon.lines("unexpected_error") == [] and daemon.lines("stream_failed") == []


def test_a_stop_while_a_share_does_not_answer_ends_all_the_same(stage: Stage) -> None:
    daemon, share = stage.daemon, stage.folder / "share"
    share.mkdir()
    daemon.start_and_wait(WATCH_SCAN_SECONDS="1", SHUTDOWN_GRACE_SECONDS="2")
    with dead(share):
        eventually(lambda: hangs(daemon.pid), "the scan has met it")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon_stopped")
        assert daemon.exit_code(within=30) == 0
