"""A short recording in one request: the whole file with its checksum, on the condition that the key is free.

No upload ID fences such a request. One without an answer may take effect at any later time, also after the file has
grown and a multipart upload was completed. The store must have been seen to leave the object alone in that case
(``ObjectStore.refuses_a_second_put``), and nothing is ever replaced this way.
"""

from __future__ import annotations

from ..domain import (
    MIB,
    Answer,
    Checkpoint,
    Chunk,
    Digest,
    Hashes,
    Manifest,
    Need,
    SendReason,
    Snapshot,
    StoredObject,
    StreamTelemetry,
    World,
    metadata_value,
    moments,
    whose,
)
from ..exceptions import ChunkProcessingError, FileChanged, S3NotAble, silent_file
from .ledger import Ledger

#: The file is read twice before it is sent, and sent again after a lost answer: more would take too long.
LONGEST = 16 * MIB


class Whole:
    """One stream's file, as long as it needs no upload."""

    def __init__(self, world: World, ledger: Ledger, telemetry: StreamTelemetry) -> None:
        self._world = world
        self._ledger = ledger
        self._telemetry = telemetry
        self._given_up = False

    @property
    def below(self) -> int:
        """The size in bytes from which the recording needs an upload; 0: it always needs one. At most one part."""
        record = self._ledger.record
        is_new = record.upload_id is None and record.replaces is None and not record.replacements
        if self._given_up or not is_new or not self._world.store.refuses_a_second_put():
            return 0
        return min(record.schedule.chunk_size, LONGEST + 1)

    def give_up(self) -> None:
        """Use an upload from now on."""
        self._given_up = True

    async def read(self, snapshot: Snapshot) -> Digest | None:
        """One pass over the file; None if it changed meanwhile."""
        record, recordings = self._ledger.record, self._world.recordings
        digest = await recordings.digest(record.path, record.identity, _all_of(snapshot.size), Hashes())
        return digest if await recordings.snapshot(record.path) == snapshot else None

    async def holds(self, manifest: Manifest) -> bool:
        """Whether the same bytes can be sent again: the file still begins with them, even if it has grown, and the
        store is known to refuse a second object, also after a restart."""
        await self._world.store.learn(Need.DOCUMENT)
        if self._given_up or not self._world.store.refuses_a_second_put():
            return False
        record = self._ledger.record
        try:
            digest = await self._world.recordings.digest(record.path, record.identity, _all_of(manifest.size), Hashes())
        except (FileChanged, ChunkProcessingError):
            return False
        return digest.crc64 == manifest.crc64

    async def send(self, manifest: Manifest) -> tuple[Answer, StoredObject | None]:
        """Send it once. Exceptions are raised only before it is sent, except ``S3NotAble``, which is an answer."""
        slots = self._world.slots
        hashes = Hashes(sha256=(await self._world.store.hashes()).sha256)
        sent = False
        try:
            async with slots.sending() as turn, turn.giving_way(manifest.size):
                with turn.part():
                    record = self._ledger.record  # only now: the file may have been renamed while it waited
                    began = self._world.clock.monotonic()
                    body = await self._world.recordings.read(
                        record.path, record.identity, _all_of(manifest.size), hashes
                    )
                    answered = False
                    try:
                        if body.digest.crc64 != manifest.crc64:
                            raise FileChanged(f"{record.path!r} was changed after the last pass", operation="read")
                        turn.has_read()
                        if not self._world.store.refuses_a_second_put():  # it may have been updated meanwhile
                            raise S3NotAble("put_object: its condition may not count", operation="put_object")
                        metadata = metadata_of(record)
                        sent = True
                        answer, told = await self._world.store.put_whole(record.key, metadata, body)
                        answered = answer is not Answer.NONE
                    finally:
                        body.release(reusable=answered)
                    if answer is Answer.DONE:
                        seconds = self._world.clock.monotonic() - began
                        slots.part_stored(manifest.size, seconds)
                        turn.stored()
                        self._telemetry.emit(
                            moments.PartStored(number=1, size=manifest.size, seconds=seconds, reason=SendReason.NEW)
                        )
                    elif not answered:
                        slots.part_failed()
                    return answer, told
        except TimeoutError:  # others waited too long for it
            slots.part_failed()
            if not sent:
                raise silent_file(0, more=", and others wait") from None
            return Answer.NONE, None
        except ChunkProcessingError:
            slots.part_failed()
            raise
        except S3NotAble:
            self.give_up()
            raise


def metadata_of(record: Checkpoint) -> dict[str, str]:
    """The metadata of the stream's next object."""
    path = metadata_value(record.path)
    return whose.object_metadata(record.stream_id, path, record.identity, record.schedule, started_at=record.started_at)


def _all_of(size: int) -> Chunk:
    return Chunk(1, 0, size)
