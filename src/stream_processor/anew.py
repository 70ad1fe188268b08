"""Restarting an upload: what is kept of the old one, and the key and part sizes of the next one.

The old upload is aborted only when the new object is proved. A store that refuses repeatedly is retried less and less
often, because each time the whole file is sent.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from ..domain import Fact, Marker, Status, Step, Superseded, moments, part_plan
from ..exceptions import PartNotTaken, PartNumberRefused, PartTooLarge, S3Unavailable, StreamInitializationError
from .cleanup import Cleanup
from .one_stream import OneStream
from .replaced import Replaced
from .upload import Upload, too_long

#: Longest interval at which a store that keeps refusing is sent the whole file again.
_LONGEST_REFUSAL_SECONDS = 4 * 3600.0


class Anew:
    """The abandoned uploads of one stream, and how often each reason occurred: ``_refusals`` of the completion,
    ``_losses`` of a new upload, ``_misfits`` of a part."""

    def __init__(self, stream: OneStream, *, cleanup: Cleanup, upload: Upload, replaced: Replaced) -> None:
        self._world = stream.world
        self._claims = stream.claims
        self._ledger = stream.ledger
        self._telemetry = stream.telemetry
        self._pacing = stream.pacing
        self._sight = stream.sight
        self._cleanup = cleanup
        self._upload = upload
        self._replaced = replaced
        self._refusals = self._losses = self._misfits = 0
        self._refused: set[str | None] = set()
        self._left: tuple[str | None, int] = (None, 0)  # the upload that was abandoned because of a part, and its bytes

    async def begin(self, *, replaces: str | None, **changes: object) -> None:
        """Restart with a new upload. The old one is aborted only when the new object is proved."""
        self._replaced.not_copied()
        record = self._ledger.record
        superseded = record.superseded
        if record.upload_id is not None:
            superseded += (Superseded(record.key, record.upload_id, record.stream_id, record.started_at),)
        await self._ledger.begin_upload(
            Fact.UPLOAD_LOST,
            None,
            self._ledger.parts if replaces else {},
            replaces=replaces,
            superseded=superseded,
            completed_at=None,
            processed_at=None,
            probe=None,
            **changes,
        )

    async def at_another_key(self) -> None:
        """The key is used by another program."""
        taken = self._ledger.record.key
        free, etag = await self._claims.replacing.another_key(self._ledger.record)
        self._telemetry.emit(moments.KeyConflict(key=taken, next_key=free.key))
        await self.begin(replaces=etag, key=free.key, number=free.number)
        self._claims.replacing.leave_key(self._ledger.record, taken)

    async def for_another_recording(self) -> Marker | None:
        """The file contains another recording: it became shorter than the object to be replaced, which is kept. Returns
        the marker of that object: the stream has ended with it, and the file is claimed again under the next key. None:
        too little is known about the object for a marker; this stream continues at another key."""
        record = self._ledger.record
        described = (await self._claims.replacing.description(record.key)).description
        if described is None or described.etag != record.replaces:
            await self._ledger.take_id(secrets.token_hex(16))  # the earlier recording's object keeps the old ID
            await self.at_another_key()
            self._replaced.is_none()
            return None
        await self._cleanup.after_another(record)
        marker = described.marker(record.path)
        await self._world.checkpoints.finish(replace(record, status=Status.COMPLETED), marker)
        return marker

    # -- after a refused completion ---------------------------------------------------------------------------

    async def after_completion(self, step: Step, etag: str) -> None:
        """Back to growing, with the same upload or a new one; with a longer pause each time the store refuses."""
        self._refusals += 1
        refused = S3Unavailable(f"the completion was refused: {step}", operation="complete_upload")
        longest = _LONGEST_REFUSAL_SECONDS
        await self._pacing.pause(self._refusals, operation="complete_upload", error=refused, longest=longest)
        if step is Step.SEAL_AGAIN and self._refusals > 1:
            # the whole file was read again and the store still refuses: the upload itself is the problem
            step = Step.UPLOAD_ANEW
        match step:
            case Step.PROVE_AGAIN | Step.SEAL_AGAIN:
                fact = Fact.GREW if self._ledger.record.status is Status.PENDING_COMPLETION else None
                await self._ledger.write(fact, manifest=None, unanswered=False)
            case Step.UPLOAD_ANEW:
                if self._ledger.record.upload_id is not None:
                    self._refused.add(self._ledger.record.upload_id)
                await self.begin(replaces=self._ledger.record.replaces)
            case Step.BRING_UP_TO_DATE:
                await self.begin(replaces=etag)
            case Step.NEXT_KEY:
                await self.at_another_key()

    async def is_sealed(self) -> None:
        """The upload contains the whole file: the store has kept it, and accepts its parts."""
        self._losses = self._misfits = 0
        if self._refused:
            # Uploads whose completion was refused stay until an object is proved, like any other; but a store that
            # always refuses must not accumulate copies of the file. The upload that was just sealed contains all of it.
            await self._cleanup.drop(self._refused)
            self._refused.clear()

    # -- during the upload ------------------------------------------------------------------------------------

    async def pause_if_lost_again(self) -> None:
        """The store does not know the upload. If it loses every upload, the file is not sent again immediately."""
        self._telemetry.emit(moments.UploadLost(upload_id=str(self._ledger.record.upload_id)))
        self._losses += 1
        if self._losses > 1:
            lost = S3Unavailable("the store loses uploads as soon as they are created", operation="upload_part")
            longest = _LONGEST_REFUSAL_SECONDS
            await self._pacing.pause(self._losses - 1, operation="upload_part", error=lost, longest=longest)

    async def with_larger_parts(self) -> None:
        """Equal parts are used up: upload the file again with larger ones, once it is closed."""
        snapshot = await self._sight.look()
        if snapshot.size > part_plan.largest_object(self._world.naming.limits):
            raise too_long(snapshot.size)
        self._upload.report_capacity(snapshot.size)
        schedule = part_plan.schedule_for(snapshot.size, self._ledger.record.schedule, self._world.naming.limits)
        await self.begin(replaces=self._ledger.record.replaces, schedule=schedule)

    async def with_fewer_parts(self, refused: PartNumberRefused) -> None:
        """The store accepts fewer parts than assumed: upload the file again with as many as it accepts.

        Unchanged parts of an object to be replaced are copied. Parts of an incomplete upload cannot be copied into
        another one; they are sent again.
        """
        # It should fit by the stated limit: if it does not, the store is sent the file less and less often.
        await self._pause_after_the_first(refused, longest=_LONGEST_REFUSAL_SECONDS)
        snapshot, old = await self._sight.look(), self._ledger.record.schedule
        # Several parts were in flight: if the store does not report its limit, use the last part that it accepted.
        stored = [number for number in self._ledger.parts if number < refused.number]
        most = refused.most or max(stored, default=max(1, refused.number - 1))
        schedule = part_plan.schedule_within(snapshot.size, old, most, self._world.naming.limits)
        if schedule is None:
            raise StreamInitializationError(f"{snapshot.size} bytes do not fit into {most} parts", hint=refused.hint)
        await self._leave_for_a_part(schedule=schedule)

    async def with_smaller_parts(self, refused: PartTooLarge) -> None:
        """A server refuses a request body because of its size: upload the file again with smaller parts, or wait."""
        snapshot = await self._sight.look()
        schedule = part_plan.smaller_parts(snapshot.size, refused.size, self._world.naming.limits)
        if schedule is None:
            self._misfits += 1
            await self._pacing.pause(self._misfits, operation="upload_part", error=refused)
            return
        self._telemetry.emit(moments.Trouble(operation="upload_part", error=refused, retry_seconds=0.0))
        await self.begin(replaces=self._ledger.record.replaces, schedule=schedule)

    async def with_this_part(self, refused: PartNotTaken) -> None:
        """The store cannot replace a part that it already has: upload the file again."""
        await self._pause_after_the_first(refused, longest=_LONGEST_REFUSAL_SECONDS if self._ledger.parts else None)
        self._replaced.never_copy_what_was_in_vain()
        await self._leave_for_a_part()

    async def _pause_after_the_first(self, refused: PartNumberRefused | PartNotTaken, *, longest: float | None) -> None:
        """Report that a part does not fit. Only if it happens again is the file not sent again immediately."""
        self._misfits += 1
        if self._misfits == 1:
            self._telemetry.emit(moments.Trouble(operation="upload_part", error=refused, retry_seconds=0.0))
        else:
            await self._pacing.pause(self._misfits - 1, operation="upload_part", error=refused, longest=longest)

    async def _leave_for_a_part(self, **changes: object) -> None:
        """Abandon the upload because of one part. A store that always refuses must not accumulate uploads: of the
        abandoned ones only the one with the most bytes stays until the new object is proved."""
        record, held = self._ledger.record, self._ledger.stored_bytes
        left, most = self._left
        if not held or held < most:
            await self._world.store.abort_upload(record.key, str(record.upload_id))
            await self._ledger.begin_upload(Fact.UPLOAD_LOST, None, {}, **changes)
            self._replaced.not_copied()
            return
        if left is not None:
            await self._cleanup.drop({left})
        self._left = record.upload_id, held
        await self.begin(replaces=record.replaces, **changes)
