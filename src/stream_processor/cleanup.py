"""Uploads that are no longer needed: which may be aborted, and when.

Never before the new object is proved, with one exception: a store that always refuses would accumulate a copy of the
file with each attempt. There the upload with the most bytes stays, and the others are aborted at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from ..domain import Checkpoint, Part, StoredPart, Superseded, World, is_md5
from ..exceptions import UploadGone
from .ledger import Ledger

#: The store's clock and ours may differ, and it reports whole seconds.
_CLOCK_SKEW = timedelta(minutes=1)


class Cleanup:
    """One stream's uploads, those named in its checkpoint and those that it never knew of."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self._began_first = False

    def began_first(self) -> None:
        """This stream is the first to create uploads of this file, and knows all of them."""
        self._began_first = True

    def may_be_open(self) -> None:
        """The store may still have an upload of this stream, although its object is proved."""
        self._began_first = False

    async def after_the_proof(self, record: Checkpoint) -> None:
        """Abort uploads that the checkpoint names and nothing needs, and those that lost answers left at this key.

        The stream's own is among the latter if another completion has won. After a data loss in Redis the start of the
        stream is unknown; no upload of this file is older than the file.
        """
        store = self._world.store
        for old in record.superseded:
            if old.upload_id is not None:
                await store.abort_upload(old.key, old.upload_id)
        if not self._may_hold_more(record):
            return
        began = [record.started_at, *(old.since for old in record.superseded)]
        since = min([*began, record.identity.born_at or record.started_at]) - _CLOCK_SKEW
        # A part in flight at the end of an upload may recreate it, with bytes that were patched since.
        named = {record.upload_id, *(old.upload_id for old in record.superseded)}
        for upload in await store.list_uploads(record.key):
            recent = upload.initiated_at is not None and upload.initiated_at >= since
            if upload.upload_id in named or (recent and await self._is_ours(record, upload.upload_id)):
                await store.abort_upload(record.key, upload.upload_id)

        for stream_id in {old.stream_id for old in record.superseded} - {record.stream_id}:
            await self._world.checkpoints.forget(stream_id)

    def _may_hold_more(self, record: Checkpoint) -> bool:
        """Whether the store may hold uploads at the key that have to do with this file."""
        knows_all = self._began_first and not record.superseded and record.replaces is None
        return not knows_all or self._world.store.may_hold_more(record.key)

    async def after_another(self, record: Checkpoint) -> None:
        """The same if another stream has proved the file's object: the checkpoint's own upload is aborted, too."""
        own = Superseded(record.key, record.upload_id, record.stream_id, record.started_at)
        await self.after_the_proof(replace(record, superseded=(*record.superseded, own)))

    async def drop(self, upload_ids: Collection[str | None]) -> None:
        """Abort some of the abandoned uploads before there is an object."""
        record = self._ledger.record
        own = [old for old in record.superseded if old.upload_id in upload_ids]
        for old in own:
            await self._world.store.abort_upload(old.key, str(old.upload_id))
        await self._ledger.write(superseded=tuple(old for old in record.superseded if old not in own))

    async def _is_ours(self, record: Checkpoint, upload_id: str) -> bool:
        """Whether an upload at our key contains only bytes of our file (or nothing)."""
        try:
            listed = await self._world.store.list_parts(record.key, upload_id)
        except UploadGone:
            return False
        return all(number in record.parts and _are_alike(part, record.parts[number]) for number, part in listed.items())


def _are_alike(stored: StoredPart, ours: Part) -> bool:
    """Whether the stored part has our bytes; without a checksum, only if its ETag is an MD5."""
    if stored.size != ours.size:
        return False
    if stored.crc64 is not None:
        return stored.crc64 == ours.crc64
    return stored.etag == ours.etag and is_md5(stored.etag)
