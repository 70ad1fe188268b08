"""Connections to Redis: only so many are used at once, and recordings that it does not answer share a few of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.exceptions import ResponseError

from ..domain import UsualSilence, current_errand

#: Recordings whose last request was not answered have this part of the connections together.
_SHARE_OF_UNANSWERED = 4
_LOOK_SECONDS = 0.5


class RedisTurns:
    """Turns at ``connections`` connections; whoever waits longest is next.

    A request that hangs keeps its connection until its time is over, and is then made again. If more recordings than
    there are connections did that, every other one would wait behind them. So while others wait for a connection, those
    that have been silent for far longer than is usual are ended.
    """

    def __init__(self, connections: int) -> None:
        # Not left to redis-py's pool: there, a cancelled waiter can take another's wake-up with it.
        self._connections = asyncio.Semaphore(connections)
        self._of_unanswered = asyncio.Semaphore(max(1, connections // _SHARE_OF_UNANSWERED))
        self._usual = UsualSilence()
        self._asked: dict[asyncio.Timeout, float] = {}  # since when, the first first
        self._waiting = 0
        self._looking: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def taken(self, limit: asyncio.Timeout) -> AsyncIterator[None]:
        """For one request of the current errand's, which ends with ``limit``; notes whether it was answered."""
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
                    is_answered = None  # nobody wants it any more, which says nothing of Redis
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
        """While somebody waits."""
        self._looking = None
        now = asyncio.get_running_loop().time()
        silent = [limit for limit, since in self._asked.items() if now - since >= self._usual.longest]
        for limit in silent[: self._waiting]:
            del self._asked[limit]
            limit.reschedule(now)
        if self._waiting:
            self._look_again()
