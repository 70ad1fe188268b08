"""Claims a file: facts are gathered, ``decision`` decides, and the decision is carried out here.

This changes two things only: Redis gets the marker of a file that is done, and a file to be uploaded gets its key. The
key is taken without an await after the decision; if it is taken already, the facts are gathered again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice

from ..domain import Checkpoint, Identity, Marker, Snapshot, Superseded, World, moments, object_key
from . import decision
from .elsewhere import Elsewhere
from .facts import Ask, ClaimFacts, FileSum
from .gathering import Gathering
from .keys import Keys
from .reading import Reading
from .replacing import Replacing
from .uploads import Uploads

#: Completed files that this process remembers; more are completed in a year than fit into memory. If there are more,
#: half of them are forgotten, as at a restart.
_MOST_COMPLETED = 200_000


class Claims:
    """The questions of the dispatcher and the streams: what is this file, who owns that upload, may I replace this
    object."""

    def __init__(self, world: World, keys: Keys) -> None:
        self._world = world
        self._keys = keys
        self._elsewhere = Elsewhere(world)
        self._new: set[str] = set()  # by stream ID
        self._told: dict[Identity, tuple[str, tuple[Marker | None, int | None]]] = {}  # with the path; used once
        self._completed: dict[int, datetime] = {}  # by hash of the identity, to save memory
        self.reading = Reading(world)
        self.uploads = Uploads(world, keys, self._elsewhere)
        self.replacing = Replacing(world, keys, self.uploads)

    async def claim(
        self, path: str, snapshot: Snapshot, superseded: tuple[Superseded, ...] = ()
    ) -> Marker | Checkpoint:
        """A marker if the file is done as it is; otherwise the checkpoint to continue with (its key is taken).

        Raises ``FileChanged`` if the file changed while its bytes were compared: examine it again. Raises ``ToBeRead``
        if its bytes must be compared and another file is being read.
        """
        sums: tuple[FileSum, ...] = ()
        while True:
            facts, decided = await self._decided(path, snapshot, sums)
            if isinstance(decided, decision.Done):
                marker = _seen(decided.marker)
                if marker != facts.marker:
                    await self._world.checkpoints.put_marker(marker)
                if decided.case is decision.Case.GONE:
                    told = self._world.telemetry.stream(marker.stream_id, path)
                    told.emit(moments.ObjectDeleted(key=marker.key))
                return marker
            if self._keys.take(decided.record.key, snapshot.identity):
                self._new.add(decided.record.stream_id)
                return replace(decided.record, superseded=superseded)
            sums = facts.sums  # another file took the key meanwhile; the bytes of this file are the same

    def is_new(self, record: Checkpoint) -> bool:
        """Whether the file was claimed for this checkpoint just now, so that Redis was asked for its marker already.
        True once per claim."""
        if record.stream_id not in self._new:
            return False
        self._new.discard(record.stream_id)
        return True

    async def known(self, files: Mapping[str, Snapshot]) -> dict[str, Marker]:
        """The files, by path, that are done as they are according to Redis, in one request: those for which ``claim``
        would ask nothing more, and write nothing. The claims of the others do not ask Redis again."""
        asked = [(snapshot.identity, self._natural_key(path)) for path, snapshot in files.items()]
        told = await self._world.checkpoints.remembered_of(asked)
        done: dict[str, Marker] = {}
        self._told.clear()
        for (path, snapshot), answer in zip(files.items(), told, strict=True):
            if answer is None:
                continue
            marker, _ = answer
            if marker is not None and self._is_known(path, snapshot, marker):
                done[path] = marker
            else:
                self._told[snapshot.identity] = path, answer
        return done

    def _is_known(self, path: str, snapshot: Snapshot, marker: Marker) -> bool:
        if not self._is_believed(marker, snapshot):
            return False
        facts = ClaimFacts(path, snapshot, self._world.store.bucket, fresh_id="", marker=marker)
        decided = decision.decide(facts, self._world.naming)
        return isinstance(decided, decision.Done) and _seen(decided.marker) == marker

    def is_done(self, marker: Marker) -> None:
        """Redis has the marker from now on. If it had none, or an older one, it has lost data."""
        self._told.pop(marker.snapshot.identity, None)
        self._completed[hash(marker.snapshot.identity)] = marker.completed_at
        if len(self._completed) > _MOST_COMPLETED:
            forgotten = [self._completed.pop(each) for each in tuple(islice(self._completed, _MOST_COMPLETED // 2))]
            self._elsewhere.look_again(max(forgotten))

    async def _decided(
        self, path: str, snapshot: Snapshot, sums: tuple[FileSum, ...]
    ) -> tuple[ClaimFacts, decision.Done | decision.Carry]:
        asked_for, answer = self._told.pop(snapshot.identity, ("", None))
        if answer is None or asked_for != path:
            answer = await self._world.checkpoints.remembered(snapshot.identity, self._natural_key(path))
        marker, highest = answer
        believed = marker if self._is_believed(marker, snapshot) else None
        bucket = self._world.store.bucket
        facts = ClaimFacts(path, snapshot, bucket, secrets.token_hex(16), marker=believed, sums=sums)
        gathering = Gathering(self._world, self._keys, self.reading, self._elsewhere, self.uploads, facts, highest)
        while isinstance(decided := decision.decide(facts, self._world.naming), Ask):
            before, facts = facts, await gathering.answer(decided, facts)
            if facts == before:
                raise AssertionError(f"{decided} has no answer")
        return facts, decided

    def _natural_key(self, path: str) -> str:
        return object_key(self._world.naming.key_prefix, path)

    def _is_believed(self, marker: Marker | None, snapshot: Snapshot) -> bool:
        """Whether Redis remembers the file in this bucket, and as much of it as this process does."""
        if marker is not None and marker.bucket != self._world.store.bucket:
            return False
        # Two files with the same hash cost one search of the store; nothing is decided by it.
        completed_at = self._completed.get(hash(snapshot.identity))
        if completed_at is None or (marker is not None and marker.completed_at >= completed_at):
            return marker is not None
        self._elsewhere.look_again(completed_at)
        return False


def _seen(marker: Marker) -> Marker:
    """The marker of a file that is in the folder."""
    return replace(marker, unseen=0)
