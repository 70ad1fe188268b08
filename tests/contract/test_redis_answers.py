"""D10, D2: whatever comes back from Redis, or does not, an operation ends as if nothing had happened.

Each operation of the checkpoints meets each fault of the proxy, at each of its commands in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from itertools import product
from typing import Any
from urllib.parse import urlparse
from uuid import uuid4

import pytest

from src.domain import Status, moments
from src.exceptions import RedisUnavailable
from src.redis_client import RedisCheckpoints
from src.redis_client.connection import Command, RedisConnection
from tests.contract.test_checkpoints import (
    IDENTITY,
    by_id,
    client,
    marker,
    opened_redis,
    part,
    parts,
    record,
)
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.faulty_redis import FAULTS, Fault, FaultyRedis, Rule

pytestmark = pytest.mark.redis

Operation = Callable[[RedisCheckpoints], Awaitable[None]]


async def saved(checkpoints: RedisCheckpoints) -> None:
    newest = record(parts=parts(1, 2, 3), unanswered=True)
    await checkpoints.save(newest)


async def part_saved(checkpoints: RedisCheckpoints) -> None:
    """It makes one attempt; who calls it tries again with the next part."""
    while True:
        try:
            return await checkpoints.save_part(record(), [part(3)])
        except RedisUnavailable:
            await asyncio.sleep(0)


async def finished(checkpoints: RedisCheckpoints) -> None:
    await checkpoints.finish(record(status=Status.COMPLETED), marker())


async def forgotten(checkpoints: RedisCheckpoints) -> None:
    await checkpoints.forget("a1b2")


async def marked(checkpoints: RedisCheckpoints) -> None:
    await checkpoints.put_marker(marker())


async def remembered(checkpoints: RedisCheckpoints) -> None:
    await checkpoints.put_marker(marker())
    for _ in range(3):
        assert await checkpoints.marker(IDENTITY) == marker()


async def remembered_with_its_name(checkpoints: RedisCheckpoints) -> None:
    await checkpoints.put_marker(marker())
    for _ in range(3):
        assert await checkpoints.remembered(IDENTITY, "take.mp4") == (marker(), None)


async def loaded(checkpoints: RedisCheckpoints) -> None:
    for _ in range(3):
        assert by_id(await checkpoints.load()) == {"a1b2": record(parts=parts(1, 2)), "c3d4": record("c3d4")}


async def pinged(checkpoints: RedisCheckpoints) -> None:
    while True:
        try:
            return await checkpoints.ping()
        except RedisUnavailable:
            await asyncio.sleep(0)


#: What is done, the commands that it needs, and the streams that Redis knows afterwards, with their parts.
OPERATIONS: Mapping[str, tuple[Operation, str, dict[str, set[int]]]] = {
    "save": (saved, "HSET", {"a1b2": {1, 2, 3}, "c3d4": set()}),
    "save_part": (part_saved, "HSET", {"a1b2": {1, 2, 3}, "c3d4": set()}),
    "finish": (finished, "HSET", {"c3d4": set()}),
    "forget": (forgotten, "SREM", {"c3d4": set()}),
    "put_marker": (marked, "HSET", {"a1b2": {1, 2}, "c3d4": set()}),
    "marker": (remembered, "HGET", {"a1b2": {1, 2}, "c3d4": set()}),
    "marker and name": (remembered_with_its_name, "HGET", {"a1b2": {1, 2}, "c3d4": set()}),
    "load: types": (loaded, "TYPE", {"a1b2": {1, 2}, "c3d4": set()}),
    "load: members": (loaded, "SSCAN", {"a1b2": {1, 2}, "c3d4": set()}),
    "load: records": (loaded, "HGETALL", {"a1b2": {1, 2}, "c3d4": set()}),
    "ping": (pinged, "PING", {"a1b2": {1, 2}, "c3d4": set()}),
}
ERRORS = ("READONLY no", "LOADING wait", "OOM full", "MISCONF disk", "BUSY script", "NOAUTH who", "NOSCRIPT none")
BREAKS = {
    **{name: Fault(name, seconds=0.05) for name in FAULTS if name != "error"},
    **{error.partition(" ")[0]: Fault("error", error) for error in ERRORS},
}


@asynccontextmanager
async def through(proxy: FaultyRedis, prefix: str, telemetry: FakeTelemetry) -> AsyncIterator[RedisCheckpoints]:
    """One connection at a time, so that a reply that is left in it meets the next question."""
    url = f"{proxy.url}?socket_timeout=0.3"
    async with opened_redis(url, prefix=prefix, telemetry=telemetry, connections=1) as checkpoints:
        yield checkpoints


@pytest.mark.parametrize(("operation", "broken"), list(product(OPERATIONS, BREAKS)))
async def test_an_operation_ends_as_if_nothing_had_happened(redis_server: str, operation: str, broken: str) -> None:
    """D2, D8, D9, D10, D15."""
    prefix, telemetry = f"test-{uuid4().hex}:", FakeTelemetry()
    work, command, left = OPERATIONS[operation]
    with FaultyRedis(urlparse(redis_server).port or 0) as proxy:
        async with through(proxy, prefix, telemetry) as checkpoints:
            await checkpoints.save(record(parts=parts(1, 2)))
            await checkpoints.save(record("c3d4"))
            rule = proxy.add(Rule(BREAKS[broken], command=command))
            async with asyncio.timeout(30):
                await work(checkpoints)
            assert rule.injected == 1
            await checkpoints.ping()
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as after:
        held = by_id(await after.load())
        assert {stream_id: set(found.parts) for stream_id, found in held.items()} == left
        assert (await after.marker(IDENTITY) == marker()) is (
            command == "HGET" or operation in ("finish", "put_marker")
        )
    assert telemetry.of(moments.RecordSetAside) == []
    with closing(client(redis_server)) as beside:
        assert not list(beside.scan_iter(f"{prefix}bad:*"))


@pytest.mark.parametrize("answer", [None, 7, b"0", [], [b"0"], [b"x", []], [b"0", 5], [b"0", [1]], [None, []]], ids=str)
async def test_a_list_of_streams_of_another_shape_is_asked_for_again(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """The first answer to SSCAN has a shape that Redis never gives."""
    prefix, given, run = f"test-{uuid4().hex}:", [answer], RedisConnection.run

    async def malformed(
        self: RedisConnection, operation: str, commands: Iterable[Command], **options: Any
    ) -> list[Any]:
        commands = list(commands)
        if commands[0][0] == "SSCAN" and given:
            return [given.pop()]
        return await run(self, operation, commands, **options)

    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.save(record())
        monkeypatch.setattr(RedisConnection, "run", malformed)
        async with asyncio.timeout(30):
            assert [found.stream_id for found in await checkpoints.load()] == ["a1b2"]
        assert not given
