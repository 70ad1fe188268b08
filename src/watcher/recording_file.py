"""Reads a recording that may still grow: off the event loop, inside the watched tree only, with checksums of exactly
the bytes that are handed out.

* **Names.** Every path is walked folder by folder from the root without following symbolic links, also when they
  stay inside the tree: a recording behind a link is not a recording here. Only the root itself may be a link.
* **Threads.** All work of the operating system happens in two small groups of threads, one for looking (stat, lease)
  and one for reading, so that a read from a slow disk never delays a look. A file that hangs keeps no other one
  waiting: see ``file_threads``.
* **Memory.** A chunk up to ``in_memory_limit`` bytes is read once and kept until ``release``; a larger one is read
  again, one section at a time, whenever it is sent. Buffers are anonymous mappings: used again while there is
  traffic (fresh memory costs more than the reading), given back to the system when there is none.
* **Leases.** ``writers`` asks for a read lease and gives it back at once. The signal that tells a holder of a new
  writer is SIGIO, which would end the process; it is replaced by SIGURG, which nobody notices unless he asks.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from awscrt.checksums import crc64nvme

from ..containers import boxes
from ..domain import KIB, MIB, Chunk, ChunkBody, Digest, Hashes, Identity, Snapshot, Writers
from ..exceptions import ChunkProcessingError, FileChanged, StreamProcessorError
from ..file_threads import SILENT_SECONDS, FileThreads, answered, reader

#: Bytes per read and per checksum step. The CRC holds the interpreter's lock, so a step must be short (0.1 ms).
SECTION = MIB
#: Bytes that ``pieces`` gives at once, and that a pass over a file reads at once.
PIECE = 256 * KIB
#: Bytes of a long pass before the thread is given up: others get their turn, and a cancelled pass ends soon.
TURN = 32 * MIB
#: Buffers that wait for their next use, at most.
BUFFERS_KEPT = 4

_HUGE_PAGE = 2 * MIB
_STAT_THREADS = 2

# O_PATH: a folder on the way needs the right to pass, not the right to list.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

#: What the system answers when there is no such file (any more), or another kind of thing.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV})

#: ``statfs`` types whose every writer passes through this kernel, so that a granted lease proves something. FUSE
#: (also shared folders of desktop virtual machines), NFS, SMB and overlayfs are left out on purpose.
_LOCAL_FILE_SYSTEMS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x2011BAB0,  # exfat
        0x4D44,  # vfat
    }
)


class _Timestamp(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_uint32), ("reserved", ctypes.c_int32))


class _Statx(ctypes.Structure):
    """``struct statx`` of linux/stat.h, as far as its times; the kernel fills 256 bytes."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("links", ctypes.c_uint32),
        ("owner", ctypes.c_uint32),
        ("group", ctypes.c_uint32),
        ("mode", ctypes.c_uint16),
        ("padding", ctypes.c_uint16),
        ("inode", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("blocks", ctypes.c_uint64),
        ("attributes_mask", ctypes.c_uint64),
        ("accessed", _Timestamp),
        ("born", _Timestamp),
        ("changed", _Timestamp),
        ("modified", _Timestamp),
        ("rest", ctypes.c_uint8 * 128),
    )


_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_STATX_BASIC = 0x7FF
_STATX_BORN = 0x800

_libc = ctypes.CDLL(None, use_errno=True)
# Python 3.11 has no birth time on Linux; the C library has had statx since glibc 2.28 and musl 1.2.
_statx = getattr(_libc, "statx", None)


def _stat_at(folder: int, name: bytes) -> tuple[int, Snapshot]:
    """Mode and snapshot of ``name`` in the open folder, or of the open file itself where ``name`` is empty."""
    if _statx is None:
        return _plain_stat_at(folder, name)
    found = _Statx()
    flags = _AT_SYMLINK_NOFOLLOW if name else _AT_EMPTY_PATH
    if _statx(folder, name, flags, _STATX_BASIC | _STATX_BORN, ctypes.byref(found)) == 0:
        birth_ns = _nanoseconds(found.born) if found.mask & _STATX_BORN else 0
        times = (_nanoseconds(found.modified), _nanoseconds(found.changed))
        return found.mode, Snapshot(Identity(found.inode, birth_ns), found.size, *times)
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EPERM):  # old kernels, and sandboxes that do not know the call
        return _plain_stat_at(folder, name)
    raise OSError(error, os.strerror(error))


def _nanoseconds(time: _Timestamp) -> int:
    return int(time.seconds) * 1_000_000_000 + int(time.nanoseconds)


def _plain_stat_at(folder: int, name: bytes) -> tuple[int, Snapshot]:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False) if name else os.fstat(folder)
    birth_ns = int(getattr(found, "st_birthtime", 0) * 1_000_000_000)  # macOS
    identity = Identity(found.st_ino, birth_ns)
    return found.st_mode, Snapshot(identity, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def identity_of(fd: int) -> Identity:
    """The identity of an open file. Raises OSError."""
    return _stat_at(fd, b"")[1].identity


def _file_system(fd: int) -> int:
    """The ``f_type`` of the file system of an open file; 0 where the system does not tell."""
    buffer = (ctypes.c_long * 64)()  # struct statfs begins with it and is below 256 bytes everywhere
    return int(buffer[0]) & 0xFFFFFFFF if _libc.fstatfs(fd, buffer) == 0 else 0


@contextmanager
def _folder_of(root: Path, path: str) -> Iterator[tuple[int, bytes]]:
    """The open folder that holds ``path``, and the last name in it. Raises OSError, where the root is away
    ``ChunkProcessingError``: then nothing can be said of any file."""
    names = _names(path)
    try:
        folder = os.open(root, _FOLDER)
    except OSError as error:
        raise ChunkProcessingError(
            f"the watched folder cannot be opened: {error.strerror}",
            operation="open",
            hint="Check that WATCH_DIR is mounted and readable.",
        ) from error
    try:
        for name in names[:-1]:
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder, names[-1]
    finally:
        os.close(folder)


def _names(path: str) -> list[bytes]:
    """The path's names. Raises FileNotFoundError for what cannot be a path inside the tree."""
    try:
        names = os.fsencode(path).split(b"/")
    except UnicodeEncodeError:
        names = [b""]
    if any(name in (b"", b".", b"..") or b"\0" in name for name in names):
        raise FileNotFoundError(errno.ENOENT, "not a path inside the watched folder")
    return names


def _trouble(error: OSError, path: str, operation: str) -> StreamProcessorError:
    """What the caller is told of an error of the operating system."""
    if error.errno in _NOT_THERE:
        return FileChanged(f"no such recording: {path!r}", operation=operation)
    hint = "Give the daemon's user the right to read the file." if error.errno == errno.EACCES else ""
    return ChunkProcessingError(f"cannot {operation} {path!r}: {error.strerror}", operation=operation, hint=hint)


class _Hasher:
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
class _Source:
    """One file under one root. Everything here blocks: for threads only."""

    root: Path
    path: str
    identity: Identity

    def fill(self, view: memoryview, offset: int, hasher: _Hasher) -> None:
        """Read exactly the view's length. A checksum follows each read while its bytes are in the processor's cache,
        and each read lets the event loop's thread run."""
        with self._opened() as fd:
            self._fill(fd, view, offset, hasher)

    def fold(self, offset: int, size: int, hasher: _Hasher) -> None:
        """Checksums only, in bounded memory."""
        buffer = _scratch()
        with self._opened() as fd:
            for at in range(offset, offset + size, PIECE):
                self._fill(fd, buffer[: min(PIECE, offset + size - at)], at, hasher)

    def section(self, offset: int, size: int, hasher: _Hasher) -> memoryview:
        """Fresh memory each time: a connection may still hold the section before."""
        view = memoryview(bytearray(size))
        self.fill(view, offset, hasher)
        return view

    def is_whole(self, size: int) -> bool:
        """Whether the MP4's boxes end exactly at ``size``."""
        with self._opened() as fd:
            return boxes.is_whole(reader(fd), size)

    def has_index_first(self, size: int) -> bool:
        """Whether the MP4's index stands before its media."""
        with self._opened() as fd:
            return boxes.has_index_first(reader(fd), size)

    def examine(self, work: Callable[[Callable[[int, int], bytes]], None]) -> None:
        """Give ``work`` a way to read: at most so many bytes from an offset."""
        with self._opened() as fd:
            work(reader(fd))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        fd = _open(self.root, self.path)
        try:
            mode, found = self._look(fd)
            if not stat.S_ISREG(mode) or found.identity != self.identity:
                raise FileChanged(f"another file has taken the place of {self.path!r}", operation="open")
            yield fd
        finally:
            os.close(fd)

    def _look(self, fd: int) -> tuple[int, Snapshot]:
        try:
            return _stat_at(fd, b"")
        except OSError as error:
            raise _trouble(error, self.path, "stat") from error

    def _fill(self, fd: int, view: memoryview, offset: int, hasher: _Hasher) -> None:
        done = 0
        while done < len(view):
            try:
                count = os.preadv(fd, [view[done : done + SECTION]], offset + done)
            except OSError as error:
                raise _trouble(error, self.path, "read") from error
            answered()
            if count == 0:
                raise FileChanged(f"{self.path!r} ends at or before byte {offset + done}", operation="read")
            hasher.update(view[done : done + count])
            done += count


def _open(root: Path, path: str) -> int:
    try:
        with _folder_of(root, path) as (folder, name):
            return os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        raise _trouble(error, path, "open") from error


_of_thread = threading.local()


def _scratch() -> memoryview:
    """This thread's own piece of memory; small, because each file that hangs may keep one."""
    if not hasattr(_of_thread, "scratch"):
        _of_thread.scratch = memoryview(bytearray(PIECE))
    scratch: memoryview = _of_thread.scratch
    return scratch


class _Buffers:
    """Memory for chunks, used again. Never more buffers exist than chunks were in memory at once. Belongs to the event
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
        if self._free:  # all too small: one goes for the one that comes
            self._free.remove(min(self._free, key=len))
        return _anonymous(size)

    def drop(self, buffer: mmap.mmap) -> None:
        """A thread that nobody waits for may write into it once more, and may hang for ever before it does."""
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
    """Memory that goes back to the system when the last view of it is gone. Huge pages: filling it is four times as
    fast as with small ones."""
    rounded = -(-max(size, 1) // _HUGE_PAGE) * _HUGE_PAGE
    buffer = mmap.mmap(-1, rounded, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel without them
            buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer


class _MemoryBody:
    """A chunk in memory."""

    def __init__(self, buffers: _Buffers, buffer: mmap.mmap, size: int, hasher: _Hasher) -> None:
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
        """Twice: the second does nothing."""
        if self._buffer is None:
            return
        self._view.release()
        # Sent again after a failure: the connection that failed may still be sending from this memory.
        self._buffers.give_back(self._buffer, reusable=reusable and self._sendings <= 1)
        self._buffer = None


class _FileBody:
    """A chunk too large for memory: read again, and checked again, whenever it is sent."""

    def __init__(self, source: _Source, chunk: Chunk, hasher: _Hasher, threads: FileThreads) -> None:
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
        """Each section opens the file anew: nothing stays open when a sender gives up half-way."""
        again = _Hasher(Hashes())
        end = self._chunk.offset + self._chunk.size
        for offset in range(self._chunk.offset, end, SECTION):
            size = min(SECTION, end - offset)
            view = await self._threads.run(self._source.identity, self._source.section, offset, size, again)
            if offset + size == end and again.digest.crc64 != self._digest.crc64:
                raise FileChanged(f"{self._source.path!r} was changed while it was sent", operation="read")
            for start in range(0, size, PIECE):
                yield view[start : start + PIECE]

    def release(self, *, reusable: bool) -> None:
        """Nothing is held."""


class RecordingFiles:
    """The recordings below ``root``; see ``ports.Recordings`` for what each method promises.

    ``in_memory_limit``: bytes of the largest chunk that is kept in memory. ``threads`` read and hash at once. After
    ``spare_seconds`` without any chunk in memory the buffers that wait for their next use go back to the system. A file
    that says nothing for ``silent_seconds`` cannot be read now.
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
        self._buffers = _Buffers(spare_seconds)
        self._devices: dict[str, int] = {}  # where files were found, by folder
        self._looking = FileThreads(_STAT_THREADS, "recording-stat", silent_seconds=silent_seconds)
        self._reading = FileThreads(threads, "recording-read", silent_seconds=silent_seconds)

    async def close(self) -> None:
        """Give threads and memory back. A thread that hangs in a dead file system is not waited for."""
        self._looking.close()
        self._reading.close()
        self._buffers.clear()

    @property
    def spare_bytes(self) -> int:
        """Memory of the buffers that wait for their next use."""
        return self._buffers.spare_bytes

    def stat(self, path: str) -> Snapshot | None:
        """``snapshot`` for callers in a thread of their own; at the top of the tree it takes three system calls."""
        try:
            with _folder_of(self._root, path) as (folder, name):
                mode, found = _stat_at(folder, name)
                self._note_mount(path, os.fstat(folder).st_dev)
        except OSError as error:
            if error.errno in _NOT_THERE:
                self._expect_same_mounts(path)
                return None
            raise _trouble(error, path, "stat") from error
        return found if stat.S_ISREG(mode) else None

    def _note_mount(self, path: str, device: int) -> None:
        folder = path.rpartition("/")[0]
        self._devices[folder] = device
        if folder:
            self._devices[""] = os.stat(self._root).st_dev

    def _expect_same_mounts(self, path: str) -> None:
        """A file is not gone because its file system is: an unmounted folder is there, and empty."""
        for folder in ("", path.rpartition("/")[0]):
            known = self._devices.get(folder)
            try:
                device = os.stat(self._root / folder).st_dev
            except OSError:
                continue
            if known is not None and device != known:
                where = repr(folder) if folder else "the watched folder"
                raise ChunkProcessingError(
                    f"another file system is at {where} now", operation="stat", hint="Check what is mounted there."
                )

    async def snapshot(self, path: str) -> Snapshot | None:
        """Raises ``ChunkProcessingError`` when nothing can be said: the root is away, a folder may not be passed."""
        return await self._looking.run(path, self.stat, path)

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> ChunkBody:
        source = _Source(self._root, path, identity)
        if chunk.size > self._in_memory_limit:
            return _FileBody(source, chunk, await self._fold(source, chunk, hashes), self._reading)
        buffer = self._buffers.take(chunk.size)
        hasher = _Hasher(hashes)
        try:
            view = memoryview(buffer)[: chunk.size]
            await self._reading.run(identity, source.fill, view, chunk.offset, hasher)
        except BaseException:
            self._buffers.drop(buffer)
            raise
        return _MemoryBody(self._buffers, buffer, chunk.size, hasher)

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        return (await self._fold(_Source(self._root, path, identity), chunk, hashes)).digest

    async def _fold(self, source: _Source, chunk: Chunk, hashes: Hashes) -> _Hasher:
        hasher = _Hasher(hashes)
        end = chunk.offset + chunk.size
        for offset in range(chunk.offset, end, TURN):
            await self._reading.run(source.identity, source.fold, offset, min(TURN, end - offset), hasher)
        return hasher

    async def writers(self, path: str) -> Writers:
        """NONE: at this moment no process has the file open for writing, nor mapped so. Proved only on file systems
        of this machine, and for files of our own user (or with CAP_LEASE)."""
        try:
            return await self._looking.run(path, self._ask_for_writers, path)
        except ChunkProcessingError:
            return Writers.UNKNOWN

    async def is_whole(self, path: str, identity: Identity, size: int) -> bool:
        return await self._reading.run(identity, _Source(self._root, path, identity).is_whole, size)

    async def has_index_first(self, path: str, identity: Identity, size: int) -> bool:
        return await self._reading.run(identity, _Source(self._root, path, identity).has_index_first, size)

    async def examine(self, path: str, identity: Identity, work: Callable[[Callable[[int, int], bytes]], None]) -> None:
        """Run ``work(read)`` in a thread on this very file; ``read(offset, count)`` may raise OSError. A file that
        hangs is given up after two seconds."""
        await self._reading.glance(identity, _Source(self._root, path, identity).examine, work)

    def _ask_for_writers(self, path: str) -> Writers:
        try:
            fd = _open(self._root, path)
        except (ChunkProcessingError, FileChanged):
            return Writers.UNKNOWN
        try:
            return _lease(fd)
        finally:
            os.close(fd)


def _lease(fd: int) -> Writers:
    """Take a read lease and give it back. ``fd`` must be open for reading only; other readers do not matter."""
    if sys.platform != "linux" or _file_system(fd) not in _LOCAL_FILE_SYSTEMS:
        return Writers.UNKNOWN
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # before the lease: a writer may come at once
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.PRESENT if error.errno == errno.EAGAIN else Writers.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NONE
