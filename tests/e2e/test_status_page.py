"""The status page of the real daemon: what it says while it records, and what strange requests do to recordings."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from html import unescape

import pytest

from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Writer
from tests.harness.e2e.stage import Stage
from tests.harness.strange_requests import strange_requests

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


def _row(daemon: Daemon, name: str) -> str:
    """The text of a recording's row; empty where it has none."""
    page = daemon.page("/")[1]
    rows = re.findall(r"<tr role=\"row\" id.*?</tr>", page, re.DOTALL)
    texts = (" ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in rows)
    return next((text for text in texts if name in text), "")


def test_five_hundred_strange_requests_beside_a_recording_change_nothing(stage: Stage) -> None:
    """Each connection stays open; some ask for the page and never read it."""
    daemon, path = stage.daemon, stage.folder / "a <b> & c.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="3600")
    with Writer(path) as writer, ExitStack() as open_ones:
        writer.append(CHUNK + 1000)
        stage.wait_until_sent(path, 1)
        eventually(lambda: "recording" in _row(daemon, "a <b> & c.mp4"), "the page shows the recording")
        host, port = daemon.address.split(":")
        for request in strange_requests(500):
            connection = open_ones.enter_context(socket.create_connection((host, int(port))))
            try:
                connection.sendall(request)
            except OSError:
                continue  # it was refused before its end
        writer.append(CHUNK)
        stage.wait_until_sent(path, 1, 2)
        eventually(lambda: daemon.page("/-/healthy") == (200, "ok\n"), "it is healthy")
        eventually(lambda: "99 %" in _row(daemon, "a <b> & c.mp4"), "the page shows what is sent")
    assert daemon.lines(level="error") == daemon.lines(level="critical") == []
    assert daemon.stop() == 0
    daemon.start_and_wait()
    stage.wait_until_done(path)


def test_a_recording_whose_file_is_missing_comes_first_with_what_to_type(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "gone.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="3600")
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        path.unlink()
    daemon.wait_for("stream_failed", file_path="gone.mp4")
    page = str(eventually(lambda: found if "give-up" in (found := daemon.page("/")[1]) else "", "the page shows it"))
    assert page.index('id="failures"') < page.index('id="now"') < page.index('id="recordings"')
    assert re.search(r"give-up [0-9a-f]{4,} --apply</code>", page)
    eventually(lambda: "failed" in _row(daemon, "gone.mp4"), "its row says so, too")
