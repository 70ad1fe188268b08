"""One multipart upload of one recording: send chunks, compare every part with the file, verify with the listing.

Stored is not final: recorders go back and patch bytes that were uploaded. Nothing here counts as done until a whole
pass over the file, between two equal stats, has shown that every part equals the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..domain import (
    Chunk,
    Digest,
    Hashes,
    Manifest,
    Part,
    SendReason,
    Snapshot,
    Stale,
    StoredPart,
    StreamTelemetry,
    Turn,
    World,
    combine,
    moments,
    multipart_etag,
    part_plan,
)
from ..exceptions import ChunkProcessingError, FileChanged, S3Unavailable, StreamInitializationError, silent_file
from ..timeouts import TaskGroup
from .ledger import Ledger
from .pacing import Pacing

#: Number of chunks that a pass reads between checks for a change of the file, which would void the pass.
_CHUNKS_BETWEEN_LOOKS = 64

#: Share of its capacity from which a schedule of equal parts is reported as nearly full.
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Sealed:
    """The proof: these digests are those of the file and of the store. ``snapshot`` was valid during the whole pass."""

    snapshot: Snapshot
    checked: tuple[tuple[Chunk, Digest], ...]
    parts: tuple[StoredPart, ...]
    sent_again: int

    def manifest(self, replaces: str | None) -> Manifest:
        """The expected result of completing this upload."""
        digests = [digest for _, digest in self.checked]
        md5s = [digest.md5 for digest in digests if digest.md5 is not None]
        return Manifest(
            size=self.snapshot.size,
            crc64=combine((digest.crc64, digest.size) for digest in digests),
            part_count=len(digests),
            snapshot=self.snapshot,
            replaces=replaces,
            etag_md5=multipart_etag(md5s) if len(md5s) == len(digests) else None,
        )


class Upload:
    """Moves the bytes of one recording into its upload. The ledger has the upload and its parts."""

    def __init__(self, world: World, ledger: Ledger, telemetry: StreamTelemetry, pacing: Pacing) -> None:
        self._pacing = pacing
        self._world = world
        self._ledger = ledger
        self._telemetry = telemetry
        self._ended_in: set[str] = set()  # what the parts of a turn were doing when it was ended because others waited
        self._warned_of_capacity = False

    def report_capacity(self, size: int) -> None:
        """Report the share of the schedule's capacity that a file of ``size`` bytes uses."""
        most = part_plan.capacity(self._ledger.record.schedule, self._world.naming.limits)
        self._telemetry.emit(moments.CapacityUsed(ratio=size / most))
        if size > _NEARLY_FULL * most and not self._warned_of_capacity:
            self._warned_of_capacity = True
            self._telemetry.emit(moments.NearCapacity(size=size, capacity=most))

    async def send_whole_chunks(self, snapshot: Snapshot) -> bool:
        """Send whole chunks that are on disk and not in S3, for one turn; False if there are none."""
        schedule, limits = self._ledger.record.schedule, self._world.naming.limits
        leading = self._ledger.leading_parts(lambda number: part_plan.part_size(schedule, number, limits))
        todo = part_plan.to_send(
            schedule,
            snapshot.size,
            self._ledger.parts,
            most=_CHUNKS_BETWEEN_LOOKS,
            limits=limits,
            first=leading + 1,
        )
        if not todo:
            return False
        await self._send_a_turn([Stale(chunk, SendReason.NEW) for chunk in todo])
        return True

    async def seal(self, snapshot: Snapshot) -> Sealed | None:
        """Make S3 hold exactly the file of ``snapshot``, and prove it. None as soon as the file changes."""
        checked = await self.read_all(snapshot)
        if checked is None:
            return None
        sent_again = rounds = 0
        stale = await self._stale(snapshot, checked)
        while True:
            sent_again += sum(item.reason is not SendReason.NEW for item in stale)
            # The stat comes last. Only if it is unchanged after the sending and the listing are the pass, the parts and
            # the list of the same file.
            await self._send_all(stale)
            listed = await self._listed()
            if await self._changed(snapshot):
                return None
            stale = part_plan.unproved(checked, listed, self._ledger.parts)
            if not stale:
                await self._note_what_is_proved(checked, listed)
                parts = tuple(self._named(listed[chunk.number], digest) for chunk, digest in checked)
                return Sealed(snapshot, checked, parts, sent_again)
            if not self._holds_what_was_read(checked):
                return None  # a part was sent with other bytes than the pass read: only a new pass can decide
            rounds += 1
            error = S3Unavailable(f"{len(stale)} stored parts are not listed as they were sent", operation="list_parts")
            await self._pacing.pause(rounds, operation="list_parts", error=error)

    async def _stale(self, snapshot: Snapshot, checked: Sequence[tuple[Chunk, Digest]]) -> tuple[Stale, ...]:
        stale, record = part_plan.stale_parts(checked, self._ledger.parts), self._ledger.record
        is_rewritten = any(item.reason is SendReason.REWRITE for item in stale)
        if is_rewritten and await self._world.recordings.has_index_first(record.path, record.identity, snapshot.size):
            return part_plan.as_faststart(stale, len(self._ledger.parts))
        return stale

    async def _note_what_is_proved(
        self, checked: Sequence[tuple[Chunk, Digest]], listed: Mapping[int, StoredPart]
    ) -> None:
        """An answer about a part may have been wrong; the completion uses the listing. A part known only from the
        listing, perhaps without a checksum, gets the file's: later copies are compared by it."""
        for chunk, digest in checked:
            part, etag = self._ledger.parts.get(chunk.number), listed[chunk.number].etag
            # Compared first: copies of 10,000 parts would block the event loop for longer than all else here.
            if part is not None and (part.etag, part.crc64) != (etag, digest.crc64):
                await self._ledger.part_stored(replace(part, etag=etag, crc64=digest.crc64))

    async def _listed(self) -> dict[int, StoredPart]:
        return await self._world.store.list_parts(self._ledger.record.key, self._upload_id())

    def _upload_id(self) -> str:
        upload_id = self._ledger.record.upload_id
        if upload_id is None:
            raise AssertionError("parts belong to an upload")
        return upload_id

    async def read_all(self, snapshot: Snapshot) -> tuple[tuple[Chunk, Digest], ...] | None:
        """One pass over the file; None if it changed meanwhile."""
        record = self._ledger.record
        hashes = await self._hashes_for_comparing()
        checked: list[tuple[Chunk, Digest]] = []
        for chunk in part_plan.chunks(record.schedule, snapshot.size, self._world.naming.limits):
            self._pacing.check_stop()
            digest = await self._world.recordings.digest(record.path, record.identity, chunk, hashes)
            checked.append((chunk, digest))
            if chunk.number % _CHUNKS_BETWEEN_LOOKS == 0 and await self._changed(snapshot):
                return None
        return None if await self._changed(snapshot) else tuple(checked)

    async def copy_unchanged(self, size: int, stored: Mapping[int, tuple[int, int | None]], source_etag: str) -> bool:
        """Copy whole chunks from the object that this upload replaces, instead of sending them; False if the store did
        not copy one correctly.

        ``stored``: size and CRC64NVME of the object's parts, which may have been cut by another schedule. A recorder
        may still be writing; the seal proves everything.
        """
        record, limits = self._ledger.record, self._world.naming.limits
        async for chunk, digest in self._unchanged(size, stored):
            self._pacing.check_stop()
            if chunk.size < limits.min_part or part_plan.matches(self._ledger.parts.get(chunk.number), digest):
                continue
            copy = await self._world.store.copy_part(
                record.key, self._upload_id(), chunk, source_key=record.key, source_etag=source_etag
            )
            if copy is None or not part_plan.matches(copy, digest):
                return False  # the store cannot copy, or does not confirm the chunk's bytes: send it instead
            now = self._world.clock.utc_now()
            copied = Part(chunk.number, chunk.size, copy.etag, digest.crc64, now, digest.md5, (SendReason.COPIED,))
            self._telemetry.emit(moments.PartCopied(number=chunk.number, size=chunk.size, seconds=0.0))
            await self._ledger.part_stored(copied)
        return True

    async def _unchanged(
        self, size: int, stored: Mapping[int, tuple[int, int | None]]
    ) -> AsyncIterator[tuple[Chunk, Digest]]:
        """The whole chunks of the file that lie in unchanged parts of the object, as they are now."""
        record = self._ledger.record
        hashes = await self._world.store.hashes_of_copies()

        async def read(chunk: Chunk) -> Digest:
            return await self._world.recordings.digest(record.path, record.identity, chunk, hashes)

        wanted = part_plan.Covered(part_plan.whole_chunks(record.schedule, size, self._world.naming.limits))
        for part, crc64 in part_plan.laid_out(stored):
            if wanted.is_done or part.offset + part.size > size:
                return
            digest = None if crc64 is None else await read(part)
            for chunk in wanted.after(part, same=digest is not None and digest.crc64 == crc64):
                yield chunk, digest if digest is not None and chunk == part else await read(chunk)

    async def _changed(self, snapshot: Snapshot) -> bool:
        return await self._world.recordings.snapshot(self._ledger.record.path) != snapshot

    async def _hashes_for_comparing(self) -> Hashes:
        """MD5 is slow: only if the store keeps no CRC, or a part is known only by its ETag."""
        wanted = await self._world.store.hashes(self._upload_id())
        unknown = any(part.crc64 is None for part in self._ledger.parts.values())
        return Hashes(md5=wanted.md5 or unknown)

    def _holds_what_was_read(self, checked: Sequence[tuple[Chunk, Digest]]) -> bool:
        parts = self._ledger.parts
        return all(part_plan.matches(parts.get(chunk.number), digest) for chunk, digest in checked)

    @staticmethod
    def _named(stored: StoredPart, digest: Digest) -> StoredPart:
        """The part as the completion names it: with the checksum even if the listing lacks it."""
        return StoredPart(stored.number, stored.size, stored.etag, digest.crc64)

    async def _send_all(self, stale: Sequence[Stale]) -> None:
        remaining = list(stale)
        while remaining:
            self._pacing.check_stop()
            await self._send_a_turn(remaining)

    async def _send_a_turn(self, remaining: list[Stale]) -> None:
        """Send for one turn, and remove stored chunks from the list. Holds nothing between two attempts."""
        store, slots, rhythm = self._world.store, self._world.slots, self._world.rhythm
        hashes = await store.hashes(self._upload_id())
        largest = max(item.chunk.size for item in remaining)
        at_once = part_plan.in_flight(largest, rhythm.memory, rhythm.parts_in_flight)
        again = False

        async def attempt() -> None:
            nonlocal again
            self._pacing.check_stop()
            if again:  # no chunk is read for a store that refuses everything
                await store.head(self._ledger.record.key)
            again = True
            async with slots.sending(at_once) as turn:
                await self._send(remaining, turn, hashes, largest)

        await store.until_it_works("upload_part", attempt)

    async def _send(self, remaining: list[Stale], turn: Turn, hashes: Hashes, largest: int) -> None:
        """Send parts of up to ``largest`` bytes, as many at once as the turn allows, until it is over.

        After a failure no further part begins. The failure counts only if no other part was stored meanwhile: then the
        failed part is the next one.
        """
        queue = iter(tuple(remaining))
        working = 0
        self._ended_in.clear()
        stored: list[Stale] = []
        failures: list[Exception] = []

        def begin(group: TaskGroup) -> None:
            # Called again after each stored part: a turn allows one part at first, and more once the store took it.
            nonlocal working
            if failures or (stored and turn.over()):
                return
            for _ in range(min(turn.at_once, working + len(remaining)) - working):
                working += 1
                group.create_task(work(group), name=f"part-sender-{working}")

        async def work(group: TaskGroup) -> None:
            nonlocal working
            try:
                for item in self._until_over(queue, turn):
                    try:
                        part = await self._send_part(item, hashes, turn)
                    except S3Unavailable as exc:
                        failures.append(exc)
                    else:
                        stored.append(item)
                        remaining.remove(item)
                        begin(group)
                        await self._ledger.part_stored(part)  # a slow Redis says nothing about the store
                    if failures or working > turn.at_once:
                        return
            finally:
                working -= 1

        try:
            async with turn.giving_way(largest), TaskGroup() as group:
                begin(group)
        except TimeoutError:
            failures.append(self._ended_for_others(turn))
        except BaseExceptionGroup as group_failures:
            failure = _first(group_failures)
            if isinstance(failure, ChunkProcessingError):
                self._world.slots.part_failed()  # a file that is not readable, or hangs, delays others as much
            raise failure from None
        if failures and not stored:
            self._world.slots.part_failed()
            raise failures[0]
        for failure in failures:
            self._telemetry.emit(moments.Trouble(operation="upload_part", error=failure, retry_seconds=None))

    def _ended_for_others(self, turn: Turn) -> S3Unavailable | ChunkProcessingError:
        """The cause of the silence: the file only if no part was being sent to the store."""
        if self._ended_in == {"read"}:
            return silent_file(round(turn.silence()), more=" while other recordings wait")
        return S3Unavailable("the part takes far longer than those of other recordings", operation="upload_part")

    @staticmethod
    def _until_over(queue: Iterator[Stale], turn: Turn) -> Iterator[Stale]:
        """At least one part per turn, so that every stream progresses, and none after the turn is over."""
        for item in queue:
            yield item
            if turn.over():
                return

    async def _send_part(self, stale: Stale, hashes: Hashes, turn: Turn) -> Part:
        """Returns the part as stored."""
        record, clock = self._ledger.record, self._world.clock
        chunk = stale.chunk
        started = clock.monotonic()
        with turn.part():
            try:
                body = await self._world.recordings.read(record.path, record.identity, chunk, hashes)
            except asyncio.CancelledError:
                self._ended_in.add("read")
                raise
            turn.has_read()
            answered = False
            try:
                stored = await self._world.store.upload_part(record.key, self._upload_id(), chunk.number, body)
                digest = body.digest  # before the release, after which the memory belongs to another part
                answered = True
            except asyncio.CancelledError:
                self._ended_in.add("upload_part")
                raise
            finally:
                # After a failure a connection may still hold the memory: then it must not be reused.
                body.release(reusable=answered)
        before = self._ledger.parts.get(chunk.number)
        again = before.sent_again if before else ()
        if stale.reason is not SendReason.NEW:
            again += (stale.reason,)
        part = Part(chunk.number, chunk.size, stored.etag, digest.crc64, clock.utc_now(), digest.md5, again)
        seconds = clock.monotonic() - started
        self._telemetry.emit(
            moments.PartStored(number=chunk.number, size=chunk.size, seconds=seconds, reason=stale.reason)
        )
        self._world.slots.part_stored(chunk.size, seconds)
        turn.stored()
        return part


def too_long(size: int) -> StreamInitializationError:
    """For a file that exceeds the maximum object size."""
    return StreamInitializationError(f"{size} bytes exceed the maximum object size of S3")


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The most significant failure: ``FileChanged`` only if there is no other."""
    found = list(failures.exceptions)
    return next((exc for exc in found if not isinstance(exc, FileChanged)), found[0])
