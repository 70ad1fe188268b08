"""The commands of an operator, beside the real daemon: status, wait, retry, give-up and config."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from src.door import knock
from tests.harness.e2e.daemon import PATIENCE_SECONDS, ROOT, Daemon, eventually
from tests.harness.e2e.operator import Typed, type_command
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.nonsense import malformed

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text(encoding="utf-8"))


def _status(daemon: Daemon) -> Any:
    document = type_command(daemon, "status", "--json").json
    jsonschema.validate(document, SCHEMA)
    return document


def _failed(stage: Stage, name: str = "gone.mp4") -> str:
    """A recording that failed because its file was removed; its ID."""
    path = stage.folder / name
    with Writer(path) as writer:
        writer.append(CHUNK + 10)
        stage.wait_until_sent(path, 1)
        path.unlink()
    return str(stage.daemon.wait_for("stream_failed", file_path=name)["stream_id"])


# -- status ------------------------------------------------------------------------------------------------------------


def test_status_shows_a_recording_on_its_way_and_what_is_at_risk(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "cam1" / "0800.mp4"
    path.parent.mkdir(parents=True)
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="60")
    with Writer(path) as writer:
        writer.append(CHUNK + 1000)
        stage.wait_until_sent(path, 1)
        document = eventually(
            lambda: (found := _status(daemon))["totals"]["at_risk_bytes"] == 1000 and found, "the tail is at risk"
        )
        (seen,) = document["recordings"]
        assert (seen["name"], seen["state"], seen["parts"]) == ("cam1/0800.mp4", "recording", 1)
        assert (seen["size"], seen["in_s3"], seen["at_risk_bytes"]) == (CHUNK + 1000, CHUNK, 1000)
        assert [service["ok"] for service in document["services"]] == [True, True, True]
        assert document["daemon"]["folder"] == str(stage.folder)
        shown = type_command(daemon, "status")
        assert shown.code == 0
        assert "cam1/0800.mp4  recording" in shown.out
        assert "store ok · redis ok · folder ok" in shown.out
        alone = type_command(daemon, "status", seen["short_id"])
        assert f"id          {seen['id']}" in alone.out
        assert type_command(daemon, "status", "nothing.mp4").code == 2
    assert type_command(daemon, "wait", "--timeout", "100s").code == 0
    assert _status(daemon)["finished"]["last_day"] == 1


def test_without_a_daemon_status_reads_redis_and_changes_no_byte_of_it(own_stage: Stage) -> None:
    """Also of what it cannot read, which a daemon would set aside."""
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "a.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="60")
    with Writer(path) as writer:
        writer.append(CHUNK + 1000)
        stage.wait_until_sent(path, 1)
        eventually(lambda: stage.redis_keys("stream:*:parts"), "the part is saved")
        daemon.kill()
    bad = f"{stage.redis_prefix}stream:bad\x1b[31m:meta"
    stage.redis.sadd(f"{stage.redis_prefix}streams:active", "bad\x1b[31m")
    stage.redis.hset(bad, "status", "no such status")
    before = _all_of_redis(stage)
    writes = stage.redis.info("commandstats")
    told = type_command(daemon, "status", "--json")
    assert told.code == 3
    document = told.json
    jsonschema.validate(document, SCHEMA)
    assert document["daemon"] is None
    assert [(each["name"], each["in_s3"]) for each in document["recordings"]] == [("a.mp4", CHUNK)]
    assert [each["key"] for each in document["unreadable"]] == [bad.replace("\x1b", "\\x1b")]
    shown = type_command(daemon, "status").out
    assert "no daemon answers" in shown
    assert "By Redis, 1 recording is unfinished. 1 entry there cannot be read." in shown
    assert "stream:bad\\x1b[31m:meta cannot be read: " in shown and "It is unchanged." in shown
    assert _all_of_redis(stage) == before
    used = {name for name, each in stage.redis.info("commandstats").items() if each != writes.get(name)}
    reading = {"hello", "ping", "echo", "sscan", "hgetall", "hscan", "multi", "exec", "client|setinfo", "select"}
    ours = {"info", "scan", "dump"}
    assert {name.removeprefix("cmdstat_") for name in used} <= reading | ours

    stage.redis.set(f"{stage.redis_prefix}streams:failed", "not a set")
    before = _all_of_redis(stage)
    again = type_command(daemon, "status")
    assert (again.code, "a.mp4" in again.out) == (3, True)
    assert "streams:failed cannot be read: it is not a set. It is unchanged." in again.out
    assert _all_of_redis(stage) == before


def _all_of_redis(stage: Stage) -> dict[str, bytes]:
    import redis

    with redis.Redis.from_url(stage.redis_url) as raw:
        return {key.decode(): raw.dump(key) for key in raw.scan_iter()}


# -- wait --------------------------------------------------------------------------------------------------------------


def test_wait_includes_a_file_that_was_made_just_before(stage: Stage) -> None:
    """Nothing but the scan that ``wait`` asks for finds it: notifications are off, and the next scan is far."""
    daemon = stage.daemon
    daemon.start_and_wait(WATCH_SCAN_SECONDS="3600", WATCH_FORCE_POLLING="true")
    stage.wait_until_probed()
    for number in range(3):
        path = stage.folder / f"{number}.mp4"
        write(path, CHUNK + number, seed=number)
        time.sleep(0.1)
        assert type_command(daemon, "wait").code == 0
        assert stage.bucket.holds(path.name, path)


def test_wait_says_what_is_left_when_its_time_is_over(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="600")
    with Writer(stage.folder / "long.mp4") as writer:
        writer.append(1000)
        over = type_command(daemon, "wait", "--timeout", "1s")
        assert (over.code, over.out) == (1, "")
        assert "1 recording unfinished" in over.err
        told = type_command(daemon, "wait", "--timeout", "1s", "--json")
        assert (told.code, told.json["safe"], told.json["unfinished"]) == (1, False, 1)


# -- retry and give-up -------------------------------------------------------------------------------------------------


def test_a_failed_recording_is_given_up_only_with_apply(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="60")
    stream_id = _failed(stage)
    shown = type_command(daemon, "status")
    short = stream_id[:4]
    assert shown.code == 1
    assert f"{short}  gone.mp4 failed: file missing" in shown.out
    assert f"python -m src give-up {short} --apply" in shown.out
    again = type_command(daemon, "retry", short)
    assert (again.code, "its file is missing" in again.out) == (1, True)

    planned = type_command(daemon, "give-up", short)
    assert planned.code == 0
    assert f"process {daemon.pid}" in planned.out and str(stage.folder) in planned.out
    assert "would abort 1 upload of gone.mp4" in planned.out
    assert stage.members("failed") == {stream_id}
    assert stage.bucket.open_uploads() != []

    done = type_command(daemon, "give-up", short, "--apply")
    assert (done.code, "is given up" in done.out) == (0, True)
    assert stage.redis_keys("stream:*") == [] and stage.members("failed") == set()
    assert stage.bucket.open_uploads() == []
    asked = daemon.wait_for("operator_asked", command="give-up")
    assert (asked["stream_id"], asked["result"]) == (stream_id, "given_up")
    assert type_command(daemon, "give-up", short, "--apply").code == 2
    assert type_command(daemon, "status").code == 0


def test_a_recording_that_the_store_refused_is_tried_again_by_command_and_becomes_equal(stage: Stage) -> None:
    """An object has the name of the recording's folder, which VersityGW refuses, until somebody removes it."""
    daemon, path = stage.daemon, stage.folder / "cam" / "take 1.mp4"
    daemon.start_and_wait()
    stage.wait_until_probed()
    stage.bucket.put("cam", b"in the way")
    path.parent.mkdir(parents=True)
    write(path, 2 * CHUNK + 10, seed=5)
    stream_id = str(daemon.wait_for("stream_failed", file_path="cam/take 1.mp4")["stream_id"])
    short = stream_id[:4]
    shown = type_command(daemon, "status")
    assert shown.code == 1
    assert f"{short}  cam/take 1.mp4 failed: " in shown.out
    assert f"python -m src retry {short}" in shown.out
    assert type_command(daemon, "wait", "--timeout", "100s").code == 1
    too_soon = type_command(daemon, "retry", short)
    assert (too_soon.code, "is tried again" in too_soon.out) == (0, True)
    eventually(lambda: len(daemon.lines("stream_failed")) == 2, "it fails again")

    stage.bucket.client.delete_object(Bucket=stage.bucket.name, Key="cam")
    begun = type_command(daemon, "retry", "cam/take 1.mp4")
    assert (begun.code, begun.out.splitlines()[-1]) == (0, "cam/take 1.mp4 is tried again.")
    stage.wait_until_done(path)
    assert stage.bucket.holds("cam/take 1.mp4", path)
    assert type_command(daemon, "wait", "--timeout", "100s").code == 0
    assert type_command(daemon, "status").code == 0
    assert type_command(daemon, "retry", short).code == 2
    asked = [(line["command"], line["stream_id"], line["result"]) for line in daemon.lines("operator_asked")]
    assert asked == [("retry", stream_id, "begun")] * 2


def test_what_is_given_up_is_not_there_after_a_restart(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="60")
    stream_id = _failed(stage)
    assert type_command(daemon, "give-up", stream_id, "--apply").code == 0
    daemon.stop()
    daemon.start_and_wait()
    daemon.wait_for("streams_recovered")
    assert _status(daemon)["recordings"] == []


# -- the socket --------------------------------------------------------------------------------------------------------


def test_recordings_do_not_notice_malformed_requests_and_callers_that_never_read(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "a.mp4"
    daemon.start_and_wait()
    name = knock(str(stage.folder), stage.redis_prefix).socket_name
    silent = []
    with Writer(path) as writer:
        for number in range(500):
            if number % 50 == 0:
                writer.append(CHUNK // 4)
            caller = socket.socket(socket.AF_UNIX)
            caller.connect(b"\0" + name.encode())  # waits while too many do
            caller.settimeout(PATIENCE_SECONDS)
            with suppress(OSError):
                caller.sendall(malformed(number) if number % 100 else b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            if number % 100:
                caller.close()
            else:
                silent.append(caller)
    stage.wait_until_done(path)
    stage.wait_until_clean("a.mp4")
    assert [line for line in daemon.lines() if line["level"] == "error" or "keeper" in line["logger_name"]] == []
    for caller in silent:
        caller.close()
    assert type_command(daemon, "status").code == 0


def test_status_is_live_on_a_terminal_and_ends_with_ctrl_c(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="600")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **daemon.settings}
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "src", "status", "--watch"],
        cwd=daemon.home,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 65536)
        return text in shown

    try:
        eventually(lambda: shows(b"store ok"), "it shows the services")
        with Writer(stage.folder / "later.mp4") as writer:
            writer.append(1000)
            eventually(lambda: shows(b"later.mp4"), "it shows the new recording")
            watching.send_signal(signal.SIGINT)
            eventually(lambda: shows(b"\x1b[?1049l") or watching.poll() is not None, "the terminal is as before")
            assert watching.wait(PATIENCE_SECONDS) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
    assert b"Traceback" not in shown


# -- who is away -------------------------------------------------------------------------------------------------------

#: One recording grows, another failed because its file is gone.
COMMANDS = {
    "status": ("status",),
    "status a.mp4": ("status", "a.mp4"),
    "status --json": ("status", "--json"),
    "wait": ("wait", "--timeout", "1s"),
    "retry a.mp4": ("retry", "a.mp4"),
    "retry gone.mp4": ("retry", "gone.mp4"),
    "retry --all": ("retry", "--all"),
    "give-up a.mp4": ("give-up", "a.mp4"),
    "give-up gone.mp4": ("give-up", "gone.mp4"),
    "config": ("config",),
}
_ALL_WELL = {
    "status": 1,
    "status a.mp4": 1,
    "status --json": 1,
    "wait": 1,
    "retry --all": 0,
    "config": 0,
    "retry a.mp4": 2,
    "retry gone.mp4": 1,
    "give-up a.mp4": 2,
    "give-up gone.mp4": 0,
}
_NO_DAEMON = {**dict.fromkeys(COMMANDS, 3), "config": 0}
#: Exit codes by command, in each situation.
AWAY = {
    "nobody": _ALL_WELL,
    "store": _ALL_WELL,
    "redis": {**_ALL_WELL, "wait": 3},
    "folder": {**_ALL_WELL, "wait": 3, "retry gone.mp4": 3, "give-up gone.mp4": 3},
    "daemon": _NO_DAEMON,
    "all": _NO_DAEMON,
}


@pytest.mark.timeout(600)
def test_whoever_is_away_every_command_answers_with_a_sentence_and_its_exit_code(own_stage: Stage) -> None:
    stage, daemon = own_stage, own_stage.daemon
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="600")
    assert stage.redis_server is not None
    _failed(stage)
    with Writer(stage.folder / "a.mp4") as writer:
        writer.append(CHUNK + 10)
        stage.wait_until_sent(stage.folder / "a.mp4", 1)
        found = {"nobody": _all_codes(daemon)}

        stage.store.stop()
        _until_said(daemon, "s3")
        found["store"] = _all_codes(daemon)
        stage.store.start()
        _until_said(daemon, "s3", ok=True)

        stage.redis_server.stop()
        _until_said(daemon, "redis")
        found["redis"] = _all_codes(daemon)
        stage.redis_server.start()
        _until_said(daemon, "redis", ok=True)

        elsewhere = stage.folder.rename(stage.folder.with_name("elsewhere"))
        _until_said(daemon, "watched_folder")
        found["folder"] = _all_codes(daemon)
        elsewhere.rename(stage.folder)
        _until_said(daemon, "watched_folder", ok=True)

        daemon.kill()
        found["daemon"] = _all_codes(daemon)
        stage.store.stop()
        stage.redis_server.stop()
        stage.folder.rename(elsewhere)
        found["all"] = _all_codes(daemon)
        stage.redis_server.start()
        stage.store.start()
    assert found == AWAY


def _all_codes(daemon: Daemon) -> dict[str, int]:
    """Some at a time: most of it is Python's start."""
    with ThreadPoolExecutor(4) as threads:
        typed = threads.map(lambda words: type_command(daemon, *words), COMMANDS.values())
        return {name: _answered(each) for name, each in zip(COMMANDS, typed, strict=True)}


def _answered(typed: Typed) -> int:
    """Never silent, and never an error without a sentence."""
    assert typed.out or typed.err
    if typed.code in (2, 3) and not typed.out:
        assert typed.err.strip().splitlines()[-1].strip()
    return typed.code


def _until_said(daemon: Daemon, service: str, *, ok: bool = False) -> None:
    def seen() -> bool:
        return {each["name"]: each["ok"] for each in _status(daemon)["services"]}.get(service) is ok

    eventually(seen, f"status shows {service} {'again' if ok else 'away'}")


# -- settings ----------------------------------------------------------------------------------------------------------


def test_config_names_the_origin_of_each_setting_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    secret = "s3cr3t-and-more"
    (tmp_path / "home" / ".env").write_text(
        f"# mine\n\nLOG_LEVEL=debug\nS3_SECRET_ACCESS_KEY={secret}\nS3_ACCESS_KEY_ID=AKIA5\nSTREAM_CHUNK_SIZE_MB=6\n"
        f"REDIS_URL=redis://:{secret}@localhost:7/0\n"
    )
    daemon = Daemon(tmp_path / "home", {"PROM_PORT": "9100"})
    told = type_command(daemon, "config", "--changed", "--json")
    rows = {row["name"]: row for row in told.json["settings"]}
    assert {name: (row["value"], row["origin"]) for name, row in rows.items()} == {
        "PROM_PORT": ("9100", "environment"),
        "LOG_LEVEL": ("DEBUG", ".env line 3"),
        "S3_SECRET_ACCESS_KEY": (f"set, {len(secret)} characters", ".env line 4"),
        "S3_ACCESS_KEY_ID": ("set, 5 characters", ".env line 5"),
        "CHUNK_SIZE_BYTES": ("6291456", ".env line 6"),
        "REDIS_URL": (f"redis://localhost:7/0 (password set, {len(secret)} characters)", ".env line 7"),
    }
    assert rows["CHUNK_SIZE_BYTES"]["older_name"] == "STREAM_CHUNK_SIZE_MB"
    shown = type_command(daemon, "config")
    assert secret not in told.out + shown.out + shown.err
    assert "PROM_PORT" in shown.out and "older name" in shown.err

    elsewhere = tmp_path / "other.env"
    assert type_command(daemon, "config", "--env-file", str(elsewhere)).code == 2
    elsewhere.write_text("LOG_LEVEL=loud\n")
    refused = type_command(daemon, "config", "--env-file", str(elsewhere))
    assert (refused.code, "LOG_LEVEL is 'loud'" in refused.err) == (2, True)
