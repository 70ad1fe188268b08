"""When a stream waits and when it stops: hints that end a wait, and pauses after failures."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from ..domain import Rhythm, Snapshot, StreamTelemetry, current_errand, moments
from ..exceptions import FileChanged, Stopped
from ..timeouts import timeout


class Pacing:
    """For one stream. Two different signals come from outside: to look (a hint), which ends a wait for the file, and to
    stop, which ends every wait. A hint does not shorten a pause after a failure; otherwise a store that refuses would
    be retried with every write of a recorder."""

    def __init__(self, rhythm: Rhythm, telemetry: StreamTelemetry) -> None:
        self._rhythm = rhythm
        self._telemetry = telemetry
        self._hint = asyncio.Event()
        self._stopping = asyncio.Event()
        self._seen_in_vain: Snapshot | None = None
        self._in_vain = 0

    def hint(self) -> None:
        """The file may have changed."""
        self._hint.set()

    def stop(self) -> None:
        """Every wait ends, and the next ``check_stop`` raises."""
        self._stopping.set()
        self._hint.set()

    def check_stop(self) -> None:
        """Raises ``Stopped`` if the stream was asked to stop."""
        if self._stopping.is_set():
            raise Stopped

    async def wait(self, seconds: float | None) -> None:
        """Wait for a hint, at most ``seconds``."""
        self.check_stop()
        try:
            async with timeout(seconds):
                await self._hint.wait()
        except TimeoutError:
            return
        self._hint.clear()
        self.check_stop()

    async def wait_beside(self, task: asyncio.Task[Any]) -> None:
        """Wait until the task is done or a hint arrives, whichever comes first."""
        hinted = asyncio.create_task(self._hint.wait(), name="probe-hint")
        try:
            await asyncio.wait((task, hinted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            hinted.cancel()
        self._hint.clear()
        self.check_stop()

    async def pause(
        self, failures: int, *, operation: str, error: BaseException | None = None, longest: float | None = None
    ) -> None:
        """Wait, longer with each consecutive failure, but at most ``longest`` seconds, and only until a stop."""
        current_errand().make_room()
        seconds = min(longest or self._rhythm.longest_pause, self._rhythm.first_pause * 2.0 ** min(failures - 1, 16))
        if error is not None:
            self._telemetry.emit(moments.Trouble(operation=operation, error=error, retry_seconds=seconds))
        with suppress(TimeoutError):
            async with timeout(seconds):
                await self._stopping.wait()
        self.check_stop()

    async def pause_unless_changed(self, seen: Snapshot | None, error: FileChanged) -> None:
        """Pause if a file reads as changed while its stat stays the same (a stale network mount)."""
        self._in_vain = self._in_vain + 1 if seen == self._seen_in_vain else 0
        self._seen_in_vain = seen
        if self._in_vain:
            await self.pause(self._in_vain, operation="file_read", error=error)
