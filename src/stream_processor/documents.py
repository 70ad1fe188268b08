"""Writes the metadata document of a stream's object, and never overwrites another program's."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from ..domain import Checkpoint, Limits, Part, Probe, StreamTelemetry, World, moments, part_plan
from ..exceptions import S3Unavailable
from ..metadata_generator import StoredDescription, document_key, encode_document, metadata_document, read_document
from .pacing import Pacing


class Documents:
    """The document of one stream. Repeated writes are identical: everything in it comes from the checkpoint."""

    def __init__(self, world: World, telemetry: StreamTelemetry, pacing: Pacing) -> None:
        self._world = world
        self._telemetry = telemetry
        self._pacing = pacing

    async def put(self, record: Checkpoint, probe: Probe) -> None:
        """Write it if there is none, or replace one that names this stream or the object that it replaced."""
        complete = _with_all_parts(record, self._world.naming.limits)
        original = os.path.join(self._world.root, record.path)
        document = await asyncio.to_thread(_document, complete, original, probe)  # 10,000 parts take too long here
        key = document_key(record.key)
        attempts = 0
        while not await self._put_once(key, document, record):
            attempts += 1
            error = S3Unavailable(f"neither none nor another is at {key} for long", operation="put_document")
            await self._pacing.pause(attempts, operation="put_document", error=error)

    async def _put_once(self, key: str, document: bytes, record: Checkpoint) -> bool:
        """False: the object at the key changed meanwhile."""
        store = self._world.store
        if await store.put_document(key, document, replaces=None):
            return True
        there = await store.get_document(key)
        if there is None:
            return False
        described = await asyncio.to_thread(read_document, there[0])  # it may have megabytes
        if described is None or not _describes_ours(described, record):
            self._telemetry.emit(moments.MetadataKeyOccupied(key=key))
            return True
        return await store.put_document(key, document, replaces=there[1])


def _with_all_parts(record: Checkpoint, limits: Limits) -> Checkpoint:
    """If a part's entry was lost in Redis after the object had been proved, its position and size follow from the
    schedule. Its checksum is lost, and the object's ETag takes its place."""
    if record.manifest is None:
        raise AssertionError("a document of an object that was not proved")
    parts = {
        chunk.number: record.parts.get(chunk.number)
        or Part(chunk.number, chunk.size, str(record.etag), None, record.completed_at or record.started_at)
        for chunk in part_plan.cut(record.schedule, record.manifest.size, limits)
    }
    return replace(record, parts=parts)


def _describes_ours(described: StoredDescription, record: Checkpoint) -> bool:
    """Whether a document belongs to this stream, or to the object or the file that the stream has taken over."""
    same_file = described.snapshot.identity == record.identity and record.identity.birth_ns != 0
    return described.stream_id == record.stream_id or described.etag in (record.replaces, record.etag) or same_file


def _document(record: Checkpoint, original: str, probe: Probe) -> bytes:
    return encode_document(metadata_document(record, original_file_path=original, probe=probe))
