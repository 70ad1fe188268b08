"""An event loop that hangs in the real process, in three ways: it is told where, ended, and started again.

The code of the daemon has no switch to make it hang. Either Python itself, told by ``sitecustomize`` in the child's
environment, holds the main thread at a signal (SIGRTMIN: it sleeps; SIGRTMAX: it computes and holds the interpreter);
or nobody reads the pipe that is the daemon's log.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.metrics.watchdog import HANGS_EXIT_CODE
from tests.harness.e2e.daemon import ROOT, Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.new_interpreter, pytest.mark.versitygw, pytest.mark.redis]

_HANGS_AT_A_SIGNAL = """
import re
import signal
import time


def compute_for_ever(number, frame):
    re.match("(a+)+$", 60 * "a" + "b")


signal.signal(signal.SIGRTMAX, compute_for_ever)


def stand_still_for_ever(number, frame):
    while True:
        time.sleep(1)


signal.signal(signal.SIGRTMIN, stand_still_for_ever)
"""


@pytest.fixture
def hanging_python(tmp_path: Path) -> str:
    """A PYTHONPATH with which Python's main thread stands still from SIGRTMIN on."""
    folder = tmp_path / "hanging"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HANGS_AT_A_SIGNAL)
    return f"{folder}:{ROOT}"


def test_a_hanging_event_loop_is_told_with_its_place_ended_and_the_next_start_goes_on(
    stage: Stage, hanging_python: str
) -> None:
    daemon, path = stage.daemon, stage.folder / "goes on.mp4"
    daemon.start_and_wait(PYTHONPATH=hanging_python, WATCHDOG_SECONDS="8", STREAM_TIMEOUT_SECONDS="3600")
    with Writer(path, seed=1) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        daemon.signal(signal.SIGRTMIN)
        eventually(lambda: daemon.page("/-/healthy", within=2) == (0, ""), "nobody answers whether it is healthy")
        assert daemon.is_running()
        assert daemon.exit_code() == HANGS_EXIT_CODE
        (line,) = daemon.lines("event_loop_hung")
        assert line["level"] == "critical" and line["seconds"] >= 8
        thread, _, tasks = line["stack"].partition("\ntask ")
        assert "stand_still_for_ever" in thread.partition("\nthread ")[0]  # the main thread is the first
        assert "Dispatcher.run" in tasks
        assert "StreamProcessor." in line["stack"]  # of a task, or of the thread when the signal met it at work
        sent = stage.sent(path)
        daemon.start()
        writer.append(CHUNK)
        writer.close()
    stage.wait_until_done(path)
    stage.wait_until_clean("goes on.mp4")
    assert set(sent).isdisjoint(stage.sent(path))


def test_code_that_lets_no_thread_run_is_ended_by_the_kernel_with_its_place_on_standard_error(
    stage: Stage, hanging_python: str
) -> None:
    daemon, path = stage.daemon, stage.folder / "computed.mp4"
    daemon.start_and_wait(PYTHONPATH=hanging_python, WATCHDOG_SECONDS="2")
    write(path, CHUNK + 1)
    stage.wait_until_sent(path, 1)
    daemon.signal(signal.SIGRTMAX)
    assert daemon.exit_code(within=300) == -signal.SIGPROF  # twelve seconds of CPU time
    assert "compute_for_ever" in daemon.errors()
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("computed.mp4")


@contextmanager
def unread_log(daemon: Daemon) -> Iterator[None]:
    """The log of the next run is a pipe that is full after a page of text, and that nobody reads."""
    daemon.home.mkdir(parents=True)
    pipe = daemon.home / f"run-{daemon.runs + 1}.log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        yield
    finally:
        os.close(reader)
        pipe.unlink()
        pipe.write_text("")


def test_a_log_that_nobody_reads_does_not_keep_a_hanging_process_alive(stage: Stage) -> None:
    """The lock of the log is held by the thread that hangs: the watchdog's own line can never be written."""
    daemon, path = stage.daemon, stage.folder / "unread.mp4"
    with unread_log(daemon):
        daemon.start(WATCHDOG_SECONDS="2", LOG_LEVEL="DEBUG")
        write(path, 2 * CHUNK + 1)
        assert daemon.exit_code() == HANGS_EXIT_CODE
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("unread.mp4")


def test_a_process_that_was_stopped_for_long_goes_on(stage: Stage) -> None:
    """As a frozen container does, and a debugger that stops all threads."""
    daemon, path, patience = stage.daemon, stage.folder / "after.mp4", 4
    daemon.start_and_wait(WATCHDOG_SECONDS=str(patience))
    daemon.signal(signal.SIGSTOP)
    time.sleep(2 * patience)  # how long it is stopped is what is tried
    daemon.signal(signal.SIGCONT)
    eventually(lambda: daemon.metric("cefmp4_event_loop_lag_max_seconds") > 1.5 * patience, "the loop has noticed")
    write(path, CHUNK + 1)
    stage.wait_until_done(path)
    assert daemon.lines("event_loop_hung") == []
    assert daemon.stop() == 0


def test_readiness_is_seen_in_metrics_and_log_when_nobody_asks_for_it(own_stage: Stage) -> None:
    stage, daemon = own_stage, own_stage.daemon
    daemon.start()
    eventually(lambda: daemon.page("/metrics")[0] == 200, "the metrics are there")
    eventually(lambda: daemon.metric("cefmp4_ready") == 1, "all is there")
    stage.store.stop()
    away = daemon.wait_for("not_ready", service="s3")
    assert "check S3_ENDPOINT_URL" in away["reason"] and away["error"]
    assert daemon.metric("cefmp4_ready") == daemon.metric("cefmp4_service_ready", service="s3") == 0
    assert daemon.metric("cefmp4_service_ready", service="redis") == 1
    stage.store.start()
    assert daemon.wait_for("ready_again", service="s3")["seconds"] > 0
    assert daemon.metric("cefmp4_ready") == 1


def test_a_watched_folder_that_is_gone_is_a_part_that_is_missing(stage: Stage) -> None:
    daemon = stage.daemon
    write(stage.folder / "known.mp4", 1000)
    daemon.start_and_wait(WATCH_SCAN_SECONDS="1")
    stage.wait_until_done(stage.folder / "known.mp4")
    elsewhere = stage.folder.rename(stage.home / "elsewhere")
    daemon.wait_for("folder_missing")
    eventually(lambda: daemon.page("/-/ready")[0] == 503, "the daemon is not ready")
    told = json.loads(daemon.page("/-/ready")[1])
    assert (told["ready"], told["s3"]["ok"], told["redis"]["ok"]) == (False, True, True)
    assert told["watched_folder"]["ok"] is False and "mounted" in told["watched_folder"]["reason"]
    elsewhere.rename(stage.folder)
    daemon.wait_until_ready()
