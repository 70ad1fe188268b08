"""Completes an upload, and determines the result from the object, whatever the answer was.

No answer means nothing: the completion may have happened, may still be in progress, or may never have arrived. The
object decides, then the upload, and only then the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..domain import Answer, CompletionFacts, Fact, Manifest, Step, StoredObject, StoredPart, World, completion
from ..exceptions import ChunkProcessingError, FileChanged, S3NotAble, S3Unavailable, UploadGone
from .ledger import Ledger
from .pacing import Pacing
from .whole import Whole

#: How long a whole file that cannot be sent again is waited for. Nothing is wrong if it takes effect later.
_IN_TRANSIT_SECONDS = 60.0


class Completion:
    """The completion of one stream's upload; the ledger has the upload and its manifest."""

    def __init__(self, world: World, ledger: Ledger, pacing: Pacing, whole: Whole) -> None:
        self._world = world
        self._whole = whole
        self._ledger = ledger
        self._pacing = pacing

    async def send(self, manifest: Manifest, parts: Sequence[StoredPart]) -> Answer:
        """Write the intent to Redis, then send the completion to the store, once."""
        record = self._ledger.record
        await self._ledger.write(manifest=manifest, unanswered=True)  # the intent, before the request
        return await self._world.store.complete_upload(record.key, str(record.upload_id), manifest, parts)

    async def put(self, manifest: Manifest) -> tuple[Answer, StoredObject | None]:
        """Say in Redis what is to be made, then send the whole file in one request, once. The answer, and the object
        where that proves it as a HEAD would."""
        await self._ledger.write(Fact.WENT_IDLE, manifest=manifest, unanswered=True)  # the intent, before the request
        return await self._whole.send(manifest)

    async def settle(self, answer: Answer) -> tuple[Step, StoredObject | None]:
        """Wait until the result of the completion is known: ``VERIFIED`` with the object that matches the manifest, or
        the next step. In the latter case the object is the one found instead, if any."""
        told = self._told() if answer is Answer.DONE else None
        if told is not None:
            return Step.VERIFIED, told
        clock = self._world.clock
        asked_since = clock.monotonic()
        unanswered, attempts = answer is Answer.NONE, 0
        while True:
            manifest = self.manifest
            waited = clock.monotonic() - asked_since
            step, stored = await self._next_step(answer, unanswered=unanswered, waited=waited)
            if step not in _GO_ON:
                return step, stored
            attempts += 1
            error = S3Unavailable(f"what the completion came to is not known yet: {step}", operation="complete_upload")
            await self._pacing.pause(attempts, operation="complete_upload", error=error)
            if step in (Step.COMPLETE_AGAIN, Step.COMPLETE_WHERE_NOTHING_IS):
                answer = await self._again(manifest, step)
                unanswered = unanswered or answer is Answer.NONE

    def _told(self) -> StoredObject | None:
        """The object, where the store's answer proves it as a HEAD would."""
        told = self._world.store.completed(str(self._ledger.record.upload_id))
        return told if told is not None and completion.equals_manifest(told, self.manifest) else None

    @property
    def manifest(self) -> Manifest:
        """The expected result of the completion."""
        manifest = self._ledger.record.manifest
        if manifest is None:
            raise AssertionError("a completion without a manifest")
        return manifest

    async def _next_step(self, answer: Answer, *, unanswered: bool, waited: float) -> tuple[Step, StoredObject | None]:
        record, manifest = self._ledger.record, self.manifest
        waited_out = waited > completion.assembling_seconds(manifest.size)
        store = self._world.store
        stored = await store.head(record.key)
        equals = completion.equals_manifest(stored, manifest) if stored else False
        # A store that was killed during a completion may report the checksum of bytes that it does not hold. An answer
        # excludes that; without one, or if another request has made the object, the bytes themselves are compared.
        refused_whole = answer is Answer.UPLOAD_GONE and record.upload_id is None
        unsure = (unanswered or refused_whole or answer is Answer.PRECONDITION_FAILED) and not store.is_atomic
        if stored is not None and (equals is None or (equals and unsure)):
            crc64 = await store.object_crc64(record.key, stored.etag)
            equals = None if crc64 is None else crc64 == manifest.crc64
        facts = CompletionFacts(answer, stored, equals, None, unanswered, waited_out)
        step = completion.after_completion(facts, manifest, record.stream_id)
        if step is Step.LOOK_AT_UPLOAD:
            facts = replace(facts, upload_open=await self._may_be_sent_again(facts))
            if record.upload_id is None and not facts.upload_open:
                # Nothing is assembled, and the file has other bytes by now, or is another recording's, which waits.
                facts = replace(facts, waited_out=waited > _IN_TRANSIT_SECONDS)
            step = completion.after_completion(facts, manifest, record.stream_id)
        return step, stored

    async def _again(self, manifest: Manifest, step: Step) -> Answer:
        """The request names every part with its ETag and checksum, so parts that the checkpoint has lost are taken from
        the listing first."""
        if step is Step.COMPLETE_WHERE_NOTHING_IS:
            manifest = replace(manifest, replaces=None)
        if self._ledger.record.upload_id is None:
            return await self._put_again(manifest)
        try:
            listed = await self._listed()
        except UploadGone:
            return Answer.UPLOAD_GONE
        known = self._ledger.parts
        numbers = range(1, manifest.part_count + 1)
        if not all(number in listed for number in numbers):
            return Answer.INVALID_PART
        await self._ledger.parts_found({n: listed[n] for n in numbers if n not in known}, self._world.clock.utc_now())
        named = [replace(listed[n], crc64=known[n].crc64 if n in known else listed[n].crc64) for n in numbers]
        return await self.send(manifest, named)

    async def _put_again(self, manifest: Manifest) -> Answer:
        try:
            answer, _ = await self._whole.send(manifest)
        except (FileChanged, ChunkProcessingError, S3NotAble):
            return Answer.UPLOAD_GONE  # what was sent before may take effect all the same
        return answer

    async def _may_be_sent_again(self, facts: CompletionFacts) -> bool:
        """Whether the same completion can be sent once more: the upload is open, or, without one, the file still begins
        with the same bytes. A store that gives a whole file no answer for a quarter of an hour gets an upload."""
        if self._ledger.record.upload_id is None:
            says_there_is_one = facts.answer is Answer.PRECONDITION_FAILED
            return (says_there_is_one or not facts.waited_out) and await self._whole.holds(self.manifest)
        try:
            await self._listed()
        except UploadGone:
            return False
        return True

    async def _listed(self) -> dict[int, StoredPart]:
        record = self._ledger.record
        return await self._world.store.list_parts(record.key, str(record.upload_id))


_GO_ON = frozenset({Step.WAIT, Step.FETCH_AND_COMPARE, Step.COMPLETE_AGAIN, Step.COMPLETE_WHERE_NOTHING_IS})
