"""Which uploads of the probe a killed process has left: noted in a real Redis, ended by the next start at once."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from src.redis_client import RedisCheckpoints, RedisProbeNotes
from src.redis_client.probe_notes import is_gone, process_id
from src.retry import RetryPolicy
from src.s3_client import open_store
from src.s3_client.settings import Deadlines
from tests.contract.test_object_store import settings_of
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.servers import S3Server

pytestmark = [pytest.mark.redis, pytest.mark.timeout(60)]
PROBE_KEY = ".cefmp4-probe"


@asynccontextmanager
async def _checkpoints(url: str, prefix: str) -> AsyncIterator[RedisCheckpoints]:
    telemetry = FakeTelemetry()
    async with RedisCheckpoints(
        url, key_prefix=prefix, bucket="b", policy=RetryPolicy(0.01, 0.1), emit=telemetry.emit
    ) as checkpoints:
        yield checkpoints


def test_a_process_is_gone_when_its_number_is_nobodys_or_anothers() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = process_id(process.pid)
        assert name
        assert not is_gone(name)
        process.kill()
    assert is_gone(name)
    own = process_id()
    assert not is_gone(own)
    assert is_gone(own + "0"), "the number is used again by a later process"
    assert not is_gone(f"another-machine{own}"), "nobody here knows"
    assert not is_gone("nonsense")


@pytest.mark.versitygw
async def test_what_a_killed_process_noted_is_ended_at_once_and_what_nobody_noted_stays(
    versitygw: S3Server, redis_server: str
) -> None:
    settings, prefix = settings_of(versitygw), f"notes-{secrets.token_hex(4)}:"
    async with _checkpoints(redis_server, prefix) as checkpoints:
        notes = RedisProbeNotes(checkpoints.beside)
        async with open_store(
            settings, policy=RetryPolicy(0.05, 0.2), emit=FakeTelemetry().emit, deadlines=Deadlines(20, 60), notes=notes
        ) as store:
            await store.abilities()
            assert await checkpoints.beside("HLEN", "probe:uploads") == 0, "what it began it has ended"
            left, stranger = [await store.create_upload(PROBE_KEY, {}) for _ in range(2)]
            living = await store.create_upload(PROBE_KEY, {})
            await notes.note(living)
            await checkpoints.beside("HSET", "probe:uploads", left.encode(), process_id().encode() + b"0")
            there, gone_there = "elsewhere:boot:1:1", "upload of a machine that never comes back"
            await checkpoints.beside("HSET", "probe:uploads", stranger.encode(), there.encode())
            await checkpoints.beside("HSET", "probe:uploads", gone_there.encode(), there.encode())
            await store.abort_forgotten_probes()
            open_now = {upload.upload_id for upload in await store.list_uploads(PROBE_KEY)}
            assert open_now == {stranger, living}
            noted = await checkpoints.beside("HKEYS", "probe:uploads")
            assert set(noted) == {living.encode(), stranger.encode()}


async def test_a_redis_that_is_away_costs_a_note_and_no_probe() -> None:
    async with _checkpoints("redis://127.0.0.1:9/0", "p:") as checkpoints:
        notes = RedisProbeNotes(checkpoints.beside)
        await notes.note("u1")
        await notes.forget("u1")
        assert await notes.left_behind() == []
