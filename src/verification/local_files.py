"""The local files that recordings in the store were made from, and whether all their bytes are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain import Chunk, Digest, Hashes, Identity, Snapshot, Writers, names_of, object_key
from ..exceptions import StreamProcessorError
from .verdicts import Expected


class Files(Protocol):
    """As much of ``ports.Recordings`` as is needed here."""

    async def snapshot(self, path: str) -> Snapshot | None: ...
    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest: ...
    async def writers(self, path: str) -> Writers: ...


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file as it was read. ``at_rest``: nobody was writing meanwhile, as far as can be known."""

    path: str
    snapshot: Snapshot
    crc64: int
    at_rest: bool


class LocalFiles:
    """The recordings in the watched folder, found by identity and by name; each is read at most once.

    ``quiet_for`` and ``now`` (seconds since the epoch): where writers cannot be detected, a file is at rest if it has
    not changed for this long.
    """

    def __init__(self, files: Files, prefix: str, *, quiet_for: float, now: Callable[[], float]) -> None:
        self._files = files
        self._prefix = prefix
        self._quiet_for = quiet_for
        self._now = now
        self._paths: dict[str, None] = {}
        self._by_identity: dict[Identity, list[str]] = {}
        self._by_name: dict[str, str] = {}
        self._read: dict[str, FileRead | None] = {}

    async def meet(self, paths: Sequence[str]) -> None:
        """Remember these files, relative to the folder."""
        for path in paths:
            try:
                snapshot = await self._files.snapshot(path)
            except StreamProcessorError:
                continue
            if snapshot is None:
                continue
            self._paths[path] = None
            self._by_name[object_key(self._prefix, path)] = path
            if snapshot.identity.birth_ns:
                self._by_identity.setdefault(snapshot.identity, []).append(path)

    @property
    def paths(self) -> Sequence[str]:
        """All that were met."""
        return list(self._paths)

    def of(self, expected: Expected) -> Sequence[str]:
        """The files that may be the recording: the very file, under any name, and one of its name."""
        return list(dict.fromkeys(self._candidates(expected)))

    def _candidates(self, expected: Expected) -> Iterator[str]:
        yield from self._by_identity.get(expected.identity, ())
        for name in names_of(expected.key):
            if name in self._by_name:
                yield self._by_name[name]

    async def read(self, path: str) -> FileRead | None:
        """The file with the checksum of its bytes; None if it is gone or cannot be read."""
        if path not in self._read:
            self._read[path] = await self._read_once(path)
        return self._read[path]

    async def _read_once(self, path: str) -> FileRead | None:
        try:
            before = await self._files.snapshot(path)
            if before is None or before.size == 0:
                return None
            digest = await self._files.digest(path, before.identity, Chunk(1, 0, before.size), Hashes())
            writers = await self._files.writers(path)
            after = await self._files.snapshot(path)
        except StreamProcessorError:
            return None
        old = self._now() - before.mtime_ns / 1e9 >= self._quiet_for
        quiet = writers is Writers.NONE or (writers is Writers.UNKNOWN and old)
        return FileRead(path, before, digest.crc64, quiet and after == before)

    async def is_as_it_was_read(self, path: str) -> bool:
        """The same for a file by its path; one that was never read is not."""
        read = self._read.get(path)
        return read is not None and await self.is_unchanged(read)

    async def is_unchanged(self, read: FileRead) -> bool:
        """Whether it is unchanged since it was read, as far as can be known."""
        try:
            if await self._files.snapshot(read.path) != read.snapshot:
                return False
            return await self._files.writers(read.path) is not Writers.PRESENT
        except StreamProcessorError:
            return False
