"""Looks through the bucket now and then: uploads that belong to nothing, and objects of ours that somebody deleted.

An upload is thrown away only at the key of a proved object of ours, and only when it has been left alone for the whole
retention time. Every other may be somebody else's, or all that is left of a recording: it is counted and told. So is
an object that is gone: it is not sent again, because whoever deleted it will have had a reason.
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

#: Not at once: what a start brings to light has the store for itself first.
_FIRST_SECONDS = 300.0
_SWEEP_SECONDS = 6 * 3600.0
_KEYS_TOLD = 5


class Sweep:
    """Of one bucket. ``done`` gives the keys of the finished recordings that are still in the folder."""

    def __init__(self, world: World, uploads: Uploads, done: Callable[[], set[str]]) -> None:
        self._world = world
        self._uploads = uploads
        self._done = done

    async def run(self) -> None:
        """For ever; a store that refuses is asked again the next time."""
        retention = self._world.orphan_retention
        pause = _FIRST_SECONDS
        objects_at = uploads_at = self._world.clock.monotonic()
        while True:
            await asyncio.sleep(pause)
            now = self._world.clock.monotonic()
            pause = _SWEEP_SECONDS if retention is None else min(_SWEEP_SECONDS, retention.total_seconds() / 4)
            try:
                if now >= objects_at:  # the whole bucket, however short a retention
                    objects_at = now + _SWEEP_SECONDS
                    await self._look_for_objects()
                if retention is not None and now >= uploads_at:
                    uploads_at = now + await self._look_for_orphans(retention)
            except Stopped:
                return
            except Exception as exc:  # noqa: BLE001 - looking through the bucket never stops a recording
                self._world.telemetry.emit(moments.Unexpected(file_path="", error=exc, retry_seconds=pause))

    async def _look_for_objects(self) -> None:
        """Whether the object of every finished recording is still there."""
        done = self._done()
        if not done:
            return
        listed = await self._world.store.list_objects(self._world.naming.key_prefix, lambda found: found.key in done)
        unlisted = sorted(done - {found.key for found in listed})
        # A listing may be old, and may have odd keys in another spelling.
        gone = [key for key in unlisted if await self._is_gone(key)]
        self._world.telemetry.emit(moments.ObjectsGone(count=len(gone), keys=gone[:_KEYS_TOLD]))

    async def _is_gone(self, key: str) -> bool:
        async def nothing_is_there(store: ObjectStore) -> bool:
            return await store.head(key) is None

        return bool(await self._world.store.where_told("head", nothing_is_there))

    async def _look_for_orphans(self, retention: timedelta) -> float:
        """Every open upload under the key prefix that nobody knows and nothing came into for so long. Seconds until one
        can be, by what was listed: what is begun later cannot before the whole retention time has passed."""
        now = self._world.clock.utc_now()
        next_at = now + min(retention, timedelta(seconds=_SWEEP_SECONDS))
        left: list[OpenUpload] = []
        for upload in await self._world.store.list_uploads_under(self._world.naming.key_prefix):
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

    async def _last_touched(self, upload: OpenUpload, before: datetime) -> datetime | None:
        """When an upload that nobody knows got its last part; None for those that are known or cannot be judged."""
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
        """Throw it away where the object is there, ours and described: whatever it was for, that is done."""
        stored = await self._world.store.where_told("head", lambda store: store.head(upload.key))
        if stored is None or origin_of(stored.metadata) is None:
            return False
        described = await self._description(upload.key)
        if described is None or described.etag != stored.etag:
            return False
        if not self._uploads.condemn(upload):
            return False  # a stream has taken it up meanwhile

        async def abort(store: ObjectStore) -> bool:
            await store.abort_upload(upload.key, upload.upload_id)
            return True

        if not await self._world.store.where_told("abort_upload", abort):
            return False
        self._world.telemetry.emit(moments.OrphanAborted(key=upload.key, upload_id=upload.upload_id))
        return True

    async def _description(self, key: str) -> StoredDescription | None:
        """The document beside the object; None too where the store does not tell."""
        document = await self._world.store.where_told(
            "get_document", lambda store: store.get_document(document_key(key))
        )
        return None if document is None else await asyncio.to_thread(read_document, document[0])
