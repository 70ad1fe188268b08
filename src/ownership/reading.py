"""Reads whole files to compare them: completed ones one at a time, and only while no upload needs the disk.

After a change of permissions on a whole folder thousands of completed files have to be read, and each may take minutes.
A claim that finds another file being read does not wait here, where it would occupy a task, but in the dispatcher's
queue. Growing files, and an active stream's reads of its own file, never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..domain import Hashes, Part, PartSchedule, Snapshot, StoredObject, World, Writers, combine, current_errand, cut
from ..exceptions import ChunkProcessingError, FileChanged
from ..timeouts import Timeout, timeout

_LOOK_SECONDS = 2.0

#: CRC64NVME of a whole file and of its chunks (as parts without ETag).
Read = tuple[int, tuple[Part, ...]]


class ToBeRead(Exception):
    """Only the file's bytes can decide, and another file is being read."""


class Reading:
    """Whole passes over files."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nobody = asyncio.Event()
        self._nobody.set()

    async def nobody_reads(self) -> None:
        """Wait until no completed file is being read."""
        await self._nobody.wait()

    async def whole(self, path: str, snapshot: Snapshot, schedule: PartSchedule) -> Read:
        """One pass over the file. Raises like ``Recordings.digest``."""
        now = self._world.clock.utc_now()
        parts = []
        for chunk in cut(schedule, snapshot.size, self._world.naming.limits):
            digest = await self._world.recordings.digest(path, snapshot.identity, chunk, Hashes())
            parts.append(Part(chunk.number, chunk.size, "", digest.crc64, now))
        return combine((part.crc64 or 0, part.size) for part in parts), tuple(parts)

    async def finished(self, path: str, snapshot: Snapshot, schedule: PartSchedule) -> Read:
        """One pass over a file that may be done as it is. Raises ``ToBeRead`` if another one is being read, and
        ``FileChanged`` as soon as its length changes: then the comparison is void."""
        errand = current_errand()
        errand.make_room()
        if errand.is_growing or await self._world.recordings.writers(path) is Writers.PRESENT:
            return await self.whole(path, snapshot, schedule)
        if not self._nobody.is_set() or not errand.may_read():
            raise ToBeRead
        self._nobody.clear()
        try:
            async with self._while_unchanged(path, snapshot):
                return await self.whole(path, snapshot, schedule)
        finally:
            self._nobody.set()

    async def object_crc64(self, key: str, stored: StoredObject) -> int | None:
        """CRC64NVME of an object, downloaded if the store does not report it or may be wrong; None if the object was
        replaced."""
        if stored.crc64 is not None and self._world.store.is_atomic:
            return stored.crc64
        return await self._world.store.object_crc64(key, stored.etag)

    @asynccontextmanager
    async def _while_unchanged(self, path: str, snapshot: Snapshot) -> AsyncIterator[None]:
        try:
            async with timeout(None) as limit:
                watching = asyncio.get_running_loop().create_task(
                    self._watch(limit, path, snapshot), name="reading-watch"
                )
                try:
                    yield
                finally:
                    watching.cancel()
        except TimeoutError:
            raise FileChanged(f"{path!r} changed while it was read", operation="read") from None

    async def _watch(self, limit: Timeout, path: str, snapshot: Snapshot) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(ChunkProcessingError):  # unknown
                now = await self._world.recordings.snapshot(path)
                if now is None or (now.identity, now.size) != (snapshot.identity, snapshot.size):
                    limit.reschedule(asyncio.get_running_loop().time())
                    return
