"""``StreamProcessor``: carries one recording from new to done.

The only place that performs effects in order, and the order is the guarantee: write the intent to Redis, act, write the
result. After a kill between two lines, the next start queries the store to find out what happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from ..domain import (
    MIB,
    SOURCE_MISSING,
    STATUSES,
    Answer,
    Care,
    Checkpoint,
    Fact,
    Holding,
    Manifest,
    Marker,
    Observation,
    OverCapacity,
    Snapshot,
    Status,
    Step,
    StoredObject,
    Unfinished,
    World,
    moments,
    part_plan,
    resuming,
)
from ..exceptions import (
    FileChanged,
    PartNotTaken,
    PartNumberRefused,
    PartTooLarge,
    Permanent,
    S3NotAble,
    SourceMissing,
    Stopped,
    StreamProcessorError,
)
from ..ownership import Claims
from . import next_step
from .anew import Anew
from .cleanup import Cleanup
from .completion import Completion
from .describing import Describing
from .documents import Documents
from .ledger import Ledger
from .next_step import Case, Facts, Loss, Refusal
from .one_stream import OneStream
from .pacing import Pacing
from .proving import Proving
from .replaced import Replaced
from .sight import Sight
from .source_missing import Remains
from .upload import Sealed, Upload, too_long
from .whole import Whole, metadata_of

#: Bytes. A longer file is read for seconds before anything else is written about it.
_LONG_PASS = 256 * MIB

#: A recording that neither grows nor ends within this time is saved before its end.
_SAVED_AFTER_SECONDS = 60.0

_Way = Callable[[], Awaitable[bool]]


class _LeftTo(Exception):
    """The file contains another recording: it became shorter than the object to be replaced, or Redis had lost the fact
    that this stream was done. The stream ends with ``marker``, the completed part of the file's history."""

    def __init__(self, marker: Marker) -> None:
        super().__init__()
        self.marker = marker


class StreamProcessor:
    """The lifecycle of one recording. A new processor may continue from the last ``checkpoint``. ``first``: how this
    process first saw the file, if it has."""

    def __init__(self, world: World, claims: Claims, checkpoint: Checkpoint, first: Observation | None = None) -> None:
        self._world = world
        self._claims = claims
        self._telemetry = world.telemetry.stream(checkpoint.stream_id, checkpoint.path)
        self._ledger = Ledger(checkpoint, world.checkpoints, self._telemetry)
        self._began_at = world.clock.monotonic()
        self._pacing = Pacing(world.rhythm, self._telemetry)
        self._sight = Sight(world, self._ledger, self._telemetry, self._pacing, first)
        self._whole = Whole(world, self._ledger, self._telemetry)
        self._completion = Completion(world, self._ledger, self._pacing, self._whole)
        self._upload = Upload(world, self._ledger, self._telemetry, self._pacing)
        self._cleanup = Cleanup(world, self._ledger)
        stream = OneStream(world, claims, self._ledger, self._telemetry, self._pacing, self._sight)
        self._replaced = Replaced(stream, self._upload)
        self._anew = Anew(stream, cleanup=self._cleanup, upload=self._upload, replaced=self._replaced)
        self._proving = Proving(stream)
        documents = Documents(world, self._telemetry, self._pacing)
        self._describing = Describing(stream, cleanup=self._cleanup, documents=documents)
        self._remains = Remains(world, self._ledger, self._telemetry, self._completion, documents)

    @property
    def checkpoint(self) -> Checkpoint:
        """The current state of the stream."""
        return self._ledger.snapshot()

    def holding(self, seen: Snapshot, proved: Snapshot | None = None) -> Holding:
        """How much of the file, at its current snapshot, S3 has. While an upload is to replace an object, that object
        and its snapshot ``proved`` count."""
        record, size = self._ledger.record, seen.size
        stored = max(self._ledger.stored_bytes, self._replaced.size)
        if record.replaces is not None and proved is not None:
            stored = max(stored, proved.size)
        if STATUSES[record.status].is_proved and record.manifest is not None:
            stored = max(stored, record.manifest.size)
        if STATUSES[record.status].is_growing:
            size = part_plan.whole_bytes(record.schedule, size, self._world.naming.limits)
        return Holding(record.path, seen, stored, max(0, size - stored), record.stream_id, proved)

    def unfinished(self, seen: Snapshot | None, proved: Snapshot | None) -> Unfinished:
        """The same for people; ``seen`` None: the file is missing."""
        record, holding = self._ledger.record, None if seen is None else self.holding(seen, proved)
        return Unfinished(record.path, holding, record, len(self._ledger.parts), self._ledger.stored_bytes)

    def hint(self) -> None:
        """The file may have changed."""
        self._pacing.hint()

    def renamed(self, path: str) -> None:
        """The recording is at another path now."""
        self._ledger.renamed(path)
        self._pacing.hint()

    def stop(self) -> None:
        """Stop at the next boundary: ``run`` raises ``Stopped``."""
        self._pacing.stop()

    async def run(self) -> Marker | None:
        """Run until the recording is done (returns its marker) or has failed (None). Raises ``Stopped`` if asked to
        stop."""
        with self._telemetry.bind():
            self._telemetry.emit(moments.StatusIs(self._ledger.record.status))
            try:
                return await self._carry_or_leave()
            except Permanent as exc:
                reason = str(exc)
                await self._ledger.write(Fact.CANNOT_CONTINUE, failure=reason)
                self._telemetry.emit(moments.Failed(reason=reason, hint=exc.hint))
            except Stopped:
                await self._ledger.left()
                raise
        return None

    async def _carry_or_leave(self) -> Marker | None:
        try:
            return await self._carry()
        except _LeftTo as exc:
            return exc.marker
        except SourceMissing:
            hint = await self._remains.dispose()
            self._telemetry.emit(moments.Failed(reason=SOURCE_MISSING, hint=hint))
        return None

    # -- the steps --------------------------------------------------------------------------------------------

    async def _carry(self) -> Marker:
        proved = await self._patiently(self._take_up)
        while not proved:
            proved = await self._patiently(self._record_and_finish)
        return await self._describing.describe()

    async def _patiently(self, way: _Way) -> bool:
        """Run some steps; a refusal by the file, the upload or the store leads to other steps, or back.

        Those steps may be refused, too, and are then retried: the original ones are no longer valid.
        """
        failures = 0
        while True:
            try:
                return await way()
            except (StreamProcessorError, OverCapacity) as error:
                match next_step.after_refusal(error), error:
                    case Refusal.BACK, FileChanged() as changed:
                        await self._ledger.recorded()
                        await self._pacing.pause_unless_changed(self._sight.seen, changed)
                        return False
                    case Refusal.PAUSE, _:
                        failures += 1
                        await self._ledger.recorded()
                        await self._pacing.pause(failures, operation="file_read", error=error)
                    case Refusal.LOOK_AT_OBJECT, _:
                        way = self._upload_is_gone
                    case Refusal.LARGER_PARTS, _:
                        way = partial(self._back, self._anew.with_larger_parts)
                    case Refusal.FEWER_PARTS, PartNumberRefused() as refused:
                        way = partial(self._back, partial(self._anew.with_fewer_parts, refused))
                    case Refusal.SMALLER_PARTS, PartTooLarge() as refused:
                        way = partial(self._back, partial(self._anew.with_smaller_parts, refused))
                    case Refusal.ANOTHER_UPLOAD, PartNotTaken() as refused:
                        way = partial(self._back, partial(self._anew.with_this_part, refused))
                    case Refusal.NOT_OURS, _:
                        raise

    @staticmethod
    async def _back(leave: Callable[[], Awaitable[None]]) -> bool:
        await leave()
        return False

    async def _take_up(self) -> bool:
        """Resume from the checkpoint, which is not trusted before the store was queried. True: the object is proved."""
        record = self._ledger.record
        is_new = self._claims.is_new(record)
        later = None if is_new else await self._world.checkpoints.marker(record.identity)
        case = next_step.taking_up(record, later)
        if case is Case.LEAVE_TO_LATER and later is not None:
            await self._cleanup.after_another(record)
            if later.stream_id == record.stream_id:
                await self._world.checkpoints.finish(replace(record, status=Status.COMPLETED), later)
            else:
                await self._world.checkpoints.forget(record.stream_id)
            raise _LeftTo(later)

        if record.upload_id is not None and record.without_checksums:
            self._world.store.begun_without_checksums(record.upload_id)
        if STATUSES[record.status].care is Care.KEPT:
            await self._ledger.write(Fact.SEEN_AGAIN, failure=None)
        began = moments.StreamStarted if case is Case.ADOPT else moments.StreamResumed
        self._telemetry.emit(began(key=record.key))
        if case is Case.FINISH_REMAINS:
            raise SourceMissing(f"{record.path!r} was gone")
        if record.replaces is not None:
            self._telemetry.emit(moments.ObjectBeingReplaced(key=record.key, etag=record.replaces))

        match case:
            case Case.LOOK_AT_OBJECT:
                if await self._proving.is_still_there():
                    return True
                await self._anew.begin(replaces=None)
            case Case.SETTLE:
                return await self._resolve(Answer.NONE)
            case Case.REJOIN:
                await self._rejoin_upload()
            case Case.ADOPT:
                if is_new:
                    self._ledger.begin()
                else:
                    await self._ledger.write()  # the intent, before anything is created
                await self._sight.look()  # the file may have been renamed meanwhile
                await self._adopt_upload()
        return False

    async def _record_and_finish(self) -> bool:
        """Upload while the recording grows, then finish; False if it must continue. True: the object is proved."""
        facts = self._facts()
        while True:
            case, seen = next_step.decide(facts), facts.seen
            match case, seen:
                case Case.PROVED, _:
                    return True
                case Case.GO_ON, _:
                    await self._ledger.write(Fact.GREW, manifest=None, unanswered=False)
                    facts = self._facts()
                case Case.OPEN, _:
                    await self._open_upload()
                    facts = self._facts()
                case Case.COPY, _:
                    await self._copy_unchanged()
                    facts = self._facts()
                case Case.LOOK, _:
                    facts = self._facts(seen=await self._sight.look())
                case Case.LEAVE_OBJECT, _:
                    marker = await self._anew.for_another_recording()
                    raise FileChanged("another recording is in the file") if marker is None else _LeftTo(marker)
                case Case.TOO_LONG, Snapshot():
                    raise too_long(seen.size)
                case Case.SEND, Snapshot():
                    self._upload.report_capacity(seen.size)
                    if await self._upload.send_whole_chunks(seen):
                        facts = self._facts()
                    else:
                        facts = replace(facts, all_sent=True, now=self._now(), idle_at=self._sight.idle_at())
                case Case.EMPTY, _:
                    await self._ledger.recorded()
                    await self._pacing.wait(None)
                    facts = self._facts()
                case Case.QUIET | Case.END_PROVED, Snapshot():
                    return await self._finish(seen)
                case Case.ASK_FOR_END, Snapshot():
                    facts = replace(facts, end_is_proved=await self._sight.is_closed(seen, facts.now))
                case Case.WAIT, _:
                    if self._sight.has_changed or self._now() >= self._began_at + _SAVED_AFTER_SECONDS:
                        await self._ledger.recorded()
                    await self._pacing.wait(min(facts.idle_at - facts.now, self._sight.look_again_seconds))
                    facts = self._facts()
                case _:
                    raise AssertionError(f"{case!r} before the file was looked at")

    def _facts(self, seen: Snapshot | None = None) -> Facts:
        """Gathered after each action: earlier facts about the file are outdated."""
        largest, replaced = part_plan.largest_object(self._world.naming.limits), self._replaced
        return Facts(self._ledger.record, replaced.is_copied, replaced.size, largest, self._whole.below, seen)

    def _now(self) -> float:
        return self._world.clock.monotonic()

    # -- the upload -------------------------------------------------------------------------------------------

    async def _adopt_upload(self) -> None:
        """Parts that are in S3 already, from before a data loss in Redis, need not be sent again."""
        if not self._claims.uploads.begins(self._ledger.record):
            self._cleanup.began_first()
            return
        adopted = await self._claims.uploads.adoptable(self._ledger.record)
        if adopted is not None:
            await self._ledger.begin_upload(None, adopted.upload_id, adopted.parts, schedule=adopted.schedule)
            self._telemetry.emit(moments.UploadAdopted(upload_id=adopted.upload_id, parts=len(adopted.parts)))

    async def _rejoin_upload(self) -> None:
        record = self._ledger.record
        fact = Fact.GREW if record.status is Status.PENDING_COMPLETION else None
        listed = await self._world.store.list_parts(record.key, str(record.upload_id))
        now, atomic = self._world.clock.utc_now(), self._world.store.is_atomic
        parts = resuming.merge_parts(self._ledger.parts, listed, now, atomic=atomic)
        await self._ledger.begin_upload(fact, record.upload_id, parts)

    async def _open_upload(self) -> None:
        await self._ledger.recorded()  # the intent, before anything is created
        record, store = self._ledger.record, self._world.store
        of_copies = await self._replaced.is_most_of_it()
        upload_id = await store.create_upload(record.key, metadata_of(record), of_copies=of_copies)
        self._replaced.had(self._ledger.parts)
        without = store.has_no_checksums(upload_id)
        await self._ledger.begin_upload(None, upload_id, {}, without_checksums=without)

    async def _copy_unchanged(self) -> None:
        """Unchanged parts of the object to be replaced need not be sent."""
        if not await self._replaced.copy_unchanged(str(self._ledger.record.replaces)):
            await self._anew.at_another_key()
            raise FileChanged("the object that was to be replaced is another recording's")

    # -- finishing --------------------------------------------------------------------------------------------

    async def _finish(self, snapshot: Snapshot) -> bool:
        started = self._now()
        self._sight.went_idle(snapshot)
        if self._ledger.record.upload_id is None:
            return await self._finish_whole(snapshot, started)
        if snapshot.size > _LONG_PASS:
            await self._ledger.write(Fact.WENT_IDLE)
        else:  # written with the last part, or with what the completion is to make
            self._ledger.note(Fact.WENT_IDLE)
        await self._sight.ask_before_the_pass()
        sealed = await self._upload.seal(snapshot)
        if sealed is None or not await self._sight.may_complete():
            self._telemetry.emit(moments.GrewAgain())
            return False
        self._pacing.check_stop()
        self._telemetry.emit(
            moments.Sealed(size=snapshot.size, seconds=self._now() - started, sent_again=sealed.sent_again)
        )
        await self._anew.is_sealed()
        return await self._complete(sealed)

    async def _complete(self, sealed: Sealed) -> bool:
        manifest = sealed.manifest(self._ledger.record.replaces)
        return await self._resolve(await self._completion.send(manifest, sealed.parts))

    async def _finish_whole(self, snapshot: Snapshot, started: float) -> bool:
        """The same in one request: the file is read whole between two equal stats, and what was read is sent."""
        await self._sight.ask_before_the_pass()
        digest = await self._whole.read(snapshot)
        if digest is None or not await self._sight.may_complete():
            self._telemetry.emit(moments.GrewAgain())
            return False
        self._pacing.check_stop()
        self._telemetry.emit(moments.Sealed(size=snapshot.size, seconds=self._now() - started, sent_again=0))
        try:
            answer, told = await self._completion.put(Manifest(snapshot.size, digest.crc64, 1, snapshot, None))
        except S3NotAble as refused:
            self._telemetry.emit(moments.Trouble(operation="put_object", error=refused, retry_seconds=0.0))
            if await self._world.store.head(self._ledger.record.key) is None:
                return False  # it goes on, and gets an upload
            answer, told = Answer.UPLOAD_GONE, None
        if answer is Answer.DONE and told is not None:
            await self._proving.is_completed(told)
            return True
        return await self._resolve(answer)

    async def _resolve(self, answer: Answer) -> bool:
        """Determine the result of a completion, whatever the answer was. True: the object is proved."""
        if answer is not Answer.DONE and self._ledger.record.upload_id is not None:
            self._cleanup.may_be_open()  # another request may have made the object
        step, stored = await self._completion.settle(answer)
        contradicts = step is Step.NEXT_KEY and stored is None  # case 8: at the next key it may do so again
        if self._ledger.record.upload_id is None and (contradicts or step in (Step.UPLOAD_ANEW, Step.SEAL_AGAIN)):
            self._whole.give_up()
        if step is Step.VERIFIED and stored is not None:
            await self._proving.is_completed(stored)
            return True
        await self._anew.after_completion(step, stored.etag if stored else "")
        return False

    async def _upload_is_gone(self) -> bool:
        """The store does not know the upload: it was completed, aborted, or has expired. The object shows which."""
        self._cleanup.may_be_open()
        await self._anew.pause_if_lost_again()
        record, is_the_file = self._ledger.record, None
        stored = await self._world.store.head(record.key)
        while True:
            size = self._sight.seen.size if self._sight.seen else 0
            match next_step.after_loss(record, stored, is_the_file=is_the_file, size=size), stored:
                case Loss.LOST, _:
                    await self._anew.begin(replaces=stored.etag if stored else None)
                    return False
                case Loss.COMPARE, StoredObject() as there:
                    is_the_file = await self._proving.is_the_file(there)
                case Loss.COMPLETED, _:
                    return False  # it is recorded as proved
                case Loss.OUTDATED, StoredObject() as there:
                    await self._anew.begin(replaces=there.etag)
                    return False
                case _:
                    await self._anew.at_another_key()
                    return False
