"""What happens to the parts in S3 if their file is permanently missing: kept, aborted, or completed as an object.

The operator chooses (``ON_SOURCE_MISSING``). Whatever is chosen, a file that is seen again resumes, and a complete
object is never replaced by a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..domain import (
    SOURCE_MISSING,
    Answer,
    Fact,
    Manifest,
    Part,
    Probe,
    Snapshot,
    Status,
    Step,
    StoredObject,
    StoredPart,
    StreamTelemetry,
    WhenMissing,
    World,
    combine,
    moments,
    multipart_etag,
    part_plan,
)
from ..exceptions import UploadGone
from .completion import Completion
from .documents import Documents
from .ledger import Ledger
from .next_step import are_remains

_KEPT = "S3 keeps the bytes sent so far as an open upload; it resumes when the file is moved back (not copied)"
_ABORTED = "the upload was aborted (ON_SOURCE_MISSING=abort), unless the store refused that (s3_unavailable)"
_COMPLETED = "the bytes sent so far were completed as an object (ON_SOURCE_MISSING=complete)"


class Remains:
    """The upload of one stream whose file is missing."""

    def __init__(
        self, world: World, ledger: Ledger, telemetry: StreamTelemetry, completion: Completion, documents: Documents
    ) -> None:
        self._world = world
        self._ledger = ledger
        self._telemetry = telemetry
        self._completion = completion
        self._documents = documents

    async def dispose(self) -> str:
        """Carry out the choice and let the stream fail; returns a hint for the operator. May be called again after a
        kill."""
        if are_remains(self._ledger.record):  # killed while it completed them
            return await self._settle(Answer.NONE)
        match self._world.when_missing:
            case WhenMissing.ABORT:
                return await self._abort()
            case WhenMissing.COMPLETE if self._ledger.record.replaces is None:
                return await self._complete()
            case _:
                return await self._keep()

    async def _keep(self) -> str:
        await self._ledger.write(Fact.SOURCE_MISSING, failure=SOURCE_MISSING, manifest=None, unanswered=False)
        return _KEPT

    async def _abort(self) -> str:
        record = self._ledger.record
        own = [(old.key, old.upload_id) for old in record.superseded if old.stream_id == record.stream_id]
        for key, upload_id in [(record.key, record.upload_id), *own]:
            if upload_id is not None:
                await self._world.store.abort_upload(key, upload_id)
        others = tuple(old for old in record.superseded if old.stream_id != record.stream_id)
        await self._fail_without_upload(superseded=others)
        return _ABORTED

    async def _complete(self) -> str:
        parts = await self._leading_parts()
        if not parts:
            return await self._keep()
        record = self._ledger.record
        manifest = _manifest(parts, Snapshot(record.identity, sum(part.size for part in parts), 0, 0))
        fact = None if record.status is Status.PENDING_COMPLETION else Fact.WENT_IDLE
        await self._ledger.write(fact, failure=SOURCE_MISSING, manifest=manifest, unanswered=True)
        named = [StoredPart(part.number, part.size, part.etag, part.crc64) for part in parts]
        return await self._settle(await self._completion.send(manifest, named))

    async def _leading_parts(self) -> list[Part]:
        record = self._ledger.record
        if record.upload_id is None:
            return []
        try:
            listed = await self._world.store.list_parts(record.key, record.upload_id)
        except UploadGone:
            return []
        return list(self._usable(listed))

    def _usable(self, listed: dict[int, StoredPart]) -> Iterator[Part]:
        """From the first part on, as long as they are stored, whole and known; a shorter one is the last."""
        known, schedule, limits = self._ledger.parts, self._ledger.record.schedule, self._world.naming.limits
        for number in range(1, len(listed) + 1):
            stored, part = listed.get(number), known.get(number)
            if stored is None or part is None or stored.etag != part.etag or part.crc64 is None:
                return
            yield part
            if part.size != part_plan.part_size(schedule, number, limits):
                return

    async def _settle(self, answer: Answer) -> str:
        step, stored = await self._completion.settle(answer)
        if step is not Step.VERIFIED or stored is None:
            return await self._keep()  # another program's object is there, or the upload is gone: nothing is lost
        await self._describe(stored)
        self._telemetry.emit(moments.Rescued(key=self._ledger.record.key, size=stored.size))
        await self._fail_without_upload(replaces=stored.etag)
        return _COMPLETED

    async def _describe(self, stored: StoredObject) -> None:
        record = self._ledger.record
        if record.processed_at is None:
            now = self._world.clock.utc_now()
            await self._ledger.write(etag=stored.etag, completed_at=now, processed_at=now)
        error = "the file disappeared before the recording was finished; the object contains the bytes sent so far"
        # Found again after a kill, the object may have another ETag than the recorded one.
        await self._documents.put(replace(self._ledger.snapshot(), etag=stored.etag), Probe(error=error))

    async def _fail_without_upload(self, **changes: Any) -> None:
        ended = {"failure": SOURCE_MISSING, "completed_at": None, "processed_at": None, "probe": None}
        await self._ledger.begin_upload(Fact.SOURCE_MISSING, None, {}, **(ended | changes))


def _manifest(parts: list[Part], snapshot: Snapshot) -> Manifest:
    md5s = [part.md5 for part in parts if part.md5 is not None]
    return Manifest(
        size=snapshot.size,
        crc64=combine((part.crc64 or 0, part.size) for part in parts),
        part_count=len(parts),
        snapshot=snapshot,
        etag_md5=multipart_etag(md5s) if len(md5s) == len(parts) else None,
    )
