"""Settings that are wrong: before the start a list, after it a daemon that stays up and says what to change."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, write
from tests.harness.e2e.stage import Stage
from tests.harness.servers import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.new_interpreter, pytest.mark.versitygw, pytest.mark.redis]


def test_wrong_settings_are_one_list_and_exit_code_2(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.start(
        CHUNK_SIZE_BYTES="1000",
        STREAM_TIMEOUT_SECONDS="soon",
        CHUNK_SIZE_BYTE="5242880",
        S3_BUCKET_NAME="No Bucket",
        REDIS_URL="http://localhost",
        GF_SECURITY_ADMIN_PASSWORD="another program's",
    )
    assert daemon.exit_code() == 2
    first, *problems = daemon.errors().splitlines()
    assert "cannot start" in first
    for name in ("CHUNK_SIZE_BYTES", "STREAM_TIMEOUT_SECONDS", "S3_BUCKET_NAME", "REDIS_URL"):
        assert any(name in problem for problem in problems), name
    assert any("CHUNK_SIZE_BYTE " in problem and "CHUNK_SIZE_BYTES" in problem for problem in problems)
    assert all(problem.startswith("  - ") for problem in problems)
    assert "Traceback" not in daemon.everything_said()
    assert "GF_" not in daemon.everything_said()
    assert daemon.lines() == []


def test_a_wrong_option_of_the_redis_address_is_a_wrong_setting(stage: Stage, redis_server: str) -> None:
    stage.daemon.start(REDIS_URL=f"{redis_server}?socket_timeout=x", S3_MAX_PARTS="abc")
    assert stage.daemon.exit_code() == 2
    said = stage.daemon.errors()
    assert "  - REDIS_URL is set, but an option after the question mark" in said
    assert "  - S3_MAX_PARTS is 'abc', but must be a whole number from 2 to 10000." in said
    assert "Traceback" not in stage.daemon.everything_said()


def test_an_env_file_in_the_folder_is_read(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.home.mkdir(parents=True)
    (daemon.home / ".env").write_text("STREAM_TIMEOUT_SECONDS=7\nCHUNK_SIZE_BYTES=6000000\nPOSTGRES_DB=x\n")
    del daemon.settings["STREAM_TIMEOUT_SECONDS"]
    daemon.start()
    started = daemon.wait_for("daemon_started")
    assert (started["stream_timeout_seconds"], started["chunk_size_bytes"]) == (7, CHUNK)  # the environment wins


def test_a_port_that_is_taken_is_a_wrong_setting(stage: Stage) -> None:
    stage.daemon.start(PROM_PORT=str(stage.store.port))
    assert stage.daemon.exit_code() == 2
    assert "PROM_PORT" in stage.daemon.errors()
    assert "Traceback" not in stage.daemon.everything_said()


def test_a_wrong_s3_secret_is_named_and_never_told(stage: Stage) -> None:
    daemon, canary = stage.daemon, f"canary/{secrets.token_hex(8)}+x="
    write(stage.folder / "waits.mp4", CHUNK + 1)
    daemon.start(S3_SECRET_ACCESS_KEY=canary)
    line = daemon.wait_for("s3_unavailable")
    assert "S3_SECRET_ACCESS_KEY" in line["hint"]
    _stays_up_but_is_not_ready(daemon, "s3")
    _never_told(daemon, canary)


def test_a_wrong_redis_password_is_named_and_never_told(stage: Stage, redis_server: str) -> None:
    daemon, canary = stage.daemon, f"canary-{secrets.token_hex(8)}"
    write(stage.folder / "waits.mp4", CHUNK + 1)
    daemon.start(REDIS_URL=redis_server.replace("redis://", f"redis://:{canary}@"))
    line = daemon.wait_for("redis_unavailable")
    assert "REDIS_URL" in line["hint"]
    assert "REDIS_PASSWORD" in line["hint"]
    _stays_up_but_is_not_ready(daemon, "redis")
    _never_told(daemon, canary)


def test_the_right_secrets_are_never_told_either(stage: Stage) -> None:
    write(stage.folder / "fine.mp4", CHUNK + 1)
    stage.daemon.start_and_wait(LOG_LEVEL="DEBUG")
    stage.wait_until_done(stage.folder / "fine.mp4")
    _never_told(stage.daemon, stage.store.secret_key)


def test_a_store_that_is_started_later_is_found(own_stage: Stage) -> None:
    stage, daemon = own_stage, own_stage.daemon
    stage.store.stop()
    write(stage.folder / "early.mp4", CHUNK + 1)
    daemon.start()
    line = daemon.wait_for("s3_unavailable")
    assert "S3_ENDPOINT_URL" in line["hint"]
    _stays_up_but_is_not_ready(daemon, "s3")
    stage.store.start()
    daemon.wait_until_ready()
    stage.wait_until_done(stage.folder / "early.mp4")
    daemon.wait_for("s3_recovered")
    stage.wait_until_clean("early.mp4")


def test_a_redis_that_is_started_later_is_found(own_stage: Stage) -> None:
    stage, daemon, server = own_stage, own_stage.daemon, own_stage.redis_server
    assert isinstance(server, RedisServer)
    server.stop()
    write(stage.folder / "early.mp4", CHUNK + 1)
    daemon.start()
    line = daemon.wait_for("redis_unavailable")
    assert "REDIS_URL" in line["hint"]
    _stays_up_but_is_not_ready(daemon, "redis")
    server.start()
    daemon.wait_until_ready()
    stage.wait_until_done(stage.folder / "early.mp4")
    stage.wait_until_clean("early.mp4")


def _stays_up_but_is_not_ready(daemon: Daemon, service: str) -> None:
    eventually(lambda: _missing(daemon) == [service], f"{service} alone is missing")
    assert daemon.page("/-/healthy") == (200, "ok\n")
    assert daemon.is_running()


def _missing(daemon: Daemon) -> list[str]:
    """The parts that are missing, each with its reason; one that nobody made yet may be among them at first."""
    status, text = daemon.page("/-/ready")
    if status != 503:
        return []
    parts = {name: part for name, part in json.loads(text).items() if name != "ready" and not part["ok"]}
    assert all(part["reason"] and part["since"] for part in parts.values())
    return list(parts)


def _never_told(daemon: Daemon, secret: str) -> None:
    status, metrics = daemon.page("/metrics")
    assert status == 200
    assert secret not in metrics
    assert secret not in daemon.page("/-/ready")[1]
    assert daemon.stop() == 0
    assert secret not in daemon.everything_said()
