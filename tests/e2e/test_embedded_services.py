"""The embedded Redis and S3 as a user meets them: real processes, real data folders, real kills."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import redis.asyncio
from botocore.config import Config

from src.embedded import (
    EmbeddedRedis,
    EmbeddedS3,
    EmbeddedServiceError,
    child,
    embedded_redis,
    embedded_s3,
    find_versitygw,
)
from src.embedded.s3_server import keeps_attributes

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.redis]

needs_versitygw = pytest.mark.versitygw


@pytest.fixture
def versitygw() -> Path:
    program = find_versitygw(ROOT)
    if program is None:
        message = "VersityGW is not built here; scripts/setup builds it"
        if os.environ.get("REQUIRE_VERSITYGW") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return program


@pytest.fixture(autouse=True)
def _quick_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LOCK_SECONDS", 2.0)


@asynccontextmanager
async def _client(embedded: EmbeddedRedis) -> AsyncIterator[redis.asyncio.Redis]:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(embedded.url, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


def _s3_client(s3: EmbeddedS3) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
        region_name=s3.region,
        config=Config(s3={"addressing_style": "path"}),
    )


def _put(s3: EmbeddedS3, key: str, body: bytes) -> None:
    client = _s3_client(s3)
    client.create_bucket(Bucket="videos")
    client.put_object(Bucket="videos", Key=key, Body=body)


def _get(s3: EmbeddedS3, key: str) -> bytes:
    return bytes(_s3_client(s3).get_object(Bucket="videos", Key=key)["Body"].read())


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("kept_beside", [False, True])
async def test_what_the_store_knows_of_an_object_is_in_the_objects_own_file_unless_it_was_beside_it(
    tmp_path: Path, versitygw: Path, kept_beside: bool
) -> None:
    beside = tmp_path / "object-metadata"
    if kept_beside:
        beside.mkdir()
    elif not keeps_attributes(tmp_path):
        kept_beside = True  # this file system leaves it no choice
    async with embedded_s3(tmp_path, versitygw=versitygw) as s3:
        await asyncio.to_thread(_put, s3, "take.mp4", b"film")
    assert beside.exists() is kept_beside
    async with embedded_s3(tmp_path, versitygw=versitygw) as s3:
        assert await asyncio.to_thread(_get, s3, "take.mp4") == b"film"


# --- Redis ----------------------------------------------------------------------------------------------------------


async def test_redis_keeps_what_was_written_for_the_next_run(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path, persistent=True) as first, _client(first) as client:
        await client.set("checkpoint", "part 7")
    async with embedded_redis(tmp_path, persistent=True) as second, _client(second) as client:
        assert await client.get("checkpoint") == "part 7"


async def test_redis_without_persistence_leaves_no_data(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path, persistent=False) as embedded, _client(embedded) as client:
        await client.set("checkpoint", "part 7")
        assert embedded.persistent is False
    assert list((tmp_path / "redis").iterdir()) == []


async def test_redis_never_throws_checkpoints_away(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path, persistent=True) as embedded, _client(embedded) as client:
        settings = await client.config_get("maxmemory-policy", "appendonly", "appendfsync", "save", "bind")
    assert settings == {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "bind": "127.0.0.1",
    }


async def test_a_second_run_on_the_same_data_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path, persistent=True) as first, _client(first) as client:
        with pytest.raises(EmbeddedServiceError, match=f"in use by another run .process {os.getpid()}."):
            async with embedded_redis(tmp_path, persistent=True):
                pass
        assert await client.ping()


async def test_two_runs_on_different_data_live_side_by_side(tmp_path: Path) -> None:
    async with (
        embedded_redis(tmp_path / "one", persistent=True) as one,
        embedded_redis(tmp_path / "two", persistent=True) as two,
        _client(one) as first,
        _client(two) as second,
    ):
        await first.set("who", "one")
        assert await second.get("who") is None


async def test_a_machine_without_redis_server_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServiceError, match="redis-server is not installed") as caught:
        async with embedded_redis(tmp_path, persistent=True):
            pass
    assert "apt-get install redis-server" in caught.value.hint


async def test_a_port_that_another_program_takes_meanwhile_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken = other.getsockname()[1]
        answers = iter([[taken]])
        really_free = child.free_ports
        monkeypatch.setattr(child, "free_ports", lambda preferred: next(answers, None) or really_free(preferred))
        async with embedded_redis(tmp_path, persistent=True) as embedded, _client(embedded) as client:
            assert await client.ping()
        assert f":{taken}/" not in embedded.url


def test_a_taken_port_is_replaced_and_a_free_one_kept() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken = other.getsockname()[1]
        first, second = child.free_ports([taken, 0])
        assert len({taken, first, second}) == 3
    assert child.free_ports([first]) == [first]


# --- S3 -------------------------------------------------------------------------------------------------------------


@needs_versitygw
async def test_objects_are_plain_files_and_found_again_by_the_next_run(tmp_path: Path, versitygw: Path) -> None:
    async with embedded_s3(tmp_path, versitygw=versitygw) as first:
        await asyncio.to_thread(_put, first, "cam/one.mp4", b"recording")
    assert (tmp_path / "s3" / "videos" / "cam" / "one.mp4").read_bytes() == b"recording"

    async with embedded_s3(tmp_path, versitygw=versitygw) as second:
        assert await asyncio.to_thread(_get, second, "cam/one.mp4") == b"recording"
    assert (second.access_key_id, second.secret_access_key) == (first.access_key_id, first.secret_access_key)
    assert second.objects_dir == tmp_path / "s3"
    assert second.kind == "versitygw"


@needs_versitygw
async def test_the_keys_are_readable_for_their_owner_only(tmp_path: Path, versitygw: Path) -> None:
    async with embedded_s3(tmp_path, versitygw=versitygw) as s3:
        config = tmp_path / "aws-config"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        commands = [process.cmdline() for process in psutil.Process().children()]
    assert commands
    assert not [command for command in commands if s3.secret_access_key in " ".join(command)]


@needs_versitygw
async def test_every_aws_tool_finds_the_store_through_the_config_file(
    tmp_path: Path, versitygw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    async with embedded_s3(tmp_path, versitygw=versitygw) as s3:
        await asyncio.to_thread(_put, s3, "one.mp4", b"recording")
        client = boto3.session.Session().client("s3")
        listed = await asyncio.to_thread(client.list_buckets)
    assert [bucket["Name"] for bucket in listed["Buckets"]] == ["videos"]


@needs_versitygw
async def test_a_second_gateway_on_the_same_data_is_refused(tmp_path: Path, versitygw: Path) -> None:
    async with embedded_s3(tmp_path, versitygw=versitygw):
        with pytest.raises(EmbeddedServiceError, match=r"embedded S3 .* in use by another run"):
            async with embedded_s3(tmp_path, versitygw=versitygw):
                pass


async def test_a_gateway_that_fails_shows_the_last_lines_of_its_log(tmp_path: Path) -> None:
    broken = _script(tmp_path / "versitygw", "echo 'disk on fire' >&2; exit 3")
    with pytest.raises(EmbeddedServiceError, match=r"(?s)exit code 3.*versitygw\.log.*disk on fire"):
        async with embedded_s3(tmp_path / "data", versitygw=broken):
            pass


async def test_a_gateway_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServiceError, match="is not a VersityGW executable"):
        async with embedded_s3(tmp_path, versitygw=tmp_path / "nothing"):
            pass


async def test_without_versitygw_moto_takes_its_place(tmp_path: Path) -> None:
    async with embedded_s3(tmp_path, versitygw=None) as s3:
        await asyncio.to_thread(_put, s3, "one.mp4", b"recording")
        assert await asyncio.to_thread(_get, s3, "one.mp4") == b"recording"
    assert s3.kind == "moto"
    assert s3.objects_dir is None


def test_the_gateway_of_the_checkout_comes_before_the_one_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert find_versitygw(tmp_path) is None
    (tmp_path / "elsewhere").mkdir()
    elsewhere = _script(tmp_path / "elsewhere" / "versitygw", "exit 0")
    assert find_versitygw(tmp_path) == elsewhere
    (tmp_path / ".tools" / "bin").mkdir(parents=True)
    own = _script(tmp_path / ".tools" / "bin" / "versitygw", "exit 0")
    assert find_versitygw(tmp_path) == own


# --- Children -------------------------------------------------------------------------------------------------------

DAEMON = """
import asyncio, signal, sys
from pathlib import Path
from src.embedded import embedded_redis, embedded_s3

signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background of a shell inherits it ignored

async def main():
    data, gateway = Path(sys.argv[1]), Path(sys.argv[2])
    async with embedded_redis(data, persistent=True) as redis, embedded_s3(data, versitygw=gateway):
        print(redis.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def _start_daemon(data: Path, gateway: Path) -> tuple[subprocess.Popen[str], str]:
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(data), str(gateway)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    return daemon, daemon.stdout.readline().strip()


def _wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    asyncio.run(_poll(condition, seconds))


async def _poll(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (another process has no event to set)
            await asyncio.sleep(0.02)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@needs_versitygw
def test_the_services_end_with_a_killed_daemon_and_their_data_is_found_again(tmp_path: Path, versitygw: Path) -> None:
    daemon, url = _start_daemon(tmp_path, versitygw)
    try:
        children = psutil.Process(daemon.pid).children()
        assert len(children) == 2
        with closing(redis.Redis.from_url(url)) as client:
            client.set("checkpoint", "part 7")
    finally:
        daemon.kill()
        daemon.communicate()
    _wait_until(lambda: all(map(_has_ended, children)))

    async def read_again() -> str | None:
        async with (
            embedded_redis(tmp_path, persistent=True) as embedded,
            embedded_s3(tmp_path, versitygw=versitygw),
            _client(embedded) as client,
        ):
            return str(await client.get("checkpoint"))

    assert asyncio.run(read_again()) == "part 7"


@needs_versitygw
def test_ctrl_c_in_the_terminal_does_not_reach_the_services(tmp_path: Path, versitygw: Path) -> None:
    daemon, _ = _start_daemon(tmp_path, versitygw)
    try:
        groups = {os.getpgid(process.pid) for process in psutil.Process(daemon.pid).children()}
        assert os.getpgid(daemon.pid) not in groups
    finally:
        daemon.send_signal(signal.SIGINT)
        daemon.communicate(timeout=30)


async def test_a_child_that_does_not_answer_in_time_is_an_error(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async with child.only_user(tmp_path / "lock", "sleeper") as lock:
        sleeper = await child.ChildProcess.start("sleeper", ["sleep", "60"], log=tmp_path / "log", lock=lock)
        try:
            with pytest.raises(EmbeddedServiceError, match="did not answer within"):
                await sleeper.wait_until(never, 0.2)
        finally:
            await sleeper.stop()
    assert sleeper.has_ended()


async def test_a_child_that_ignores_the_request_to_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = _script(tmp_path / "stubborn", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    monkeypatch.setattr(child, "STOP_SECONDS", 0.3)
    async with child.only_user(tmp_path / "lock", "stubborn") as lock:
        process = await child.ChildProcess.start("stubborn", [str(stubborn)], log=tmp_path / "log", lock=lock)

        async def says_ready() -> bool:
            return "ready" in process.last_lines()

        await process.wait_until(says_ready, 10)
        await process.stop()
        await process.stop()
    assert process.has_ended()


async def test_a_stop_that_is_cancelled_still_ends_the_child(tmp_path: Path) -> None:
    stubborn = _script(tmp_path / "stubborn", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    async with child.only_user(tmp_path / "lock", "stubborn") as lock:
        process = await child.ChildProcess.start("stubborn", [str(stubborn)], log=tmp_path / "log", lock=lock)
        await _poll(lambda: "ready" in process.last_lines(), 10)
        stopping = asyncio.create_task(process.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
    assert process.has_ended()


async def test_a_long_log_is_set_aside_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LOG_LIMIT_BYTES", 2_000)  # room for why a port is not free
    log = tmp_path / "logs" / "redis.log"
    log.parent.mkdir()
    log.write_text("old line\n" * 300)
    async with embedded_redis(tmp_path, persistent=False):
        pass
    assert log.with_name("redis.log.1").read_text().startswith("old line")
    assert "old line" not in log.read_text()
