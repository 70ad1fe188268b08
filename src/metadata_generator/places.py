"""How many children run at once, however many files wait to be examined.

A child that hangs with its file must not keep others waiting for as long as it may run: after some seconds it no longer
counts, so that the next one begins. The number of those is limited, too; if it is reached, the rest keep their places.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: A child that has run for this long lets the next one begin.
_BESIDE_SECONDS = 3.0
#: Maximum number of children in addition to the usual number.
_MOST_BESIDE = 16


class Places:
    """``count`` children at once, in the order of waiting. Belongs to one event loop. ``waiting``: how many wait."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._beside = 0
        self.waiting = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A place for one child, as soon as there is one."""
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        place = _Place(self)
        try:
            yield
        finally:
            place.end()

    def goes_beside(self) -> bool:
        """Whether a child may continue without its place, which the next one gets."""
        if self._beside >= _MOST_BESIDE:
            return False
        self._beside += 1
        self._free.release()
        return True

    def has_ended(self, *, beside: bool) -> None:
        if beside:
            self._beside -= 1
        else:
            self._free.release()


class _Place:
    """The place of one child."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._is_beside = False
        self._timer = asyncio.get_running_loop().call_later(_BESIDE_SECONDS, self._go_beside)

    def _go_beside(self) -> None:
        self._is_beside = self._places.goes_beside()
        if not self._is_beside:
            self._timer = asyncio.get_running_loop().call_later(_BESIDE_SECONDS, self._go_beside)

    def end(self) -> None:
        self._timer.cancel()
        self._places.has_ended(beside=self._is_beside)
