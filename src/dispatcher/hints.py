"""Hints: paths at which something may have happened, looked at one after the other.

Whatever the watcher says of a path, only a look at the file tells what a hint is worth. Looking waits for the disk and
for nothing else, so that a store or a Redis that is away delays no look.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict

from ..domain import Snapshot, World
from ..exceptions import ChunkProcessingError
from .newcomers import Newcomers
from .register import Register, Stream

#: A path of which no look can tell anything is looked at again after so long.
LOOK_AGAIN_SECONDS = 30.0


class Hints:
    """The paths that were hinted at, and what a look at each leads to. Hints about one path are one until then."""

    def __init__(self, world: World, register: Register, newcomers: Newcomers) -> None:
        self._world = world
        self._register = register
        self._newcomers = newcomers
        self._paths: OrderedDict[str, None] = OrderedDict()
        self._heard = asyncio.Event()

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, *paths: str) -> None:
        for path in paths:
            self._paths[path] = None
            self._heard.set()

    async def look_at_all(self) -> None:
        """For ever."""
        while True:
            await self._heard.wait()
            while self._paths:
                path, _ = self._paths.popitem(last=False)
                try:
                    await self._look_at(path)
                except ChunkProcessingError as exc:
                    self._look_again_later(path, exc)
            self._heard.clear()

    def _look_again_later(self, path: str, error: ChunkProcessingError) -> None:
        """A folder that may not be read, or is away: a file in it is neither there nor gone."""
        self._world.telemetry.stream("", path).trouble(
            operation="file_read", error=error, retry_seconds=LOOK_AGAIN_SECONDS
        )
        asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self.add, path)

    async def _look_at(self, path: str) -> None:
        """Decide by the file itself what a hint is worth."""
        snapshot = await self._world.recordings.snapshot(path)
        at_path = self._register.by_path.get(path)
        if snapshot is None:
            self._forget(path)
            if at_path is not None:
                at_path.seen = None
            self.add(*self._register.links)  # one of them may be all that is left of the recording
            if at_path is not None:
                at_path.hint()
            return
        self._register.see_cut(path, snapshot)
        known = self._register.by_identity.get(snapshot.identity)
        if known is not None:
            known.seen = snapshot
            await self._look_at_living(known, path)
        elif at_path is not None:
            # Another file lies where a recording was: what became of that one must be known first.
            at_path.waiting_paths.add(path)
            at_path.hint()
        else:
            self._look_at_other(path, snapshot)

    def _forget(self, path: str) -> None:
        self._register.forget(path)
        self._newcomers.forget(path)

    async def _look_at_living(self, stream: Stream, path: str) -> None:
        if path != stream.path:
            there = await self._world.recordings.snapshot(stream.path)
            if self._register.by_identity.get(stream.identity) is not stream:
                self.add(path)  # it ended while we looked
                return
            is_link = there is not None and there.identity == stream.identity
            if is_link and os.fsencode(path) > os.fsencode(stream.path):
                self._skip_link(path)
                return
            if is_link:
                self._skip_link(stream.path)
            self._rename(stream, path)
        stream.hint()

    def _skip_link(self, path: str) -> None:
        """Of several names of a recording the bytewise smallest is its path, in whatever order they were met."""
        if self._register.is_new(path, self._register.links):
            self._world.telemetry.file_skipped(path=path, reason="another name (hard link) of a recording")

    def _rename(self, stream: Stream, path: str) -> None:
        self.add(*stream.waiting_paths)
        stream.waiting_paths.clear()
        displaced = self._register.rename(stream, path)
        if displaced is not None:
            displaced.hint()  # nobody else will tell it that its file is gone
        if stream.processor is not None:
            stream.processor.renamed(path)

    def _look_at_other(self, path: str, snapshot: Snapshot) -> None:
        if snapshot.size == 0:
            if self._register.is_new(path, self._register.empty):
                self._world.telemetry.empty_file(path=path)
            return
        self._register.has_bytes(path)
        settled = self._register.settled.get(path)
        if settled is None or settled.snapshot != snapshot:
            now = self._world.clock.utc_now().timestamp()
            self._newcomers.put(path, snapshot, self._register.proved(path, snapshot.identity), now=now)
