"""Determines the owner of an open upload: a checkpoint names it, or it is to be aborted, or it is unknown.

Redis may have lost the checkpoint of an upload. Such an upload is trusted only as far as the file's own bytes confirm
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain import (
    Checkpoint,
    Chunk,
    Hashes,
    OpenUpload,
    Part,
    PartSchedule,
    Snapshot,
    World,
    current_errand,
    matches,
    offset_of,
    path_of,
    schedule_of,
)
from ..exceptions import FileChanged, UploadGone
from .elsewhere import Elsewhere
from .keys import Keys

#: The store's clock and ours may differ, and it reports whole seconds.
_CLOCK_SKEW = timedelta(minutes=1)
#: More than are finished between two looks at all open uploads.
_MOST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Adopted:
    """An unknown upload, and those of its parts that equal the file."""

    upload_id: str
    schedule: PartSchedule
    parts: dict[int, Part]


class Uploads:
    """The open uploads of the bucket, as far as this process knows them."""

    def __init__(self, world: World, keys: Keys, elsewhere: Elsewhere) -> None:
        self._world = world
        self._keys = keys
        self._elsewhere = elsewhere
        self._kept: set[str] = set()
        self._condemned: set[str] = set()
        self._begun: set[str] = set()
        self._ended: dict[str, tuple[datetime, datetime]] = {}

    def begins(self, record: Checkpoint) -> bool:
        """Called before a stream creates its first upload. Whether its key may have an unknown open upload: one of an
        earlier process, or of a stream of this process that ended without an object."""
        first = self._elsewhere.has_seen_come(record.identity) and record.key not in self._begun
        self._begun.add(record.key)
        return not first

    def ended(self, record: Checkpoint) -> None:
        """The stream has ended with an object, and its uploads are cleaned up."""
        self._begun.discard(record.key)
        if record.completed_at is not None:
            self._ended[record.key] = (record.started_at - _CLOCK_SKEW, record.completed_at)
        while len(self._ended) > _MOST_ENDED:
            self._ended.pop(next(iter(self._ended)))

    def was_created_beside(self, upload: OpenUpload) -> bool:
        """Whether the upload was created while a stream of this process created its own at the same key. Without parts
        it is from a request that something between this process and the store has repeated."""
        began, proved = self._ended.get(upload.key, (None, None))
        if began is None or proved is None or upload.initiated_at is None or self.is_in_use(upload):
            return False
        return began <= upload.initiated_at <= proved

    def keep(self, record: Checkpoint) -> None:
        """Uploads named in a checkpoint belong to its stream, also after it has failed: no other stream adopts them."""
        named = (record.upload_id, *(old.upload_id for old in record.superseded))
        self._kept.update(upload_id for upload_id in named if upload_id is not None)

    def is_in_use(self, upload: OpenUpload) -> bool:
        """Whether a checkpoint names the upload, or an active stream has its key."""
        return upload.upload_id in self._kept or self._keys.is_taken(upload.key)

    def condemn(self, upload: OpenUpload) -> bool:
        """Whether the upload may be aborted; no stream adopts it from now on."""
        if self.is_in_use(upload):
            return False
        self._condemned.add(upload.upload_id)
        return True

    async def adoptable(self, record: Checkpoint) -> Adopted | None:
        """An open upload at the checkpoint's key that already holds bytes of its file; the one with the most of them.

        Redis may have lost its checkpoint. The upload is trusted only as far as the file's own bytes confirm it.
        """
        uploads = await self._world.store.list_uploads(record.key)
        self.keep(record)
        not_for_us = self._kept | self._condemned
        unknown = [upload.upload_id for upload in uploads if upload.upload_id not in not_for_us]
        found = [adopted for upload_id in unknown if (adopted := await self._compared(record, upload_id))]
        return max(found, key=lambda adopted: sum(part.size for part in adopted.parts.values()), default=None)

    async def is_of_file(self, upload: OpenUpload, path: str, snapshot: Snapshot) -> bool:
        """Whether the upload belongs to no other file and holds bytes of this one, which was renamed during its upload
        while Redis lost its data.

        An upload at the key of an existing file always belongs to that file, however similar the two may be.
        """
        if self.is_in_use(upload) or upload.upload_id in self._condemned or await self._is_named(upload.key):
            return False
        return await self._holds_bytes_of(path, snapshot, upload)

    async def _holds_bytes_of(self, path: str, snapshot: Snapshot, upload: OpenUpload) -> bool:
        """Check a single part first, to see quickly whether comparing all of them is worthwhile."""
        telling = await self._elsewhere.telling_part(upload)
        if telling is None:
            return False
        chunk, stored = telling
        if chunk.offset + chunk.size > snapshot.size:
            return False
        hashes = Hashes(md5=stored.crc64 is None)
        current_errand().make_room()
        try:
            digest = await self._world.recordings.digest(path, snapshot.identity, chunk, hashes)
        except FileChanged:
            return False
        return matches(stored, digest)

    async def _is_named(self, key: str) -> bool:
        """Whether there is a file at the path with this key."""
        path = path_of(self._world.naming.key_prefix, key)
        return path is not None and await self._world.recordings.snapshot(path) is not None

    async def _compared(self, record: Checkpoint, upload_id: str) -> Adopted | None:
        limits, now = self._world.naming.limits, self._world.clock.utc_now()
        try:
            listed = await self._world.store.list_parts(record.key, upload_id)
        except UploadGone:
            return None
        schedule = schedule_of(listed, record.schedule, limits)
        keeps_crc = not (await self._world.store.hashes()).md5
        if schedule is None or (keeps_crc and any(part.crc64 is None for part in listed.values())):
            return None  # begun by another program, or with other settings: it cannot be completed like ours
        parts = {}
        hashes = Hashes(md5=any(part.crc64 is None for part in listed.values()))
        for number, stored in sorted(listed.items()):
            chunk = Chunk(number, offset_of(schedule, number, limits), stored.size)
            try:
                digest = await self._world.recordings.digest(record.path, record.identity, chunk, hashes)
            except FileChanged:
                break  # the file ends before this part does
            if matches(stored, digest):
                parts[number] = Part(number, stored.size, stored.etag, digest.crc64, stored.modified_at or now)
        return Adopted(upload_id, schedule, parts) if parts else None
