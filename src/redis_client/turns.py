"""Limits the connections to Redis; recordings that Redis does not answer share a few of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.exceptions import ResponseError

from ..domain import UsualSilence, current_errand
from ..timeouts import Timeout

#: Recordings whose last request was not answered together use this fraction of the connections.
_SHARE_OF_UNANSWERED = 4
_LOOK_SECONDS = 0.5


class RedisTurns:
    """Turns at ``connections`` connections, in the order of waiting.

    A request that hangs keeps its connection until its timeout, and is then repeated. If more recordings than there are
    connections did that, all others would wait behind them. So while others wait for a connection, requests that have
    been silent for far longer than usual are cancelled.
    """

    def __init__(self, connections: int) -> None:
        # Not left to redis-py's pool: there, a cancelled waiter can consume another's wake-up.
        self._connections = asyncio.Semaphore(connections)
        self._of_unanswered = asyncio.Semaphore(max(1, connections // _SHARE_OF_UNANSWERED))
        self._usual = UsualSilence()
        self._asked: dict[Timeout, float] = {}  # start times, oldest first
        self._waiting = 0
        self._looking: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def taken(self, limit: Timeout) -> AsyncIterator[None]:
        """For one request of the current errand, which ends with ``limit``; records whether it was answered."""
        errand, loop = current_errand(), asyncio.get_running_loop()
        async with AsyncExitStack() as held:
            if errand.redis_fails:
                await held.enter_async_context(self._of_unanswered)
            await held.enter_async_context(self._connection())
            is_answered: bool | None = False
            began = self._asked[limit] = loop.time()
            try:
                yield
                is_answered = True
            except ResponseError:  # a refusal is an answer
                is_answered = True
                raise
            except asyncio.CancelledError:
                if not limit.expired():
                    is_answered = None  # cancelled by the caller, which says nothing about Redis
                raise
            finally:
                self._asked.pop(limit, None)
                if is_answered:
                    self._usual.note(loop.time() - began, loop.time())
                if is_answered is not None:
                    errand.redis_fails = not is_answered

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[None]:
        self._waiting += 1
        try:
            if self._connections.locked():
                self._look_again()
            await self._connections.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._connections.release()

    def _look_again(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Runs while others wait."""
        self._looking = None
        now = asyncio.get_running_loop().time()
        silent = [limit for limit, since in self._asked.items() if now - since >= self._usual.longest]
        for limit in silent[: self._waiting]:
            del self._asked[limit]
            limit.reschedule(now)
        if self._waiting:
            self._look_again()
