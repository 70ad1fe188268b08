"""Connections to Redis: only so many are used at once, and recordings that it does not answer share a few of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.exceptions import ResponseError

from ..domain import current_errand

#: Recordings whose last request was not answered have this part of the connections together.
_SHARE_OF_UNANSWERED = 4


class RedisTurns:
    """Turns at ``connections`` connections; whoever waits longest is next.

    A request that hangs keeps its connection until its time is over, and is then made again. If more recordings than
    there are connections did that, every other one would wait behind them.
    """

    def __init__(self, connections: int) -> None:
        # Not left to redis-py's pool: there, a cancelled waiter can take another's wake-up with it.
        self._connections = asyncio.Semaphore(connections)
        self._of_unanswered = asyncio.Semaphore(max(1, connections // _SHARE_OF_UNANSWERED))

    @asynccontextmanager
    async def taken(self, limit: asyncio.Timeout) -> AsyncIterator[None]:
        """For one request of the current errand's, which ends with ``limit``; notes whether it was answered."""
        errand = current_errand()
        async with AsyncExitStack() as held:
            if errand.redis_fails:
                await held.enter_async_context(self._of_unanswered)
            await held.enter_async_context(self._connections)
            is_answered: bool | None = False
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
                if is_answered is not None:
                    errand.redis_fails = not is_answered
