"""What a file on disk is: done already, to be brought up to date, or new; and which key it gets.

Redis is asked first because it is cheap, but it only remembers. Without it the object and the document beside it
say the same; where they do not fit, the bytes decide. A stranger's object is never taken: the next key is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeGuard

from ..domain import (
    Checkpoint,
    Fact,
    Identity,
    Manifest,
    Marker,
    Ownership,
    Part,
    PartSchedule,
    Snapshot,
    Status,
    StoredObject,
    Superseded,
    World,
    Writers,
    after,
    capacity,
    current_errand,
    metadata_value,
    object_key,
    origin_of,
    schedule_for,
    whose_object,
)
from ..metadata_generator import StoredDescription
from .descriptions import Described, described_at
from .elsewhere import Elsewhere
from .keys import Keys
from .names import Walk
from .reading import Reading
from .replacing import Replacing
from .uploads import Uploads


@dataclass(frozen=True, slots=True)
class _Compared:
    """CRC64NVME of a file, cut by ``schedule``, and of the object with this ETag; None where that has changed since."""

    etag: str
    schedule: PartSchedule
    crc64: int
    parts: tuple[Part, ...]
    stored_crc64: int | None


class _ToCompare(Exception):
    """Only bytes tell whether the object was made from the file."""

    def __init__(self, stored: StoredObject, schedule: PartSchedule) -> None:
        super().__init__(stored.etag)
        self.stored = stored
        self.schedule = schedule


@dataclass(slots=True)
class _Latest:
    """A file that was begun anew has recordings at several keys, and only the latest is ever brought up to date.

    ``record`` does that, ``since`` is when that recording was begun; there is none if it is longer than the file, which
    is another recording then, for the key that is ``free``.
    """

    record: Checkpoint | None = None
    since: datetime | None = None
    remembered: bool = False  # by Redis
    free: Checkpoint | None = None

    def note(self, found: Checkpoint) -> None:
        """An object that can be brought up to date."""
        if self.since is None or found.started_at >= self.since:
            self.record, self.since = found, found.started_at

    def note_longer(self, stored: StoredObject, description: StoredDescription | None, identity: Identity) -> None:
        """An object that is not to be brought up to date: if it is this file's latest, no earlier one is either."""
        if description is not None and description.etag == stored.etag:
            is_later = self.since is None or description.started_at > self.since
            if is_later and description.snapshot.identity == identity:
                self.record, self.since = None, description.started_at
        elif (origin := origin_of(stored.metadata)) is not None and origin.identity == identity and not self.remembered:
            self.record = None  # when it was begun, nobody knows: nothing is put over it nor over another


class Claims:
    """Decides for one file after the other, by marker, document and bytes."""

    def __init__(self, world: World, keys: Keys) -> None:
        self._world = world
        self._keys = keys
        self._elsewhere = Elsewhere(world)
        self._completed: dict[int, datetime] = {}  # by the identity's hash: there may be 100,000
        self._looked_at: dict[str, asyncio.Event] = {}
        self.reading = Reading(world)
        self.uploads = Uploads(world, keys, self._elsewhere)
        self.replacing = Replacing(world, keys, self.uploads)

    async def claim(
        self, path: str, snapshot: Snapshot, superseded: tuple[Superseded, ...] = ()
    ) -> Marker | Checkpoint:
        """A marker when the file is done as it is; otherwise the record to go on with (its key is taken).

        Raises ``FileChanged`` when the file changed while its bytes were compared: look at it again. Raises
        ``ToBeRead`` when they are to be compared, and another file is being read.
        """
        latest = _Latest()
        natural = object_key(self._world.naming.key_prefix, path)
        marker, highest = await self._remembered(snapshot.identity, natural)
        if marker is not None:
            known = await self._claim_known(marker, path, snapshot)
            if isinstance(known, Marker):
                return known
            latest = _Latest(known, marker.started_at, remembered=True)
        looked_at: set[str] = set()
        size = snapshot.size if marker is not None else None
        walk = Walk.by_hint(self._world.store, natural, highest, size)
        found = await self._look_through_name(walk, looked_at, path, snapshot, latest)
        if found is None and (marker is None or marker.path != path):
            # Nothing that is this file lies under its name. Under an earlier one?
            found = await self._look_elsewhere(looked_at, path, snapshot, latest)
        found = found or latest.record or await self._free_or_upload(latest.free, path, snapshot)
        if isinstance(found, Marker):
            return found
        if found is None:
            raise AssertionError("unreachable: there is always another key")
        if not self._keys.take(found.key, found.identity):
            return await self.claim(path, snapshot, superseded)  # another file took it while this one looked elsewhere
        # Whose file got the bytes of an earlier recording back is no earlier record for it.
        since = found.started_at if latest.since is None else max(found.started_at, latest.since)
        return replace(found, started_at=since, superseded=superseded)

    def is_done(self, marker: Marker) -> None:
        """Redis has the marker from now on; where it has none, or an older one, it has forgotten."""
        self._completed[hash(marker.snapshot.identity)] = marker.completed_at

    async def _remembered(self, identity: Identity, name: str) -> tuple[Marker | None, int | None]:
        """The file's marker, and the highest number of the name."""
        marker, highest = await self._world.checkpoints.remembered(identity, name)
        return self._believed(marker, identity), highest

    def _believed(self, marker: Marker | None, identity: Identity) -> Marker | None:
        if marker is not None and marker.bucket != self._world.store.bucket:
            return None
        completed_at = self._completed.get(hash(identity))
        if completed_at is None or (marker is not None and marker.completed_at >= completed_at):
            return marker
        self._elsewhere.look_again(completed_at)
        return None

    async def _look_through_name(
        self, walk: Walk, looked_at: set[str], path: str, snapshot: Snapshot, latest: _Latest
    ) -> Marker | Checkpoint | None:
        """The object that is the file as it is now, up to the free key that a new recording of the name gets; what else
        there is of it is noted."""
        while True:
            candidate = await walk.following()
            if candidate.key in looked_at:
                continue
            looked_at.add(candidate.key)
            found = await self._look_at(candidate.key, path, snapshot, latest)
            if not _is_free(found):
                if found is not None:
                    return found
            elif candidate.may_be_taken:
                latest.free = replace(found, number=candidate.number)
                return None
            else:
                walk.was_free(candidate)

    async def _look_at(self, key: str, path: str, snapshot: Snapshot, latest: _Latest) -> Marker | Checkpoint | None:
        """What the file is by what lies at the key, or that it is free; what can be brought up to date is noted."""
        if latest.record is not None and key == latest.record.key:
            return None
        found = await self._claim_at(key, path, snapshot, latest)
        if isinstance(found, Checkpoint) and found.status is Status.ACTIVE and found.replaces is not None:
            latest.note(found)
            return None
        return found

    async def _look_elsewhere(
        self, looked_at: set[str], path: str, snapshot: Snapshot, latest: _Latest
    ) -> Marker | Checkpoint | None:
        """The same for objects that were made of this file under another name."""
        for key in await self._elsewhere.keys_of(snapshot):
            if key in looked_at:
                continue
            found = await self._look_at(key, path, snapshot, latest)
            if _is_free(found):
                return None
            if found is not None:
                return found
        return None

    @asynccontextmanager
    async def _reserved(self, key: str, identity: Identity) -> AsyncIterator[bool]:
        """Whether the key is free for this file; nobody else gets it inside. Who only looks is waited for: a key that
        he leaves may be the one where this file's object lies."""
        while key in self._looked_at:
            current_errand().make_room()
            await self._looked_at[key].wait()
        left = self._looked_at[key] = asyncio.Event()
        had_it = self._keys.has(key, identity)
        free = self._keys.take(key, identity)
        try:
            yield free
        finally:
            if free and not had_it:
                self._keys.leave(key, identity)
            del self._looked_at[key]
            left.set()

    async def _free_or_upload(self, free: Checkpoint | None, path: str, snapshot: Snapshot) -> Checkpoint | None:
        """A new recording's key; or the one where its open upload is, if it had another name before."""
        if free is None:
            return None
        return await self._claim_upload_elsewhere(free, path, snapshot) or free

    async def _claim_upload_elsewhere(self, fresh: Checkpoint, path: str, snapshot: Snapshot) -> Checkpoint | None:
        """The file was renamed while it was sent, and Redis forgot it: its upload is open at its earlier key."""
        async for upload in self.uploads.of_file(path, snapshot, but_at=fresh.key):
            claimed = await self._claim_at(upload.key, path, snapshot, _Latest())
            if _is_free(claimed):
                return claimed
        return None

    # -- a file that Redis knows ------------------------------------------------------------------------------

    async def _claim_known(self, marker: Marker, path: str, snapshot: Snapshot) -> Marker | Checkpoint | None:
        """None: this file is not the one that was completed, or its object is no longer ours."""
        if snapshot == marker.snapshot:
            if marker.still_open:
                return await self._read_again(marker, path)
            return await self._moved(marker, path)
        if snapshot.size < marker.snapshot.size:
            return None  # seen shorter than its object: a new recording in an old file
        if snapshot.size == marker.snapshot.size:
            crc64, _ = await self.reading.finished(path, snapshot, marker.schedule)
            if crc64 == marker.crc64:  # renamed, or touched without a change
                return await self._remember(replace(marker, path=path, snapshot=snapshot))
        if not snapshot.identity.birth_ns:
            return None  # an inode may have been used again: only the bytes could have made it the same file
        async with self._reserved(marker.key, snapshot.identity) as free:
            return await self._replacement(marker, path) if free else None

    async def _read_again(self, marker: Marker, path: str) -> Marker | Checkpoint | None:
        """A patch through a mapping need not have changed any stat: once nobody writes any more, the bytes tell."""
        writers = await self._world.recordings.writers(path)
        if writers is Writers.PRESENT:
            return marker
        if writers is Writers.NONE:
            crc64, _ = await self.reading.finished(path, marker.snapshot, marker.schedule)
            if crc64 != marker.crc64:
                async with self._reserved(marker.key, marker.snapshot.identity) as free:
                    return await self._replacement(marker, path) if free else None
            if await self._world.recordings.writers(path) is not Writers.NONE:
                return marker  # opened again while it was read
        return await self._remember(replace(marker, path=path, still_open=False))

    async def _moved(self, marker: Marker, path: str) -> Marker:
        return marker if marker.path == path else await self._remember(replace(marker, path=path))

    async def _remember(self, marker: Marker) -> Marker:
        await self._world.checkpoints.put_marker(marker)
        return marker

    async def _replacement(self, marker: Marker, path: str) -> Checkpoint | None:
        """The record that brings the marker's object up to date; None when a stranger's is there by now."""
        stored = await self._world.store.head(marker.key)
        origin = origin_of(stored.metadata) if stored else None
        if stored is not None and stored.etag != marker.etag and (not origin or origin.stream_id != marker.stream_id):
            return None
        return Checkpoint(
            stream_id=marker.stream_id,
            status=after(Status.COMPLETED, Fact.CHANGED_AFTER_COMPLETION),
            path=path,
            bucket=marker.bucket,
            key=marker.key,
            identity=marker.snapshot.identity,
            schedule=marker.schedule,
            started_at=marker.started_at,
            replaces=stored.etag if stored else None,
            replacements=marker.replacements + 1,
        )

    # -- a file that only the store can know ------------------------------------------------------------------

    async def _claim_at(self, key: str, path: str, snapshot: Snapshot, latest: _Latest) -> Marker | Checkpoint | None:
        """None: this key is somebody else's, try the next.

        While file and object are compared the key is not reserved: a live recording of that name may look at it.
        """
        compared: _Compared | None = None
        while True:
            try:
                async with self._reserved(key, snapshot.identity) as free:
                    return await self._decide_at(key, path, snapshot, latest, compared) if free else None
            except _ToCompare as wanted:
                stored, schedule = wanted.stored, wanted.schedule
            crc64, parts = await self.reading.finished(path, snapshot, schedule)
            compared = _Compared(stored.etag, schedule, crc64, parts, await self.reading.object_crc64(key, stored))

    async def _decide_at(
        self, key: str, path: str, snapshot: Snapshot, latest: _Latest, compared: _Compared | None
    ) -> Marker | Checkpoint | None:
        fresh = self._new(key, path, snapshot, secrets.token_hex(16))
        stored = await self._world.store.head(key)
        described = await described_at(self._world.store, key)
        description = described.description
        if stored is None:
            return self._where_nothing_is(fresh, described)
        if description and description.snapshot == snapshot and description.etag == stored.etag:
            still_open = await self._world.recordings.writers(path) is Writers.PRESENT
            return await self._remember(replace(description.marker(path), still_open=still_open))
        found = self._decide_by_bytes(fresh, snapshot, stored, description, compared)
        if found is None and snapshot.identity.birth_ns:
            latest.note_longer(stored, description, snapshot.identity)
        return found

    @staticmethod
    def _where_nothing_is(fresh: Checkpoint, described: Described) -> Checkpoint | None:
        """A key is free when there is no document either, or one of this very file whose object was deleted."""
        description = described.description
        if description is not None and description.snapshot.identity == fresh.identity and fresh.identity.birth_ns:
            return replace(fresh, stream_id=description.stream_id)
        return None if description is not None or described.foreign else fresh

    def _decide_by_bytes(
        self,
        fresh: Checkpoint,
        snapshot: Snapshot,
        stored: StoredObject,
        description: StoredDescription | None,
        compared: _Compared | None,
    ) -> Marker | Checkpoint | None:
        """Raises ``_ToCompare`` when the bytes are needed, and not those that were compared."""
        ours = metadata_value(fresh.path)
        whose = whose_object(stored, path=ours, snapshot=snapshot, crc64=None, stored_crc64=None)
        schedule = description.schedule if description else self._world.naming.schedule
        if description is None and snapshot.size > capacity(schedule, self._world.naming.limits):
            schedule = schedule_for(snapshot.size, schedule, self._world.naming.limits)
        parts: tuple[Part, ...] = ()
        crc64 = 0
        if whose is Ownership.UNKNOWN:
            if compared is None or (compared.etag, compared.schedule) != (stored.etag, schedule):
                raise _ToCompare(stored, schedule)
            crc64, parts = compared.crc64, compared.parts
            stored_crc64 = -1 if compared.stored_crc64 is None else compared.stored_crc64
            whose = whose_object(stored, path=ours, snapshot=snapshot, crc64=crc64, stored_crc64=stored_crc64)
        if whose in (Ownership.EARLIER, Ownership.STRANGER) and _is_described_as(description, stored, snapshot):
            whose = Ownership.OURS  # made from an adopted upload, whose metadata name another stream
        origin = origin_of(stored.metadata)
        match whose:
            case Ownership.SAME:
                return _proved(fresh, snapshot, crc64, stored, schedule, parts, description)
            case Ownership.OURS if origin is not None:
                return replace(
                    fresh,
                    stream_id=origin.stream_id,
                    schedule=schedule,
                    replaces=stored.etag,
                    replacements=(description.replacements if description else 0) + 1,
                    started_at=description.started_at if description else fresh.started_at,
                )
            case Ownership.EARLIER if self._world.naming.replace_reused_names:
                return replace(fresh, replaces=stored.etag)
            case _:
                return None

    def _new(self, key: str, path: str, snapshot: Snapshot, stream_id: str) -> Checkpoint:
        return Checkpoint(
            stream_id=stream_id,
            status=Status.ACTIVE,
            path=path,
            bucket=self._world.store.bucket,
            key=key,
            identity=snapshot.identity,
            schedule=self._world.naming.schedule,
            started_at=self._world.clock.utc_now(),
        )


def _is_free(found: Marker | Checkpoint | None) -> TypeGuard[Checkpoint]:
    """Whether nothing was found at the key, so that a new recording may begin there."""
    return isinstance(found, Checkpoint) and found.status is Status.ACTIVE and found.replaces is None


def _is_described_as(description: StoredDescription | None, stored: StoredObject, snapshot: Snapshot) -> bool:
    """Whether the document says that this very object was made from this very file."""
    if description is None or description.etag != stored.etag or not snapshot.identity.birth_ns:
        return False
    return description.snapshot.identity == snapshot.identity and stored.size <= snapshot.size


def _proved(
    fresh: Checkpoint,
    snapshot: Snapshot,
    crc64: int,
    stored: StoredObject,
    schedule: PartSchedule,
    parts: tuple[Part, ...],
    description: StoredDescription | None,
) -> Checkpoint:
    """The record of a stream whose object is there and proved, and whose document is to be written (again).

    Nobody remembers the ETags of its parts any more; the document has the object's in their place.
    """
    origin = origin_of(stored.metadata)
    return replace(
        fresh,
        stream_id=origin.stream_id if origin else fresh.stream_id,
        status=Status.S3_COMPLETED,
        schedule=schedule,
        started_at=description.started_at if description else fresh.started_at,
        completed_at=description.completed_at if description else fresh.started_at,
        replacements=description.replacements if description else 0,
        manifest=Manifest(snapshot.size, crc64, len(parts), snapshot),
        etag=stored.etag,
        parts={part.number: replace(part, etag=stored.etag) for part in parts},
    )
