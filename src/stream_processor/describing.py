"""From a proved object to its marker: examine the media, write the metadata document, clean up, and finish."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ..domain import Checkpoint, Fact, Manifest, Marker, Probe, Snapshot, current_errand, lifecycle, moments
from ..exceptions import ChunkProcessingError, FileChanged, SourceMissing
from .cleanup import Cleanup
from .documents import Documents
from .one_stream import OneStream

#: Maximum number of attempts if the file is touched during each of them.
_ASK_AT_MOST = 3
#: While fewer recordings than this wait to be examined, one that waits delays no other. Each costs memory: beyond that,
#: the next ready file is not taken up before one of them is described.
_MOST_WAITING = 1000
_FILM_CHANGED = "the file has changed since; it is described when its object is replaced"


class Describing:
    """The last steps of one stream. They may be repeated: what is written again has the same bytes."""

    def __init__(self, stream: OneStream, *, cleanup: Cleanup, documents: Documents) -> None:
        self._world = stream.world
        self._claims = stream.claims
        self._ledger = stream.ledger
        self._telemetry = stream.telemetry
        self._pacing = stream.pacing
        self._sight = stream.sight
        self._cleanup = cleanup
        self._documents = documents

    async def describe(self) -> Marker:
        """Write the metadata document, clean up, and leave a marker.

        Work that must happen at least once for each object, such as a notification to another program, belongs before
        ``finish``. It is repeated after a kill, and for each replacement of the object; while it waits, the stream is
        not completed. Work after ``finish`` is lost by a kill. An object without its file is completed in
        ``source_missing.Remains._settle``. What may run at every start belongs in ``Dispatcher._settle``.
        """
        probe = self._ledger.record.probe
        if probe is None or self._ledger.record.processed_at is None:
            probe = await self._probe(manifest_of(self._ledger.record).snapshot)
            # The intent, before the document: what is written again has the same bytes.
            await self._ledger.write(processed_at=self._world.clock.utc_now(), probe=probe)
        if probe.error is not None:
            self._telemetry.emit(moments.FfprobeFailed(error=probe.error))
        record = self._ledger.snapshot()
        await self._documents.put(record, probe)
        await self._cleanup.after_the_proof(record)
        marker = marker_of(record)
        finished = replace(record, status=lifecycle.after(record.status, Fact.METADATA_STORED))
        await self._world.checkpoints.finish(finished, marker)
        self._claims.uploads.ended(record)
        self._telemetry.emit(
            moments.Completed(
                key=record.key,
                size=marker.snapshot.size,
                duration_seconds=probe.duration_seconds,
                stream_seconds=max(0.0, (self._world.clock.utc_now() - record.started_at).total_seconds()),
                processing_seconds=self._sight.idle_seconds,
            )
        )
        return marker

    async def _probe(self, proved: Snapshot) -> Probe:
        """The properties of the media in the object. If the file changes, the result is discarded: it would describe
        different media. If only its times have changed, its bytes show this, and it is examined again."""
        try:
            await self._sight.look()  # it may have been renamed
            for times in range(_ASK_AT_MOST):
                if times > 0:
                    proved = await self._same_film(proved)
                probe = await self._ask_about(proved)
                if probe is not None:
                    return probe
        except SourceMissing:
            return Probe(error="the file is gone")
        except FileChanged:
            pass
        return Probe(error=_FILM_CHANGED)

    async def _ask_about(self, proved: Snapshot) -> Probe | None:
        """None: the file was changed or touched meanwhile."""
        if self._world.prober.waiting < _MOST_WAITING:
            current_errand().make_room()
        asking = asyncio.create_task(self._world.prober.probe(self._ledger.record.path, proved.identity), name="probe")
        try:
            while not asking.done():
                await self._pacing.wait_beside(asking)
                if not await self._sight.holds(proved):
                    return None
            return asking.result() if await self._sight.holds(proved) else None
        finally:
            asking.cancel()

    async def _same_film(self, proved: Snapshot) -> Snapshot:
        """The current snapshot of the file, if it still has the object's bytes. Raises ``FileChanged`` if not, or if
        this cannot be determined."""
        record = self._ledger.record
        try:
            now = await self._sight.look()
            if (now.identity, now.size) != (proved.identity, proved.size):
                raise FileChanged(f"{record.path!r} is a different film", operation="probe")
            crc64, _ = await self._claims.reading.whole(record.path, now, record.schedule)
        except ChunkProcessingError as exc:
            raise FileChanged(f"{record.path!r} cannot be read", operation="probe") from exc
        if crc64 != manifest_of(record).crc64:
            raise FileChanged(f"{record.path!r} has different content", operation="probe")
        return now


def manifest_of(record: Checkpoint) -> Manifest:
    """The manifest of the checkpoint, which always exists at this step."""
    if record.manifest is None:
        raise AssertionError("a completion without a manifest")
    return record.manifest


def marker_of(record: Checkpoint) -> Marker:
    """The marker of a checkpoint whose object is proved."""
    manifest = manifest_of(record)
    if record.etag is None or record.completed_at is None:
        raise AssertionError("a marker of an object that was not proved")
    return Marker(
        stream_id=record.stream_id,
        path=record.path,
        bucket=record.bucket,
        key=record.key,
        snapshot=manifest.snapshot,
        crc64=manifest.crc64,
        etag=record.etag,
        schedule=record.schedule,
        started_at=record.started_at,
        completed_at=record.completed_at,
        replacements=record.replacements,
        still_open=record.still_open,
    )
