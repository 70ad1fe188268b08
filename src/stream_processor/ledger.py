"""A stream's checkpoint in memory, and its way into Redis: intent before, fact after.

The checkpoint here is always the newest. The one in Redis may lack facts that could not be written, but never an
intent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain import Checkpoint, Checkpoints, Fact, Part, StoredPart, StreamTelemetry, Superseded, after, moments
from ..exceptions import RedisOperationError


class Ledger:
    """Owns one stream's checkpoint; every change goes through it."""

    def __init__(self, record: Checkpoint, checkpoints: Checkpoints, telemetry: StreamTelemetry) -> None:
        self._record = replace(record, parts={})
        self._parts: dict[int, Part] = {}
        self._stored_bytes = 0
        self._leading = 0
        self._take_parts(record.parts)
        self._unsaved: dict[int, Part] = {}
        self._is_new = False
        self._checkpoints = checkpoints
        self._telemetry = telemetry

    @property
    def record(self) -> Checkpoint:
        """The checkpoint without its parts."""
        return self._record

    @property
    def parts(self) -> dict[int, Part]:
        """The known parts of this upload in S3; changed only by ``part_stored`` and ``begin_upload``."""
        return self._parts

    @property
    def stored_bytes(self) -> int:
        """Bytes of the parts."""
        return self._stored_bytes

    def leading_parts(self, size_of: Callable[[int], int]) -> int:
        """How many parts, from the first on, have the size that ``size_of`` returns for their number. It must be the
        same function for the whole upload: what was counted is not counted again, since a recording is looked at each
        second and may have 10,000 parts."""
        while (part := self._parts.get(self._leading + 1)) is not None and part.size == size_of(part.number):
            self._leading += 1
        return self._leading

    def _take_parts(self, parts: Mapping[int, Part]) -> None:
        self._parts = dict(parts)
        self._leading = 0
        self._stored_bytes = sum(part.size for part in parts.values())

    async def write(self, fact: Fact | None = None, **changes: Any) -> None:
        """Apply ``fact`` and ``changes`` and save the whole checkpoint; returns when Redis has it.

        Raises ``IllegalTransition`` before anything is changed.
        """
        if fact:
            self.note(fact)
        self._record = replace(self._record, **changes)
        self._unsaved.clear()  # the whole checkpoint contains them
        await self._checkpoints.save(self.snapshot())
        self._is_new = False

    def begin(self) -> None:
        """The stream is new: Redis gets its checkpoint with the first write, or from ``recorded``."""
        self._is_new = True

    async def recorded(self) -> None:
        """Returns when Redis has a checkpoint of the stream. Called before anything is created in S3, and before the
        stream waits for long."""
        if self._is_new:
            await self.write()

    async def left(self) -> None:
        """The same when the process stops, in one attempt: the next process finds the file, too, unless it counts as
        old by then."""
        if self._is_new:
            with suppress(RedisOperationError):
                await self._checkpoints.save_part(self._record, ())

    def note(self, fact: Fact) -> None:
        """Apply a fact that no effect depends on; the next write saves it. Raises like ``write``."""
        status = after(self._record.status, fact)
        self._record = replace(self._record, status=status)
        self._telemetry.emit(moments.StatusIs(status))

    async def begin_upload(self, fact: Fact | None, upload_id: str | None, parts: dict[int, Part], **more: Any) -> None:
        """Continue with another upload, or with none yet: its parts replace the old ones."""
        self._take_parts(parts)
        same = upload_id is not None and upload_id == self._record.upload_id
        facts = {"without_checksums": same and self._record.without_checksums, **more}
        await self.write(fact, upload_id=upload_id, manifest=None, unanswered=False, etag=None, **facts)

    async def object_found(self, parts: dict[int, Part], **facts: Any) -> None:
        """The object exists and is proved although this upload did not make it: these are its parts."""
        self._take_parts(parts)
        await self.write(Fact.OBJECT_PROVED, unanswered=False, **facts)

    async def take_id(self, stream_id: str) -> None:
        """Continue under another ID, so that object, document and marker agree; the old one is forgotten at the end."""
        record = self._record
        before = Superseded(record.key, None, record.stream_id, record.started_at)
        await self.write(stream_id=stream_id, superseded=(*record.superseded, before))

    async def part_stored(self, part: Part) -> None:
        """Record a part in S3. During an outage of Redis it is kept and written with the next one."""
        before = self._parts.get(part.number)
        self._stored_bytes += part.size - (before.size if before else 0)
        self._parts[part.number] = part
        self._leading = min(self._leading, part.number - 1)  # its size may be another one
        self._unsaved[part.number] = part
        saved = dict(self._unsaved)
        try:
            await self._checkpoints.save_part(self._record, tuple(saved.values()))
        except RedisOperationError as exc:
            self._telemetry.emit(moments.Trouble(operation="redis_update", error=exc, retry_seconds=None))
        else:
            # Other parts may have been stored meanwhile: forget only those that were written.
            self._unsaved = {n: part for n, part in self._unsaved.items() if saved.get(n) is not part}

    async def parts_found(self, listed: Mapping[int, StoredPart], now: datetime) -> None:
        """Parts that the record has lost and the store lists; the document is to name them all."""
        for number, stored in listed.items():
            uploaded_at = stored.modified_at or now
            await self.part_stored(Part(number, stored.size, stored.etag, stored.crc64, uploaded_at))

    def renamed(self, path: str) -> None:
        """The recording has another name now; the key stays. Written with the next write."""
        self._record = replace(self._record, path=path)

    def snapshot(self) -> Checkpoint:
        """The whole record as it is to be saved."""
        return replace(self._record, parts=dict(sorted(self._parts.items())))
