"""Reads one file, with checksums of exactly the bytes that were read. Everything here blocks: for threads only."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from awscrt.checksums import crc64nvme

from ..containers import has_index_first, is_whole
from ..domain import KIB, MIB, Digest, Hashes, Identity, Snapshot
from ..exceptions import FileChanged
from ..file_threads import answered, reader
from .opening import open_file, trouble
from .stats import stat_at

#: Bytes per read and per checksum step. The CRC holds the interpreter's lock, so a step must be short (0.1 ms).
SECTION = MIB
#: Size of the pieces of ``pieces``, and of a read in a pass over a file, in bytes.
PIECE = 256 * KIB


class Hasher:
    """Running checksums; used by one thread at a time."""

    __slots__ = ("_crc64", "_md5", "_sha256", "_size")

    def __init__(self, hashes: Hashes) -> None:
        self._size = 0
        self._crc64 = 0
        self._md5 = hashlib.md5(usedforsecurity=False) if hashes.md5 else None
        self._sha256 = hashlib.sha256() if hashes.sha256 else None

    def update(self, piece: memoryview) -> None:
        self._size += len(piece)
        self._crc64 = int(crc64nvme(piece, self._crc64))
        if self._md5 is not None:
            self._md5.update(piece)
        if self._sha256 is not None:
            self._sha256.update(piece)

    @property
    def digest(self) -> Digest:
        return Digest(self._size, self._crc64, self._md5.hexdigest() if self._md5 else None)

    @property
    def sha256(self) -> str | None:
        return self._sha256.hexdigest() if self._sha256 else None


@dataclass(frozen=True, slots=True)
class Source:
    """One file under one root. Everything here blocks: for threads only."""

    root: Path
    path: str
    identity: Identity

    def fill(self, view: memoryview, offset: int, hasher: Hasher) -> None:
        """Read exactly the view's length. Each read is followed by its checksum while the bytes are in the CPU cache,
        and lets the event loop's thread run."""
        with self._opened() as fd:
            self._fill(fd, view, offset, hasher)

    def fold(self, offset: int, size: int, hasher: Hasher) -> None:
        """Checksums only, in bounded memory."""
        buffer = _scratch()
        with self._opened() as fd:
            for at in range(offset, offset + size, PIECE):
                self._fill(fd, buffer[: min(PIECE, offset + size - at)], at, hasher)

    def section(self, offset: int, size: int, hasher: Hasher) -> memoryview:
        """Fresh memory each time: a connection may still hold the previous section."""
        view = memoryview(bytearray(size))
        self.fill(view, offset, hasher)
        return view

    def is_whole(self, size: int) -> bool:
        """Whether the structure of a file of ``size`` bytes proves its end."""
        with self._opened() as fd:
            return is_whole(reader(fd), size)

    def has_index_first(self, size: int) -> bool:
        """Whether the index precedes the media."""
        with self._opened() as fd:
            return has_index_first(reader(fd), size)

    def examine(self, work: Callable[[Callable[[int, int], bytes]], None]) -> None:
        """Call ``work`` with a function that reads up to ``count`` bytes from an offset."""
        with self._opened() as fd:
            work(reader(fd))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        fd = open_file(self.root, self.path)
        try:
            mode, found = self._look(fd)
            if not stat.S_ISREG(mode) or found.identity != self.identity:
                raise FileChanged(f"another file has taken the place of {self.path!r}", operation="open")
            yield fd
        finally:
            os.close(fd)

    def _look(self, fd: int) -> tuple[int, Snapshot]:
        try:
            return stat_at(fd, b"")
        except OSError as error:
            raise trouble(error, self.path, "stat") from error

    def _fill(self, fd: int, view: memoryview, offset: int, hasher: Hasher) -> None:
        done = 0
        while done < len(view):
            try:
                count = os.preadv(fd, [view[done : done + SECTION]], offset + done)
            except OSError as error:
                raise trouble(error, self.path, "read") from error
            answered()
            if count == 0:
                raise FileChanged(f"{self.path!r} ends at or before byte {offset + done}", operation="read")
            hasher.update(view[done : done + count])
            done += count


_of_thread = threading.local()


def _scratch() -> memoryview:
    """This thread's own buffer; small, because each hanging file may keep one."""
    if not hasattr(_of_thread, "scratch"):
        _of_thread.scratch = memoryview(bytearray(PIECE))
    scratch: memoryview = _of_thread.scratch
    return scratch
