"""A folder in memory: the full twin of ``ports.Recordings``, with everything that recorders do to their files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from awscrt import checksums

from src.containers import has_index_first, is_whole
from src.domain import Chunk, Digest, Hashes, Identity, Snapshot, Writers
from src.exceptions import ChunkProcessingError, FileChanged

_BEGIN_NS = 1_700_000_000_000_000_000


def digest_of(data: bytes, hashes: Hashes | None = None) -> Digest:
    """The checksums of bytes in memory."""
    md5 = hashlib.md5(data).hexdigest() if hashes and hashes.md5 else None
    return Digest(size=len(data), crc64=checksums.crc64nvme(data), md5=md5)


class FakeChunkBody:
    """The bytes of a chunk as they were when it was read. Using it after ``release`` is a bug and fails."""

    def __init__(self, data: bytes, hashes: Hashes | None = None, *, piece: int = 7) -> None:
        self._data = data
        self._digest = digest_of(data, hashes)
        self._sha256 = hashlib.sha256(data).hexdigest() if hashes and hashes.sha256 else None
        self._piece = piece
        self.released: bool | None = None  # the ``reusable`` that release was called with

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def digest(self) -> Digest:
        return self._digest

    @property
    def sha256(self) -> str | None:
        return self._sha256

    async def pieces(self) -> AsyncIterator[memoryview]:
        step = max(self._piece, self.size // 4)
        for start in range(0, self.size, step):
            assert self.released is None, "read after its memory was given back"
            yield memoryview(self._data)[start : start + step]
            await asyncio.sleep(0)

    def release(self, *, reusable: bool) -> None:
        assert self.released is None, "released twice"
        self.released = reusable


@dataclass(slots=True)
class FakeFile:
    """What an inode holds. ``writers`` is what the operating system would prove."""

    identity: Identity
    data: bytearray
    mtime_ns: int
    ctime_ns: int
    writers: Writers = Writers.UNKNOWN


@dataclass
class FakeRecordings:
    """Files by name. The clock ticks a millisecond with each change; ``on_read`` is called in the middle of each read,
    where a test may change the file under the reader's hands."""

    on_read: Callable[[str, Chunk], None] | None = None
    files: dict[str, FakeFile] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    reads: list[tuple[str, Chunk]] = field(default_factory=list)
    digests: list[tuple[str, Chunk]] = field(default_factory=list)
    bodies: list[FakeChunkBody] = field(default_factory=list)
    now_ns: int = _BEGIN_NS
    _inodes: Iterator[int] = field(default_factory=lambda: count(101))

    # -- what recorders and people do -----------------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> Identity:
        """Create the file, or empty it and write it anew under its inode (``open(path, "wb")``)."""
        file = self.files.get(path) or self._new(path)
        file.data[:] = data
        self._touch(file)
        return file.identity

    def append(self, path: str, data: bytes) -> None:
        file = self.files[path]
        file.data += data
        self._touch(file)

    def patch(self, path: str, offset: int, data: bytes, *, unseen: bool = False) -> None:
        """Overwrite bytes in place. ``unseen``: no stat shows it, as with a second store to a mapped page."""
        file = self.files[path]
        assert offset + len(data) <= len(file.data), "a patch does not make the file longer"
        file.data[offset : offset + len(data)] = data
        if unseen:
            self._changed(file)
        else:
            self._touch(file)

    def truncate(self, path: str, size: int) -> None:
        """Make it shorter, or longer with zeros."""
        file = self.files[path]
        file.data[size:] = b""
        file.data.extend(bytes(size - len(file.data)))
        self._touch(file)

    def rename(self, old: str, new: str) -> None:
        """Move the name over whatever was there. The inode stays; its ctime changes, as on Linux."""
        file = self.files.pop(old)
        self.files[new] = file
        file.ctime_ns = self._tick()

    def replace(self, path: str, data: bytes, *, inode: int | None = None) -> Identity:
        """Another file under this name; ``inode``: the file system used that number again."""
        self.files.pop(path, None)
        file = self._new(path, inode)
        file.data[:] = data
        self._changed(file)
        return file.identity

    def link(self, path: str, other: str) -> None:
        """A second name for the same file."""
        self.files[other] = self.files[path]
        self.files[path].ctime_ns = self._tick()

    def delete(self, path: str) -> None:
        del self.files[path]

    def content(self, path: str) -> bytes:
        return bytes(self.files[path].data)

    @property
    def unreleased(self) -> list[FakeChunkBody]:
        """Bodies whose memory was never given back."""
        return [body for body in self.bodies if body.released is None]

    # -- the port -------------------------------------------------------------------------------------------------

    async def snapshot(self, path: str) -> Snapshot | None:
        await asyncio.sleep(0)
        file = self.files.get(path)
        return Snapshot(file.identity, len(file.data), file.mtime_ns, file.ctime_ns) if file else None

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> FakeChunkBody:
        data = await self._bytes(path, identity, chunk)
        self.reads.append((path, chunk))
        body = FakeChunkBody(data, hashes)
        self.bodies.append(body)
        return body

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        data = await self._bytes(path, identity, chunk)
        self.digests.append((path, chunk))
        return digest_of(data, hashes)

    async def writers(self, path: str) -> Writers:
        await asyncio.sleep(0)
        file = self.files.get(path)
        return file.writers if file else Writers.UNKNOWN

    async def is_whole(self, path: str, identity: Identity, size: int) -> bool:
        await asyncio.sleep(0)
        file = self.files.get(path)
        if file is None or file.identity != identity:
            raise FileChanged(f"{path!r} is another file now")
        return is_whole(lambda offset, count: bytes(file.data[offset : offset + count]), size)

    async def has_index_first(self, path: str, identity: Identity, size: int) -> bool:
        await asyncio.sleep(0)
        file = self.files.get(path)
        if file is None or file.identity != identity:
            raise FileChanged(f"{path!r} is another file now")
        return has_index_first(lambda offset, count: bytes(file.data[offset : offset + count]), size)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _bytes(self, path: str, identity: Identity, chunk: Chunk) -> bytes:
        await asyncio.sleep(0)
        file = self.files.get(path)
        if path in self.unreadable:
            raise ChunkProcessingError(f"{path!r}: Input/output error", operation="read")
        if file is None or file.identity != identity:
            raise FileChanged(f"{path!r} is another file now", operation="read")
        half = chunk.offset + chunk.size // 2
        first = bytes(file.data[chunk.offset : half])
        if self.on_read:
            self.on_read(path, chunk)
        rest = bytes(file.data[half : chunk.offset + chunk.size])
        if len(first) + len(rest) < chunk.size:
            raise FileChanged(f"{path!r} ends before its part {chunk.number} does", operation="read")
        return first + rest

    def _new(self, path: str, inode: int | None = None) -> FakeFile:
        now = self._tick()
        identity = Identity(inode if inode is not None else next(self._inodes), now)
        self.files[path] = FakeFile(identity, bytearray(), mtime_ns=now, ctime_ns=now)
        return self.files[path]

    def _touch(self, file: FakeFile) -> None:
        file.mtime_ns = file.ctime_ns = self._tick()
        self._changed(file)

    def _changed(self, file: FakeFile) -> None:
        """Its bytes are others now."""

    def _tick(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns
