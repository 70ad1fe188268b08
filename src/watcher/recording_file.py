"""Reads recordings that may still grow: off the event loop, only inside the watched tree, with checksums of exactly the
returned bytes.

* **Threads.** All system calls happen in two small groups of threads, one for looking (stat, lease) and one for
  reading, so that a read from a slow disk never delays a look. A hanging file does not delay others: see
  ``file_threads``. Looks at many files at the same time are one call of a thread: see ``sweeps``.
* **Memory.** A chunk up to ``in_memory_limit`` bytes is read once and kept until ``release``; a larger one is read
  again, one section at a time, whenever it is sent.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from ..domain import MIB, Chunk, ChunkBody, Digest, Hashes, Identity, Snapshot, Writers, current_errand
from ..exceptions import ChunkProcessingError
from ..file_threads import SILENT_SECONDS, FileThreads
from . import open_writers
from .chunk_bodies import Buffers, FileBody, MemoryBody
from .opening import NOT_THERE, folder_of, trouble
from .reading import Hasher, Source
from .stats import stat_at
from .sweeps import Sweeps

#: Bytes of a long pass before the thread is yielded: others can run, and a cancelled pass ends soon.
TURN = 32 * MIB
_STAT_THREADS = 2


class RecordingFiles:
    """The recordings below ``root``; ``ports.Recordings`` documents the methods.

    ``in_memory_limit``: size in bytes of the largest chunk that is kept in memory. ``threads``: number of concurrent
    reads. After ``spare_seconds`` without any chunk in memory the reusable buffers are returned to the system. A file
    without a response for ``silent_seconds`` counts as not readable now.
    """

    def __init__(
        self,
        root: Path,
        *,
        in_memory_limit: int,
        threads: int = 4,
        spare_seconds: float = 10.0,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._root = root
        self._in_memory_limit = in_memory_limit
        self._buffers = Buffers(spare_seconds)
        self._devices: dict[str, int] = {}  # where files were found, by folder
        self._looking = FileThreads(_STAT_THREADS, "recording-stat", silent_seconds=silent_seconds)
        self._looks = Sweeps(self._looking, silent_seconds)
        self._reading = FileThreads(threads, "recording-read", silent_seconds=silent_seconds, caller=current_errand)

    async def close(self) -> None:
        """Release threads and memory. Does not wait for a thread that hangs in a dead file system."""
        self._looking.close()
        self._reading.close()
        self._buffers.clear()

    @property
    def spare_bytes(self) -> int:
        """Memory of the reusable buffers."""
        return self._buffers.spare_bytes

    def stat(self, path: str) -> Snapshot | None:
        """``snapshot`` for callers in a thread of their own; at the top of the tree it takes three system calls."""
        try:
            with folder_of(self._root, path) as (folder, name):
                mode, found = stat_at(folder, name)
                self._note_mount(path, os.fstat(folder).st_dev)
        except OSError as error:
            if error.errno in NOT_THERE:
                self._expect_same_mounts(path)
                return None
            raise trouble(error, path, "stat") from error
        return found if stat.S_ISREG(mode) else None

    def _note_mount(self, path: str, device: int) -> None:
        folder = path.rpartition("/")[0]
        self._devices[folder] = device
        if folder:
            self._devices[""] = os.stat(self._root).st_dev

    def _expect_same_mounts(self, path: str) -> None:
        """A file does not count as deleted if its file system is missing: the folder of an unmounted one exists, and is
        empty."""
        for folder in ("", path.rpartition("/")[0]):
            known = self._devices.get(folder)
            try:
                device = os.stat(self._root / folder).st_dev
            except OSError:
                continue
            if known is not None and device != known:
                where = repr(folder) if folder else "the watched folder"
                raise ChunkProcessingError(
                    f"another file system is mounted at {where} now",
                    operation="stat",
                    hint="Check what is mounted there.",
                )

    async def snapshot(self, path: str) -> Snapshot | None:
        """Raises ``ChunkProcessingError`` if this is unknown: the root is missing, or a folder has no search
        permission."""
        return await self._looks.run(path, self.stat, path)

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> ChunkBody:
        source = Source(self._root, path, identity)
        if chunk.size > self._in_memory_limit:
            return FileBody(source, chunk, await self._fold(source, chunk, hashes), self._reading)
        buffer = self._buffers.take(chunk.size)
        hasher = Hasher(hashes)
        try:
            view = memoryview(buffer)[: chunk.size]
            await self._reading.run(identity, source.fill, view, chunk.offset, hasher)
        except BaseException:
            self._buffers.drop(buffer)
            raise
        return MemoryBody(self._buffers, buffer, chunk.size, hasher)

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        return (await self._fold(Source(self._root, path, identity), chunk, hashes)).digest

    async def _fold(self, source: Source, chunk: Chunk, hashes: Hashes) -> Hasher:
        hasher = Hasher(hashes)
        end = chunk.offset + chunk.size
        for offset in range(chunk.offset, end, TURN):
            await self._reading.run(source.identity, source.fold, offset, min(TURN, end - offset), hasher)
        return hasher

    async def writers(self, path: str) -> Writers:
        """NONE: at this moment no process has the file open for writing, nor mapped for writing. Proved only on local
        file systems, and for files of our own user (or with CAP_LEASE)."""
        try:
            return await self._looks.run(path, open_writers.writers, self._root, path)
        except ChunkProcessingError:
            return Writers.UNKNOWN

    async def is_whole(self, path: str, identity: Identity, size: int) -> bool:
        return await self._reading.run(identity, Source(self._root, path, identity).is_whole, size)

    async def has_index_first(self, path: str, identity: Identity, size: int) -> bool:
        return await self._reading.run(identity, Source(self._root, path, identity).has_index_first, size)

    async def examine(self, path: str, identity: Identity, work: Callable[[Callable[[int, int], bytes]], None]) -> None:
        """Run ``work(read)`` in a thread on this very file; ``read(offset, count)`` may raise OSError. A hanging file
        is abandoned after two seconds."""
        await self._reading.glance(identity, Source(self._root, path, identity).examine, work)
