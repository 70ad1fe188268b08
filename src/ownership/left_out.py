"""Which files of an old archive are ignored, and which excluded files still finish their uploads.

A file that the first scan finds older than ``IGNORE_OLDER_THAN`` is ignored, unless Redis has a checkpoint or a marker
of it or the store has an open upload at its key. Files that appear or change while the daemon runs go to the dispatcher
at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from ..domain import Identity, Snapshot, World, moments, names_of, object_key
from ..events import StreamEvent
from ..exceptions import ChunkProcessingError, Permanent, Transient

T = TypeVar("T")

#: Number of files that are looked at together, and that Redis is asked about in one exchange.
_AT_ONCE = 200
_TRY_AGAIN_SECONDS = 30.0


class LeftOut:
    """Between watcher and dispatcher: ``publish`` receives the watcher's events, ``passes_on`` delivers them."""

    def __init__(
        self,
        world: World,
        remembered: Callable[[], Awaitable[Sequence[tuple[str, Identity]]]],
        is_watched: Callable[[str], bool],
        *,
        passes_on: Callable[[StreamEvent], None],
        emit: moments.Emit,
    ) -> None:
        self._world = world
        self._is_watched = is_watched
        self._passes_on = passes_on
        self._remembered = remembered
        self._emit = emit
        self._waiting: dict[str, StreamEvent] = {}
        self._left: set[str] = set()
        self._newest: tuple[int, str] = (-1, "")
        self._scanned = asyncio.Event()

    @property
    def nothing_is_left(self) -> bool:
        """Whether it is decided of every old file whether it is left out."""
        return not self._waiting

    def publish(self, event: StreamEvent) -> None:
        """Receive an event; only an old file of the first scan has to wait."""
        if event.is_old:
            self._waiting[event.path] = event
            return
        self._waiting.pop(event.path, None)
        if event.path in self._left:
            self._left.discard(event.path)
            self._emit(moments.LeftOut(count=len(self._left)))
        self._passes_on(event)

    def first_scan_done(self) -> None:
        """The first scan is over: all old files are known."""
        self._scanned.set()

    async def run(self) -> None:
        """Decide about all old files, once, and return. Redis and the store may be unavailable for any time."""
        # Redis is not queried again: two concurrent loads would both set aside invalid checkpoints.
        remembered = await self._remembered()
        odd = sorted(path for path, _ in remembered if not self._is_watched(path))
        if odd:
            self._emit(moments.ExcludedStreams(count=len(odd), paths=odd[:10]))
        await self._scanned.wait()
        if not self._waiting:
            return
        uploads = await self._asked(lambda: self._world.store.list_uploads_under(self._world.naming.key_prefix))
        known = {identity for _, identity in remembered}
        names = {name for upload in uploads for name in names_of(upload.key)}
        while self._waiting:
            paths = tuple(islice(self._waiting, _AT_ONCE))
            unknown = await self._unknown(paths, known, names)
            for path in paths:
                event = self._waiting.pop(path, None)
                if event is None:
                    continue  # it has changed meanwhile
                if (snapshot := unknown.get(path)) is None:
                    self._passes_on(event)
                else:
                    self._left.add(path)
                    self._newest = max(self._newest, (snapshot.mtime_ns, path))
        self._emit(moments.LeftOut(count=len(self._left)))
        if self._left:
            changed_ns, newest = self._newest
            at = datetime.fromtimestamp(changed_ns / 1e9, UTC)
            self._emit(moments.OldFilesIgnored(count=len(self._left), file_path=newest, changed_at=at))

    async def _unknown(self, paths: Sequence[str], known: set[Identity], names: set[str]) -> dict[str, Snapshot]:
        """Those of the files of which neither Redis nor the store remembers anything."""
        found: dict[str, Snapshot] = {}
        # Together they are one sweep of a thread, and a file that hangs delays no more than those.
        for path, snapshot in zip(paths, await asyncio.gather(*map(self._look, paths)), strict=True):
            is_open = object_key(self._world.naming.key_prefix, path) in names  # an upload, at one of its keys
            if snapshot is not None and snapshot.identity not in known and not is_open:
                found[path] = snapshot
        if not found:
            return found
        asked = [(snapshot.identity, "") for snapshot in found.values()]
        told = await self._asked(lambda: self._world.checkpoints.remembered_of(asked))
        return {
            path: snapshot
            for (path, snapshot), answer in zip(found.items(), told, strict=True)
            if answer is None or answer[0] is None
        }

    async def _look(self, path: str) -> Snapshot | None:
        with suppress(ChunkProcessingError):  # the dispatcher reports the problem
            return await self._world.recordings.snapshot(path)
        return None

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await question()
            except (Permanent, Transient) as error:
                self._emit(moments.Unexpected(file_path="", error=error, retry_seconds=_TRY_AGAIN_SECONDS))
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
