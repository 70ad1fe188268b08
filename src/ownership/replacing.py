"""Answers an active stream's questions: whether it may replace the object at its key, and which key is next.

Another program may have used its key meanwhile, or its checkpoint may be wrong.
"""

from __future__ import annotations

from ..domain import Checkpoint, StoredObject, World, is_ours, natural_of, number_of, object_key, origin_of
from .descriptions import described_at
from .facts import Described
from .keys import Keys
from .names import Candidate, Walk
from .uploads import Uploads


class Replacing:
    """For streams that have a checkpoint, and with it a key."""

    def __init__(self, world: World, keys: Keys, uploads: Uploads) -> None:
        self._world = world
        self._keys = keys
        self._uploads = uploads

    async def description(self, key: str) -> Described:
        """The document beside the object at ``key``."""
        return await described_at(self._world.store, key)

    async def may_replace(self, record: Checkpoint, stored: StoredObject) -> bool:
        """Whether the object at the checkpoint's key was made from its file, by its metadata or by its document."""
        ours = is_ours(stored, record.stream_id, record.identity, stored.size)
        if ours or self._world.naming.replace_reused_names:
            return True
        description = (await self.description(record.key)).description
        if description is None or description.etag != stored.etag:
            return False
        return description.stream_id == record.stream_id or description.snapshot.identity == record.identity

    def has_but_the_name(self, record: Checkpoint, stored: StoredObject) -> bool:
        """Whether the object belongs to an earlier recording with the same name and key."""
        origin = origin_of(stored.metadata)
        return self._world.naming.replace_reused_names and (origin is None or origin.stream_id != record.stream_id)

    async def another_key(self, record: Checkpoint) -> tuple[Candidate, str | None]:
        """The next free key, for a stream whose own key is used by another program; or the key that it had before Redis
        lost its data, with the ETag of its object there."""
        walk = self._walk_onwards(record)
        while True:
            candidate = await walk.following()
            key = candidate.key
            if key == record.key or self._keys.is_anothers(key, record.identity):
                continue
            stored = await self._world.store.head(key)
            origin = origin_of(stored.metadata) if stored else None
            is_ours = origin is not None and origin.stream_id == record.stream_id
            is_free = stored is None and await self.description(key) == Described(None, foreign=False)
            # Checking takes nothing: it may be the key of another file that is being claimed meanwhile.
            if (is_ours or (is_free and candidate.may_be_taken)) and self._keys.take(key, record.identity):
                return candidate, stored.etag if stored else None

    def _walk_onwards(self, record: Checkpoint) -> Walk:
        natural = object_key(self._world.naming.key_prefix, record.path)
        number = record.number or number_of(natural, record.key) or 0
        if record.number == 1:
            natural = record.key
        elif record.number is not None:
            natural = natural_of(record.key, record.number) or natural
        return Walk.onwards(self._world.store, natural, number)

    def leave_key(self, record: Checkpoint, key: str) -> None:
        """The stream of this checkpoint has another key now; its uploads at this one are still its own."""
        self._uploads.keep(record)
        if key != record.key:
            self._keys.leave(key, record.identity)
