"""The object of ours that an upload replaces: its size, and which of its parts need not be sent again."""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Part
from .one_stream import OneStream
from .upload import Upload


class Replaced:
    """The replaced object of one stream. The checkpoint has its ETag (``replaces``); None there: nothing is
    replaced."""

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
        """Its size; a shorter file is another recording. 0: nothing is replaced, or only the name is reused."""
        return self._size

    @property
    def is_copied(self) -> bool:
        """Whether this upload has copied what it can."""
        return self._is_copied

    def not_copied(self) -> None:
        """Another upload begins, which has no parts yet."""
        self._is_copied = False

    def is_none(self) -> None:
        """Nothing is replaced any more: the recording gets another key."""
        self._size = 0

    def had(self, parts: Mapping[int, Part]) -> None:
        """The parts of the object in the checkpoint, for an object without a document."""
        self._parts = parts

    def never_copy_what_was_in_vain(self) -> None:
        """Disable copies after wrong ones: they may be the parts that the upload cannot replace."""
        self._never_copies = self._copies_in_vain

    async def is_most_of_it(self) -> bool:
        """Whether at least half of the file can be copied from the object to be replaced, by their sizes."""
        record, size = self._ledger.record, self._sight.seen.size if self._sight.seen else 0
        if record.replaces is None or self._is_copied or self._never_copies:
            return False
        stored = await self._world.store.head(record.key)
        return stored is not None and stored.etag == record.replaces and 2 * stored.size >= size

    async def copy_unchanged(self, etag: str) -> bool:
        """Copy whole chunks that the replaced object already has, inside the store. False: the object belongs to
        another recording, and must not be replaced."""
        self._is_copied = True
        if self._never_copies:
            return True
        record = self._ledger.record
        stored = await self._world.store.head(record.key)
        if stored is None or stored.etag != etag:
            return True  # the object was replaced meanwhile: the completion's condition will fail
        if not await self._claims.replacing.may_replace(record, stored):
            return False
        self._size = 0 if self._claims.replacing.has_but_the_name(record, stored) else stored.size
        snapshot = await self._sight.look()
        chunks = await self._chunks(etag)
        self._copies_in_vain = not await self._upload.copy_unchanged(snapshot.size, chunks, etag)
        return True

    async def _chunks(self, etag: str) -> dict[int, tuple[int, int | None]]:
        """Size and checksum of each known part of the object to be replaced."""
        described = (await self._claims.replacing.description(self._ledger.record.key)).description
        if described is not None and described.etag == etag:
            return {chunk.number: (chunk.size, chunk.crc64) for chunk in described.chunks}
        return {part.number: (part.size, part.crc64) for part in self._parts.values()}
