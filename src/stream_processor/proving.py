"""Whether the object at the key is the recording, and what is recorded if it is.

Sending alone proves nothing: an object counts as this recording's because the store reported it after the completion,
or because its bytes were compared with the file's.
"""

from __future__ import annotations

from dataclasses import replace

from ..domain import Fact, Manifest, Part, Status, StoredObject, moments, resuming, whose
from .describing import manifest_of
from .one_stream import OneStream


class Proving:
    """The object of one stream. A method that finds it proved has recorded this when it returns."""

    def __init__(self, stream: OneStream) -> None:
        self._world = stream.world
        self._claims = stream.claims
        self._ledger = stream.ledger
        self._telemetry = stream.telemetry
        self._sight = stream.sight

    async def is_completed(self, stored: StoredObject) -> None:
        """Our completion has made the object. Changes of the file meanwhile are found when the stream has ended."""
        record = self._ledger.record
        now = self._world.clock.utc_now()
        # The ctime: the mtime of a copy may be that of its original.
        since_change = max(0.0, now.timestamp() - manifest_of(record).snapshot.ctime_ns / 1e9)
        self._telemetry.emit(
            moments.ObjectProved(key=record.key, size=stored.size, etag=stored.etag, seconds_since_change=since_change)
        )
        still_open = await self._sight.is_still_open()
        parts = self._ledger.parts
        if record.upload_id is None:  # it came in one request, which is its only part
            parts = {1: Part(1, stored.size, stored.etag, manifest_of(record).crc64, now)}
        await self._ledger.object_found(parts, etag=stored.etag, completed_at=now, still_open=still_open)
        await self._take_id_of(stored)

    async def is_still_there(self) -> bool:
        """Whether the object that the checkpoint calls proved exists."""
        record = self._ledger.record
        stored = await self._world.store.head(record.key)
        if stored is None or not resuming.is_still_described(stored, record):
            return False
        if record.status is not Status.S3_COMPLETED:  # it had failed after its object was proved
            await self._ledger.write(Fact.OBJECT_PROVED)
        await self._take_id_of(stored)  # a kill may have come in between
        return True

    async def is_the_file(self, stored: StoredObject) -> bool:
        """Whether the object equals the file, byte for byte, whoever completed it; if so, it is recorded as proved."""
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
        self._telemetry.emit(
            moments.ObjectProved(
                key=record.key,
                size=snapshot.size,
                etag=stored.etag,
                seconds_since_change=None,  # it may have existed for a long time
            )
        )
        await self._take_id_of(stored)
        return True

    async def _take_id_of(self, stored: StoredObject) -> None:
        """The metadata of an adopted upload, or of another's completion, have the ID of the stream that began it."""
        origin = whose.origin_of(stored.metadata)
        if origin is not None and origin.stream_id != self._ledger.record.stream_id:
            await self._ledger.take_id(origin.stream_id)
            self._telemetry.emit(moments.StreamIdAdopted(object_stream_id=origin.stream_id))
