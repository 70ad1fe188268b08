"""Finds recordings in the watched folder: notifications are hints, periodic scans are authoritative.

Notifications (watchfiles) are fast, but they do not report the overflow of their queue, miss files that are created
together with their folder, see no changes by another host on a network file system, and stop if a name is not UTF-8. So
a hint only triggers an immediate look at a path, and every ``scan_seconds`` all paths are examined. Both compare with
the remembered state of each file, so that one change makes one event.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from typing import TypeVar

from watchfiles import Change, watch
from watchfiles.main import FileChange

from ..domain import Identity, Snapshot, moments
from ..events import StreamEvent
from ..exceptions import Stopped
from ..timeouts import TaskGroup, timeout_at
from .globs import Globs
from .tree import BATCH, Findings, Tree

T = TypeVar("T")

#: Minimum interval between notifications of one file, in milliseconds.
HINT_STEP_MS = 200
HINT_DEBOUNCE_MS = 400
#: Polling interval in milliseconds; polling costs a stat per file each time.
POLL_DELAY_MS = 1000
#: Milliseconds without a notification after which watchfiles reports that it is running.
HINT_QUIET_MS = 1000
#: Seconds before notifications are restarted; doubled each time up to the longest.
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 60.0
#: Maximum number of hinted paths; above it everything is scanned instead.
HINTS_KEPT = 10_000
#: Seconds that the stop waits for the thread of the notifications.
STOP_SECONDS = 1.0
#: Minimum interval in seconds between two looks at a path because of notifications. A recorder may write many times in
#: a second, and 1,000 of them must not cost more than a sweep over 1,000 files each second.
LOOK_SECONDS = 1.0
#: Minimum interval in seconds between two sweeps over the hinted paths.
SWEEP_SECONDS = 0.2
#: A file system that does not respond for this long counts as dead.
SILENT_SECONDS = 30.0


class Watcher:
    """Publishes a hint for every recording that appears, changes or vanishes below ``root``.

    ``stat`` returns the snapshot of a path without following links, None if it is not a regular file inside the tree;
    it blocks and is called in the watcher's own thread. ``force_polling`` makes watchfiles poll instead of waiting for
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
        emit: moments.Emit,
        old_seconds: float | None = None,
        when_scanned: Callable[[], None] = lambda: None,
    ) -> None:
        self._root = Path(os.path.abspath(root))
        self._prefix = f"{self._root}/"
        self._globs = globs
        self._scan_seconds = scan_seconds
        self._force_polling = force_polling
        self._emit = emit
        # The kernel reports a file as deleted only if it was; a poller does so also for an unmounted one.
        self._tree = Tree(
            self._root, self._globs, stat, hints_of_deletion_are_proof=not force_polling, old_seconds=old_seconds
        )
        self._when_scanned = when_scanned
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="watcher-scan")
        self._listening = ThreadPoolExecutor(1, thread_name_prefix="watcher-hints")
        self._end_session = threading.Event()
        self._hints: dict[str, None] = {}
        self._looked_at: dict[str, float] = {}  # by path; only the last second
        self._scan_wanted = True
        self._woken = asyncio.Event()
        self._ended = False
        self._scans_begun = 0
        self.newest_scan = 0  # the number of the newest scan of the whole folder that has ended
        self._asked_at: float | None = None  # since then the file system has not responded

    async def ping(self) -> None:
        """Raise ``OSError`` if the folder is missing or does not respond. Makes no system call, which might hang,
        too."""
        if self._tree.missing:
            raise FileNotFoundError(
                errno.ENOENT, "it is missing, suddenly empty, or on another device; check that it is mounted"
            )
        asked_at = self._asked_at  # another thread sets it
        if asked_at is not None and time.monotonic() - asked_at > SILENT_SECONDS:
            raise TimeoutError(errno.ETIMEDOUT, "a file or folder in it does not respond; check its file server")

    def scan_soon(self) -> int:
        """Scan the whole folder at once; returns that scan's number: ``newest_scan`` reaches it when it has ended."""
        self._want_scan()
        return self._scans_begun + 1

    @property
    def unreadable(self) -> int:
        """The number of folders and files that the newest scan could not read."""
        return self._tree.unreadable

    async def census(self) -> Callable[[Sequence[tuple[Identity, str]]], Awaitable[list[bool]]] | None:
        """Asks which files are gone, as ``Census.are_gone``; None while no scan can tell."""
        census = await self._blocking(self._tree.census)
        if census is None:
            return None

        async def are_gone(files: Sequence[tuple[Identity, str]]) -> list[bool]:
            return await self._blocking(lambda: census.are_gone(files))

        return are_gone

    async def run(self, publish: Callable[[StreamEvent], None]) -> None:
        """Runs until cancelled. The first scan happens at once; existing files are new to it. Call it only once."""
        try:
            async with TaskGroup() as tasks:
                tasks.create_task(self._keep_listening(), name="watcher hints")
                tasks.create_task(self._keep_looking(publish), name="watcher scan")
        finally:
            self._ended = True
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
            next_look = await self._look_at_hints(publish)
            with suppress(TimeoutError):
                async with timeout_at(min(next_scan, next_look)):
                    await self._woken.wait()

    async def _scan(self, publish: Callable[[StreamEvent], None]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._scans_begun += 1
        steps = self._tree.scan()
        while (found := await self._blocking(lambda: next(steps, None))) is not None:
            await self._tell(found, publish)
            await self._look_at_hints(publish)  # a long scan delays no hint
        if not self._tree.missing:
            self.newest_scan = self._scans_begun
            self._when_scanned()
            self._emit(moments.FolderScanned(files=self._tree.files, seconds=loop.time() - began))

    async def _look_at_hints(self, publish: Callable[[StreamEvent], None]) -> float:
        """All hinted paths in one sweep, except those of the last second. Returns when to look at the next of those, in
        event-loop time."""
        if not self._hints:
            return inf
        now = asyncio.get_running_loop().time()
        recent = {path: at for path, at in self._looked_at.items() if now - at < LOOK_SECONDS}
        hints, self._hints = self._hints, {path: None for path in self._hints if path in recent}
        due = [path for path in hints if path not in recent]
        self._looked_at = recent | dict.fromkeys(due, now)
        if due:
            steps = self._tree.look_at(due)
            while (found := await self._blocking(lambda: next(steps, None))) is not None:
                await self._tell(found, publish)
        oldest = min((self._looked_at[path] for path in self._hints if path in self._looked_at), default=inf)
        return max(oldest + LOOK_SECONDS, now + SWEEP_SECONDS)

    async def _tell(self, found: Findings, publish: Callable[[StreamEvent], None]) -> None:
        for number, event in enumerate(found.events, start=1):
            publish(event)
            if number % BATCH == 0:  # thousands of files may vanish at once
                await asyncio.sleep(0)
        for path, reason in found.skipped:
            self._emit(moments.FileSkipped(file_path=path, reason=reason))
        for path, pattern in found.unmatched:
            self._emit(moments.UnmatchedMediaFile(file_path=path, pattern=pattern))
        if found.missing:
            self._emit(moments.FolderMissing(folder=str(self._root)))
        elif found.missing is False:
            self._emit(moments.FolderRecovered(folder=str(self._root)))
        if found.other_root:
            self._end_session.set()

    async def _keep_listening(self) -> None:
        """Notifications, restarted whenever they end."""
        loop = asyncio.get_running_loop()
        wait = FIRST_RESTART_SECONDS
        while True:
            self._end_session = threading.Event()
            began = loop.time()
            try:
                await self._listen(self._end_session)
            except (OSError, RuntimeError, ValueError) as error:  # all that watchfiles raises
                if loop.time() - began > LONGEST_RESTART_SECONDS:
                    wait = FIRST_RESTART_SECONDS  # a session of that length worked: this is a new problem
                self._want_scan()
                self._emit(moments.WatcherRestarted(error=error, retry_in_seconds=wait))
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
        os.scandir(self._root).close()  # raises a more precise error than watchfiles
        try:
            self._pass_on_all(self._notifications(end, lenient=False), loop)
        except PermissionError:  # a folder inside; the scan reports it
            self._pass_on_all(self._notifications(end, lenient=True), loop)
        if not end.is_set():
            raise RuntimeError("notifications ended by themselves")

    def _notifications(self, end: threading.Event, *, lenient: bool) -> Generator[set[FileChange], None, None]:
        """``lenient`` skips folders that cannot be watched, but reports no other problem either."""
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
                if not loop_knows:  # changes before the session began have no hint
                    loop.call_soon_threadsafe(self._want_scan)
                    loop_knows = True
                if changes:
                    loop.call_soon_threadsafe(self._hinted, [path for _, path in changes])
                if (Change.deleted, str(self._root)) in changes:
                    raise FileNotFoundError("the watched folder was removed")

    def _wanted(self, change: Change, path: str) -> bool:
        """Any name may be that of a folder when it appears or vanishes."""
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
        """Raises ``Stopped`` once the watcher has ended: others may ask until the daemon has."""
        if self._ended:
            raise Stopped

        def timed() -> T:
            # In the only thread that looks: of several callers, one that ends must not hide another that hangs.
            self._asked_at = time.monotonic()
            try:
                return work()
            finally:
                self._asked_at = None

        return await asyncio.get_running_loop().run_in_executor(self._looking, timed)
