"""Finds recordings in the watched folder: notifications are hints, a periodic scan is the truth.

Notifications (watchfiles) are quick, but they say nothing of their queue's overflow, miss files that are created
together with their folder, see nothing of what another host writes to a network file system, and end altogether when
a name is not UTF-8. So a hint only makes the watcher look at a path at once, and every ``scan_seconds`` it looks at
all of them. Both looks compare with what is remembered of each file, so that one change makes one event.

Files vanish, mounts vanish too: when the folder itself is away, is empty at once, or is suddenly on another device,
no file is reported as deleted. The folder is then reported once, and scanned on.

Recordings are regular files whose name matches a glob. Symbolic links are not followed, neither to files nor to
folders; what matches a glob and is no recording is reported once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat as modes
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Protocol, TypeVar

from watchfiles import Change, watch
from watchfiles.main import FileChange

from ..domain import Snapshot
from ..events import StreamEvent, WatcherChangeType
from ..exceptions import ChunkProcessingError

T = TypeVar("T")

#: Milliseconds: notifications of one file come at most this often.
HINT_STEP_MS = 200
HINT_DEBOUNCE_MS = 400
#: Milliseconds between two looks when polling is forced: it costs a stat per file each time.
POLL_DELAY_MS = 1000
#: Milliseconds without a notification after which watchfiles tells that it is at work.
HINT_QUIET_MS = 1000
#: Seconds until notifications are tried again; doubled each time up to the longest.
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 60.0
#: Entries of folders that are looked at before their events are published; events that are published at once.
BATCH = 500
#: Paths that wait for a look; more than this and everything is looked at instead.
HINTS_KEPT = 10_000
#: Seconds that the end waits for the thread of the notifications.
STOP_SECONDS = 1.0
#: A file system that owes an answer for so long is taken for dead.
SILENT_SECONDS = 30.0


class WatcherTelemetry(Protocol):
    """The noteworthy moments of watching."""

    def file_skipped(self, *, path: str, reason: str) -> None:
        """Once for each path, until it is something else."""

    def watcher_restarted(self, *, error: BaseException, retry_seconds: float) -> None:
        """Notifications ended; they are tried again after so many seconds. The scan goes on."""

    def film_unmatched(self, *, path: str, pattern: str) -> None:
        """A file that looks like a film matches no pattern; ``pattern`` would take it. Once for each pattern."""

    def folder_missing(self, *, path: str) -> None:
        """The watched folder is away, empty at once, or on another device than before: nothing counts as deleted."""

    def folder_back(self, *, path: str) -> None: ...

    def scanned(self, *, files: int, seconds: float) -> None:
        """A whole scan of a folder that is there; ``files``: recordings in it."""


class Globs:
    """Which names are recordings'. A pattern with a slash is compared with the whole relative path (there ``*`` also
    matches slashes, and ``**/`` no folder at all as well), any other with the name. Upper and lower case differ.

    What ``excluded`` names is none all the same. There a pattern without a slash is compared with the names of all
    folders above the file, too.
    """

    def __init__(self, patterns: Sequence[str], excluded: Sequence[str] = ()) -> None:
        self._name, self._path = _by_name_and_path(patterns)
        self._excluded_name, self._excluded_path = _by_name_and_path(excluded)

    def match(self, path: str) -> bool:
        named = self._name.match(path.rpartition("/")[2]) or self._path.match(path)
        return bool(named) and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Whether the path is left out by its own name, or by that of a folder above it."""
        return bool(self._excluded_path.match(path) or any(map(self._excluded_name.match, path.split("/"))))


def _by_name_and_path(patterns: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    every = list(dict.fromkeys(form for pattern in patterns for form in _without_stars(pattern)))
    return _any_of([p for p in every if "/" not in p]), _any_of([p for p in every if "/" in p])


def _without_stars(pattern: str) -> Iterator[str]:
    """The pattern, and the same where ``**/`` stands for no folder."""
    yield pattern
    before, stars, after = pattern.partition("**/")
    if stars:
        yield from (f"{before}{form}" for form in _without_stars(after))
        yield from (f"{before}{stars}{form}" for form in _without_stars(after) if form != after)


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) if patterns else r"(?!)")


#: What films are called, whoever made them.
_FILM = re.compile(
    r".\.(mp4|m4v|mov|qt|mkv|webm|ts|mts|m2ts|avi|mpe?g|flv|f4v|3gp|3g2|mxf|wmv|insv)", re.ASCII | re.IGNORECASE
)


def pattern_of_a_film(name: str) -> str | None:
    """The pattern that takes a name that looks like a film's, with its capitals; None for any other name."""
    dot = name.rfind(".")
    return f"*{name[dot:]}" if dot > 0 and _FILM.fullmatch(name[dot - 1 :]) else None


#: Size, mtime_ns, ctime_ns, inode.
Facts = tuple[int, int, int, int]


_NEVER_SEEN: Facts = (-1, -1, -1, -1)


@dataclass(slots=True)
class _Seen:
    """What is remembered of a file, and in which scan it was seen last."""

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
    """What one step of looking has found; told in the event loop's thread."""

    events: list[StreamEvent] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    entries: int = 0
    missing: bool | None = None  # True: the watched folder went away, False: it is back
    other_root: bool = False  # notifications still come from a folder that is not there any more


class Tree:
    """The memory of the watched folder. Blocks: for one thread at a time, which is never the event loop's."""

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
        self._skipped: dict[str, int] = {}  # reported path -> scan that met it last
        self._unmatched: set[str] = set()  # patterns that were named; capitals are all that makes them many
        self._unreadable: set[str] = set()  # folders of which this scan knows nothing
        self._scan = 0
        self._known_root: _Root | None = None
        self.missing = False  # the watched folder; nothing counts as deleted

    @property
    def files(self) -> int:
        """Recordings that are remembered."""
        return len(self._seen)

    def scan(self) -> Iterator[Findings]:
        """Look at everything, one batch of entries at a time."""
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
            # Whoever follows a file saw it gone meanwhile: every one of them deserves a look, changed or not.
            for seen in self._seen.values():
                seen.facts = _NEVER_SEEN
        found.other_root |= before is not None and (before.device, before.inode) != (root.device, root.inode)
        yield found
        self._scan += 1
        self._unreadable.clear()
        yield from self._walk("")
        if self._look_at_root() == root:  # else it went away meanwhile, and what was not met may be there
            self._known_root = root
            yield self._end_scan(silently=other_device)

    def look_at(self, paths: Iterable[str]) -> Iterator[Findings]:
        """Look at what notifications named."""
        found = Findings()
        gone: set[str] = set()
        folders: list[str] = []
        for path in paths:
            try:
                self._look_at_path(path, found, gone, folders)
            except (OSError, ChunkProcessingError):
                continue  # the scan meets it too, and reports it
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
        """Whether a file that is not there was deleted, rather than gone with its mount."""
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
        return Findings(missing=missing, other_root=not missing)

    def _walk(self, top: str) -> Iterator[Findings]:
        """Everything below the folder ``top``; the memory that it takes grows with the folders, not the files."""
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
            return  # gone meanwhile
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
            return  # gone meanwhile
        except OSError as error:
            self._unreadable.add(path)
            self._skip(path, f"cannot be looked at: {error.strerror}", found)

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
            seen.facts = facts
            found.events.append(StreamEvent(WatcherChangeType.WRITE, path))
        seen.scan = self._scan

    def _is_old(self, facts: Facts) -> bool:
        """Only in the first scan; and what was copied here meanwhile has an old mtime perhaps, but no old ctime."""
        _, mtime_ns, ctime_ns, _ = facts
        first = self._known_root is None
        return first and self._old_ns is not None and mtime_ns < self._old_ns and ctime_ns < self._began_ns

    def _skip(self, path: str, reason: str, found: Findings) -> None:
        if path not in self._skipped:
            found.skipped.append((path, reason))
        self._skipped[path] = self._scan

    def _end_scan(self, *, silently: bool) -> Findings:
        """What this scan did not meet is forgotten, except where it could not look."""
        self._skipped = {path: scan for path, scan in self._skipped.items() if scan == self._scan}
        vanished = [path for path, seen in self._seen.items() if seen.scan != self._scan]
        if self._unreadable:
            vanished = [path for path in vanished if not self._is_unknown(path)]
        found = self._forget(vanished)
        return Findings() if silently else found

    def _is_unknown(self, path: str) -> bool:
        unreadable = self._unreadable
        return "" in unreadable or path in unreadable or _is_below(path, unreadable)

    def _forget(self, paths: Sequence[str]) -> Findings:
        """All in one step: between two steps a hint may find one of them again."""
        for path in paths:
            del self._seen[path]
        return Findings([StreamEvent(WatcherChangeType.DELETE, path) for path in paths])


def _folders_of(path: str) -> Iterator[str]:
    """The relative folders above ``path``, the nearest first."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _is_below(path: str, folders: Collection[str]) -> bool:
    return any(folder in folders for folder in _folders_of(path))


def _kind(mode: int) -> str:
    """Why something with a recording's name is none."""
    if modes.S_ISDIR(mode):
        return "a folder; only what is inside it is looked at"
    if modes.S_ISLNK(mode):
        return "a symbolic link, which is not followed"
    if modes.S_ISFIFO(mode):
        return "a FIFO, not a file"
    return "a socket or a device, not a file"


class Watcher:
    """Publishes a hint for every recording that appears, changes or vanishes below ``root``.

    ``stat`` says what a path is without following links, None when it is no regular file inside the tree; it blocks
    and is called in the watcher's own thread. ``force_polling`` makes watchfiles look by itself instead of waiting for
    notifications; the scan every ``scan_seconds`` happens in any case.
    """

    def __init__(
        self,
        root: Path,
        *,
        globs: Globs,
        scan_seconds: float,
        force_polling: bool,
        stat: Callable[[str], Snapshot | None],
        telemetry: WatcherTelemetry,
        old_seconds: float | None = None,
        when_scanned: Callable[[], None] = lambda: None,
    ) -> None:
        self._root = Path(os.path.abspath(root))
        self._prefix = f"{self._root}/"
        self._globs = globs
        self._scan_seconds = scan_seconds
        self._force_polling = force_polling
        self._telemetry = telemetry
        # A kernel names a deleted file because somebody deleted it; a poller also when the mount is gone.
        self._tree = Tree(
            self._root, self._globs, stat, hints_of_deletion_are_proof=not force_polling, old_seconds=old_seconds
        )
        self._when_scanned = when_scanned
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="watcher-scan")
        self._listening = ThreadPoolExecutor(1, thread_name_prefix="watcher-hints")
        self._end_session = threading.Event()
        self._hints: dict[str, None] = {}
        self._scan_wanted = True
        self._woken = asyncio.Event()
        self._asked_at: float | None = None  # since then the file system has owed an answer

    async def ping(self) -> None:
        """Raise ``OSError`` when the folder is away, or says nothing. Asks nobody: what hangs already is enough."""
        if self._tree.missing:
            raise FileNotFoundError(errno.ENOENT, "it is gone, empty at once, or on another device; is it mounted?")
        if self._asked_at is not None and time.monotonic() - self._asked_at > SILENT_SECONDS:
            raise TimeoutError(errno.ETIMEDOUT, "a file or folder in it does not answer; is its server there?")

    async def run(self, publish: Callable[[StreamEvent], None]) -> None:
        """Goes on until it is cancelled. The first scan happens at once; files that exist are new to it. Once only."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_listening(), name="watcher hints")
                tasks.create_task(self._keep_looking(publish), name="watcher scan")
        finally:
            self._end_session.set()
            self._looking.shutdown(wait=False, cancel_futures=True)
            self._listening.shutdown(wait=False, cancel_futures=True)

    async def _keep_looking(self, publish: Callable[[StreamEvent], None]) -> None:
        loop = asyncio.get_running_loop()
        next_scan = loop.time()
        while True:
            self._woken.clear()
            if self._scan_wanted or loop.time() >= next_scan:
                self._scan_wanted = False
                await self._scan(publish)
                next_scan = loop.time() + self._scan_seconds
            await self._look_at_hints(publish)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_scan):
                    await self._woken.wait()

    async def _scan(self, publish: Callable[[StreamEvent], None]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        steps = self._tree.scan()
        while (found := await self._blocking(lambda: next(steps, None))) is not None:
            await self._tell(found, publish)
            await self._look_at_hints(publish)  # a long scan delays no hint
        if not self._tree.missing:
            self._when_scanned()
            self._telemetry.scanned(files=self._tree.files, seconds=loop.time() - began)

    async def _look_at_hints(self, publish: Callable[[StreamEvent], None]) -> None:
        if not self._hints:
            return
        hints, self._hints = self._hints, {}
        steps = self._tree.look_at(hints)
        while (found := await self._blocking(lambda: next(steps, None))) is not None:
            await self._tell(found, publish)

    async def _tell(self, found: Findings, publish: Callable[[StreamEvent], None]) -> None:
        for number, event in enumerate(found.events, start=1):
            publish(event)
            if number % BATCH == 0:  # thousands of files may vanish at once
                await asyncio.sleep(0)
        for path, reason in found.skipped:
            self._telemetry.file_skipped(path=path, reason=reason)
        for path, pattern in found.unmatched:
            self._telemetry.film_unmatched(path=path, pattern=pattern)
        if found.missing:
            self._telemetry.folder_missing(path=str(self._root))
        elif found.missing is False:
            self._telemetry.folder_back(path=str(self._root))
        if found.other_root:
            self._end_session.set()

    async def _keep_listening(self) -> None:
        """Notifications, begun again whenever they end."""
        loop = asyncio.get_running_loop()
        wait = FIRST_RESTART_SECONDS
        while True:
            self._end_session = threading.Event()
            began = loop.time()
            try:
                await self._listen(self._end_session)
            except (OSError, RuntimeError, ValueError) as error:  # all that watchfiles raises
                if loop.time() - began > LONGEST_RESTART_SECONDS:
                    wait = FIRST_RESTART_SECONDS
                self._want_scan()
                self._telemetry.watcher_restarted(error=error, retry_seconds=wait)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_RESTART_SECONDS)

    async def _listen(self, end: threading.Event) -> None:
        """One session of notifications, until ``end``."""
        loop = asyncio.get_running_loop()
        session = loop.run_in_executor(self._listening, self._pass_on, end, loop)
        try:
            await asyncio.shield(session)
        finally:
            end.set()
            await asyncio.wait([session], timeout=STOP_SECONDS)

    def _pass_on(self, end: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        os.scandir(self._root).close()  # says what is wrong with it better than watchfiles does
        try:
            self._pass_on_all(self._notifications(end, lenient=False), loop)
        except PermissionError:  # a folder inside; the scan reports it
            self._pass_on_all(self._notifications(end, lenient=True), loop)
        if not end.is_set():
            raise RuntimeError("notifications ended by themselves")

    def _notifications(self, end: threading.Event, *, lenient: bool) -> Generator[set[FileChange], None, None]:
        """``lenient`` does without the folders that cannot be watched, but says nothing of any other trouble either."""
        return watch(
            str(self._root),
            watch_filter=self._wanted,
            debounce=HINT_DEBOUNCE_MS,
            step=HINT_STEP_MS,
            rust_timeout=HINT_QUIET_MS,
            yield_on_timeout=True,
            stop_event=end,
            raise_interrupt=False,
            force_polling=self._force_polling,
            poll_delay_ms=POLL_DELAY_MS,
            ignore_permission_denied=lenient,
            debug=False,
        )

    def _pass_on_all(
        self, notifications: Generator[set[FileChange], None, None], loop: asyncio.AbstractEventLoop
    ) -> None:
        loop_knows = False
        with closing(notifications):
            for changes in notifications:
                if not loop_knows:  # what changed before the session began is nobody's hint
                    loop.call_soon_threadsafe(self._want_scan)
                    loop_knows = True
                if changes:
                    loop.call_soon_threadsafe(self._hinted, [path for _, path in changes])
                if (Change.deleted, str(self._root)) in changes:
                    raise FileNotFoundError("the watched folder was removed")

    def _wanted(self, change: Change, path: str) -> bool:
        """Any name may be a folder when it appears or vanishes."""
        return change is not Change.modified or self._globs.match(path.removeprefix(self._prefix))

    def _hinted(self, paths: Iterable[str]) -> None:
        self._hints.update(
            dict.fromkeys(path.removeprefix(self._prefix) for path in paths if path.startswith(self._prefix))
        )
        if len(self._hints) > HINTS_KEPT:
            self._hints.clear()
            self._scan_wanted = True
        self._woken.set()

    def _want_scan(self) -> None:
        self._scan_wanted = True
        self._woken.set()

    async def _blocking(self, work: Callable[[], T]) -> T:
        self._asked_at = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._looking, work)
        finally:
            self._asked_at = None
