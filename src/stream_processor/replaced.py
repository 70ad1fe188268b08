"""The object of ours that an upload is to take the place of: its size, and what of it need not be sent again."""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Part
from .one_stream import OneStream
from .upload import Upload


class Replaced:
    """What one stream knows of it. The record names it by its ETag (``replaces``); None there: nothing is replaced."""

    def __init__(self, stream: OneStream, upload: Upload) -> None:
        self._world = stream.world
        self._claims = stream.claims
        self._ledger = stream.ledger
        self._sight = stream.sight
        self._upload = upload
        self._parts: Mapping[int, Part] = {}
        self._size = 0
        self._is_copied = False
        self._copies_in_vain = self._never_copies = False

    @property
    def size(self) -> int:
        """Its bytes; a file that is shorter is another recording. 0: nothing is replaced, or nothing but the name."""
        return self._size

    @property
    def is_copied(self) -> bool:
        """Whether this upload has taken over what it can."""
        return self._is_copied

    def not_copied(self) -> None:
        """Another upload begins, which holds nothing yet."""
        self._is_copied = False

    def is_none(self) -> None:
        """Nothing is replaced any more: the recording goes to another key."""
        self._size = 0

    def had(self, parts: Mapping[int, Part]) -> None:
        """The parts that the record knew of the object, for a store without its document."""
        self._parts = parts

    def never_copy_what_was_in_vain(self) -> None:
        """What was copied otherwise than it should may be what cannot be replaced in an upload."""
        self._never_copies = self._copies_in_vain

    async def is_most_of_it(self) -> bool:
        """Whether half of the file or more may be copied from the object that is to be replaced, by their sizes."""
        record, size = self._ledger.record, self._sight.seen.size if self._sight.seen else 0
        if record.replaces is None or self._is_copied or self._never_copies:
            return False
        stored = await self._world.store.head(record.key)
        return stored is not None and stored.etag == record.replaces and 2 * stored.size >= size

    async def copy_unchanged(self, etag: str) -> bool:
        """Whole chunks that the object to be replaced already has are copied inside the store. False: the object is
        another recording's, and not to be replaced."""
        self._is_copied = True
        if self._never_copies:
            return True
        record = self._ledger.record
        stored = await self._world.store.head(record.key)
        if stored is None or stored.etag != etag:
            return True  # somebody was faster: the completion's condition will tell
        if not await self._claims.replacing.may_replace(record, stored):
            return False
        self._size = 0 if self._claims.replacing.has_but_the_name(record, stored) else stored.size
        snapshot = await self._sight.look()
        chunks = await self._chunks(etag)
        self._copies_in_vain = not await self._upload.copy_unchanged(snapshot.size, chunks, etag)
        return True

    async def _chunks(self, etag: str) -> dict[int, tuple[int, int | None]]:
        """Size and checksum of each part of the object that is replaced, as far as anybody remembers."""
        described = (await self._claims.replacing.description(self._ledger.record.key)).description
        if described is not None and described.etag == etag:
            return {chunk.number: (chunk.size, chunk.crc64) for chunk in described.chunks}
        return {part.number: (part.size, part.crc64) for part in self._parts.values()}
