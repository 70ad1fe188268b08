"""Broken on purpose: the protocol without one of its rules, and that the auditor sees it.

A mutant is the product with one rule taken away, or with several where one guard stands behind the other. Each is
lived through a few cases that are clean without it. It has to cause the problem that the rule is there against, and of
several rules not one may be missing: with any of them in place the same cases are clean again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest

from src.dispatcher import Dispatcher, dispatcher
from src.domain import (
    Answer,
    Checkpoint,
    Chunk,
    Digest,
    Manifest,
    Marker,
    Naming,
    Part,
    Snapshot,
    Status,
    Step,
    StoredObject,
    StoredPart,
    completion,
    resuming,
)
from src.domain.part_plan import whole_chunks
from src.ownership import decision, uploads
from src.ownership.facts import AtKey, ClaimFacts
from src.ownership.replacing import Replacing
from src.slots import FairSlots
from src.stream_processor import StreamProcessor
from src.stream_processor.completion import Completion
from src.stream_processor.describing import Describing, marker_of
from src.stream_processor.documents import Documents
from src.stream_processor.ledger import Ledger
from src.stream_processor.sight import Sight
from src.stream_processor.upload import Sealed, Upload
from tests.harness.crash import cases, scenes
from tests.harness.crash.beside import live_beside
from tests.harness.crash.cases import Case
from tests.harness.crash.harm import Kind
from tests.harness.crash.scenes import PATH, bytes_of
from tests.harness.crash.simulation import CHUNK, SCAN, Simulation
from tests.harness.fakes.store import Happens

pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

FILM = bytes_of(4 * CHUNK + 3, 1)
SLOTS = 2
FEW, MANY = SLOTS + 1, 8 * (SLOTS + 1)
Break = Callable[[pytest.MonkeyPatch], None]
Look = Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """``causes`` is the beginning, or a part, of the problem that must be found."""

    breaks: tuple[Break, ...]
    look: Look
    causes: str


# -- where one looks -------------------------------------------------------------------------------------------------


def _in(*some: Callable[[], Iterable[Case]]) -> Look:
    """The problems of generated cases."""

    def look() -> list[str]:
        return [problem for case in chain(*(few() for few in some)) for problem in _problems(case)]

    return look


def _problems(case: Case) -> list[str]:
    return cases.audited(case, cases.lived(case))


def _calm(*shapes: str) -> Callable[[], list[Case]]:
    return lambda: [Case(shape) for shape in shapes]


def _kills(shape: str, redis: str = "kept") -> Callable[[], list[Case]]:
    return lambda: [case for case in cases.single_faults(shape, redis) if case.kills and len(case.faults) == 1]


def _scene(script: Callable[[Simulation], Any], *, times: int = 2) -> Look:
    """The problems after a scene in which the film may be sent so many times."""
    return lambda: scenes.lived(script).problems(sent_at_most=times * len(FILM))


def _beside(operation: str, kind: Kind, harmed: int) -> Look:
    """The problems of recordings beside so many harmed ones."""
    return lambda: live_beside(operation, kind, slots=SLOTS, harmed=harmed).problems()


async def _sent(simulation: Simulation) -> None:
    """A file lies there whole, and one part of it is in the store."""
    simulation.disk.write(PATH, FILM)
    await scenes.on_effect(simulation, "store.upload_part").wait()


async def _upload_expires(simulation: Simulation) -> None:
    simulation.disk.write(PATH, FILM)
    await scenes.on_effect(simulation, "store.upload_part", simulation.store.uploads.clear).wait()


async def _part_is_lost(simulation: Simulation) -> None:
    def lose() -> None:
        (upload,) = simulation.store.uploads.values()
        del upload.parts[1]

    simulation.disk.write(PATH, FILM)
    await scenes.on_effect(simulation, "store.upload_part", lose, nth=3).wait()


async def _stranger_comes(simulation: Simulation) -> None:
    await _sent(simulation)
    simulation.plant(PATH, bytes_of(4 * CHUNK + 3, 9))


async def _stranger_was_there(simulation: Simulation) -> None:
    simulation.plant(PATH, b"theirs")
    await _sent(simulation)


async def _stranger_uploads(simulation: Simulation) -> None:
    simulation.plant_upload(PATH, bytes_of(CHUNK, 9))
    await _sent(simulation)


async def _completion_is_silent_and_does_not_happen(simulation: Simulation) -> None:
    simulation.store.answer_next_completion(Answer.NONE, Happens.NEVER)
    await _sent(simulation)


async def _completion_is_silent_and_happens_late(simulation: Simulation) -> None:
    simulation.store.answer_next_completion(Answer.NONE, Happens.LATER)
    simulation.disk.write(PATH, FILM)
    await scenes.on_effect(simulation, "store.complete_upload").wait()
    await asyncio.sleep(600)
    simulation.store.finish_assembling()


async def _patched_while_it_is_described(simulation: Simulation) -> None:
    """Redis is away from the completion on, and comes back long after the scan has told of the patch."""
    simulation.disk.write(PATH, FILM)
    await scenes.on_effect(simulation, "store.complete_upload", simulation.redis.go_away).wait()
    await scenes.until(lambda: simulation.clock.monotonic() > 100, "the time")
    simulation.disk.patch(PATH, 1, b"\xff\xfe")
    await scenes.until(lambda: simulation.clock.monotonic() > 200, "the time")
    simulation.redis.come_back()


async def _clock_is_ahead(simulation: Simulation) -> None:
    simulation.disk.write(PATH, FILM)
    simulation.disk.files[PATH].mtime_ns += 10**18


async def _renamed_when_done(simulation: Simulation) -> None:
    await scenes.finished_file(simulation)
    simulation.disk.rename(PATH, "cam/final.mp4")
    await asyncio.sleep(2 * SCAN)


# -- what is taken away ----------------------------------------------------------------------------------------------


def skip_the_seal(patch: pytest.MonkeyPatch) -> None:
    """What was stored once is final: only chunks that are not in S3 yet are read again."""
    read_all = Upload.read_all

    async def trusting(self: Upload, snapshot: Snapshot) -> tuple[tuple[Chunk, Digest], ...] | None:
        checked = await read_all(self, snapshot)
        return checked and tuple((chunk, remembered(self, chunk) or digest) for chunk, digest in checked)

    def remembered(self: Upload, chunk: Chunk) -> Digest | None:
        part = self._ledger.parts.get(chunk.number)
        return Digest(part.size, part.crc64 or 0) if part and part.size == chunk.size else None

    patch.setattr(Upload, "read_all", trusting)


def forget_the_tail(patch: pytest.MonkeyPatch) -> None:
    """Only whole chunks are compared, sent and named in the completion."""
    patch.setattr("src.stream_processor.upload.part_plan.chunks", whole_chunks)


def believe_that_a_gone_upload_was_completed(patch: pytest.MonkeyPatch) -> None:
    """NoSuchUpload: somebody must have completed it."""

    async def believe(self: StreamProcessor) -> bool:
        snapshot = await self._sight.look()
        crc64, read = await self._claims.reading.whole(self._ledger.record.path, snapshot, self._ledger.record.schedule)
        await self._ledger.object_found(
            {part.number: replace(part, etag="gone") for part in read},
            manifest=Manifest(snapshot.size, crc64, len(read), snapshot),
            etag="gone",
            completed_at=self._world.clock.utc_now(),
        )
        return True

    patch.setattr(StreamProcessor, "_upload_is_gone", believe)


def upload_anew_whenever_an_upload_is_gone(patch: pytest.MonkeyPatch) -> None:
    """NoSuchUpload: it was lost. Nobody looks whether the object is there."""

    async def anew(self: StreamProcessor) -> bool:
        await self._anew.begin(replaces=None)
        return False

    patch.setattr(StreamProcessor, "_upload_is_gone", anew)


def checkpoint_before_the_upload(patch: pytest.MonkeyPatch) -> None:
    """Redis is told of a part that is about to be sent."""
    send_part = Upload._send_part

    async def early(self: Upload, stale: Any, hashes: Any, turn: Any) -> Part:
        record, chunk = self._ledger.record, stale.chunk
        digest = await self._world.recordings.digest(record.path, record.identity, chunk, hashes)
        now = self._world.clock.utc_now()
        await self._ledger.part_stored(Part(chunk.number, chunk.size, "to be sent", digest.crc64, now))
        return await send_part(self, stale, hashes, turn)

    patch.setattr(Upload, "_send_part", early)


def believe_redis_about_parts(patch: pytest.MonkeyPatch) -> None:
    """A resumed upload has the parts that the record has."""
    patch.setattr(resuming, "merge_parts", lambda recorded, *_, **__: dict(recorded))


def prove_nothing(patch: pytest.MonkeyPatch) -> None:
    """The completion names the parts that we believe to be there, not those that the store lists."""

    async def believed(self: Upload) -> dict[int, StoredPart]:
        parts = self._ledger.parts.values()
        return {part.number: StoredPart(part.number, part.size, part.etag, part.crc64) for part in parts}

    patch.setattr(Upload, "_listed", believed)


def name_all_parts(patch: pytest.MonkeyPatch) -> None:
    """The completion names also what a longer file has left behind."""
    complete = StreamProcessor._complete

    async def with_all(self: StreamProcessor, sealed: Sealed) -> bool:
        listed = await self._completion._listed()
        named = {part.number: part for part in sealed.parts}
        return await complete(self, replace(sealed, parts=tuple((listed | named).values())))

    patch.setattr(StreamProcessor, "_complete", with_all)


def complete_without_a_condition(patch: pytest.MonkeyPatch) -> None:
    """Whatever is at the key is replaced."""
    send = Completion.send

    async def whatever_is_there(self: Completion, manifest: Manifest, parts: Sequence[StoredPart]) -> Answer:
        there = await self._world.store.head(self._ledger.record.key)
        return await send(self, replace(manifest, replaces=there.etag if there else None), parts)

    patch.setattr(Completion, "send", whatever_is_there)


def write_no_manifest(patch: pytest.MonkeyPatch) -> None:
    """The completion is sent without a word to Redis."""

    async def silently(self: Completion, manifest: Manifest, parts: Sequence[StoredPart]) -> Answer:
        record = self._ledger._record = replace(self._ledger.record, manifest=manifest, unanswered=True)
        return await self._world.store.complete_upload(record.key, str(record.upload_id), manifest, parts)

    patch.setattr(Completion, "send", silently)


def believe_the_answer(patch: pytest.MonkeyPatch) -> None:
    """A completion that was sent has happened."""

    async def believe(self: Completion, _: Answer) -> tuple[Step, StoredObject]:
        return Step.VERIFIED, StoredObject(self.manifest.size, "believed", self.manifest.crc64)

    patch.setattr(Completion, "settle", believe)


def compare_sizes_alone(patch: pytest.MonkeyPatch) -> None:
    """An object as long as ours is ours."""
    patch.setattr(completion, "equals_manifest", lambda stored, manifest: stored.size == manifest.size)


def mark_before_the_proof(patch: pytest.MonkeyPatch) -> None:
    """Redis is told that the recording is done when it is about to be completed."""
    complete = StreamProcessor._complete

    async def done_already(self: StreamProcessor, sealed: Sealed) -> bool:
        now = self._world.clock.utc_now()
        record = replace(self._ledger.record, manifest=sealed.manifest(None), etag="to come", completed_at=now)
        await self._world.checkpoints.finish(replace(record, status=Status.COMPLETED), marker_of(record))
        return await complete(self, sealed)

    patch.setattr(StreamProcessor, "_complete", done_already)


def mark_before_the_document(patch: pytest.MonkeyPatch) -> None:
    """Redis is told that the recording is done, and then the object is described."""
    describe, put = Describing.describe, Documents.put
    documents: list[tuple[Any, ...]] = []

    async def remember(*document: Any) -> None:
        documents.append(document)

    async def late(self: Describing) -> Marker:
        marker = await describe(self)
        while documents:
            await put(*documents.pop())
        return marker

    patch.setattr(Documents, "put", remember)
    patch.setattr(Describing, "describe", late)


def clean_up_before_the_proof(patch: pytest.MonkeyPatch) -> None:
    """Uploads at our key are aborted before there is an object."""
    complete = StreamProcessor._complete

    async def tidy(self: StreamProcessor, sealed: Sealed) -> bool:
        await self._cleanup.after_the_proof(self.checkpoint)
        return await complete(self, sealed)

    patch.setattr(StreamProcessor, "_complete", tidy)


def wait_for_no_assembly(patch: pytest.MonkeyPatch) -> None:
    """What is not there just after a completion without an answer will not come."""
    patch.setattr(completion, "assembling_seconds", lambda size: 0.0)


def overwrite_strangers(patch: pytest.MonkeyPatch) -> None:
    """The key is ours by its name, whoever's object is there."""

    def take(facts: ClaimFacts, look: AtKey, stored: StoredObject, fresh: Checkpoint, naming: Naming) -> decision.Stale:
        return decision.Stale(decision.Case.MADE_OF_IT, replace(fresh, replaces=stored.etag))

    patch.setattr(decision, "_by_the_object", take)


def replace_what_is_there(patch: pytest.MonkeyPatch) -> None:
    """The record says that the object is to be replaced, so it is ours."""

    async def trusting(self: Replacing, record: Checkpoint, stored: StoredObject) -> bool:
        return True

    patch.setattr(Replacing, "may_replace", trusting)


def adopt_without_comparing(patch: pytest.MonkeyPatch) -> None:
    """An open upload at our key holds our bytes."""
    patch.setattr(uploads, "matches", lambda part, digest: True)


def look_no_more_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """Hints that came while the stream was ending are lost."""
    end = Dispatcher._end

    def and_forget(self: Dispatcher, stream: Any, marker: Marker | None) -> None:
        end(self, stream, marker)
        self._hints._paths.clear()

    patch.setattr(Dispatcher, "_end", and_forget)


def tell_idleness_by_the_files_times(patch: pytest.MonkeyPatch) -> None:
    """Quiet is what was not modified for so long, by the wall clock."""
    look = Sight.look

    async def by_mtime(self: Sight) -> Snapshot:
        snapshot = await look(self)
        age = self._world.clock.utc_now().timestamp() - snapshot.mtime_ns / 1e9
        self._changed_at = self._world.clock.monotonic() - age
        return snapshot

    patch.setattr(Sight, "look", by_mtime)


def take_the_path_for_the_file(patch: pytest.MonkeyPatch) -> None:
    """A file under another name is another recording."""
    by_marker = decision._by_marker

    def by_path(facts: ClaimFacts, marker: Marker) -> Any:
        return by_marker(facts, marker) if marker.path == facts.path else decision.Passed(decision.Case.SHORTER)

    patch.setattr(decision, "_by_marker", by_path)


def forget_what_was_left_behind(patch: pytest.MonkeyPatch) -> None:
    """The record does not name the upload that a new one takes the place of."""
    begin = Ledger.begin_upload

    async def without(self: Ledger, *args: Any, **more: Any) -> None:
        await begin(self, *args, **{name: value for name, value in more.items() if name != "superseded"})

    patch.setattr(Ledger, "begin_upload", without)


def lend_no_turn(patch: pytest.MonkeyPatch) -> None:
    """Who has a turn keeps all of it, until he is far slower than others."""
    patch.setattr(FairSlots, "share", lambda self, place: None)


def keep_the_room_of_a_claim_that_takes_long(patch: pytest.MonkeyPatch) -> None:
    """The next file that may be growing is looked up when one of the sixteen is claimed, or has failed."""
    patch.setattr(dispatcher, "CLAIM_SECONDS", 1e9)


LOST = "is at 0 keys"
WAITED = "waited for others"
MUTANTS: dict[str, Mutant] = {
    "skip the seal": Mutant((skip_the_seal,), _in(_calm("ordinary", "faststart", "preallocated")), LOST),
    "forget the tail": Mutant((forget_the_tail,), _in(_calm("ordinary", "small")), LOST),
    "NoSuchUpload means completed": Mutant((believe_that_a_gone_upload_was_completed,), _scene(_upload_expires), LOST),
    "checkpoint before the upload": Mutant(
        (checkpoint_before_the_upload, believe_redis_about_parts, prove_nothing), _in(_kills("ordinary")), LOST
    ),
    "complete although a part is not listed": Mutant((prove_nothing,), _scene(_part_is_lost), LOST),
    "name parts behind the end": Mutant((name_all_parts,), _in(_calm("preallocated", "truncated")), LOST),
    "complete without a condition": Mutant(
        (complete_without_a_condition,), _scene(_stranger_comes), "the stranger's object"
    ),
    "no manifest before the completion": Mutant(
        (write_no_manifest, upload_anew_whenever_an_upload_is_gone), _in(_kills("ordinary")), "bytes were sent"
    ),
    "believe the answer": Mutant((believe_the_answer,), _scene(_completion_is_silent_and_does_not_happen), LOST),
    "compare sizes alone": Mutant((compare_sizes_alone,), _scene(_stranger_comes), LOST),
    "mark before the proof": Mutant((mark_before_the_proof,), _in(_kills("ordinary")), LOST),
    "mark before the document": Mutant((mark_before_the_document,), _in(_kills("ordinary")), "has no document"),
    "clean up before the proof": Mutant((clean_up_before_the_proof,), _in(lambda: _kills("ordinary")()[:1]), LOST),
    "wait for no assembly": Mutant(
        (wait_for_no_assembly,), _scene(_completion_is_silent_and_happens_late, times=1), "bytes were sent"
    ),
    "overwrite strangers": Mutant(
        (overwrite_strangers, replace_what_is_there), _scene(_stranger_was_there), "the stranger's object"
    ),
    "adopt without comparing": Mutant((adopt_without_comparing,), _scene(_stranger_uploads), "the stranger's upload"),
    "look no more after the end": Mutant((look_no_more_after_the_end,), _scene(_patched_while_it_is_described), LOST),
    "idle by the file's times": Mutant((tell_idleness_by_the_files_times,), _scene(_clock_is_ahead), LOST),
    "the path is the file": Mutant((take_the_path_for_the_file,), _scene(_renamed_when_done), "is at 2 keys"),
    "lend no turn": Mutant((lend_no_turn,), _beside("upload_part", Kind.HANGING, MANY), WAITED),
    "keep the room of a long claim": Mutant(
        # Twice as many: a recording is quiet while it waits for its claim.
        (keep_the_room_of_a_claim_that_takes_long,),
        _beside("marker", Kind.SLOW, 2 * MANY),
        WAITED,
    ),
    "forget what was left behind": Mutant((forget_what_was_left_behind,), _scene(_stranger_comes), "open upload"),
}


def _found(breaks: Iterable[Break], look: Look) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        for break_it in breaks:
            break_it(patch)
        return look()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_protocol_without_this_rule_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.look() == [], "the product itself"
    problems = _found(mutant.breaks, mutant.look)
    assert [problem for problem in problems if mutant.causes in problem], problems
    for guard in mutant.breaks if len(mutant.breaks) > 1 else ():
        others = [break_it for break_it in mutant.breaks if break_it is not guard]
        assert _found(others, mutant.look) == [], f"{guard.__name__} is not needed for the damage"


def test_at_least_a_dozen_rules_are_taken_away_one_by_one() -> None:
    assert len({mutant.breaks for mutant in MUTANTS.values()}) >= 12


@pytest.mark.parametrize(
    ("break_it", "operation", "kind"),
    [
        (lend_no_turn, "upload_part", Kind.HANGING),
        (keep_the_room_of_a_claim_that_takes_long, "marker", Kind.SLOW),
    ],
)
def test_only_many_harmed_recordings_show_that_what_one_holds_for_a_while_is_missed(
    break_it: Break, operation: str, kind: Kind
) -> None:
    assert _found([break_it], _beside(operation, kind, FEW)) == []
