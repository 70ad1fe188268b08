"""D3, D7, D14: a living daemon whose Redis was wiped writes its records anew, also those that nobody writes to.

What was there before is written again; what has ended does not come back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from src.domain import Checkpoint, Status, moments
from src.redis_client import RedisCheckpoints
from src.redis_client import checkpoints as redis_client
from tests.contract.test_checkpoints import (
    Admin,
    by_id,
    client,
    full_record,
    marker,
    opened_redis,
    part,
    parts,
    record,
    until,
)
from tests.harness import servers
from tests.harness.fakes.telemetry import FakeTelemetry

pytestmark = pytest.mark.redis

#: What is to be in Redis whatever happens to it: one that is recorded, one that is kept failed, one from before.
LIVING = record("living", parts=parts(1, 2))
FAILED = full_record("failed", status=Status.FAILED)
EARLIER = full_record("earlier", status=Status.FAILED, failure="source_missing")
ALL = {found.stream_id: found for found in (LIVING, FAILED, EARLIER)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "KEPT_SECONDS", 0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[servers.RedisServer]:
    with servers.start_redis(tmp_path) as server:
        yield server


@pytest.fixture
def admin(server: servers.RedisServer) -> Iterator[Admin]:
    with closing(client(server.url)) as beside:
        yield beside


@asynccontextmanager
async def keeping(url: str, telemetry: FakeTelemetry) -> AsyncIterator[RedisCheckpoints]:
    """A living daemon's checkpoints, with the watch that it keeps on them."""
    async with opened_redis(url) as before:
        await before.save(EARLIER)
    async with opened_redis(url, telemetry=telemetry) as checkpoints:
        assert await checkpoints.load() == [EARLIER]
        await checkpoints.save(record("living", parts=parts(1)))
        await checkpoints.save_part(record("living"), [part(2)])
        await checkpoints.save(FAILED)
        keeper = asyncio.create_task(checkpoints.keep_records())
        yield checkpoints
        keeper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeper


async def what_a_start_finds(url: str) -> Mapping[str, Checkpoint]:
    async with opened_redis(url) as after:
        return by_id(await after.load())


def a_string_for_the_failed(admin: Admin) -> None:
    admin.set("streams:failed", "x")


def nothing_but_metas(admin: Admin) -> None:
    admin.delete("streams:active", "streams:failed", "stream:living:parts")


LOSSES: Mapping[str, tuple[Callable[[Admin], object], int]] = {
    "flushed": (lambda admin: admin.flushall(), 3),
    "its database flushed": (lambda admin: admin.flushdb(), 3),
    "swapped with an empty one": (lambda admin: admin.swapdb(0, 1), 3),
    "one record deleted": (lambda admin: admin.delete("stream:failed:meta", "streams:failed"), 2),
    "a set overwritten": (a_string_for_the_failed, 2),
    "a set evicted": (lambda admin: admin.delete("streams:active"), 1),
    "all but the metas evicted": (nothing_but_metas, 3),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_redis_forgot_is_written_anew_although_nothing_happens(
    server: servers.RedisServer, admin: Admin, loss: str
) -> None:
    """D3, D7, D12, D14."""
    forget, records = LOSSES[loss]
    telemetry = FakeTelemetry()
    async with keeping(server.url, telemetry):
        forget(admin)
        await until(lambda: bool(telemetry.of(moments.RedisDataLost)))
    assert telemetry.of(moments.RedisDataLost) == [moments.RedisDataLost(records=records)]
    assert await what_a_start_finds(server.url) == ALL


async def test_a_redis_that_comes_back_empty_gets_its_records_without_a_write(server: servers.RedisServer) -> None:
    """D3."""
    telemetry = FakeTelemetry()
    async with keeping(server.url, telemetry):
        server.kill()
        await until(lambda: bool(telemetry.of(moments.OperationFailed)))
        server.start()
        await until(lambda: bool(telemetry.of(moments.RedisDataLost)))
    assert await what_a_start_finds(server.url) == ALL


async def test_a_redis_that_forgot_nothing_is_not_written_to(server: servers.RedisServer, admin: Admin) -> None:
    telemetry = FakeTelemetry()
    async with keeping(server.url, telemetry):
        before = {name: admin.hget(f"stream:{name}:meta", "revision") for name in ALL}
        asked = admin.info("commandstats")["cmdstat_sscan"]["calls"]
        await until(lambda: admin.info("commandstats")["cmdstat_sscan"]["calls"] >= asked + 12)
        assert {name: admin.hget(f"stream:{name}:meta", "revision") for name in ALL} == before
    assert telemetry.moments == []


async def test_what_has_ended_does_not_come_back(server: servers.RedisServer, admin: Admin) -> None:
    telemetry = FakeTelemetry()
    async with keeping(server.url, telemetry) as checkpoints:
        await checkpoints.finish(LIVING, marker())
        await checkpoints.forget("earlier")
        admin.flushall()
        await until(lambda: bool(telemetry.of(moments.RedisDataLost)))
    assert telemetry.of(moments.RedisDataLost) == [moments.RedisDataLost(records=1)]
    assert await what_a_start_finds(server.url) == {"failed": FAILED}


async def test_a_redis_that_is_flushed_again_and_again_ends_with_the_newest_of_what_lives(
    server: servers.RedisServer, admin: Admin
) -> None:
    """D3, D14: nothing older overwrites, nothing that ended comes back, while streams write and end all the time."""
    chance, newest = random.Random(7), dict[str, Checkpoint]()

    async def live(checkpoints: RedisCheckpoints, name: str) -> None:
        for number in range(1, 40):
            newest[name] = record(name, parts=parts(*range(1, number + 1)))
            await checkpoints.save(newest[name])
            if chance.random() < 0.1:
                await checkpoints.finish(newest.pop(name), marker())
            if chance.random() < 0.1:
                admin.flushall()

    telemetry = FakeTelemetry()
    async with keeping(server.url, telemetry) as checkpoints:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for name in ("s1", "s2", "s3", "s4"):
                group.create_task(live(checkpoints, name))
        admin.flushall()
        await until(lambda: admin.scard("streams:active") == 1 + len(newest) and admin.scard("streams:failed") == 2)
    assert await what_a_start_finds(server.url) == {**ALL, **newest}
