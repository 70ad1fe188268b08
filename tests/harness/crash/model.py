"""The world of the state machine: it goes on between two rules, remembers every content a file ever had, and watches
what happens to the bucket.

What is true at every moment is asked of ``Stage.wrongs`` after each step; what is true at the end is asked of
``Stage.unforgiven``, and forgiven only where ``docs/guarantees.md`` says so (``Stage.excuses``).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from src.dispatcher import Dispatcher
from src.domain import (
    METADATA_SUFFIX,
    Answer,
    Checkpoint,
    Chunk,
    ChunkBody,
    Identity,
    Manifest,
    Marker,
    Part,
    Snapshot,
    Status,
    StoredPart,
)
from src.events import StreamEvent, WatcherChangeType
from src.exceptions import RedisUnavailable
from src.slots import FairSlots
from tests.harness import auditor
from tests.harness.audit_view import Body, Limits, Stranger, World, Write
from tests.harness.auditor import Check, Excuse, Finding
from tests.harness.crash.scenes import is_settled, recordings_in
from tests.harness.crash.simulation import LIMITS, SCAN, Disk, Fuse, Killed, Simulation
from tests.harness.crash.view import histories, view, written
from tests.harness.crash.virtual_time import VirtualTimeLoop
from tests.harness.fakes.checkpoints import FakeCheckpoints, State
from tests.harness.fakes.recordings import FakeFile
from tests.harness.fakes.store import FakeObject, FakeStore, FakeUpload

T = TypeVar("T")

_PASSES_AT_ONE_MOMENT = 10_000
_RETRY_SECONDS = 2.0
_A_DAY = 86_400.0
GRACE = 20.0


class Stuck(AssertionError):
    """Time stands still, or what should end does not."""


class ImpatientLoop(VirtualTimeLoop):
    """Fails where a loop without a pause would stop virtual time for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._passes = 0
        self._moment = 0.0
        self.set_exception_handler(_report)

    def _run_once(self) -> None:
        self._passes = self._passes + 1 if self.now == self._moment else 0
        self._moment = self.now
        if self._passes > _PASSES_AT_ONE_MOMENT:
            self._passes = 0
            raise Stuck("time stands still: something loops without a pause")
        super()._run_once()  # type: ignore[misc]


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody asks the tasks of a killed process what became of them."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


class Bytes:
    """Bytes that were never written before, so that a content says whose it is and when it was."""

    def __init__(self) -> None:
        self._written = 0

    def new(self, count: int) -> bytes:
        self._written += 1
        return hashlib.shake_128(self._written.to_bytes(4, "big")).digest(count)

    def head(self) -> bytes:
        """A first box with a name of its own, and the beginning of one that is open."""
        name = hashlib.shake_128(self.new(8)).hexdigest(2).encode()
        return b"\0\0\0\x0c" + name + self.new(4) + b"\0\0\0\0mdat"


class RememberingDisk(Disk):
    """A folder that keeps every content that each of its files ever had."""

    def __init__(self) -> None:
        super().__init__()
        self.away: dict[str, FakeFile] = {}
        self.changed = asyncio.Event()

    def remember(self) -> None:
        """After each step of a recorder."""
        self.changed.set()

    def take_away(self, path: str) -> None:
        self.away[path] = self.files.pop(path)

    def bring_back(self, path: str) -> None:
        self.files[path] = self.away.pop(path)
        self.files[path].ctime_ns = self._tick()


class Shelf(dict[str, FakeObject]):
    """The bucket. It knows which objects are a stranger's, and notes what the daemon does to one, or deletes."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[Write] = []  # by the daemon
        self.overwritten: list[Stranger] = []
        self.strangers: dict[str, FakeObject] = {}
        self.taken_away: set[str] = set()  # keys where a stranger has deleted something
        self.destroyed: set[bytes] = set()  # contents of ours that a stranger overwrote or deleted
        self._strange = False

    @contextmanager
    def a_stranger(self) -> Iterator[None]:
        """What is done inside is not the daemon's doing."""
        self._strange = True
        try:
            yield
        finally:
            self._strange = False

    def __setitem__(self, key: str, new: FakeObject) -> None:
        if self._strange:
            self._destroy(key)
            self.strangers[key] = new
        else:
            if key in self.strangers:
                self.overwritten.append(Stranger(f"object at {key}", self[key], new, "was overwritten"))
        super().__setitem__(key, new)

    def __delitem__(self, key: str) -> None:
        if self._strange:
            self._destroy(key)
            self.taken_away.add(key)
        else:
            self.deleted.append(Write(key, Body.of(self[key].data), None))
        super().__delitem__(key)

    def _destroy(self, key: str) -> None:
        if key in self:
            self.destroyed.add(self[key].data)
        self.strangers.pop(key, None)


class Moments(Fuse):
    """Counts effects; at a chosen one the process is killed, or the model gets a word in."""

    def __init__(self) -> None:
        super().__init__({})
        self.kill_at: int | None = None
        self.wake_at = 0
        self.reached = asyncio.Event()

    def __call__(self, effect: str, when: str) -> None:
        if self.blown.is_set():
            raise Killed
        self.effects.append(f"{when} {effect}")
        if len(self.effects) >= self.wake_at:
            self.reached.set()
        if self.kill_at is not None and len(self.effects) >= self.kill_at:
            self.kill_at = None
            self.blown.set()
            raise Killed


@dataclass
class Trouble:
    """What the next calls will meet, by method: each entry is one call's."""

    late: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    unheard: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        self.late.clear()
        self.unheard.clear()

    async def before(self, method: str) -> None:
        """A refusal, or a connection that broke before anything was done: the edge waits and calls again."""
        if self.late[method]:
            await asyncio.sleep(self.late[method].popleft())

    async def around(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        """Done, but the answer is lost: the edge waits and does it again."""
        while self.unheard[method]:
            self.unheard[method] -= 1
            await call()
            await asyncio.sleep(_RETRY_SECONDS)
        return await call()


class TroubledStore(FakeStore):
    """A store that takes ``latency`` seconds a call, is late, and loses answers."""

    def __init__(self) -> None:
        super().__init__(limits=LIMITS)
        self.objects: Shelf = Shelf()
        self.trouble = Trouble()
        self.latency = 0.0
        self._manifests: dict[str, Manifest] = {}

    async def _call(self, method: str, key: str) -> None:
        await super()._call(method, key)
        await self.trouble.before(method)
        if self.latency:
            await asyncio.sleep(self.latency)

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        call = partial(super().create_upload, key, metadata, of_copies=of_copies)
        return await self.trouble.around("create_upload", call)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        return await self.trouble.around("upload_part", partial(super().upload_part, key, upload_id, number, body))

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        call = partial(super().copy_part, key, upload_id, chunk, source_key=source_key, source_etag=source_etag)
        return await self.trouble.around("copy_part", call)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self.trouble.around("abort_upload", partial(super().abort_upload, key, upload_id))

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        return await self.trouble.around("put_document", partial(super().put_document, key, body, replaces=replaces))

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        self._manifests[upload_id] = manifest
        return await super().complete_upload(key, upload_id, manifest, parts)

    def finish_assembling(self) -> None:
        """What comes too late for its condition comes to nothing."""
        assembled, self._assembling = self._assembling, []
        for upload, parts in assembled:
            if self._condition_holds(upload.key, self._manifests[upload.upload_id]):
                self._assemble(upload, parts)

    def calm_down(self) -> None:
        """All trouble is over."""
        self.trouble.clear()
        self.latency = 0.0
        self._answers.clear()
        self.finish_assembling()
        self.come_back()


class TroubledRedis(FakeCheckpoints):
    """A Redis that is late, loses answers, and refuses notes of parts."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble = Trouble()
        self.refused_notes = 0
        self.is_behind = False  # it shows a living daemon's streams as they were

    def wipe(self) -> None:
        self.has_forgotten = True
        self.history[:] = [State()]

    def roll_back(self, writes: int) -> None:
        """What is lost is lost: no later loss brings it back."""
        self.has_forgotten = self.is_behind = True
        del self.history[max(1, len(self.history) - writes) :]

    async def _wait(self, call: str) -> None:
        await super()._wait(call)
        await self.trouble.before(call)

    async def save(self, checkpoint: Checkpoint) -> None:
        await self.trouble.around("save", partial(super().save, checkpoint))

    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        await self.trouble.around("finish", partial(super().finish, checkpoint, marker))

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        if self.refused_notes > 0:
            self.refused_notes -= 1
            raise RedisUnavailable("redis.save_part: refused", operation="redis.save_part")
        await super().save_part(checkpoint, parts)

    def calm_down(self) -> None:
        """All trouble is over."""
        self.trouble.clear()
        self.refused_notes = 0
        self.come_back()


class Stage(Simulation):
    """One life in steps: between two of them nothing moves, and the process may be down as long as one likes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.disk: RememberingDisk = RememberingDisk()
        self.redis: TroubledRedis = TroubledRedis()
        self.fuse: Moments = Moments()
        self.store: TroubledStore = TroubledStore()
        self.store._now = self.clock.utc_now
        self.store.fuse = self.redis.fuse = self.fuse
        self.has_moved = False  # objects lie under more than one prefix
        self._slow_stops: list[float] = []
        self._audited = 0  # writes to the store
        self._process: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def runs(self) -> bool:
        return self._process is not None and not self._process.done() and not self.fuse.blown.is_set()

    # -- the process --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The next process, unless one runs."""
        if self.runs:
            return
        await self.die()
        self.fuse.blown.clear()
        self.fuse.kill_at = None
        self._draining = self.redis.is_behind = False
        self.store.new_process()
        self.processes += 1
        self.began_at = self.clock.monotonic()
        self._process = asyncio.create_task(self._process_until_killed())
        await asyncio.sleep(0)

    async def die(self) -> None:
        """SIGKILL."""
        self.fuse.blown.set()
        if self._process is not None:
            await self._process
            self._process = None

    async def stop(self) -> None:
        """SIGTERM: the watcher ends, turns end at their boundaries, streams are drained, the rest is dropped."""
        assert self.dispatcher is not None
        slots = self.dispatcher._world.slots
        assert isinstance(slots, FairSlots)
        self._draining = True
        slots.drain()
        began = self.clock.monotonic()
        await self.dispatcher.drain(GRACE)
        if self.clock.monotonic() - began > GRACE + 1:  # else the audit of each step would look at all of them
            self._slow_stops.append(self.clock.monotonic() - began)
        await self.die()

    async def pass_effects(self, count: int, at_most: float) -> None:
        """Until so many effects were begun or done: the world stops in their midst."""
        self.fuse.reached.clear()
        self.fuse.wake_at = len(self.fuse.effects) + count
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self.fuse.reached.wait()

    async def _watch(self, dispatcher: Dispatcher) -> None:
        """As the watcher's scan, but asleep while nothing changes, so that hours cost nothing."""
        seen: dict[str, Snapshot | None] = {}
        while not self._draining:
            self.disk.changed.clear()
            now = {path: await self.disk.snapshot(path) for path in list(self.disk.files)}
            for path in (*now, *(set(seen) - set(now))):
                if seen.get(path) != now.get(path):
                    dispatcher.publish(StreamEvent(WatcherChangeType.WRITE, path))
            seen = dict(now)
            dispatcher.first_scan_done()
            await self.disk.changed.wait()
            await asyncio.sleep(SCAN - self.clock.monotonic() % SCAN)

    # -- the end ------------------------------------------------------------------------------------------------

    async def come_to_rest(self) -> None:
        """All trouble is over, a process runs, and every stream comes to its end."""
        self.store.calm_down()
        self.redis.calm_down()
        self.fuse.kill_at = None
        await self.start()
        deadline = self.clock.monotonic() + _A_DAY
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(SCAN if quiet else 10 * SCAN)
            quiet = quiet + 1 if is_settled(self) else 0
            if self.clock.monotonic() > deadline:
                raise Stuck(f"streams that do not end: {self._living()}")

    def _living(self) -> list[str]:
        assert self.dispatcher is not None
        return [
            f"{stream.path!r}: {stream.processor.checkpoint if stream.processor else 'not claimed'}"
            for stream in self.dispatcher._register.by_identity.values()
        ]

    def wrongs(self) -> list[Finding]:
        """What the daemon has done since the last look that it must never do, whatever became of it."""
        shelf, since = self.store.objects, self._audited
        self._audited = len(self.store.writes)
        if since == self._audited and not (shelf.deleted or shelf.overwritten or self._slow_stops):
            return []
        return auditor.audit(
            World(
                writes=[*written(self, since), *shelf.deleted],
                histories=histories(self),
                strangers=shelf.overwritten,
                stops=self._slow_stops,
                limits=Limits(grace=GRACE + 1),
            )
        )

    def unforgiven(self) -> list[Finding]:
        """What is wrong at the end and is no documented limit."""
        world = view(self)
        return auditor.audit(world, self.excuses(world))

    def excuses(self, world: World) -> Iterator[Excuse]:
        """What the guarantees name as their limits."""
        shelf = self.store.objects
        for path, content in self.recordings():
            if content in shelf.destroyed:  # "an object that somebody deletes is not sent again"
                yield Excuse(Check.ONE_KEY, path, "is at 0 keys")
            # Where Redis has forgotten, only an object that is there and under today's prefix can tell.
            if self.redis.has_forgotten and (self._lost_an_object(content) or self.has_moved):
                yield Excuse(Check.ONE_KEY, path, "is at 2 keys")
        # The same, of what such a file held before.
        again = {*self._files_sent_again(), *self._described_by_strangers(world)}
        yield from (Excuse(Check.FILE_TWICE, str(file)) for file in again)
        yield from (Excuse(Check.STALE, there.key) for there in world.objects.values() if there.file in again)
        yield from (Excuse(Check.DOCUMENT_OF_NOTHING, key) for key in shelf.taken_away)
        for key in recordings_in(self.store):
            if key + METADATA_SUFFIX in shelf.strangers:
                yield Excuse(Check.DOCUMENT_OF_IT, key)
        # A stream that has ended is not written again: the next start finds it done, or its successor forgets it.
        if self.redis.is_behind or self._have_successors(Status.ACTIVE, Status.PENDING_COMPLETION):
            yield Excuse(Check.STREAM)
        if self.redis.is_behind:
            yield Excuse(Check.MARKER)
        for key, uploads in self._uploads_by_key().items():
            if all(self._may_stay(upload) for upload in uploads):
                yield Excuse(Check.UPLOAD, key)

    def _files_sent_again(self) -> Iterator[Identity]:
        """Those of which an object cannot be found any more, so that they may get another one."""
        if self.redis.has_forgotten:
            for file, history in self.disk.histories.items():
                if self.has_moved or not self.store.objects.destroyed.isdisjoint(history):
                    yield file

    def _described_by_strangers(self, world: World) -> Iterator[Hashable]:
        """Files of which a stranger has overwritten the document of an object: without Redis only documents tell which
        object a changed file has."""
        if self.redis.has_forgotten:
            for there in world.objects.values():
                if there.file is not None and there.key + METADATA_SUFFIX in self.store.objects.strangers:
                    yield there.file

    def may_be_made_again(self, content: bytes) -> bool:
        """Whether a stranger has destroyed it, or something of its file that Redis takes for the latest."""
        return content in self.store.objects.destroyed or (self.redis.has_forgotten and self._lost_an_object(content))

    def _lost_an_object(self, content: bytes) -> bool:
        histories = [history for history in self.disk.histories.values() if content in history]
        return any(not self.store.objects.destroyed.isdisjoint(history) for history in histories)

    def _uploads_by_key(self) -> Mapping[str, list[FakeUpload]]:
        found: defaultdict[str, list[FakeUpload]] = defaultdict(list)
        for upload in self.store.uploads.values():
            found[upload.key].append(upload)
        return found

    def _have_successors(self, *statuses: Status) -> bool:
        records = self.redis.state.records.values()
        named = {old.stream_id for record in records for old in record.superseded if old.stream_id != record.stream_id}
        return {name for status in statuses for name in self.redis.members(status)} <= named

    def _may_stay(self, upload: FakeUpload) -> bool:
        """What a failed stream keeps; what nobody can know of any more, because Redis forgot it or was never told."""
        failed = [record for record in self.redis.state.records.values() if record.status is Status.FAILED]
        kept = {record.upload_id for record in failed}
        kept |= {old.upload_id for record in failed for old in record.superseded}
        return upload.upload_id in kept or self.redis.has_forgotten or not upload.parts
