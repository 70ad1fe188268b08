"""Redis hangs for many recordings: the others have connections all the same, and ask without a long wait."""

from __future__ import annotations

import asyncio
from urllib.parse import urlparse
from uuid import uuid4

import pytest

from src.domain import Errand, on_errand
from src.redis_client import RedisCheckpoints
from tests.contract.test_checkpoints import opened_redis, record
from tests.harness.faulty_redis import Fault, FaultyRedis, Rule
from tests.harness.waiting import until

pytestmark = pytest.mark.redis

CONNECTIONS = 4
HARMED = 16
#: Times that a good recording is written; each would wait for all of the harmed.
TIMES = 20
SILENCE = 2.0
#: One wave of the harmed takes a sixth of it, because nobody could know of them.
SOON = 6 * HARMED / CONNECTIONS * SILENCE


async def saved(checkpoints: RedisCheckpoints, stream_id: str) -> None:
    with on_errand(Errand()):
        await checkpoints.save(record(stream_id))


async def test_recordings_for_which_redis_hangs_leave_connections_to_the_others(redis_server: str) -> None:
    with FaultyRedis(urlparse(redis_server).port or 0) as proxy:
        proxy.add(Rule(Fault("stall"), about=b"bad", times=None))
        url = f"{proxy.url}?socket_timeout={SILENCE}"
        async with opened_redis(url, prefix=f"test-{uuid4().hex}:", connections=CONNECTIONS) as checkpoints:
            harmed = [asyncio.create_task(saved(checkpoints, f"bad{number}")) for number in range(HARMED)]
            await asyncio.sleep(0)
            async with asyncio.timeout(SOON):
                with on_errand(errand := Errand()):
                    for _ in range(TIMES):
                        await checkpoints.save(record("good"))
                assert not errand.redis_fails
            assert not any(task.done() for task in harmed)
            proxy.clear()
            async with asyncio.timeout(60):
                await asyncio.gather(*harmed)


async def test_a_request_that_nobody_wants_any_more_says_nothing_of_redis(redis_server: str) -> None:
    """A turn at S3 that ends cancels what its parts have written just now."""
    with FaultyRedis(urlparse(redis_server).port or 0) as proxy:
        proxy.add(Rule(Fault("stall"), about=b"good", times=None))
        async with opened_redis(proxy.url, prefix=f"test-{uuid4().hex}:", connections=CONNECTIONS) as checkpoints:
            with on_errand(errand := Errand()):
                writing = asyncio.create_task(checkpoints.save(record("good")))
            await until(lambda: proxy.injected)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            assert not errand.redis_fails


async def test_a_request_ends_when_it_is_cancelled_in_whatever_moment(redis_server: str) -> None:
    """In some of them Python 3.11's wait_for swallows it, and nobody would be there to cancel it again."""
    with FaultyRedis(urlparse(redis_server).port or 0) as proxy:
        proxy.add(Rule(Fault("stall"), about=b"good", times=None))
        url = f"{proxy.url}?socket_timeout={SILENCE}"
        for steps in range(16):
            async with opened_redis(url, prefix=f"test-{uuid4().hex}:", connections=CONNECTIONS) as checkpoints:
                writing = asyncio.create_task(checkpoints.save(record("good")))
                while checkpoints._connection._turns._connections._value == CONNECTIONS:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                for _ in range(steps):
                    await asyncio.sleep(0)
                writing.cancel()
                done, _ = await asyncio.wait([writing], timeout=30)
                writing.cancel()
                assert done and writing.cancelled(), f"after {steps} steps"
