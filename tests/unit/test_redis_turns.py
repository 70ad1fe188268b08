"""Connections to Redis that hang are left to those who wait, and never more of them are used than there are."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from src.domain import Errand, on_errand
from src.redis_client.turns import RedisTurns
from tests.harness.crash.virtual_time import run

CONNECTIONS = 16
COMMAND_SECONDS = 15.0


class _Redis:
    """Counts what is asked at once, and what was ended before its answer."""

    def __init__(self) -> None:
        self.turns = RedisTurns(CONNECTIONS)
        self.asked = self.most = self.ended = 0

    async def ask(self, seconds: float, errand: Errand) -> None:
        """Raises ``TimeoutError`` when it is not answered."""
        with on_errand(errand):
            async with asyncio.timeout(COMMAND_SECONDS) as limit, self.turns.taken(limit):
                self.asked += 1
                self.most = max(self.most, self.asked)
                try:
                    await asyncio.sleep(seconds)
                except asyncio.CancelledError:
                    self.ended += 1
                    raise
                finally:
                    self.asked -= 1

    async def again_and_again(self, seconds: float) -> None:
        errand = Errand()
        while True:
            with suppress(TimeoutError):
                await self.ask(seconds, errand)
            await asyncio.sleep(0.5)


def test_many_recordings_that_redis_does_not_answer_keep_no_other_waiting() -> None:
    redis = _Redis()

    async def live() -> float:
        loop = asyncio.get_running_loop()
        await redis.ask(0.01, Errand())
        hanging = [asyncio.create_task(redis.again_and_again(1e6)) for _ in range(200)]
        await asyncio.sleep(0)
        began, errand = loop.time(), Errand()
        answers = 0
        while answers < 8:  # what a recording asks in its life
            with suppress(TimeoutError):
                await redis.ask(0.01, errand)
                answers += 1
        seconds = loop.time() - began
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        return seconds

    assert run(live()) <= 60
    assert redis.most == CONNECTIONS


@pytest.mark.parametrize("seconds", [3.0, 7.0])
def test_on_a_redis_that_is_slow_for_all_nothing_is_ended(seconds: float) -> None:
    redis = _Redis()

    async def live() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(2 * CONNECTIONS - 1):
                group.create_task(redis.ask(seconds, Errand()))

    run(live())
    assert redis.ended == 0


def test_while_no_connection_is_waited_for_nothing_is_ended() -> None:
    redis = _Redis()

    async def live() -> None:
        await redis.ask(0.01, Errand())
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(redis.ask(COMMAND_SECONDS - 1, Errand()))

    run(live())
    assert redis.ended == 0
