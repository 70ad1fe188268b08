"""D10, D2: whatever comes back from Redis, or does not, an operation ends as if nothing had happened.

Each operation of the checkpoints meets each fault of the proxy, at each of its commands in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.parse import urlparse
from uuid import uuid4

import pytest

from src.domain import Status, moments
from src.exceptions import RedisUnavailable
from src.redis_client import RedisCheckpoints
from src.redis_client.connection import Command, RedisConnection
from src.redis_client.scripts import FINISH, FORGET, MARK, NOTHING, RECALL, SAVE, Script
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


async def many_remembered(checkpoints: RedisCheckpoints) -> None:
    await checkpoints.put_marker(marker())
    other = replace(IDENTITY, inode=99)
    for _ in range(3):
        assert await checkpoints.remembered_of([(other, ""), (IDENTITY, "")]) == [(None, None), (marker(), None)]


async def loaded(checkpoints: RedisCheckpoints) -> None:
    for _ in range(3):
        assert by_id(await checkpoints.load()) == {"a1b2": record(parts=parts(1, 2)), "c3d4": record("c3d4")}


async def pinged(checkpoints: RedisCheckpoints) -> None:
    while True:
        try:
            return await checkpoints.ping()
        except RedisUnavailable:
            await asyncio.sleep(0)


KNOWN: dict[str, set[int]] = {"a1b2": {1, 2}, "c3d4": set()}
#: What is done, the script or the command that it needs, and the streams that Redis knows afterwards, with their parts.
OPERATIONS: Mapping[str, tuple[Operation, Script | str, dict[str, set[int]]]] = {
    "save": (saved, SAVE, {"a1b2": {1, 2, 3}, "c3d4": set()}),
    "save_part": (part_saved, SAVE, {"a1b2": {1, 2, 3}, "c3d4": set()}),
    "finish": (finished, FINISH, {"c3d4": set()}),
    "forget": (forgotten, FORGET, {"c3d4": set()}),
    "put_marker": (marked, MARK, KNOWN),
    "marker": (remembered, RECALL, KNOWN),
    "marker and name": (remembered_with_its_name, RECALL, KNOWN),
    "markers and names": (many_remembered, RECALL, KNOWN),
    "load: scripts": (loaded, NOTHING, KNOWN),
    "load: types": (loaded, "TYPE", KNOWN),
    "load: members": (loaded, "SSCAN", KNOWN),
    "load: records": (loaded, "HGETALL", KNOWN),
    "ping": (pinged, "PING", KNOWN),
}
ERRORS = ("READONLY no", "LOADING wait", "OOM full", "MISCONF disk", "BUSY script", "NOAUTH who", "NOSCRIPT none")
BREAKS = {
    **{name: Fault(name, seconds=0.05) for name in FAULTS if name != "error"},
    **{error.partition(" ")[0]: Fault("error", error) for error in ERRORS},
    # What a connection is told by an older Redis, when it was given back before it had read that.
    "error before": Fault("stray", "ERR unknown subcommand 'SETINFO'. Try CLIENT HELP."),
}


def rule_for(step: Script | str, fault: Fault) -> Rule:
    """Breaks the first exchange of this script or command."""
    if isinstance(step, Script):
        return Rule(fault, command="EVALSHA", says=step.sha.encode())
    return Rule(fault, command=step)


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
    work, step, left = OPERATIONS[operation]
    with FaultyRedis(urlparse(redis_server).port or 0) as proxy:
        async with through(proxy, prefix, telemetry) as checkpoints:
            await checkpoints.save(record(parts=parts(1, 2)))
            await checkpoints.save(record("c3d4"))
            rule = proxy.add(rule_for(step, BREAKS[broken]))
            async with asyncio.timeout(30):
                await work(checkpoints)
            assert rule.injected == 1
            await checkpoints.ping()
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as after:
        held = by_id(await after.load())
        assert {stream_id: set(found.parts) for stream_id, found in held.items()} == left
        assert (await after.marker(IDENTITY) == marker()) is (step == RECALL or operation in ("finish", "put_marker"))
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
