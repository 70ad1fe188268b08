"""A place for one caller at a time. All recordings on probation share one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class OneAtATime:
    """A place for one caller. A waiting caller can learn that it no longer needs the place, which asyncio's locks do
    not support."""

    def __init__(self) -> None:
        self._holder: object | None = None
        self._line: deque[asyncio.Future[bool]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[object | None]:
        """The holder of the place; None: it is no longer needed."""
        holder = object() if await self._is_mine() else None
        if holder is not None:
            self._holder = holder
        try:
            yield holder
        finally:
            self.leave(holder)

    def leave(self, holder: object | None) -> None:
        """Leave early. A second call does nothing: the place may have another holder by then."""
        if holder is not None and self._holder is holder:
            self._pass_on()

    @property
    def is_waited_for(self) -> bool:
        return any(not waiting.done() for waiting in self._line)

    def let_all_pass(self) -> None:
        """The callers that wait now no longer need the place."""
        while self._line:
            if not (waiting := self._line.popleft()).done():
                waiting.set_result(False)

    async def _is_mine(self) -> bool:
        if self._holder is None:
            self._holder = self
            return True
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        try:
            return await mine
        except asyncio.CancelledError:
            # The place may have been assigned at the moment of a cancellation; then it is passed on from here.
            if mine.done() and not mine.cancelled() and mine.result():
                self._pass_on()
            elif mine in self._line:
                self._line.remove(mine)
            raise

    def _pass_on(self) -> None:
        while self._line:
            if not (following := self._line.popleft()).done():
                self._holder = self  # until its task runs, so that no other caller takes the place first
                following.set_result(True)
                return
        self._holder = None
