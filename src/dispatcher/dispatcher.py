"""Owns all streams and their tasks: one per recording, turns at the store, recovery at start, drain at stop.

Hints come in by ``publish`` and are looked at one after the other; what a hint leads to runs in a task of its own,
so that a store or a Redis that is away delays neither watching nor the other streams.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..domain import (
    SOURCE_MISSING,
    Checkpoint,
    Errand,
    Holding,
    Identity,
    Marker,
    Snapshot,
    Status,
    Waiting,
    World,
    believable,
    left_behind,
    lifecycle,
    on_errand,
)
from ..events import StreamEvent
from ..exceptions import ChunkProcessingError, FileChanged, Permanent, Stopped, StreamProcessorError, Transient
from ..ownership import Claims, Keys, Sweep, ToBeRead
from .newcomers import Newcomers, Queue, Room

_LOOK_AGAIN_SECONDS = 30.0
_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 300.0


class Processor(Protocol):
    """What the dispatcher needs of a stream's processor."""

    @property
    def checkpoint(self) -> Checkpoint: ...
    def holding(self, seen: Snapshot, proved: Snapshot | None) -> Holding: ...
    def hint(self) -> None: ...
    def renamed(self, path: str) -> None: ...
    def stop(self) -> None: ...
    async def run(self) -> Marker | None: ...


@dataclass(slots=True)
class _Stream:
    """A living recording: where it is now, who carries it, and in which task.

    ``seen`` is the newest stat that a hint has led to; ``proved`` is what its object has from before. ``to_look_up`` is
    a file from before the start: nobody knows yet whether S3 has it as it was then.
    """

    path: str
    identity: Identity
    seen: Snapshot | None = None
    proved: Snapshot | None = None
    to_look_up: Snapshot | None = None
    processor: Processor | None = None
    task: asyncio.Task[None] | None = None
    errand: Errand = field(default_factory=Errand)
    waiting_paths: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A file that is done as it is, and where its object lies. Once it was seen shorter it is another recording."""

    snapshot: Snapshot
    key: str
    was_cut: bool = False


def _holding(stream: _Stream, seen: Snapshot) -> Holding:
    if stream.processor is not None:
        return stream.processor.holding(seen, stream.proved)
    stored = stream.proved.size if stream.proved else 0
    return Holding(stream.path, seen, stored, max(0, seen.size - stored), proved=stream.proved)


class Dispatcher:
    """Turns hints into streams, and keeps every stream going until it is done, failed or asked to stop."""

    def __init__(self, world: World, make_processor: Callable[[Checkpoint, Claims], Processor]) -> None:
        self._world = world
        self._make_processor = make_processor
        self._keys = Keys()
        self._claims = Claims(world, self._keys)
        self._sweep = Sweep(world, self._claims.uploads, lambda: {settled.key for settled in self._settled.values()})
        self._hints: OrderedDict[str, None] = OrderedDict()
        self._hinted = asyncio.Event()
        self._newcomers = Newcomers()
        self._by_path: dict[str, _Stream] = {}
        self._by_identity: dict[Identity, _Stream] = {}
        self._settled: dict[str, _Settled] = {}
        self._empty: set[str] = set()
        self._links: set[str] = set()
        self._failed: dict[Identity, Checkpoint] = {}
        self._left: dict[str, Holding] = {}  # files of failed streams, as they were left
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._recovered = asyncio.Event()
        self._remembered: tuple[tuple[str, Identity], ...] = ()
        self._began_ns = int(world.clock.utc_now().timestamp() * 1e9)

    def publish(self, event: StreamEvent) -> None:
        """Take a hint; hints about one path that has not been looked at yet are one."""
        self._hints[event.path] = None
        self._hinted.set()

    async def remembered(self) -> tuple[tuple[str, Identity], ...]:
        """Path and identity of each stream that Redis had a record of at the start, as soon as Redis has told."""
        await self._recovered.wait()
        return self._remembered

    async def run(self) -> None:
        """Recover, then take up new files, for ever. Looking at hints does not wait for the recovery."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_at_hints(), name="dispatcher-hints")
            group.create_task(self._take_up(), name="dispatcher-newcomers")

    def holdings(self) -> tuple[list[Holding], Waiting]:
        """Every recording that is not finished, as it stands; those that wait to be taken up all together."""
        there = [(stream, stream.seen) for stream in self._by_identity.values() if stream.seen is not None]
        found = [_holding(stream, seen) for stream, seen in there if stream.to_look_up != seen]
        waiting = self._newcomers.waiting()
        to_look_up = waiting.to_look_up + len(there) - len(found)
        return [*found, *self._left.values()], replace(waiting, to_look_up=to_look_up)

    def _proved(self, path: str, identity: Identity) -> Snapshot | None:
        """What the recording's object has of it, though the file has changed since."""
        settled = self._settled.get(path)
        if settled is None or settled.was_cut or settled.snapshot.identity != identity:
            return None
        return settled.snapshot

    def _see_cut(self, path: str, snapshot: Snapshot) -> None:
        """A file that is shorter than its object holds another recording from now on, however long it becomes."""
        settled = self._settled.get(path)
        if settled is not None and snapshot.size < settled.snapshot.size:
            self._settled[path] = replace(settled, was_cut=True)
        known = self._by_identity.get(snapshot.identity)
        if known is not None and known.proved is not None and snapshot.size < known.proved.size:
            known.proved = None

    def _is_from_before(self, snapshot: Snapshot) -> bool:
        """Whether the file is as it was before the start. The ctime: a copy or a rename may bring an old mtime."""
        return snapshot.ctime_ns < self._began_ns

    async def drain(self, grace_seconds: float) -> None:
        """Let every stream come to a boundary within the time, drop the rest; their records say where to go on."""
        self._stopping = True
        running = set(self._tasks)
        self._world.telemetry.draining(streams=len(running))
        for stream in self._by_identity.values():
            if stream.processor is not None:
                stream.processor.stop()
            elif stream.task is not None:
                stream.task.cancel()  # nothing of it is in flight yet
        late: set[asyncio.Task[None]] = set()
        if running:
            _, late = await asyncio.wait(running, timeout=grace_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._world.telemetry.drained(dropped=len(late))

    # -- recovery ---------------------------------------------------------------------------------------------

    async def _recover_at_last(self) -> None:
        """New files are not taken up before it is known which of them are under way."""
        retry = _FIRST_RETRY_SECONDS
        while True:
            try:
                return await self._recover()
            except Permanent as exc:
                self._world.telemetry.unexpected(path="", error=exc, retry_seconds=retry)
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)

    async def _recover(self) -> None:
        """Every stream that Redis knows as unfinished goes on where it stood."""
        records = await self._world.checkpoints.load()
        self._remembered = tuple((record.path, record.identity) for record in records)
        self._recovered.set()
        resumed = 0
        gone = {old.stream_id for record in records for old in record.superseded if old.stream_id != record.stream_id}
        remaining = [
            record for record in records if record.stream_id not in gone
        ]  # of others their successor takes care
        for record in remaining:
            self._claims.uploads.keep(record)
            if record.status is Status.FAILED:
                self._failed.setdefault(record.identity, record)
        for record in believable(record for record in remaining if record.status is not Status.FAILED):
            if record.identity not in self._by_identity:
                self._keys.take(record.key, record.identity)
                self._go_on(record)
                resumed += 1
        self._count_active()
        self._world.telemetry.recovered(streams=resumed)

    def _go_on(self, record: Checkpoint) -> None:
        stream = _Stream(record.path, record.identity)
        self._register(stream)
        self._spawn(stream, self._carry(stream, record), name=f"stream-{record.stream_id}")

    # -- hints ------------------------------------------------------------------------------------------------

    async def _look_at_hints(self) -> None:
        while True:
            await self._hinted.wait()
            while self._hints:
                path, _ = self._hints.popitem(last=False)
                try:
                    await self._look_at(path)
                except ChunkProcessingError as exc:
                    self._look_again_later(path, exc)
            self._hinted.clear()

    def _look_again_later(self, path: str, error: ChunkProcessingError) -> None:
        """A folder that may not be read, or is away: a file in it is neither there nor gone."""
        self._world.telemetry.stream("", path).trouble(
            operation="file_read", error=error, retry_seconds=_LOOK_AGAIN_SECONDS
        )
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._hint_all, {path})

    async def _look_at(self, path: str) -> None:
        """Decide by the file itself what a hint is worth."""
        snapshot = await self._world.recordings.snapshot(path)
        at_path = self._by_path.get(path)
        if snapshot is None:
            self._forget(path)
            if at_path is not None:
                at_path.seen = None
            self._hint_all(self._links)  # one of them may be all that is left of the recording
            if at_path is not None and at_path.processor is not None:
                at_path.processor.hint()
            return
        self._see_cut(path, snapshot)
        known = self._by_identity.get(snapshot.identity)
        if known is not None:
            known.seen = snapshot
            await self._look_at_living(known, path)
        elif at_path is not None:
            # Another file lies where a recording was: what became of that one must be known first.
            at_path.waiting_paths.add(path)
            if at_path.processor is not None:
                at_path.processor.hint()
        else:
            self._look_at_other(path, snapshot)

    def _forget(self, path: str) -> None:
        self._settled.pop(path, None)
        self._left.pop(path, None)
        self._newcomers.forget(path)
        self._empty.discard(path)
        self._links.discard(path)

    async def _look_at_living(self, stream: _Stream, path: str) -> None:
        if path != stream.path:
            there = await self._world.recordings.snapshot(stream.path)
            if self._by_identity.get(stream.identity) is not stream:
                self._hint_all({path})  # it ended while we looked
                return
            is_link = there is not None and there.identity == stream.identity
            if is_link and os.fsencode(path) > os.fsencode(stream.path):
                self._skip_link(path)
                return
            if is_link:
                self._skip_link(stream.path)
            self._rename(stream, path)
        if stream.processor is not None:
            stream.processor.hint()

    def _skip_link(self, path: str) -> None:
        """Of several names of a recording the bytewise smallest is its path, in whatever order they were met."""
        if path not in self._links:
            self._links.add(path)
            self._world.telemetry.file_skipped(path=path, reason="another name (hard link) of a recording")

    def _rename(self, stream: _Stream, path: str) -> None:
        if self._by_path.get(stream.path) is stream:
            del self._by_path[stream.path]
        self._hint_all(stream.waiting_paths)
        stream.waiting_paths.clear()
        stream.path = path
        self._links.discard(path)
        displaced = self._by_path.get(path)
        if displaced is not None and displaced is not stream:
            displaced.seen = None
            displaced.waiting_paths.add(path)
            if displaced.processor is not None:
                displaced.processor.hint()  # nobody else will tell it that its file is gone
        self._by_path[path] = stream
        if stream.processor is not None:
            stream.processor.renamed(path)

    def _look_at_other(self, path: str, snapshot: Snapshot) -> None:
        if snapshot.size == 0:
            if path not in self._empty:
                self._empty.add(path)
                self._world.telemetry.empty_file(path=path)
            return
        self._empty.discard(path)
        self._left.pop(path, None)
        settled = self._settled.get(path)
        if settled is None or settled.snapshot != snapshot:
            now = self._world.clock.utc_now().timestamp()
            proved, before = self._proved(path, snapshot.identity), self._is_from_before(snapshot)
            self._newcomers.put(path, snapshot, proved, now=now, from_before=before)

    def _hint_all(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._hints[path] = None
            self._hinted.set()

    # -- new files --------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        try:
            await self._recover_at_last()
        except Stopped:
            return
        async with asyncio.TaskGroup() as group:
            for name, queue in self._newcomers.queues.items():
                group.create_task(self._start_from(queue), name=f"dispatcher-{name}")
            group.create_task(self._sweep.run(), name="dispatcher-sweep")

    async def _start_from(self, queue: Queue) -> None:
        while True:
            room = await queue.room()
            if queue is self._newcomers.to_read:
                await self._claims.reading.nobody_reads()
            path, snapshot = await queue.get()
            if self._stopping or not self._start(path, snapshot, room, queue):
                room.give_back()
                room.claimed()

    def _start(self, path: str, snapshot: Snapshot, room: Room, queue: Queue) -> bool:
        if path in self._by_path or snapshot.identity in self._by_identity:
            self._hint_all({path})  # the recovery has met the path or the file meanwhile: look at it in that light
            return False
        proved = self._proved(path, snapshot.identity)
        to_read, growing = self._newcomers.to_read, queue is self._newcomers.fresh
        to_look_up = snapshot if not growing and self._is_from_before(snapshot) else None
        may_read = (lambda: True) if queue is to_read else (lambda: not to_read.files)
        errand = Errand(room.give_back, may_read, is_growing=self._newcomers.was_growing(path))
        stream = _Stream(path, snapshot.identity, snapshot, proved, to_look_up, errand=errand)
        self._register(stream)
        self._spawn(stream, self._claim_and_carry(stream, snapshot, room, growing=growing), name=f"claim-{path!r}")
        return True

    async def _claim_and_carry(self, stream: _Stream, snapshot: Snapshot, room: Room, *, growing: bool) -> None:
        """A recording that may be growing makes room for the next as soon as it is claimed, however many there are; of
        those that lie ready only so many are under way at once, so that each is there soon after it was begun. One that
        has to wait, or is seen growing, keeps nobody else waiting."""
        try:
            claimed = await self._claim(stream, snapshot, room)
            room.claimed()
            if growing:
                room.give_back()
            if isinstance(claimed, Checkpoint):
                await self._carry(stream, claimed)
                return
        finally:
            room.give_back()
            room.claimed()
        if claimed is not None:
            self._world.telemetry.stream(claimed.stream_id, stream.path).already_stored(key=claimed.key)
        self._end(stream, claimed)

    async def _claim(self, stream: _Stream, snapshot: Snapshot, room: Room) -> Checkpoint | Marker | None:
        """The record to go on with, the marker of a file that is done, or None: look again at the next change."""
        kept = self._failed.pop(snapshot.identity, None)
        if kept is not None:
            self._keys.take(kept.key, kept.identity)
            return kept
        replaced = self._replaced_at(stream.path)
        retry = _FIRST_RETRY_SECONDS
        while True:
            try:
                claimed = await self._claims.claim(stream.path, snapshot, left_behind(replaced))
                if isinstance(claimed, Checkpoint):
                    self._forget_failed(replaced)
                return claimed
            except Stopped:
                return None
            except ToBeRead:
                before = self._is_from_before(snapshot)
                self._newcomers.put_to_read(stream.path, snapshot, stream.proved, from_before=before)
                self._hint_all({stream.path})  # what was heard of it meanwhile
                return None
            except FileChanged as exc:
                if not await self._is_unchanged(stream.path, snapshot):
                    self._hint_all({stream.path})
                    return None
                self._report_claim(stream, exc, retry)  # reads say changed and stats do not: a stale network mount
                room.give_back()
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)
            except (Permanent, Transient) as exc:
                self._report_claim(stream, exc, retry)
                room.give_back()
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)
            except Exception as exc:  # noqa: BLE001 - one bad file never stops the others; it is reported whole
                self._world.telemetry.unexpected(path=stream.path, error=exc, retry_seconds=retry)
                room.give_back()
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)

    def _report_claim(self, stream: _Stream, error: StreamProcessorError, retry_seconds: float) -> None:
        telemetry = self._world.telemetry.stream("", stream.path)
        telemetry.trouble(operation=error.operation or "claim", error=error, retry_seconds=retry_seconds)

    async def _is_unchanged(self, path: str, snapshot: Snapshot) -> bool:
        try:
            return await self._world.recordings.snapshot(path) == snapshot
        except ChunkProcessingError:
            return False

    def _replaced_at(self, path: str) -> list[Checkpoint]:
        """Recordings that this file has taken the place of before they were complete; their keys are free."""
        gone = [record for record in self._failed.values() if record.path == path]
        for record in gone:
            self._keys.give_back(record.identity)
        return gone

    def _forget_failed(self, records: list[Checkpoint]) -> None:
        """A new stream's record names their uploads from now on."""
        for record in records:
            self._failed.pop(record.identity, None)

    # -- streams ----------------------------------------------------------------------------------------------

    async def _carry(self, stream: _Stream, record: Checkpoint) -> None:
        """Until the stream ends; an error that nobody foresaw costs only this stream a pause."""
        retry = _FIRST_RETRY_SECONDS
        stream.to_look_up = None  # the record knows
        while True:
            if record.path != stream.path:
                record = replace(record, path=stream.path)
            processor = stream.processor = self._make_processor(record, self._claims)
            self._count_active()
            if self._stopping:
                return
            try:
                marker = await processor.run()
            except Stopped:
                return
            except Exception as exc:  # noqa: BLE001 - one failing stream never stops the others
                record = processor.checkpoint
                self._world.telemetry.unexpected(
                    path=stream.path, error=exc, retry_seconds=retry, stream_id=record.stream_id
                )
                stream.processor = None  # nothing is in flight while it rests
                stream.errand.make_room()
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)
                continue
            if marker is None:
                ended = processor.checkpoint
                self._failed[ended.identity] = ended
                self._claims.uploads.keep(ended)
                if stream.seen is not None:  # nobody sends it
                    self._left[stream.path] = replace(_holding(stream, stream.seen), sendable=0, stream_id=None)
                if ended.failure == SOURCE_MISSING:
                    stream.waiting_paths.add(stream.path)  # it may have been put back while the failure was written
            else:
                self._keys.give_back(stream.identity)
            self._end(stream, marker)
            return

    def _look_anew(self, path: str) -> None:
        """The file had a writer at its end: whether it is the object's file still, no stat can tell."""
        self._settled.pop(path, None)
        self._hint_all({path})

    def _register(self, stream: _Stream) -> None:
        self._by_path[stream.path] = stream
        self._by_identity[stream.identity] = stream

    def _count_active(self) -> None:
        """Streams that are carried; a file that is only looked up is none."""
        carried = sum(stream.processor is not None for stream in self._by_identity.values())
        self._world.telemetry.active_streams(carried)
        self._world.telemetry.failed_streams(Counter(map(lifecycle.failed_for, self._failed.values())))

    def _end(self, stream: _Stream, marker: Marker | None) -> None:
        """Take the stream off the books; look once more, because hints meanwhile went to its processor."""
        self._by_identity.pop(stream.identity, None)
        if self._by_path.get(stream.path) is stream:
            del self._by_path[stream.path]
        if marker is not None:
            self._settled[stream.path] = _Settled(marker.snapshot, marker.key)
            self._claims.is_done(marker)
            if marker.still_open:
                asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._look_anew, stream.path)
        self._count_active()
        if marker is not None or stream.waiting_paths:
            self._hint_all({stream.path, *stream.waiting_paths})

    def _spawn(self, stream: _Stream, work: Coroutine[Any, Any, None], *, name: str) -> None:
        with on_errand(stream.errand):  # the task takes it along
            task = stream.task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
