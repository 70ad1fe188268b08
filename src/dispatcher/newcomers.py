"""Files that wait to be taken up: those that may be growing, those lying ready, and those that must be read first.

Only the order depends on where a file waits, never what becomes of it. A file that waits costs an entry, however many
there are; tasks exist for those only that have been taken up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from ..domain import Snapshot, Tally, Waiting

#: Recordings that may be growing and are looked up at once; once that is done they are under way, all of them.
_CLAIMS_AT_ONCE = 16
#: One that has taken so long, whatever it waits for, lets the next begin.
CLAIM_SECONDS = 3.0
#: Files lying ready that are under way at once; the others wait, also a folder of 100,000.
_RESTING_AT_ONCE = 16
#: Files lying ready that nobody can say anything of yet, because S3 or Redis is away: so many at most are taken up.
_MOST_UNKNOWN = 1000
#: Whoever writes twice within this time is still writing.
_GROWING_SECONDS = 60.0


class Queue:
    """Files that wait to be taken up, by path. What is taken up leaves the tally; ``at_once`` of them may hold a room,
    and of those that made room ``most_unknown`` may be without a claim."""

    def __init__(self, at_once: int, tally: Tally, most_unknown: int | None = None) -> None:
        self.rooms = asyncio.Semaphore(at_once)
        self.unknown = None if most_unknown is None else asyncio.Semaphore(most_unknown)
        self._tally = tally
        self.files: OrderedDict[str, Snapshot] = OrderedDict()
        self._arrived = asyncio.Event()

    async def room(self) -> Room:
        """As soon as there is one."""
        await self.rooms.acquire()
        if self.unknown is not None:
            await self.unknown.acquire()
        return Room(self)

    def put(self, path: str, snapshot: Snapshot) -> None:
        """The caller puts it into the tally, which does not care in which queue it waits."""
        self.files[path] = snapshot
        self._arrived.set()

    async def get(self) -> tuple[str, Snapshot]:
        while not self.files:
            self._arrived.clear()
            await self._arrived.wait()
        path, snapshot = self.files.popitem(last=False)
        self._tally.drop(path)
        return path, snapshot


class Room:
    """A place among those under way; given back once, however often. So is that among those without a claim."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._held = self._unknown = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._queue.rooms.release()

    def claimed(self) -> None:
        """It is known what the file is, or it is given up."""
        if self._unknown and self._queue.unknown is not None:
            self._unknown = False
            self._queue.unknown.release()


class Newcomers:
    """Three queues. ``to_read`` are finished files whose bytes alone tell whether they are still the same: one of them
    is taken up after the other, because thousands may have to be read after a change of rights on a whole folder.

    ``began_ns``: when the daemon was started, in nanoseconds since 1970, as file times are.
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
        """Whether the file is as it was before the start, so that nobody knows what S3 has of it. The ctime: a copy or
        a rename may bring an old mtime."""
        return snapshot.ctime_ns < self._began_ns

    def put(self, path: str, snapshot: Snapshot, proved: Snapshot | None, *, fresh: bool) -> None:
        """A file that was just seen so; ``proved`` is what its object has of it, ``fresh`` that it may be growing."""
        waits = self.to_read.files.get(path)
        if waits is not None and 0 < snapshot.mtime_ns - waits.mtime_ns < _GROWING_SECONDS * 1e9:
            self._growing.add(path)
        self._take_out(path)
        (self.fresh if fresh else self.resting).put(path, snapshot)
        self._tally.put(path, snapshot, proved, to_look_up=not fresh and self.is_from_before(snapshot))

    def put_to_read(self, path: str, snapshot: Snapshot, proved: Snapshot | None) -> None:
        """A file that was taken up, and has to wait until it can be read."""
        self.to_read.put(path, snapshot)
        self._tally.put(path, snapshot, proved, to_look_up=self.is_from_before(snapshot))

    def was_growing(self, path: str) -> bool:
        """Whether the file that is taken up was written to while it waited to be read."""
        if path not in self._growing:
            return False
        self._growing.discard(path)
        return True

    def forget(self, path: str) -> None:
        """Nothing is there any more."""
        self._take_out(path)
        self._growing.discard(path)
        self._tally.drop(path)

    def waiting(self) -> Waiting:
        """All together, for the figures of what is at risk."""
        return self._tally.waiting()

    def _take_out(self, path: str) -> None:
        for queue in self.queues.values():
            queue.files.pop(path, None)
