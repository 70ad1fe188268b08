"""Finds the object, or the open upload, of a renamed file after Redis has lost its data.

Only a file that is older than this process (or than the data loss) can have one, and only an object younger than the
file can belong to it. So the bucket is listed once, for the first such file, and few objects are requested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from ..domain import (
    METADATA_SUFFIX,
    Chunk,
    Identity,
    ListedObject,
    OpenUpload,
    PatientlyAsked,
    Snapshot,
    StoredPart,
    World,
    crc64_of_zeros,
    current_errand,
    offset_of,
    origin_of,
    schedule_of,
)
from ..exceptions import UploadGone

#: Maximum clock difference between the store and this machine.
_CLOCK_SKEW = timedelta(minutes=5)

#: Birth times are coarse, and a file server's clock is not quite this machine's.
SURELY_LATER = timedelta(seconds=1)


class Elsewhere:
    """Caches the bucket listing of the time when this process first needed it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._from_future: datetime | None = None  # the newest birth of a file that was in the future when it was met
        self._begin()
        self._listed: tuple[ListedObject, ...] | None = None
        self._open: tuple[OpenUpload, ...] | None = None
        self._listing = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._identities: dict[str, Identity | None] = {}
        self._telling: dict[str, tuple[Chunk, StoredPart] | None] = {}

    def look_again(self, completed_at: datetime) -> None:
        """Redis no longer remembers what this process completed then: files younger than it may have an object, too."""
        if completed_at < self._began:
            return  # it is in the listing, or will be
        self._begin()
        self._listed = None
        self._identities.clear()

    def has_seen_come(self, identity: Identity) -> bool:
        """Whether the file was created after this process started, or after the last known loss of data in Redis. No
        earlier process can have uploaded any of it."""
        return identity.born_at is not None and identity.born_at > self._since(identity.born_at) + SURELY_LATER

    def _begin(self) -> None:
        self._began, self._began_monotonic = self._world.clock.utc_now(), self._world.clock.monotonic()

    def _since(self, born: datetime | None = None) -> datetime:
        """When this process started, or Redis lost its data, as far as it concerns a file with this birth.

        A machine without a battery for its clock starts in the past, and its clock is set right at any later time. So
        the start is counted back from the clock as it is now; and while files come from the future, it is unknown which
        of them are older than this process.
        """
        now = self._world.clock.utc_now()
        if born is not None and born > now + _CLOCK_SKEW:
            self._from_future = max(self._from_future or born, born)
        running = timedelta(seconds=self._world.clock.monotonic() - self._began_monotonic)
        return max(self._began, now - running, self._from_future or self._began)

    async def keys_of(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Keys of objects that were made from this very file, the latest last; none if the file system has no birth
        times."""
        born = self._born_before_us(snapshot)
        if born is None:
            return ()
        candidates = [listed.key for listed in await self._objects() if listed.modified_at >= born - _CLOCK_SKEW]
        return tuple([key for key in candidates if await self._is_of(key, snapshot)])

    async def uploads_of(self, snapshot: Snapshot) -> tuple[OpenUpload, ...]:
        """Uploads that may hold bytes of this file, by age; only the bytes can prove it."""
        born = self._born_before_us(snapshot)
        if born is None:
            return ()
        return tuple(
            upload
            for upload in await self._uploads()
            if upload.initiated_at is not None and upload.initiated_at >= born - _CLOCK_SKEW
        )

    async def telling_part(self, upload: OpenUpload) -> tuple[Chunk, StoredPart] | None:
        """The upload's newest part that is not all zeros (every preallocated file has such parts), and its range in a
        file. Each upload is queried once, whatever the number of files."""
        if self._asking.locked():
            current_errand().make_room()  # the holder of the lock may wait for a long time
        async with self._asking:
            if upload.upload_id not in self._telling:
                self._telling[upload.upload_id] = await self._ask_for_telling_part(upload)
            return self._telling[upload.upload_id]

    async def _ask_for_telling_part(self, upload: OpenUpload) -> tuple[Chunk, StoredPart] | None:
        listed = await parts_told(self._world.store, upload)
        if listed is None:
            return None
        limits = self._world.naming.limits
        schedule = schedule_of(listed, self._world.naming.schedule, limits)
        telling = [number for number, part in listed.items() if part.crc64 != crc64_of_zeros(part.size)]
        if schedule is None or not telling:
            return None
        newest = listed[max(telling)]
        return Chunk(newest.number, offset_of(schedule, newest.number, limits), newest.size), newest

    def _born_before_us(self, snapshot: Snapshot) -> datetime | None:
        """When the file was created; None for a file that appeared after the start, or whose birth time is unknown."""
        born = snapshot.identity.born_at
        return None if born is None or born > self._since(born) else born

    async def _uploads(self) -> tuple[OpenUpload, ...]:
        if self._listing.locked():
            current_errand().make_room()  # the holder of the lock may wait for a long time
        async with self._listing:
            if self._open is None:
                listed = await self._world.store.list_uploads_under(self._world.naming.key_prefix)
                began = self._since() + _CLOCK_SKEW  # uploads begun later are our own
                self._open = tuple(each for each in listed if each.initiated_at and each.initiated_at < began)
        return self._open

    async def _objects(self) -> tuple[ListedObject, ...]:
        if self._listing.locked():
            current_errand().make_room()  # the holder of the lock may wait for a long time
        async with self._listing:
            if self._listed is None:
                listed = await self._world.store.list_objects(self._world.naming.key_prefix, _is_recording)
                self._listed = tuple(sorted(listed, key=lambda found: found.modified_at))
        return self._listed

    async def _is_of(self, key: str, snapshot: Snapshot) -> bool:
        """Each object is queried once, whatever the number of files."""
        if key not in self._identities:
            # Objects that the store refuses to report belong to another program: do not wait for them.
            stored = await self._world.store.where_told("head", lambda store: store.head(key))
            origin = origin_of(stored.metadata) if stored else None
            self._identities[key] = origin.identity if origin else None
        return self._identities[key] == snapshot.identity


async def parts_told(store: PatientlyAsked, upload: OpenUpload) -> Mapping[int, StoredPart] | None:
    """The parts of an upload of any owner; None: it is gone, or the store refuses the information."""
    try:
        return await store.where_told("list_parts", lambda store: store.list_parts(upload.key, upload.upload_id))
    except UploadGone:
        return None


def _is_recording(found: ListedObject) -> bool:
    return not found.key.endswith(METADATA_SUFFIX)
