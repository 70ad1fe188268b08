"""The remembered state of the watched folder: finds changes by a look at the whole tree or at a few paths.

Files vanish, but mounts vanish, too: if the folder itself is missing, is suddenly empty, or is on another device, no
file is reported as deleted. The folder is then reported once, and scanning continues.

Recordings are regular files whose name matches a pattern. Symbolic links are not followed, neither to files nor to
folders; other things that match a pattern are reported once.
"""

from __future__ import annotations

import os
import stat as modes
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..domain import Snapshot
from ..events import StreamEvent, WatcherChangeType
from ..exceptions import ChunkProcessingError
from .census import Census
from .globs import Globs, pattern_of_a_film

#: Number of folder entries that are examined before their events are published; also of events published at once.
BATCH = 500
#: Size, mtime_ns, ctime_ns, inode.
Facts = tuple[int, int, int, int]


_NEVER_SEEN: Facts = (-1, -1, -1, -1)
_SCANS_BEFORE_A_CENSUS = 2


@dataclass(slots=True)
class _Seen:
    """The remembered facts of a file, and the last scan that found it."""

    facts: Facts
    scan: int


@dataclass(frozen=True, slots=True)
class _Root:
    """The watched folder itself."""

    device: int
    inode: int
    empty: bool


@dataclass(slots=True)
class Findings:
    """The result of one step; processed in the event loop's thread."""

    events: list[StreamEvent] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    entries: int = 0
    missing: bool | None = None  # True: the watched folder is missing, False: it is back
    other_root: bool = False  # notifications still come from a folder that no longer exists


class Tree:
    """The remembered state of the watched folder. Blocks: for one thread at a time, never that of the event loop."""

    def __init__(
        self,
        root: Path,
        globs: Globs,
        stat: Callable[[str], Snapshot | None],
        *,
        hints_of_deletion_are_proof: bool,
        old_seconds: float | None = None,
    ) -> None:
        self._began_ns = time.time_ns()
        self._old_ns = None if old_seconds is None else self._began_ns - int(old_seconds * 1e9)
        self._root = root
        self._globs = globs
        self._stat = stat
        self._hints_of_deletion_are_proof = hints_of_deletion_are_proof
        self._seen: dict[str, _Seen] = {}
        self._skipped: dict[str, int] = {}  # reported path -> last scan that found it
        self._unmatched: set[str] = set()  # patterns that were logged; only differences in case make them many
        self._unreadable: set[str] = set()  # folders that this scan could not read
        self._scan = 0
        self._left_out: frozenset[str] = frozenset()  # the same, of the last scan that ended
        self._whole = 0  # scans that ended, of a folder that was there and not empty
        self._left: dict[int, int] = {}  # inode of a file that is no longer where it was -> scan before that
        self._known_root: _Root | None = None
        self.missing = False  # the watched folder; no file is treated as deleted

    @property
    def files(self) -> int:
        """Number of remembered recordings."""
        return len(self._seen)

    @property
    def unreadable(self) -> int:
        """Number of folders and files that the newest whole scan could not read."""
        return len(self._left_out)

    def census(self) -> Census | None:
        """The files on disk as the last scan met them; None where that says nothing of those that are gone.

        A file that is moved while a scan goes on may be met by none of two looks, at its old place nor at its new one.
        So two whole scans are needed, and what left its place since the last but one counts as there.
        """
        if self._whole < _SCANS_BEFORE_A_CENSUS or self.missing:
            return None
        by_inode: dict[int, tuple[str, ...]] = {}
        for path, seen in self._seen.items():
            inode = seen.facts[3]
            by_inode[inode] = (*by_inode.get(inode, ()), path)
        unreadable = self._left_out | self._unreadable  # of the last whole scan, and of one that is under way
        return Census(by_inode, frozenset(self._left), lambda path: _is_unknown(path, unreadable), self._stat)

    def scan(self) -> Iterator[Findings]:
        """Examine everything, one batch of entries at a time."""
        root = self._look_at_root()
        if root is None or (root.empty and self._seen):
            yield self._folder_is(missing=True)
            return
        before = self._known_root
        other_device = before is not None and before.device != root.device
        if other_device:
            yield self._folder_is(missing=True)
        found = self._folder_is(missing=False)
        if found.missing is False:
            # Processors saw their files missing meanwhile: every one of them deserves a look, changed or not.
            for seen in self._seen.values():
                seen.facts = _NEVER_SEEN
        found.other_root |= before is not None and (before.device, before.inode) != (root.device, root.inode)
        yield found
        self._scan += 1
        self._unreadable.clear()
        yield from self._walk("")
        if self._look_at_root() == root:  # otherwise it vanished meanwhile, and files that were not found may exist
            self._known_root = root
            # Silently on another device: the files of the former one were unmounted, not deleted.
            yield self._end_scan(silently=other_device)

    def look_at(self, paths: Iterable[str]) -> Iterator[Findings]:
        """Examine the paths named by notifications."""
        found = Findings()
        gone: set[str] = set()
        folders: list[str] = []
        for path in paths:
            try:
                self._look_at_path(path, found, gone, folders)
            except (OSError, ChunkProcessingError):
                continue  # the scan finds it too, and reports it
        yield found
        for folder in folders:
            yield from self._walk(folder)
        if gone and self._deletions_count():
            yield self._forget([path for path in self._seen if path in gone or _is_below(path, gone)])

    def _look_at_path(self, path: str, found: Findings, gone: set[str], folders: list[str]) -> None:
        snapshot = self._stat(path)
        if snapshot is not None:
            if self._globs.match(path):
                facts = (snapshot.size, snapshot.mtime_ns, snapshot.ctime_ns, snapshot.identity.inode)
                self._compare(path, facts, found)
            return
        try:
            mode = os.lstat(self._root / path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            gone.add(path)
            return
        if any((self._root / folder).is_symlink() for folder in _folders_of(path)):
            return  # behind a link; the scan reports the link
        if modes.S_ISDIR(mode) and not self._globs.excludes(path):
            folders.append(path)  # its files may be as new as itself
        if self._globs.match(path):
            self._skip(path, _kind(mode), found)

    def _deletions_count(self) -> bool:
        """Whether a missing file was deleted, rather than unmounted."""
        root, known = self._look_at_root(), self._known_root
        if root is None or known is None or root.device != known.device:
            return False
        return self._hints_of_deletion_are_proof or not root.empty

    def _look_at_root(self) -> _Root | None:
        try:
            with os.scandir(self._root) as entries:
                status = self._root.stat()
                return _Root(status.st_dev, status.st_ino, next(entries, None) is None)
        except OSError:
            return None

    def _folder_is(self, *, missing: bool) -> Findings:
        if missing == self.missing:
            return Findings()
        self.missing = missing
        self._whole = 0
        return Findings(missing=missing, other_root=not missing)

    def _walk(self, top: str) -> Iterator[Findings]:
        """Everything below the folder ``top``; memory use grows with the folders, not the files."""
        found = Findings()
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            for entry in self._entries(folder, found):
                path = f"{folder}/{entry.name}" if folder else entry.name
                self._meet(entry, path, waiting, found)
                found.entries += 1
                if found.entries >= BATCH:
                    yield found
                    found = Findings()
        yield found

    def _entries(self, folder: str, found: Findings) -> Iterator[os.DirEntry[str]]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if folder else 0)
        try:
            fd = os.open(self._root / folder, flags)
        except (FileNotFoundError, NotADirectoryError):
            return  # vanished meanwhile
        except OSError as error:
            self._cannot_list(folder, error, found)
            return
        try:
            with os.scandir(fd) as entries:
                yield from entries
        except OSError as error:
            self._cannot_list(folder, error, found)
        finally:
            os.close(fd)

    def _cannot_list(self, folder: str, error: OSError, found: Findings) -> None:
        self._unreadable.add(folder)
        self._skip(folder or ".", f"the folder cannot be listed: {error.strerror}", found)

    def _meet(self, entry: os.DirEntry[str], path: str, waiting: list[str], found: Findings) -> None:
        try:
            self._sort(entry, path, waiting, found)
        except FileNotFoundError:
            return  # vanished meanwhile
        except OSError as error:
            self._unreadable.add(path)
            self._skip(path, f"cannot be inspected: {error.strerror}", found)

    def _sort(self, entry: os.DirEntry[str], path: str, waiting: list[str], found: Findings) -> None:
        if entry.is_dir(follow_symlinks=False) and not self._globs.excludes(path):
            waiting.append(path)
        if not self._globs.match(path):
            if entry.is_symlink() and (path in self._skipped or entry.is_dir()):
                self._skip(path, "a symbolic link to a folder, which is not followed", found)
            elif (pattern := pattern_of_a_film(entry.name)) is not None and entry.is_file(follow_symlinks=False):
                self._name_pattern(path, pattern, found)
            return
        status = entry.stat(follow_symlinks=False)
        if modes.S_ISREG(status.st_mode):
            self._compare(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino), found)
        else:
            self._skip(path, _kind(status.st_mode), found)

    def _name_pattern(self, path: str, pattern: str, found: Findings) -> None:
        if pattern not in self._unmatched and not self._globs.excludes(path):
            self._unmatched.add(pattern)
            found.unmatched.append((path, pattern))

    def _compare(self, path: str, facts: Facts, found: Findings) -> None:
        seen = self._seen.get(path)
        if seen is None:
            self._seen[path] = _Seen(facts, self._scan)
            found.events.append(StreamEvent(WatcherChangeType.CREATE, path, self._is_old(facts)))
            return
        if seen.facts != facts:
            if seen.facts[3] != facts[3]:  # another file was moved here, and this one perhaps elsewhere
                self._left[seen.facts[3]] = self._scan
            seen.facts = facts
            found.events.append(StreamEvent(WatcherChangeType.WRITE, path))
        seen.scan = self._scan

    def _is_old(self, facts: Facts) -> bool:
        """Only in the first scan. A file that was copied meanwhile may have an old mtime, but no old ctime."""
        _, mtime_ns, ctime_ns, _ = facts
        first = self._known_root is None
        return first and self._old_ns is not None and mtime_ns < self._old_ns and ctime_ns < self._began_ns

    def _skip(self, path: str, reason: str, found: Findings) -> None:
        if path not in self._skipped:
            found.skipped.append((path, reason))
        self._skipped[path] = self._scan

    def _end_scan(self, *, silently: bool) -> Findings:
        """Files that this scan did not find are forgotten, except where it could not look."""
        self._skipped = {path: scan for path, scan in self._skipped.items() if scan == self._scan}
        self._left = {inode: scan for inode, scan in self._left.items() if scan >= self._scan - 1}
        self._left_out = frozenset(self._unreadable)
        self._whole += not (silently or self._known_root is None or self._known_root.empty)
        vanished = [path for path, seen in self._seen.items() if seen.scan != self._scan]
        if self._unreadable:
            vanished = [path for path in vanished if not _is_unknown(path, self._unreadable)]
        found = self._forget(vanished)
        return Findings() if silently else found

    def _forget(self, paths: Sequence[str]) -> Findings:
        """In one step: between two steps a hint may find one of them again."""
        for path in paths:
            self._left[self._seen.pop(path).facts[3]] = self._scan
        return Findings([StreamEvent(WatcherChangeType.DELETE, path) for path in paths])


def recordings_in(root: Path, globs: Globs, stat: Callable[[str], Snapshot | None]) -> list[str]:
    """The paths of all recordings below ``root``, sorted. Blocks. Raises ``ChunkProcessingError`` if it is missing."""
    tree = Tree(root, globs, stat, hints_of_deletion_are_proof=False)
    found = [event.path for step in tree.scan() for event in step.events]
    if tree.missing:
        raise ChunkProcessingError(f"the folder {root} is missing", operation="scan")
    return sorted(found)


def _folders_of(path: str) -> Iterator[str]:
    """The relative folders above ``path``, the nearest first."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _is_unknown(path: str, unreadable: Collection[str]) -> bool:
    """Whether a scan that could not look at these knows nothing of the path."""
    return "" in unreadable or path in unreadable or _is_below(path, unreadable)


def _is_below(path: str, folders: Collection[str]) -> bool:
    return any(folder in folders for folder in _folders_of(path))


def _kind(mode: int) -> str:
    """Why something that matches a pattern is not a recording."""
    if modes.S_ISDIR(mode):
        return "a folder; only the files inside it count"
    if modes.S_ISLNK(mode):
        return "a symbolic link, which is not followed"
    if modes.S_ISFIFO(mode):
        return "a FIFO, not a file"
    return "a socket or a device, not a file"
