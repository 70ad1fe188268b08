"""Owns all streams and their tasks: one per recording, turns at the store, recovery at start, drain at stop.

Hints arrive through ``publish`` and are processed one at a time; the work that follows runs in a task of its own, so
that an outage of the store or of Redis delays neither watching nor other streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from ..domain import (
    SOURCE_MISSING,
    Checkpoint,
    Errand,
    Holding,
    Identity,
    Marker,
    Observation,
    Snapshot,
    Unfinished,
    Waiting,
    World,
    left_behind,
    moments,
    on_errand,
)
from ..events import StreamEvent
from ..exceptions import ChunkProcessingError, FileChanged, Permanent, Stopped, StreamProcessorError, Transient
from ..ownership import Claims, Keys, Sweep, ToBeRead
from ..timeouts import TaskGroup
from . import figures, pauses
from .head_start import HeadStart
from .hints import LOOK_AGAIN_SECONDS, Hints
from .known_files import KnownFiles
from .newcomers import CLAIM_SECONDS, Newcomers, Queue, Room
from .recovery import Recovery
from .register import Processor, Register, Stream
from .requests import Requests


class Dispatcher:
    """Turns hints into streams, and keeps every stream running until it is done, has failed, or is asked to stop."""

    def __init__(
        self, world: World, make_processor: Callable[[Checkpoint, Claims, Observation | None], Processor]
    ) -> None:
        self._world = world
        self._make_processor = make_processor
        self._keys = Keys()
        self._claims = Claims(world, self._keys)
        self._register = Register()
        self._sweep = Sweep(world, self._claims.uploads, lambda: {done.key for done in self._register.settled.values()})
        self._newcomers = Newcomers(began_ns=int(world.clock.utc_now().timestamp() * 1e9))
        self._hints = Hints(world, self._register, self._newcomers)
        self._head_start = HeadStart(self._register, self._newcomers, self._hints)
        self._known_files = KnownFiles(world, self._claims, self._register, self._newcomers.resting)
        self._recovery = Recovery(world, self._register, self._claims, self._keys, self._go_on)
        #: What an operator may ask for.
        self.requests = Requests(world, self._register, self._newcomers, self._hints, self._recovery, self._keys)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def publish(self, event: StreamEvent) -> None:
        """Receive a hint; several unprocessed hints about one path count as one."""
        self._hints.add(event.path)

    def first_scan_done(self) -> None:
        """All files that existed at the start were published. Until then ready files wait, for some seconds at most."""
        self._head_start.first_scan_done()

    async def remembered(self) -> tuple[tuple[str, Identity], ...]:
        """Path and identity of each stream with a checkpoint at the start, as soon as Redis has answered."""
        return await self._recovery.remembered()

    async def run(self) -> None:
        """Recover, then take up new files until cancelled. Hints are processed without waiting for the recovery."""
        async with TaskGroup() as group:
            group.create_task(self._hints.look_at_all(), name="dispatcher-hints")
            group.create_task(self._take_up(), name="dispatcher-newcomers")

    def holdings(self) -> tuple[list[Holding], Waiting]:
        """The current state of every unfinished recording; those that wait to be taken up as one total."""
        return figures.holdings(self._register, self._newcomers)

    def unfinished(self) -> tuple[list[Unfinished], int]:
        """The same for people, with the checkpoints, and the number of waiting files that are not listed."""
        return figures.unfinished(self._register, self._newcomers)

    async def drain(self, grace_seconds: float) -> None:
        """Let every stream reach a boundary within the time, and drop the rest; their checkpoints define where to
        resume."""
        self._stopping = True
        self.requests.stop()
        running = set(self._tasks)
        self._world.telemetry.emit(moments.Draining(streams=len(running)))
        for stream in self._register.by_identity.values():
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
        self._world.telemetry.emit(moments.Drained(dropped=len(late)))

    # -- new files --------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        try:
            await self._recovery.run()
        except Stopped:
            return
        async with TaskGroup() as group:
            for name, queue in self._newcomers.queues.items():
                group.create_task(self._start_from(queue), name=f"dispatcher-{name}")
            group.create_task(self._sweep.run(), name="dispatcher-sweep")

    async def _start_from(self, queue: Queue) -> None:
        if queue is self._newcomers.resting:
            await self._head_start.is_over()
        while True:
            room = await queue.room()
            if queue is self._newcomers.to_read:
                await self._claims.reading.nobody_reads()
            if queue is self._newcomers.resting:
                await self._settle_known()
            path, seen = await queue.get()
            if self._stopping or not self._start(path, seen, room, queue):
                room.give_back()
                room.claimed()

    async def _settle_known(self) -> None:
        """As ``_claim_and_carry`` for files that are done, without a task for each."""
        while known := await self._known_files.take():
            for path, _, marker in known:
                self._world.telemetry.stream(marker.stream_id, path).emit(moments.AlreadyStored(key=marker.key))
                self._settle(path, marker)

    def _start(self, path: str, first: Observation, room: Room, queue: Queue) -> bool:
        snapshot = first.snapshot
        if path in self._register.by_path or snapshot.identity in self._register.by_identity:
            self._hints.add(path)  # the recovery has found the path or the file meanwhile: examine it again
            return False
        proved = self._register.proved(path, snapshot.identity)
        to_read, growing = self._newcomers.to_read, queue is self._newcomers.fresh
        to_look_up = snapshot if not growing and self._newcomers.is_from_before(snapshot) else None
        # A file outside the queue of files to read is read at once only while that queue is empty.
        may_read = (lambda: True) if queue is to_read else (lambda: not to_read.files)
        errand = Errand(room.give_back, may_read, is_growing=self._newcomers.was_growing(path))
        stream = Stream(path, snapshot.identity, snapshot, proved, to_look_up, first, errand=errand, may_grow=growing)
        self._register.add(stream)
        self._spawn(stream, self._claim_and_carry(stream, first, room, growing=growing), name=f"claim-{path!r}")
        return True

    async def _claim_and_carry(self, stream: Stream, first: Observation, room: Room, *, growing: bool) -> None:
        """A recording that may be growing makes room for the next as soon as it is claimed. The number of ready files
        in progress is limited, so that each is finished soon after it began. One that has to wait, or is found growing,
        delays no other."""
        late = asyncio.get_running_loop().call_later(CLAIM_SECONDS, room.give_back) if growing else None
        try:
            claimed = await self._claim(stream, first, room)
            room.claimed()
            if growing:
                room.give_back()
            if isinstance(claimed, Checkpoint):
                await self._carry(stream, claimed)
                return
        finally:
            if late is not None:
                late.cancel()
            room.give_back()
            room.claimed()
        if claimed is not None:
            self._world.telemetry.stream(claimed.stream_id, stream.path).emit(moments.AlreadyStored(key=claimed.key))
        self._end(stream, claimed)

    async def _claim(self, stream: Stream, first: Observation, room: Room) -> Checkpoint | Marker | None:
        """The checkpoint to continue with, the marker of a file that is done, or None: examine it at the next
        change."""
        snapshot = first.snapshot
        await self.requests.until_given_up(stream.path, snapshot.identity)
        kept = self._register.failed.pop(snapshot.identity, None)
        if kept is not None:
            self._keys.take(kept.key, kept.identity)  # not yet taken if it failed before this process started
            return kept
        replaced = self._replaced_at(stream.path)
        retry = pauses.FIRST_SECONDS
        while True:
            try:
                claimed = await self._claims.claim(stream.path, snapshot, left_behind(replaced))
                if isinstance(claimed, Checkpoint):
                    self._forget_failed(replaced)
                return claimed
            except Stopped:
                return None
            except ToBeRead:
                self._newcomers.put_to_read(stream.path, first, stream.proved)
                self._hints.add(stream.path)  # hints that arrived meanwhile
                return None
            except FileChanged as exc:
                if not await self._is_unchanged(stream.path, snapshot):
                    self._hints.add(stream.path)
                    return None
                self._report_claim(stream, exc, retry)  # reads show a change and stats do not: a stale network mount
                room.give_back()
                await asyncio.sleep(retry)
                retry = pauses.longer(retry)
            except (Permanent, Transient) as exc:
                self._report_claim(stream, exc, retry)
                room.give_back()
                await asyncio.sleep(retry)
                retry = pauses.longer(retry)
            except Exception as exc:  # noqa: BLE001 - one bad file never stops the others; it is reported whole
                self._world.telemetry.emit(moments.Unexpected(file_path=stream.path, error=exc, retry_seconds=retry))
                room.give_back()
                await asyncio.sleep(retry)
                retry = pauses.longer(retry)

    def _report_claim(self, stream: Stream, error: StreamProcessorError, retry_seconds: float) -> None:
        telemetry = self._world.telemetry.stream("", stream.path)
        telemetry.emit(moments.Trouble(operation=error.operation or "claim", error=error, retry_seconds=retry_seconds))

    async def _is_unchanged(self, path: str, snapshot: Snapshot) -> bool:
        try:
            return await self._world.recordings.snapshot(path) == snapshot
        except ChunkProcessingError:
            return False

    def _replaced_at(self, path: str) -> list[Checkpoint]:
        """Unfinished recordings that this file has replaced; their keys are free."""
        gone = self._register.failed_at(path)
        for record in gone:
            self._keys.give_back(record.identity)
        return gone

    def _forget_failed(self, records: list[Checkpoint]) -> None:
        """The checkpoint of the new stream names their uploads from now on."""
        for record in records:
            self._register.failed.pop(record.identity, None)

    # -- streams ----------------------------------------------------------------------------------------------

    def _go_on(self, record: Checkpoint) -> None:
        stream = Stream(record.path, record.identity)
        self._register.add(stream)
        self._spawn(stream, self._carry(stream, record), name=f"stream-{record.stream_id}")

    async def _carry(self, stream: Stream, record: Checkpoint) -> None:
        """Run until the stream ends; an unexpected error pauses only this stream."""
        retry = pauses.FIRST_SECONDS
        stream.to_look_up = None  # the checkpoint has this information
        while True:
            if record.path != stream.path:
                record = replace(record, path=stream.path)
            processor = stream.processor = self._make_processor(record, self._claims, stream.first)
            figures.tell_how_many(self._register, self._world)
            if self._stopping:
                return
            try:
                marker = await processor.run()
            except Stopped:
                return
            except Exception as exc:  # noqa: BLE001 - one failing stream never stops the others
                record = processor.checkpoint
                self._world.telemetry.emit(
                    moments.Unexpected(
                        file_path=stream.path, error=exc, retry_seconds=retry, stream_id=record.stream_id
                    )
                )
                stream.processor = None  # nothing is in flight while it pauses
                stream.errand.make_room()
                await asyncio.sleep(retry)
                retry = pauses.longer(retry)
                continue
            if marker is None:
                ended = processor.checkpoint
                self._register.fail(stream, ended)
                self._claims.uploads.keep(ended)
                if ended.failure == SOURCE_MISSING:
                    # the file may have been put back while the failure was written
                    stream.waiting_paths.add(stream.path)
            else:
                self._keys.give_back(stream.identity)
            self._end(stream, marker)
            return

    def _look_anew(self, path: str) -> None:
        """The file had a writer at its end: no stat can tell whether it still equals the object."""
        self._register.settled.pop(path, None)
        self._hints.add(path)

    def _end(self, stream: Stream, marker: Marker | None) -> None:
        """Remove the stream from the register, and look at its file once more, because hints meanwhile went to its
        processor."""
        self._register.remove(stream)
        if marker is not None:
            self._settle(stream.path, marker)
        figures.tell_how_many(self._register, self._world)
        if marker is not None or stream.waiting_paths:
            self._hints.add(*{stream.path, *stream.waiting_paths})

    def _settle(self, path: str, marker: Marker) -> None:
        """The file of this path is done.

        Every recording passes here when it ends, whether it was carried or found done, so a finished file does again at
        every start. A call to the outside, once for each object, belongs in ``Describing.describe``.

        The marker may be outdated: code that acts on it must compare the snapshot and check ``still_open``. The object
        may be missing, too: a marker in Redis is trusted without querying the store (the first case of
        ``ownership.decision``). Code that deletes files or hands them over must check the object first. Nothing is
        awaited here: start a task for it, and add it to ``_tasks``, for which ``drain`` waits.
        """
        self._register.settle(path, marker)
        self._claims.is_done(marker)
        if marker.still_open:
            asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._look_anew, path)

    def _spawn(self, stream: Stream, work: Coroutine[Any, Any, None], *, name: str) -> None:
        with on_errand(stream.errand):  # the task inherits it
            task = stream.task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
