"""Gathers the facts about one file, one at a time, as the decision requests them.

This is the only place where a claim waits: for the store, for a lease, for a disk. Nothing is decided or taken here, so
that checking a key never blocks others.

Two files that check the same free key may both continue; only one of them takes it, and the other gathers its facts
again. That costs a few requests for names such as ``x~2.mp4``, and avoids that one waits for the other's store and
disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ..domain import OpenUpload, PartSchedule, World, object_key
from .descriptions import described_at
from .elsewhere import Elsewhere
from .facts import (
    Ask,
    AtKey,
    ClaimFacts,
    Compare,
    FileSum,
    LookAtMarker,
    LookFor,
    ObjectSum,
    Place,
    ReadFile,
    WhoWrites,
    WhoWritesNow,
)
from .keys import Keys
from .names import Candidate, Walk
from .reading import Reading
from .uploads import Uploads


class Gathering:
    """For one claim of the file of ``facts``. ``highest``: the number that Redis has for the file's name."""

    def __init__(
        self,
        world: World,
        keys: Keys,
        reading: Reading,
        elsewhere: Elsewhere,
        uploads: Uploads,
        facts: ClaimFacts,
        highest: int | None,
    ) -> None:
        self._world = world
        self._keys = keys
        self._reading = reading
        self._elsewhere = elsewhere
        self._uploads = uploads
        self._path = facts.path
        self._snapshot = facts.snapshot
        natural = object_key(world.naming.key_prefix, facts.path)
        size = facts.snapshot.size if facts.marker is not None else None
        self._walk = Walk.by_hint(world.store, natural, highest, size)
        self._last: Candidate | None = None
        self._objects: deque[str] | None = None
        self._open: deque[OpenUpload] | None = None

    async def answer(self, ask: Ask, facts: ClaimFacts) -> ClaimFacts:
        """The facts, extended by the requested one.

        Raises ``FileChanged`` if the file changed while it was read, ``ToBeRead`` if another file is being read.
        """
        match ask:
            case WhoWrites(after_reading=False):
                return replace(facts, writers=await self._world.recordings.writers(self._path))
            case WhoWrites():
                return replace(facts, writers_after=await self._world.recordings.writers(self._path))
            case WhoWritesNow(look):
                return facts.with_look(replace(look, writers=await self._world.recordings.writers(self._path)))
            case ReadFile(schedule):
                return await self._read(schedule, facts)
            case LookAtMarker(key):
                return replace(facts, at_marker=await self._look_at(key, described=False))
            case Compare(look, schedule):
                return await self._compare(look, schedule, facts)
            case LookFor(Place.NAME):
                return facts.looking(Place.NAME, await self._look_at_next_of_name(ask, facts))
            case LookFor(Place.ELSEWHERE):
                return facts.looking(Place.ELSEWHERE, await self._look_elsewhere(ask, facts))
            case LookFor(Place.UPLOAD):
                return facts.looking(Place.UPLOAD, await self._look_at_next_upload(ask))
        raise AssertionError(f"no answer for {ask}")

    async def _look_at(
        self, key: str, *, number: int | None = None, may_be_taken: bool = True, described: bool = True
    ) -> AtKey:
        look = AtKey(key, self._world.clock.utc_now(), number, may_be_taken)
        if self._keys.is_anothers(key, self._snapshot.identity):
            return replace(look, taken=True)
        if not described:
            return replace(look, stored=await self._world.store.head(key))
        # The document first: if it is missing, the answer has a body, and a HEAD's bare 404 needs no confirmation.
        found = await described_at(self._world.store, key)
        ask = self._world.store.glance if found.is_none else self._world.store.head
        return replace(look, stored=await ask(key), described=found)

    async def _read(self, schedule: PartSchedule, facts: ClaimFacts) -> ClaimFacts:
        crc64, parts = await self._reading.finished(self._path, self._snapshot, schedule)
        return replace(facts, sums=(*facts.sums, FileSum(schedule, crc64, parts)))

    async def _compare(self, look: AtKey, schedule: PartSchedule, facts: ClaimFacts) -> ClaimFacts:
        """Reading the file may take minutes: afterwards the key is checked once more."""
        if look.stored is None:
            raise AssertionError("there is nothing to compare with")
        if facts.sum_by(schedule) is None:
            facts = await self._read(schedule, facts)
        compared = ObjectSum(look.stored.etag, await self._reading.object_crc64(look.key, look.stored))
        again = await self._look_at(look.key, number=look.number, may_be_taken=look.may_be_taken)
        return facts.with_look(replace(again, object_sum=compared))

    async def _look_at_next_of_name(self, ask: LookFor, facts: ClaimFacts) -> AtKey:
        if ask.hint_failed and self._last is not None:
            self._walk.was_free(self._last)
        known = {ask.but, *(look.key for look in facts.looked(Place.NAME).at)}
        while (candidate := await self._walk.following()).key in known:
            pass
        self._last = candidate
        return await self._look_at(candidate.key, number=candidate.number, may_be_taken=candidate.may_be_taken)

    async def _look_elsewhere(self, ask: LookFor, facts: ClaimFacts) -> AtKey | None:
        if self._objects is None:
            self._objects = deque(await self._elsewhere.keys_of(self._snapshot))
        known = {ask.but, *(look.key for look in facts.looked(Place.NAME).at)}
        while self._objects:
            key = self._objects.popleft()
            if key not in known:
                return await self._look_at(key)
        return None

    async def _look_at_next_upload(self, ask: LookFor) -> AtKey | None:
        if self._open is None:
            self._open = deque(await self._elsewhere.uploads_of(self._snapshot))
        while self._open:
            upload = self._open.popleft()
            if upload.key != ask.but and await self._uploads.is_of_file(upload, self._path, self._snapshot):
                return await self._look_at(upload.key)
        return None
