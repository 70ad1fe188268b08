"""Checks the bucket periodically for orphan uploads, and for objects of ours that were deleted.

An upload is aborted only at the key of a proved object of ours, and only after the whole retention time without a new
part; sooner if it has no parts and was created while this process uploaded that object. Any other may belong to another
program, or be all that is left of a recording: it is counted and reported. A deleted object is only reported; its file
is not uploaded again while it is unchanged, because the deletion was probably intended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from ..domain import ObjectStore, OpenUpload, World, moments, origin_of
from ..exceptions import Stopped
from ..metadata_generator import StoredDescription, document_key, read_document
from .elsewhere import parts_told
from .uploads import Uploads

#: Not immediately: the recovery after a start uses the store first.
_FIRST_SECONDS = 300.0
_SWEEP_SECONDS = 6 * 3600.0
_KEYS_TOLD = 5


class Sweep:
    """For one bucket. ``done`` returns the keys of the completed recordings that are still in the folder."""

    def __init__(self, world: World, uploads: Uploads, done: Callable[[], set[str]]) -> None:
        self._world = world
        self._uploads = uploads
        self._done = done

    async def run(self) -> None:
        """Runs until cancelled; a store that refuses is asked again the next time."""
        retention = self._world.orphan_retention
        pause = _FIRST_SECONDS
        objects_at = uploads_at = self._world.clock.monotonic()
        while True:
            await asyncio.sleep(pause)
            now = self._world.clock.monotonic()
            pause = _SWEEP_SECONDS if retention is None else min(_SWEEP_SECONDS, retention.total_seconds() / 4)
            try:
                if now >= objects_at:  # this lists the whole bucket, however short the retention
                    objects_at = now + _SWEEP_SECONDS
                    await self._look_for_objects()
                if retention is not None and now >= uploads_at:
                    uploads_at = now + await self._look_for_orphans(retention)
            except Stopped:
                return
            except Exception as exc:  # noqa: BLE001 - looking through the bucket never stops a recording
                self._world.telemetry.emit(moments.Unexpected(file_path="", error=exc, retry_seconds=pause))

    async def _look_for_objects(self) -> None:
        """Check whether the object of every completed recording still exists."""
        done = self._done()
        if not done:
            return
        listed = await self._world.store.list_objects(self._world.naming.key_prefix, lambda found: found.key in done)
        unlisted = sorted(done - {found.key for found in listed})
        # A listing may be outdated, and may spell unusual keys differently.
        gone = [key for key in unlisted if await self._is_gone(key)]
        self._world.telemetry.emit(moments.ObjectsGone(count=len(gone), keys=gone[:_KEYS_TOLD]))

    async def _is_gone(self, key: str) -> bool:
        async def nothing_is_there(store: ObjectStore) -> bool:
            return await store.head(key) is None

        return bool(await self._world.store.where_told("head", nothing_is_there))

    async def _look_for_orphans(self, retention: timedelta) -> float:
        """Handle every open upload under the key prefix that belongs to no stream and got no part for the retention
        time. Returns the seconds until the next one can exceed it; uploads begun later cannot before the whole
        retention time."""
        now = self._world.clock.utc_now()
        next_at = now + min(retention, timedelta(seconds=_SWEEP_SECONDS))
        left: list[OpenUpload] = []
        for upload in await self._world.store.list_uploads_under(self._world.naming.key_prefix):
            if await self._was_repeated(upload) and await self._abort(upload):
                continue
            touched_at = await self._last_touched(upload, now - retention)
            if touched_at is None:
                continue
            if touched_at >= now - retention:
                next_at = min(next_at, touched_at + retention)
            elif not await self._abort(upload):
                left.append(upload)
        keys = [upload.key for upload in left[:_KEYS_TOLD]]
        self._world.telemetry.emit(moments.OrphansLeft(count=len(left), keys=keys))
        return max(0.0, (next_at - now).total_seconds())

    async def _was_repeated(self, upload: OpenUpload) -> bool:
        """Whether it is left from a request of ours that was repeated in transit. Streams do not list their keys for
        such uploads."""
        if not self._uploads.was_created_beside(upload):
            return False
        parts = await parts_told(self._world.store, upload)
        return parts is not None and not parts

    async def _last_touched(self, upload: OpenUpload, before: datetime) -> datetime | None:
        """When an unknown upload got its last part; None for uploads that are known or cannot be judged."""
        if upload.initiated_at is None or self._uploads.is_in_use(upload):
            return None
        if upload.initiated_at >= before:
            return upload.initiated_at
        parts = await parts_told(self._world.store, upload)
        if parts is None:
            return None
        moments = [part.modified_at for part in parts.values()]
        known = [moment for moment in moments if moment is not None]
        return max([upload.initiated_at, *known]) if len(known) == len(moments) else None

    async def _abort(self, upload: OpenUpload) -> bool:
        """Abort it if there is an object of ours with its document: then the upload is no longer needed."""
        stored = await self._world.store.where_told("head", lambda store: store.head(upload.key))
        if stored is None or origin_of(stored.metadata) is None:
            return False
        described = await self._description(upload.key)
        if described is None or described.etag != stored.etag:
            return False
        if not self._uploads.condemn(upload):
            return False  # a stream has adopted it meanwhile

        async def abort(store: ObjectStore) -> bool:
            await store.abort_upload(upload.key, upload.upload_id)
            return True

        if not await self._world.store.where_told("abort_upload", abort):
            return False
        self._world.telemetry.emit(moments.OrphanAborted(key=upload.key, upload_id=upload.upload_id))
        return True

    async def _description(self, key: str) -> StoredDescription | None:
        """The document beside the object; None also if the store refuses the information."""
        document = await self._world.store.where_told(
            "get_document", lambda store: store.get_document(document_key(key))
        )
        return None if document is None else await asyncio.to_thread(read_document, document[0])
