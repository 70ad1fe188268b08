"""A chunk to be sent: from memory, or read again each time.

Buffers are anonymous mappings: reused while there is traffic (fresh memory costs more than the reading), returned to
the system when there is none.
"""

from __future__ import annotations

import asyncio
import mmap
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

from ..domain import MIB, Chunk, Digest, Hashes
from ..exceptions import FileChanged
from ..file_threads import FileThreads
from .reading import PIECE, SECTION, Hasher, Source

#: Maximum number of buffers kept for reuse.
BUFFERS_KEPT = 4

_HUGE_PAGE = 2 * MIB


class Buffers:
    """Reusable memory for chunks. Never more buffers exist than chunks were in memory at once. Belongs to the event
    loop's thread."""

    def __init__(self, spare_seconds: float) -> None:
        self._spare_seconds = spare_seconds
        self._free: list[mmap.mmap] = []
        self._out = 0
        self._clearing: asyncio.TimerHandle | None = None

    def take(self, size: int) -> mmap.mmap:
        """A buffer of at least ``size`` bytes: the smallest that fits."""
        self._out += 1
        self._keep()
        fitting = [buffer for buffer in self._free if len(buffer) >= size]
        if fitting:
            best = min(fitting, key=len)
            self._free.remove(best)
            return best
        if self._free:  # all too small: one is freed for the new one
            self._free.remove(min(self._free, key=len))
        return _anonymous(size)

    def drop(self, buffer: mmap.mmap) -> None:
        """An abandoned thread may still write into it, and may hang indefinitely before it does."""
        self.give_back(buffer, reusable=False)
        if sys.platform == "linux":
            buffer.madvise(mmap.MADV_DONTNEED)

    def give_back(self, buffer: mmap.mmap, *, reusable: bool) -> None:
        self._out -= 1
        if reusable and len(self._free) < BUFFERS_KEPT:
            self._free.append(buffer)
        if self._out == 0 and self._free:
            self._clearing = asyncio.get_running_loop().call_later(self._spare_seconds, self._free.clear)

    def clear(self) -> None:
        self._keep()
        self._free.clear()

    @property
    def spare_bytes(self) -> int:
        return sum(len(buffer) for buffer in self._free)

    def _keep(self) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
            self._clearing = None


def _anonymous(size: int) -> mmap.mmap:
    """Memory that is returned to the system when its last view is gone. With huge pages, filling it is four times as
    fast."""
    rounded = -(-max(size, 1) // _HUGE_PAGE) * _HUGE_PAGE
    buffer = mmap.mmap(-1, rounded, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel without them
            buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer


class MemoryBody:
    """A chunk in memory."""

    def __init__(self, buffers: Buffers, buffer: mmap.mmap, size: int, hasher: Hasher) -> None:
        self._buffers = buffers
        self._buffer: mmap.mmap | None = buffer
        self._view = memoryview(buffer)[:size]
        self._sendings = 0
        self._digest = hasher.digest
        self._sha256 = hasher.sha256

    @property
    def size(self) -> int:
        return self._digest.size

    @property
    def digest(self) -> Digest:
        return self._digest

    @property
    def sha256(self) -> str | None:
        return self._sha256

    async def pieces(self) -> AsyncIterator[memoryview]:
        """Raises ValueError after ``release``."""
        self._sendings += 1
        for start in range(0, self.size, PIECE):
            yield self._view[start : start + PIECE]

    def release(self, *, reusable: bool) -> None:
        """Twice: the second call does nothing."""
        if self._buffer is None:
            return
        self._view.release()
        # Sent again after a failure: the failed connection may still be sending from this memory.
        self._buffers.give_back(self._buffer, reusable=reusable and self._sendings <= 1)
        self._buffer = None


class FileBody:
    """A chunk too large for memory: read and verified again whenever it is sent."""

    def __init__(self, source: Source, chunk: Chunk, hasher: Hasher, threads: FileThreads) -> None:
        self._source = source
        self._chunk = chunk
        self._digest = hasher.digest
        self._sha256 = hasher.sha256
        self._threads = threads

    @property
    def size(self) -> int:
        return self._digest.size

    @property
    def digest(self) -> Digest:
        return self._digest

    @property
    def sha256(self) -> str | None:
        return self._sha256

    async def pieces(self) -> AsyncIterator[memoryview]:
        """Each section opens the file again: nothing stays open when a sender stops half-way."""
        again = Hasher(Hashes())
        end = self._chunk.offset + self._chunk.size
        for offset in range(self._chunk.offset, end, SECTION):
            size = min(SECTION, end - offset)
            view = await self._threads.run(self._source.identity, self._source.section, offset, size, again)
            if offset + size == end and again.digest.crc64 != self._digest.crc64:
                raise FileChanged(f"{self._source.path!r} changed while it was sent", operation="read")
            for start in range(0, size, PIECE):
                yield view[start : start + PIECE]

    def release(self, *, reusable: bool) -> None:
        """Holds nothing."""
