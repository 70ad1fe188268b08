"""``StreamProcessor``: carries one recording from new to done.

The only place that awaits effects in order, and the order is the promise: say in Redis what is about to be done,
do it, say what came of it. Whatever is killed between two lines, the next start finds out by asking the store.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from ..domain import (
    SOURCE_MISSING,
    STATUSES,
    Answer,
    Care,
    Checkpoint,
    Fact,
    Holding,
    Manifest,
    Marker,
    OverCapacity,
    Part,
    Probe,
    Resume,
    Snapshot,
    Status,
    Step,
    StoredObject,
    Superseded,
    World,
    lifecycle,
    metadata_value,
    part_plan,
    resuming,
    whose,
)
from ..exceptions import (
    ChunkProcessingError,
    FileChanged,
    PartNotTaken,
    PartNumberRefused,
    PartTooLarge,
    Permanent,
    S3Unavailable,
    SourceMissing,
    StreamInitializationError,
    UploadGone,
)
from ..ownership import Claims
from .cleanup import Cleanup
from .completion import Completion
from .documents import Documents
from .ledger import Ledger
from .pacing import Pacing
from .sight import Sight
from .source_missing import Remains
from .upload import Sealed, Upload

#: A store that goes on refusing is sent the whole file again this rarely.
_LONGEST_REFUSAL_SECONDS = 4 * 3600.0

_Way = Callable[[], Awaitable[bool]]

#: A schedule of equal parts is reported as nearly full from this share of its capacity on.
_NEARLY_FULL = 0.9


#: Whoever touches the file each time that it is asked about is not waited for.
_ASK_AT_MOST = 3
_FILM_CHANGED = "the file has changed since: it is described when its object is brought up to date"


class _BegunAnew(Exception):
    """Another recording is in the file: it became shorter than the object that was to be brought up to date, or Redis
    had lost that this stream was done. ``marker`` is what is done of the file."""

    def __init__(self, marker: Marker) -> None:
        super().__init__()
        self.marker = marker


class StreamProcessor:
    """One recording's life. ``run`` may be called again on a new processor with the last ``checkpoint``."""

    def __init__(self, world: World, claims: Claims, checkpoint: Checkpoint) -> None:
        self._world = world
        self._claims = claims
        self._telemetry = world.telemetry.stream(checkpoint.stream_id, checkpoint.path)
        self._ledger = Ledger(checkpoint, world.checkpoints, self._telemetry)
        self._pacing = Pacing(world.rhythm, self._telemetry)
        self._sight = Sight(world, self._ledger, self._telemetry, self._pacing)
        self._upload = Upload(world, self._ledger, self._telemetry, self._pacing)
        self._completion = Completion(world, self._ledger, self._pacing)
        self._documents = Documents(world, self._telemetry, self._pacing)
        self._cleanup = Cleanup(world, self._ledger)
        self._remains = Remains(world, self._ledger, self._telemetry, self._completion, self._documents)
        self._refusals = self._losses = self._misfits = 0
        self._refused: set[str | None] = set()
        self._warned_of_capacity = False
        self._replaced_parts: Mapping[int, Part] = {}
        self._replaced_size = 0
        self._copied = False
        self._copies_in_vain = self._never_copies = False
        self._left: tuple[str | None, int] = (None, 0)  # the upload that was left for a part, and its bytes

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the stream stands."""
        return self._ledger.snapshot()

    def holding(self, seen: Snapshot, proved: Snapshot | None = None) -> Holding:
        """How much of the file, as it was just seen, S3 has; its object, and what is ``proved`` of it, count while an
        upload is to replace it."""
        record, size = self._ledger.record, seen.size
        stored = max(self._ledger.stored_bytes, self._replaced_size)
        if record.replaces is not None and proved is not None:
            stored = max(stored, proved.size)
        if STATUSES[record.status].is_proved and record.manifest is not None:
            stored = max(stored, record.manifest.size)
        if STATUSES[record.status].is_growing:
            size = part_plan.whole_bytes(record.schedule, size, self._world.naming.limits)
        return Holding(record.path, seen, stored, max(0, size - stored), record.stream_id, proved)

    def hint(self) -> None:
        """The file deserves a look."""
        self._pacing.hint()

    def renamed(self, path: str) -> None:
        """The recording is at another path now."""
        self._ledger.renamed(path)
        self._pacing.hint()

    def stop(self) -> None:
        """Come to an end at the next boundary: ``run`` raises ``Stopped``."""
        self._pacing.stop()

    async def run(self) -> Marker | None:
        """Until the recording is done (its marker) or has failed (None). Raises ``Stopped`` when asked to stop."""
        with self._telemetry.bind():
            self._telemetry.status_is(self._ledger.record.status)
            try:
                return await self._carry_or_leave()
            except Permanent as exc:
                reason = str(exc)
                await self._ledger.write(Fact.CANNOT_CONTINUE, failure=reason)
                self._telemetry.failed(reason=reason, hint=exc.hint)
        return None

    async def _carry_or_leave(self) -> Marker | None:
        try:
            return await self._carry()
        except _BegunAnew as exc:
            return exc.marker
        except SourceMissing:
            hint = await self._remains.dispose()
            self._telemetry.failed(reason=SOURCE_MISSING, hint=hint)
        return None

    # -- the whole way ----------------------------------------------------------------------------------------

    async def _carry(self) -> Marker:
        proved = await self._patiently(self._resume)
        while not proved:
            proved = await self._patiently(self._record_and_finish)
        return await self._describe()

    async def _patiently(self, step: _Way) -> bool:
        """One step of the way; what the file or the upload did meanwhile leads to another one, or back."""
        failures = 0
        while True:
            try:
                return await step()
            except FileChanged as exc:
                await self._pacing.pause_unless_changed(self._sight.seen, exc)
                return False
            except ChunkProcessingError as exc:
                failures += 1
                await self._pacing.pause(failures, operation="file_read", error=exc)
            except UploadGone:
                step = self._upload_is_gone
            except OverCapacity:
                step = self._anew_with_larger_parts
            except PartNumberRefused as exc:
                step = partial(self._anew_with_fewer_parts, exc)
            except PartTooLarge as exc:
                step = partial(self._anew_with_smaller_parts, exc)
            except PartNotTaken as exc:
                step = partial(self._anew_with_this_part, exc)

    async def _record_and_finish(self) -> bool:
        """Send while the recording grows, then finish; False when it has to go on. True: the object is proved."""
        if self._ledger.record.status is Status.S3_COMPLETED:
            return True
        if self._ledger.record.status is Status.PENDING_COMPLETION:
            await self._ledger.write(Fact.GREW, manifest=None, unanswered=False)
        if self._ledger.record.upload_id is None:
            await self._open_upload()
        replaces = self._ledger.record.replaces
        if replaces is not None and not self._copied:
            await self._copy_unchanged(replaces)
        snapshot = await self._grow()
        return await self._finish(snapshot)

    # -- beginning and resuming -------------------------------------------------------------------------------

    async def _resume(self) -> bool:
        await self._leave_to_later_recording()
        record = self._ledger.record
        if record.upload_id is not None and record.without_checksums:
            self._world.store.begun_without_checksums(record.upload_id)
        where = resuming.where_to_resume(record)
        if STATUSES[record.status].care is Care.KEPT:
            await self._ledger.write(Fact.SEEN_AGAIN, failure=None)
        self._telemetry.started(key=record.key, resumed=where is not Resume.BEGIN)
        if self._remains.are_being_completed():
            raise SourceMissing(f"{record.path!r} was gone")
        if record.replaces is not None:
            self._telemetry.replacing(key=record.key, etag=record.replaces)
        match where:
            case Resume.BEGIN:
                await self._ledger.write()  # the intent, before anything is created
                await self._sight.look()  # the file may have got another name while nobody looked
                await self._adopt_upload()
                return False
            case Resume.UPLOAD:
                await self._rejoin_upload()
                return False
            case Resume.RESOLVE_COMPLETION:
                return await self._resolve(Answer.NONE)
            case Resume.DESCRIBE:
                return await self._still_proved()

    async def _leave_to_later_recording(self) -> None:
        """A record whose end Redis has lost: its file has become another recording since, and that one is done."""
        record = self._ledger.record
        later = await self._world.checkpoints.marker(record.identity)
        if later is not None and later.started_at > record.started_at:
            await self._cleanup.after_another(record)
            await self._world.checkpoints.forget(record.stream_id)
            raise _BegunAnew(later)

    async def _adopt_upload(self) -> None:
        """Parts that are in S3 already, from before a loss of Redis, need not be sent again."""
        adopted = await self._claims.uploads.adoptable(self._ledger.record)
        if adopted is not None:
            await self._ledger.begin_upload(None, adopted.upload_id, adopted.parts, schedule=adopted.schedule)
            self._telemetry.adopted(upload_id=adopted.upload_id, parts=len(adopted.parts))

    async def _rejoin_upload(self) -> None:
        record = self._ledger.record
        fact = Fact.GREW if record.status is Status.PENDING_COMPLETION else None
        listed = await self._world.store.list_parts(record.key, str(record.upload_id))
        now, atomic = self._world.clock.utc_now(), self._world.store.is_atomic
        parts = resuming.merge_parts(self._ledger.parts, listed, now, atomic=atomic)
        await self._ledger.begin_upload(fact, record.upload_id, parts)

    async def _still_proved(self) -> bool:
        record = self._ledger.record
        stored = await self._world.store.head(record.key)
        if stored is None or not resuming.is_still_described(stored, record):
            await self._upload_anew(Fact.UPLOAD_LOST, replaces=None)
            return False
        if record.status is not Status.S3_COMPLETED:  # it had failed after its object was proved
            await self._ledger.write(Fact.OBJECT_PROVED)
        await self._take_id_of(stored)  # a kill may have come in between
        return True

    async def _open_upload(self) -> None:
        record, store = self._ledger.record, self._world.store
        metadata = whose.object_metadata(
            record.stream_id, metadata_value(record.path), record.identity, record.schedule
        )
        of_copies = await self._is_mostly_there()
        upload_id = await store.create_upload(record.key, metadata, of_copies=of_copies)
        self._replaced_parts = self._ledger.parts
        without = store.has_no_checksums(upload_id)
        await self._ledger.begin_upload(None, upload_id, {}, without_checksums=without)

    async def _is_mostly_there(self) -> bool:
        """Whether half of the file or more may be copied from the object that is to be replaced, by their sizes."""
        record, size = self._ledger.record, self._sight.seen.size if self._sight.seen else 0
        if record.replaces is None or self._copied or self._never_copies:
            return False
        stored = await self._world.store.head(record.key)
        return stored is not None and stored.etag == record.replaces and 2 * stored.size >= size

    async def _copy_unchanged(self, etag: str) -> None:
        """Whole chunks that the object to be replaced already has are copied inside the store."""
        self._copied = True
        if self._never_copies:
            return
        record = self._ledger.record
        stored = await self._world.store.head(record.key)
        if stored is None or stored.etag != etag:
            return  # somebody was faster: the completion's condition will tell
        if not await self._claims.replacing.may_replace(record, stored):
            await self._to_another_key()
            raise FileChanged("the object that was to be replaced is another recording's")
        self._replaced_size = 0 if self._claims.replacing.has_but_the_name(record, stored) else stored.size
        snapshot = await self._sight.look()
        chunks = await self._chunks_of_replaced(etag)
        self._copies_in_vain = not await self._upload.copy_unchanged(snapshot.size, chunks, etag)

    async def _chunks_of_replaced(self, etag: str) -> dict[int, tuple[int, int | None]]:
        """Size and checksum of each part of the object that is replaced, as far as anybody remembers."""
        described = (await self._claims.replacing.description(self._ledger.record.key)).description
        if described is not None and described.etag == etag:
            return {chunk.number: (chunk.size, chunk.crc64) for chunk in described.chunks}
        return {part.number: (part.size, part.crc64) for part in self._replaced_parts.values()}

    async def _leave_to_another_recording(self) -> None:
        """The object stays what it is; the file is taken up anew, under the next key, when this stream has ended."""
        record = self._ledger.record
        described = (await self._claims.replacing.description(record.key)).description
        if described is None or described.etag != record.replaces:
            await self._ledger.take_id(secrets.token_hex(16))  # the earlier recording's object keeps the old one
            await self._to_another_key()
            self._replaced_size = 0
            raise FileChanged("another recording is in the file")
        await self._cleanup.after_another(record)
        marker = described.marker(record.path)
        await self._world.checkpoints.finish(replace(record, status=Status.COMPLETED), marker)
        raise _BegunAnew(marker)

    # -- growing ----------------------------------------------------------------------------------------------

    async def _grow(self) -> Snapshot:
        """Send what is whole on disk until the recording has been quiet for its time."""
        while True:
            snapshot = await self._sight.look()
            if snapshot.size < self._replaced_size:
                await self._leave_to_another_recording()
            self._check_capacity(snapshot)
            if await self._upload.send_whole_chunks(snapshot):
                continue
            idle_at, now = self._sight.idle_at(), self._world.clock.monotonic()
            if snapshot.size and (now >= idle_at or await self._sight.is_closed(snapshot, now)):
                return snapshot
            seconds = min(idle_at - now, self._sight.look_again_seconds)
            await self._pacing.wait(seconds if snapshot.size else None)

    def _check_capacity(self, snapshot: Snapshot) -> None:
        """Raises ``StreamInitializationError`` for what no object can hold, before any of it is sent."""
        if snapshot.size > part_plan.largest_object(self._world.naming.limits):
            raise StreamInitializationError(f"{snapshot.size} bytes are more than S3 can hold in one object")
        most = part_plan.capacity(self._ledger.record.schedule, self._world.naming.limits)
        self._telemetry.capacity_used(ratio=snapshot.size / most)
        if snapshot.size > _NEARLY_FULL * most and not self._warned_of_capacity:
            self._warned_of_capacity = True
            self._telemetry.near_capacity(size=snapshot.size, capacity=most)

    # -- finishing --------------------------------------------------------------------------------------------

    async def _finish(self, snapshot: Snapshot) -> bool:
        clock = self._world.clock
        started = clock.monotonic()
        self._sight.went_idle(snapshot)
        await self._ledger.write(Fact.WENT_IDLE)
        await self._sight.ask_before_the_pass()
        sealed = await self._upload.seal(snapshot)
        if sealed is None or not await self._sight.may_complete():
            self._telemetry.grew_again()
            return False
        self._pacing.check_stop()
        self._losses = self._misfits = 0
        self._telemetry.sealed(size=snapshot.size, seconds=clock.monotonic() - started, sent_again=sealed.sent_again)
        if self._refused:
            # Uploads whose completion was refused stay until an object is proved, like any other; but a store that
            # refuses for good is not to collect the file without end. The one that was just sealed holds all of it.
            await self._cleanup.drop(self._refused)
            self._refused.clear()
        return await self._complete(sealed)

    async def _complete(self, sealed: Sealed) -> bool:
        manifest = sealed.manifest(self._ledger.record.replaces)
        return await self._resolve(await self._completion.send(manifest, sealed.parts))

    async def _resolve(self, answer: Answer) -> bool:
        """Find out what a completion came to, whatever was answered. True: the object is proved."""
        step, stored = await self._completion.settle(answer)
        if step is Step.VERIFIED and stored is not None:
            await self._object_is_proved(stored)
            return True
        await self._go_back(step, stored.etag if stored else "")
        return False

    async def _go_back(self, step: Step, etag: str) -> None:
        """Back to growing, with the same upload or with another; more slowly each time the store refuses."""
        self._refusals += 1
        refused = S3Unavailable(f"the completion was refused: {step}", operation="complete_upload")
        await self._pacing.pause(
            self._refusals, operation="complete_upload", error=refused, longest=_LONGEST_REFUSAL_SECONDS
        )
        if step is Step.SEAL_AGAIN and self._refusals > 1:
            step = Step.UPLOAD_ANEW  # the file was read again whole and the store still objects: it is the upload
        match step:
            case Step.PROVE_AGAIN | Step.SEAL_AGAIN:
                fact = Fact.GREW if self._ledger.record.status is Status.PENDING_COMPLETION else None
                await self._ledger.write(fact, manifest=None, unanswered=False)
            case Step.UPLOAD_ANEW:
                self._refused.add(self._ledger.record.upload_id)
                await self._upload_anew(Fact.UPLOAD_LOST, replaces=self._ledger.record.replaces)
            case Step.BRING_UP_TO_DATE:
                await self._upload_anew(Fact.UPLOAD_LOST, replaces=etag)
            case Step.NEXT_KEY:
                await self._to_another_key()

    async def _to_another_key(self) -> None:
        taken = self._ledger.record.key
        free, etag = await self._claims.replacing.another_key(self._ledger.record)
        self._telemetry.next_key(taken=taken, key=free.key)
        await self._upload_anew(Fact.UPLOAD_LOST, replaces=etag, key=free.key, number=free.number)
        self._claims.replacing.leave_key(self._ledger.record, taken)

    async def _upload_is_gone(self) -> bool:
        """The store does not know the upload: completed by somebody, aborted or expired. The object tells."""
        record = self._ledger.record
        self._telemetry.upload_lost(upload_id=str(record.upload_id))
        self._losses += 1
        if self._losses > 1:
            lost = S3Unavailable("the store loses uploads as soon as they are begun", operation="upload_part")
            await self._pacing.pause(
                self._losses - 1, operation="upload_part", error=lost, longest=_LONGEST_REFUSAL_SECONDS
            )
        stored = await self._world.store.head(record.key)
        if stored is None or stored.etag == record.replaces:
            await self._upload_anew(Fact.UPLOAD_LOST, replaces=stored.etag if stored else None)
            return False
        if await self._is_this_recording(stored):
            return await self._record_and_finish()
        size = self._sight.seen.size if self._sight.seen else 0
        if not whose.is_ours(stored, record.stream_id, record.identity, size):
            await self._to_another_key()
            return False
        await self._upload_anew(Fact.UPLOAD_LOST, replaces=stored.etag)
        return False

    async def _is_this_recording(self, stored: StoredObject) -> bool:
        """Whether the object is the file, byte for byte, whoever completed it; then it is recorded as proved."""
        record = self._ledger.record
        snapshot = await self._sight.look()
        if stored.size != snapshot.size:
            return False
        crc64, read = await self._claims.reading.whole(record.path, snapshot, record.schedule)
        if await self._claims.reading.object_crc64(record.key, stored) != crc64:
            return False
        known = self._ledger.parts
        parts = {
            part.number: known[part.number]
            if part.number in known and known[part.number].crc64 == part.crc64
            else replace(part, etag=stored.etag)
            for part in read
        }
        manifest = Manifest(snapshot.size, crc64, len(parts), snapshot, record.replaces)
        await self._ledger.object_found(
            parts,
            manifest=manifest,
            etag=stored.etag,
            completed_at=self._world.clock.utc_now(),
            still_open=await self._sight.is_still_open(),
        )
        self._telemetry.object_proved(
            key=record.key,
            size=snapshot.size,
            etag=stored.etag,
            seconds_since_change=None,  # it may have been there for long
        )
        await self._take_id_of(stored)
        return True

    async def _upload_anew(self, fact: Fact, *, replaces: str | None, **changes: object) -> None:
        """Leave the upload for another one. What it holds is thrown away only when the new object is proved."""
        self._copied = False
        record = self._ledger.record
        superseded = record.superseded
        if record.upload_id is not None:
            superseded += (Superseded(record.key, record.upload_id, record.stream_id, record.started_at),)
        await self._ledger.begin_upload(
            fact,
            None,
            self._ledger.parts if replaces else {},
            replaces=replaces,
            superseded=superseded,
            completed_at=None,
            processed_at=None,
            probe=None,
            **changes,
        )

    async def _anew_with_larger_parts(self) -> bool:
        """Equal parts are used up: upload the file again with larger ones, once it is closed."""
        snapshot = await self._sight.look()
        self._check_capacity(snapshot)
        schedule = part_plan.schedule_for(snapshot.size, self._ledger.record.schedule, self._world.naming.limits)
        await self._upload_anew(Fact.UPLOAD_LOST, replaces=self._ledger.record.replaces, schedule=schedule)
        return False

    async def _anew_with_fewer_parts(self, refused: PartNumberRefused) -> bool:
        """The store takes fewer parts than it was thought to: upload the file again in as many as it takes.

        What an object that is replaced has is copied. Parts of an upload that is not complete cannot be copied into
        another one; they are sent again.
        """
        self._misfits += 1
        if self._misfits == 1:
            self._telemetry.trouble(operation="upload_part", error=refused, retry_seconds=0.0)
        else:  # what fits by its own words does not fit
            longest = _LONGEST_REFUSAL_SECONDS
            await self._pacing.pause(self._misfits - 1, operation="upload_part", error=refused, longest=longest)
        snapshot, old = await self._sight.look(), self._ledger.record.schedule
        # Several parts were on their way: where the store does not say its limit, the last that it took does.
        stored = [number for number in self._ledger.parts if number < refused.number]
        most = refused.most or max(stored, default=max(1, refused.number - 1))
        schedule = part_plan.schedule_within(snapshot.size, old, most, self._world.naming.limits)
        if schedule is None:
            raise StreamInitializationError(f"{snapshot.size} bytes do not fit into {most} parts", hint=refused.hint)
        await self._leave_for_a_part(schedule=schedule)
        return False

    async def _anew_with_smaller_parts(self, refused: PartTooLarge) -> bool:
        """Something on the way refuses a body for its size: upload the file again in smaller ones, or wait."""
        snapshot = await self._sight.look()
        schedule = part_plan.smaller_parts(snapshot.size, refused.size, self._world.naming.limits)
        if schedule is None:
            self._misfits += 1
            await self._pacing.pause(self._misfits, operation="upload_part", error=refused)
            return False
        self._telemetry.trouble(operation="upload_part", error=refused, retry_seconds=0.0)
        await self._upload_anew(Fact.UPLOAD_LOST, replaces=self._ledger.record.replaces, schedule=schedule)
        return False

    async def _anew_with_this_part(self, refused: PartNotTaken) -> bool:
        """The store cannot put a part in place of what it has already: upload the file again."""
        self._misfits += 1
        if self._misfits == 1:
            self._telemetry.trouble(operation="upload_part", error=refused, retry_seconds=0.0)
        else:
            longest = _LONGEST_REFUSAL_SECONDS if self._ledger.parts else None
            await self._pacing.pause(self._misfits - 1, operation="upload_part", error=refused, longest=longest)
        # What was copied otherwise than it should may be what cannot be replaced.
        self._never_copies = self._copies_in_vain
        await self._leave_for_a_part()
        return False

    async def _leave_for_a_part(self, **changes: object) -> None:
        """Leave the upload because of one part. A store that refuses it for good is not to collect the file without
        end: of the uploads that were left so only that with the most bytes stays until the new object is proved."""
        record, held = self._ledger.record, self._ledger.stored_bytes
        left, most = self._left
        if not held or held < most:
            await self._world.store.abort_upload(record.key, str(record.upload_id))
            await self._ledger.begin_upload(Fact.UPLOAD_LOST, None, {}, **changes)
            self._copied = False
            return
        if left is not None:
            await self._cleanup.drop({left})
        self._left = record.upload_id, held
        await self._upload_anew(Fact.UPLOAD_LOST, replaces=record.replaces, **changes)

    # -- the object is there ----------------------------------------------------------------------------------

    async def _object_is_proved(self, stored: StoredObject) -> None:
        """What has changed in the file meanwhile is found when the stream has ended."""
        record = self._ledger.record
        now = self._world.clock.utc_now()
        # The ctime: the mtime of a copy may be that of its original.
        since_change = max(0.0, now.timestamp() - _manifest(record).snapshot.ctime_ns / 1e9)
        self._telemetry.object_proved(
            key=record.key, size=stored.size, etag=stored.etag, seconds_since_change=since_change
        )
        still_open = await self._sight.is_still_open()
        await self._ledger.write(
            Fact.OBJECT_PROVED, etag=stored.etag, unanswered=False, completed_at=now, still_open=still_open
        )
        await self._take_id_of(stored)

    async def _take_id_of(self, stored: StoredObject) -> None:
        """An adopted upload, or another's completion, has the id of the stream that began it in its metadata."""
        origin = whose.origin_of(stored.metadata)
        if origin is not None and origin.stream_id != self._ledger.record.stream_id:
            await self._ledger.take_id(origin.stream_id)
            self._telemetry.took_id(stream_id=origin.stream_id)

    async def _describe(self) -> Marker:
        """Write the document beside the object, clean up, and leave a marker."""
        probe = self._ledger.record.probe
        if probe is None or self._ledger.record.processed_at is None:
            probe = await self._probe(_manifest(self._ledger.record).snapshot)
            # The intent, before the document: what is written again has the same bytes.
            await self._ledger.write(processed_at=self._world.clock.utc_now(), probe=probe)
        if probe.error is not None:
            self._telemetry.probe_failed(error=probe.error)
        record = self._ledger.snapshot()
        await self._documents.put(record, probe)
        await self._cleanup.after_the_proof(record)
        marker = _marker(record)
        finished = replace(record, status=lifecycle.after(record.status, Fact.METADATA_STORED))
        await self._world.checkpoints.finish(finished, marker)
        self._telemetry.completed(
            key=record.key,
            size=marker.snapshot.size,
            duration_seconds=probe.duration_seconds,
            stream_seconds=max(0.0, (self._world.clock.utc_now() - record.started_at).total_seconds()),
            processing_seconds=self._sight.idle_seconds,
        )
        return marker

    async def _probe(self, proved: Snapshot) -> Probe:
        """What is known of the film that the object holds. A change of the file ends the asking: it would be told of
        another film. Where only its times have changed, its bytes tell that it is the same, and it is asked again."""
        try:
            await self._sight.look()  # it may just have got another name
            for times in range(_ASK_AT_MOST):
                if times > 0:
                    proved = await self._same_film(proved)
                probe = await self._ask_about(proved)
                if probe is not None:
                    return probe
        except SourceMissing:
            return Probe(error="the file is gone")
        except FileChanged:
            pass
        return Probe(error=_FILM_CHANGED)

    async def _ask_about(self, proved: Snapshot) -> Probe | None:
        """None: the file was changed meanwhile, or touched."""
        asking = asyncio.create_task(self._world.prober.probe(self._ledger.record.path, proved.identity), name="probe")
        try:
            while not asking.done():
                await self._pacing.wait_beside(asking)
                if not await self._sight.holds(proved):
                    return None
            return asking.result() if await self._sight.holds(proved) else None
        finally:
            asking.cancel()

    async def _same_film(self, proved: Snapshot) -> Snapshot:
        """The file as it is now, when it holds the object's bytes still. Raises ``FileChanged`` when it does not, or
        nobody can say."""
        record = self._ledger.record
        try:
            now = await self._sight.look()
            if (now.identity, now.size) != (proved.identity, proved.size):
                raise FileChanged(f"{record.path!r} is another film", operation="probe")
            crc64, _ = await self._claims.reading.whole(record.path, now, record.schedule)
        except ChunkProcessingError as exc:
            raise FileChanged(f"{record.path!r} cannot be read", operation="probe") from exc
        if crc64 != _manifest(record).crc64:
            raise FileChanged(f"{record.path!r} holds other bytes", operation="probe")
        return now


def _manifest(record: Checkpoint) -> Manifest:
    if record.manifest is None:
        raise AssertionError("a completion without a manifest")
    return record.manifest


def _marker(record: Checkpoint) -> Marker:
    manifest = _manifest(record)
    if record.etag is None or record.completed_at is None:
        raise AssertionError("a marker of an object that was not proved")
    return Marker(
        stream_id=record.stream_id,
        path=record.path,
        bucket=record.bucket,
        key=record.key,
        snapshot=manifest.snapshot,
        crc64=manifest.crc64,
        etag=record.etag,
        schedule=record.schedule,
        started_at=record.started_at,
        completed_at=record.completed_at,
        replacements=record.replacements,
        still_open=record.still_open,
    )
