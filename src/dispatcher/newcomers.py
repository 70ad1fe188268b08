"""Queues of files to be taken up: those that may be growing, those that are ready, and those that must be read first.

The queue only affects the order, never the result. A waiting file costs one entry; only files that were taken up have
tasks.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from ..domain import Holding, Observation, Snapshot, Tally, Unfinished, Waiting

#: Maximum number of possibly growing recordings that are looked up at the same time; afterwards all of them proceed.
_CLAIMS_AT_ONCE = 16
#: A lookup that has taken this long lets the next one begin.
CLAIM_SECONDS = 3.0
#: Maximum number of ready files in progress; the others wait, even a folder of 100,000.
_RESTING_AT_ONCE = 16
#: Maximum number of ready files in progress without a result of their lookup, because of an outage of S3 or Redis.
_MOST_UNKNOWN = 1000
#: A file that is written twice within this time is growing.
_GROWING_SECONDS = 60.0


class Queue:
    """Files to be taken up, by path. A file that is taken up leaves the tally; ``at_once`` of them may hold a room, and
    ``most_unknown`` of those that left their room may be without a claim."""

    def __init__(self, at_once: int, tally: Tally, most_unknown: int | None = None) -> None:
        self.rooms = asyncio.Semaphore(at_once)
        self.unknown = None if most_unknown is None else asyncio.Semaphore(most_unknown)
        self._tally = tally
        self.files: OrderedDict[str, Observation] = OrderedDict()
        self._arrived = asyncio.Event()

    async def room(self) -> Room:
        """Waits until there is one."""
        await self.rooms.acquire()
        if self.unknown is not None:
            await self.unknown.acquire()
        return Room(self)

    def put(self, path: str, seen: Observation) -> None:
        """The caller adds it to the tally, which is independent of the queue."""
        self.files[path] = seen
        self._arrived.set()

    def snapshot(self, path: str) -> Snapshot | None:
        """How the file was when it was put here; None if it is not here."""
        seen = self.files.get(path)
        return None if seen is None else seen.snapshot

    def take(self, path: str) -> None:
        """It is taken up out of turn."""
        del self.files[path]
        self._tally.drop(path)

    async def get(self) -> tuple[str, Observation]:
        while not self.files:
            self._arrived.clear()
            await self._arrived.wait()
        path, seen = self.files.popitem(last=False)
        self._tally.drop(path)
        return path, seen


class Room:
    """A place among the files in progress; released once, however often. The same applies to the place among those
    without a claim."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._held = self._unknown = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._queue.rooms.release()

    def claimed(self) -> None:
        """It is known what the file is, or the claim was given up."""
        if self._unknown and self._queue.unknown is not None:
            self._unknown = False
            self._queue.unknown.release()


class Newcomers:
    """Three queues. ``to_read`` are finished files that only their bytes can identify: they are taken up one at a time,
    because a change of permissions on a whole folder may affect thousands.

    ``began_ns``: when the daemon was started, in nanoseconds since 1970, like file times.
    """

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._tally = Tally()
        self.fresh = Queue(_CLAIMS_AT_ONCE, self._tally)
        self.resting = Queue(_RESTING_AT_ONCE, self._tally, _MOST_UNKNOWN)
        self.to_read = Queue(1, self._tally, _MOST_UNKNOWN)
        self.queues = {"fresh": self.fresh, "resting": self.resting, "to_read": self.to_read}
        self._growing: set[str] = set()

    def __len__(self) -> int:
        return sum(len(queue.files) for queue in self.queues.values())

    def is_from_before(self, snapshot: Snapshot) -> bool:
        """Whether the file has not changed since before the start, so that its state in S3 is unknown. Uses the ctime:
        a copy or a rename may have an old mtime."""
        return snapshot.ctime_ns < self._began_ns

    def put(self, path: str, seen: Observation, proved: Snapshot | None, *, fresh: bool) -> None:
        """Add a file as it was seen now; ``proved`` is the snapshot that its object contains, ``fresh`` that it may be
        growing. If it waits here already, unchanged, it counts as seen since then."""
        snapshot = seen.snapshot
        waits = self.to_read.snapshot(path)
        if waits is not None and 0 < snapshot.mtime_ns - waits.mtime_ns < _GROWING_SECONDS * 1e9:
            self._growing.add(path)
        before = self._take_out(path)
        unchanged = before is not None and before.snapshot == snapshot
        (self.fresh if fresh else self.resting).put(path, before if before and unchanged else seen)
        self._tally.put(path, snapshot, proved, to_look_up=not fresh and self.is_from_before(snapshot))

    def put_to_read(self, path: str, seen: Observation, proved: Snapshot | None) -> None:
        """Add a file that was taken up, and has to wait until it can be read."""
        self.to_read.put(path, seen)
        self._tally.put(path, seen.snapshot, proved, to_look_up=self.is_from_before(seen.snapshot))

    def was_growing(self, path: str) -> bool:
        """Whether the file that is taken up was written while it waited to be read."""
        if path not in self._growing:
            return False
        self._growing.discard(path)
        return True

    def forget(self, path: str) -> None:
        """The file no longer exists."""
        self._take_out(path)
        self._growing.discard(path)
        self._tally.drop(path)

    def waiting(self) -> Waiting:
        """The total, for the at-risk metrics."""
        return self._tally.waiting()

    def unfinished(self, path: str) -> Unfinished:
        """What is known of a waiting file, as it counts in the total."""
        file = self._tally.file(path)
        return Unfinished(path, Holding(path, file.seen, file.seen.size - file.missing), waits=file)

    def _take_out(self, path: str) -> Observation | None:
        found = [queue.files.pop(path, None) for queue in self.queues.values()]
        return next(filter(None, found), None)
