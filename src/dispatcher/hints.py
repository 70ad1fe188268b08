"""Hints: paths at which something may have happened. Each path is examined on its own, many of them at the same time.

Only a look at the file shows what a hint means. Looking waits for the disk and for nothing else, so that an outage of
the store or of Redis delays no look, and a file that hangs delays only its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict

from ..domain import Observation, Snapshot, World, moments
from ..exceptions import ChunkProcessingError
from ..timeouts import TaskGroup
from . import sightings
from .newcomers import Newcomers
from .register import Register, Stream
from .sightings import Case, Sighting

#: Interval for examining a path again after a look without a result.
LOOK_AGAIN_SECONDS = 30.0
#: Maximum number of paths examined at the same time: those that are asked for together are one sweep of a thread.
_AT_ONCE = 250


class Hints:
    """The hinted paths, and the consequences of a look at each. Several hints about one path count as one until
    then, and no path is examined twice at the same time: the later look would not count."""

    def __init__(self, world: World, register: Register, newcomers: Newcomers) -> None:
        self._world = world
        self._register = register
        self._newcomers = newcomers
        self._paths: OrderedDict[str, None] = OrderedDict()
        self._under_way: set[str] = set()
        self._changed = asyncio.Event()
        self._postponed: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def are_all_looked_at(self) -> bool:
        """Whether no hint waits, and no look is in progress."""
        return not self._paths and not self._under_way

    @property
    def nothing_is_left(self) -> bool:
        """Whether every hint was looked at, and every look had a result."""
        return self.are_all_looked_at and not self._postponed

    def add(self, *paths: str) -> None:
        for path in paths:
            self._paths[path] = None
            self._changed.set()

    async def look_at_all(self) -> None:
        """Runs until cancelled."""
        async with TaskGroup() as looks:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while (path := self._next()) is not None:
                    self._under_way.add(path)
                    looks.create_task(self._examine(path), name="dispatcher-look")

    def _next(self) -> str | None:
        """The path that was hinted first, of those that are not under way."""
        if len(self._under_way) >= _AT_ONCE:
            return None
        path = next((path for path in self._paths if path not in self._under_way), None)
        if path is not None:
            del self._paths[path]
        return path

    async def _examine(self, path: str) -> None:
        try:
            await self._look_at(path)
        except ChunkProcessingError as exc:
            self._look_again_later(path, exc)
        finally:
            self._under_way.discard(path)
            self._changed.set()

    def _look_again_later(self, path: str, error: ChunkProcessingError) -> None:
        """The folder is not readable, or missing: a file in it neither exists nor is deleted."""
        self._world.telemetry.stream("", path).emit(
            moments.Trouble(operation="file_read", error=error, retry_seconds=LOOK_AGAIN_SECONDS)
        )
        self._postponed[path] += 1
        asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._add_postponed, path)

    def _add_postponed(self, path: str) -> None:
        self.add(path)
        self._postponed -= Counter({path: 1})

    async def _look_at(self, path: str) -> None:
        """Look, decide from the file itself what the hint means, and act.

        Looking waits for the disk, and streams may end meanwhile: so the register is read after the last look, and
        nothing is awaited from there on. If another hint about the same recording was decided between two looks, the
        first of them may be outdated (a rename has two hints), and all of it begins again.
        """
        snapshot = await self._world.recordings.snapshot(path)
        if snapshot is not None:
            # at once: the next look may fail, and a file may be truncated only for a moment
            self._register.see(path, snapshot)
        looks = {path: snapshot}
        first = self._living(snapshot)
        decided = None if first is None else first.decided
        while (living := self._living(snapshot)) is not None and living.path not in looks:
            looks[living.path] = await self._world.recordings.snapshot(living.path)
        if living is not first or (living is not None and living.decided != decided):
            self.add(path)
            return
        at_path = self._register.by_path.get(path)
        settled = self._register.settled.get(path)
        sighting = Sighting(
            path,
            snapshot,
            now=self._world.clock.utc_now().timestamp(),
            is_carried_here=at_path is not None,
            name=None if living is None else living.path,
            at_name=None if living is None else looks[living.path],
            done=None if settled is None else settled.snapshot,
            to_be_read=self._newcomers.to_read.snapshot(path),
            ready=self._newcomers.resting.snapshot(path),
        )
        case = sightings.decide(sighting)
        stream = living or at_path
        if stream is not None:
            self._tell(stream, case, path)
        else:
            self._note(case, path, snapshot)

    def _living(self, snapshot: Snapshot | None) -> Stream | None:
        """The active recording of the file, under any name."""
        return None if snapshot is None else self._register.by_identity.get(snapshot.identity)

    def _tell(self, stream: Stream, case: Case, path: str) -> None:
        """The cases of an active recording."""
        stream.decided += 1
        match case:
            case Case.GONE_WHILE_CARRIED:
                self._forget(path)
                stream.seen = None
            case Case.MOVED:
                self._rename(stream, path)
            case Case.LINK:
                self._skip_link(path)
                return  # its processor does not know about this one
            case Case.BETTER_NAME:
                self._skip_link(stream.path)
                self._rename(stream, path)
            case Case.IN_ANOTHERS_PLACE:
                stream.waiting_paths.add(path)
        stream.hint()

    def _note(self, case: Case, path: str, snapshot: Snapshot | None) -> None:
        """The cases of a path without an active recording."""
        if snapshot is None:
            self._forget(path)
        elif case is Case.EMPTY:
            if self._register.is_new(path, self._register.empty):
                self._world.telemetry.emit(moments.EmptyFile(file_path=path))
        else:
            self._register.has_bytes(path)
            if case not in (Case.DONE, Case.WAITS_TO_BE_READ):
                proved = self._register.proved(path, snapshot.identity)
                fresh = case is not Case.LIES_READY
                seen = Observation(snapshot, self._world.clock.monotonic())
                self._newcomers.put(path, seen, proved, fresh=fresh)

    def _forget(self, path: str) -> None:
        self._register.forget(path)
        self._newcomers.forget(path)
        self.add(*self._register.links)  # one of them may be the only name left of a recording

    def _skip_link(self, path: str) -> None:
        if self._register.is_new(path, self._register.links):
            self._world.telemetry.emit(
                moments.FileSkipped(file_path=path, reason="another name (hard link) of a recording")
            )

    def _rename(self, stream: Stream, path: str) -> None:
        self.add(*stream.waiting_paths)
        stream.waiting_paths.clear()
        displaced = self._register.rename(stream, path)
        if displaced is not None:
            displaced.hint()  # nothing else tells it that its file is missing
        if stream.processor is not None:
            stream.processor.renamed(path)
