"""What the page of a running daemon shows: facts gathered at this moment, and the samples for the curve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from ..domain import Figures
from ..status import StatusView
from .status_page import Look
from .throughput import SAMPLE_SECONDS, Sample, Throughput
from .wording import shown

#: How long a look waits for newer facts: whatever hangs, the page shows what is known.
_PATIENCE_SECONDS = 1.0

Refresh = Callable[[], Coroutine[Any, Any, object]]


class LiveStatus:
    """``status`` and ``figures`` return what is known now; the first as a function that may be called in a thread. Each
    of ``refreshes`` renews a part of it.
    ``program``: how commands are typed."""

    def __init__(
        self,
        status: Callable[[], Callable[[], StatusView]],
        figures: Callable[[], Figures | None],
        refreshes: Sequence[Refresh],
        *,
        program: str,
    ) -> None:
        self._status = status
        self._figures = figures
        self._refreshes = refreshes
        self._program = program
        self._throughput = Throughput()
        self._running: dict[Refresh, asyncio.Task[object]] = {}

    async def look(self) -> Callable[[], Look]:
        """Gathers on the event loop; the function that is returned may run in a thread."""
        await self._refresh()
        status, samples, now = self._status(), self._throughput.samples(), time.monotonic()

        def word() -> Look:
            view = status()
            return Look(view, shown(view, samples, now, self._program))

        return word

    async def sample(self) -> None:
        """Take a sample for the curve every ten seconds, until cancelled."""
        while True:
            figures = self._figures()
            if figures is not None:
                self._throughput.take(Sample(time.monotonic(), figures.ingest, figures.sent))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _refresh(self) -> None:
        """One that takes longer goes on, and the next look waits for the same."""
        for refresh in self._refreshes:
            running = self._running.get(refresh)
            if running is None or running.done():
                self._running[refresh] = asyncio.create_task(_quietly(refresh()))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_PATIENCE_SECONDS)


async def _quietly(work: Awaitable[object]) -> None:
    """What fails here is reported where it is done regularly."""
    with suppress(Exception):
        await work
