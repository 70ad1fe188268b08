"""Compares what is remembered of finished recordings with the folder, once a day of running time, and forgets.

Without it Redis would grow with each recording. Running time is stored in Redis, so that a daemon that is restarted
every hour completes a day, too. ``domain.pruning`` decides what is removed.

A marker is read, then its file is looked for, then the marker is changed where it still is as it was read. A recording
that completes meanwhile has written another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from ..domain import Checkpoints, Clock, Identity, Remembered, Retention, Surplus, age_of, is_due, moments, unseen_after
from ..exceptions import Stopped

#: Not at once: what a start brings to light has Redis for itself first.
_FIRST_SECONDS = 60.0
#: A kill costs so much running time at most.
_LOOK_SECONDS = 300.0

#: Whether the files, by identity and the last path that is known, are nowhere in the folder.
AreGone = Callable[[Sequence[tuple[Identity, str]]], Awaitable[list[bool]]]
#: None while it is unknown: the folder was not scanned completely yet, or is missing, or is empty.
TakeCensus = Callable[[], Awaitable[AreGone | None]]

_Page = TypeVar("_Page")


class Pruning:
    """Of the markers for one bucket, and of ``streams:completed``."""

    def __init__(
        self, checkpoints: Checkpoints, census: TakeCensus, retention: Retention, clock: Clock, emit: moments.Emit
    ) -> None:
        self._checkpoints = checkpoints
        self._census = census
        self._retention = retention
        self._clock = clock
        self._emit = emit
        self._since = clock.monotonic()

    async def run(self) -> None:
        """For ever; what goes wrong is tried again."""
        pause = _FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = _LOOK_SECONDS
            try:
                await self.look()
            except Stopped:
                return
            except Exception as exc:  # noqa: BLE001 - forgetting never stops a recording
                self._emit(moments.Unexpected(file_path="", error=exc, retry_seconds=pause))

    async def look(self) -> None:
        """Count the running time, and compare when a day of it is over and the folder tells."""
        ran = await self._checkpoints.ran()
        now = self._clock.monotonic()
        if not is_due(ran):
            ran = (ran or 0) + round(now - self._since)
            self._since = now
            await self._checkpoints.set_ran(ran)
        if not is_due(ran):
            return
        are_gone = await self._census()
        if are_gone is None:
            return
        # Before anything is counted: a kill then costs a day, and no file is missed twice on one.
        await self._checkpoints.set_ran(0)
        self._since = now
        await self._compare(are_gone)

    async def _compare(self, are_gone: AreGone) -> None:
        unremembered = {hash(stream_id) async for page in _pages(self._checkpoints.completed) for stream_id in page}
        surplus = Surplus(self._retention.most)
        met: set[int] = set()  # a page may give what an earlier one gave
        pruned = 0
        is_known = True
        async for page in _pages(self._checkpoints.markers):
            unremembered -= {hash(stream_id) for stream_id in page.stream_ids}
            is_known = is_known and None not in page.skipped
            new = [each for each in page.markers if hash(each.identity) not in met]
            pruned += await self._judge(new, are_gone, surplus)
            met |= {hash(each.identity) for each in new}
        if surplus.many:
            async for page in _pages(self._checkpoints.markers):
                pruned += await self._prune_surplus(page.markers, are_gone, surplus)
        if unremembered and is_known:
            await self._leave(unremembered)
        self._emit(moments.MarkersCompared(gone=len(surplus) - surplus.many, pruned=pruned))

    async def _judge(self, page: list[Remembered], are_gone: AreGone, surplus: Surplus) -> int:
        """Miss those whose file is gone once more. How many were pruned."""
        changes: list[tuple[Remembered, int | None]] = []
        for marker, gone in zip(page, await are_gone([(each.identity, each.path) for each in page]), strict=True):
            unseen = unseen_after(marker.unseen, is_there=not gone, retention=self._retention)
            if unseen != marker.unseen:
                changes.append((marker, unseen))
            if unseen:
                surplus.note(age_of(unseen, marker.completed_at))
        await self._checkpoints.revise_markers(changes)
        return sum(unseen is None for _, unseen in changes)

    async def _prune_surplus(self, page: list[Remembered], are_gone: AreGone, surplus: Surplus) -> int:
        old = [each for each in page if each.unseen and surplus.takes(age_of(each.unseen, each.completed_at))]
        gone = await are_gone([(each.identity, each.path) for each in old])
        changes = [(marker, None) for marker, is_gone in zip(old, gone, strict=True) if is_gone]
        return await self._checkpoints.revise_markers(changes)

    async def _leave(self, unremembered: set[int]) -> None:
        """Members that no marker remembers: those of files that hold another recording by now, for example. A marker
        that does not name its stream might be that of any of them: then all of them stay."""
        async for page in _pages(self._checkpoints.completed):
            await self._checkpoints.leave_completed([each for each in page if hash(each) in unremembered])


async def _pages(ask: Callable[[int], Awaitable[tuple[int, _Page]]]) -> AsyncIterator[_Page]:
    """Every page, from the cursor 0 on to the next 0."""
    cursor, page = await ask(0)
    yield page
    while cursor:
        cursor, page = await ask(cursor)
        yield page
