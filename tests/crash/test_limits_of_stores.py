"""Limits of a store that nothing fits into, or that change while recordings are stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from src.domain import Chunk, ChunkBody, Naming, PartSchedule, StoredPart
from src.exceptions import PartNotTaken, PartNumberRefused, PartTooLarge, S3Unavailable
from tests.harness.crash.scenes import PATH, bytes_of, finished_file, killed_at, lived, recordings_in, restart
from tests.harness.crash.simulation import CHUNK, LIMITS, Simulation
from tests.harness.crash.stores import STORES
from tests.harness.fakes.store import FakeStore

FEW = 4  # parts, after the setting was lowered


class _Narrow(FakeStore):
    """A proxy before it refuses every part for its size."""

    tries = 0

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        self.tries += 1
        refusal = PartTooLarge("413", operation="upload_part")
        refusal.size = body.size
        raise refusal


class _Odd(FakeStore):
    """Refuses every number of a part. ``most``: how many parts it claims to take."""

    tries = 0
    most: int | None = None

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        self.tries += 1
        assert self.tries < 2000, "it is tried without a pause"
        refusal = PartNumberRefused("Part number must be", operation="upload_part")
        refusal.most, refusal.number = self.most, number
        raise refusal


class _WrittenThrough(FakeStore):
    """Writes parts to an object as they arrive, and cannot put other bytes in their place. ``never``: takes none;
    ``most``: none with a higher number."""

    tries = 0
    never = False
    most = LIMITS.max_parts

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        self.tries += 1
        upload = self.uploads.get(upload_id)
        there = upload.parts.get(number) if upload else None
        data = b"".join([bytes(piece) async for piece in body.pieces()])
        if self.never or number > self.most or (there is not None and there[1] != data):
            raise PartNotTaken("already streamed and cannot be replaced", operation="upload_part", hint="a hint")
        return await super().upload_part(key, upload_id, number, body)


def test_a_store_that_replaces_no_part_gets_a_patched_recording_in_another_upload() -> None:
    store = _WrittenThrough(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3 * CHUNK, 1))
        await asyncio.sleep(5)
        simulation.disk.append(PATH, bytes_of(CHUNK + 3, 2))
        simulation.disk.patch(PATH, 0, b"head")
        await asyncio.sleep(3600)
        simulation.disk.patch(PATH, 4, b"tail")

    assert lived(script, settle=3600, store=store).problems() == []
    assert store.uploads == {}


def test_a_store_that_takes_no_part_at_all_is_asked_ever_more_rarely_and_collects_no_uploads() -> None:
    store = _WrittenThrough(limits=LIMITS)
    store.never = True

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await asyncio.sleep(3600)
        assert 0 < store.tries < 400
        assert len(store.uploads) <= 1
        store.never = False

    assert lived(script, settle=3600, store=store).problems() == []


def test_a_store_that_never_takes_one_of_the_parts_gets_the_others_ever_more_rarely_and_collects_no_uploads() -> None:
    store = _WrittenThrough(limits=LIMITS)
    store.most = 2

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await asyncio.sleep(4 * 3600)
        assert 2 * CHUNK <= store.sent_bytes < 100 * CHUNK
        assert len(store.uploads) <= 2
        store.most = LIMITS.max_parts

    assert lived(script, settle=5 * 3600, store=store).problems() == []
    assert store.uploads == {}


class _NoCopies(_WrittenThrough):
    """Never answers a copy as a store does: it is refused for want of a right, or the answer makes no sense."""

    copies = 0
    refused = False

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        self.copies += 1
        raise S3Unavailable("no CopyPartResult", operation="upload_part_copy", misconfigured=self.refused)


class _EmptyCopies(_WrittenThrough):
    """Takes no notice of a copy's source: the part that it stores is empty, and cannot be replaced."""

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        return self.put_part(upload_id, chunk.number, b"")


@pytest.mark.parametrize("refused", [False, True])
def test_a_patch_arrives_where_no_copy_is_ever_answered(refused: bool) -> None:
    store = _NoCopies(limits=LIMITS)
    store.refused = refused

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 4 * CHUNK + 3)
        simulation.disk.patch(PATH, 1, b"\xff\xfe")

    assert lived(script, settle=3600, store=store).problems() == []
    assert 0 < store.copies < 10


def test_a_patch_arrives_where_what_was_copied_is_wrong_and_cannot_be_replaced() -> None:
    store = _EmptyCopies(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 4 * CHUNK + 3)
        simulation.disk.patch(PATH, 3 * CHUNK + 1, b"\xff\xfe")

    assert lived(script, settle=3600, store=store).problems() == []
    assert store.uploads == {}


class _Few(FakeStore):
    """Takes ``most`` parts, and says so only when it is given another one."""

    most = LIMITS.max_parts
    says_so = True

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if number <= self.most:
            return await super().upload_part(key, upload_id, number, body)
        refusal = PartNumberRefused("Part number must be", operation="upload_part")
        refusal.most, refusal.number = self.most if self.says_so else None, number
        raise refusal

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        if chunk.number > self.most:
            return None
        return await super().copy_part(key, upload_id, chunk, source_key=source_key, source_etag=source_etag)


def test_parts_that_are_too_large_at_their_smallest_are_tried_ever_more_rarely() -> None:
    store = _Narrow(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await asyncio.sleep(3600)

    lived(script, settle=10, store=store)
    assert 0 < store.tries < 400


@pytest.mark.parametrize("most", [None, 10_000])
def test_numbers_that_stay_refused_are_tried_ever_more_rarely(most: int | None) -> None:
    store = _Odd(limits=LIMITS)
    store.most = most

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await asyncio.sleep(60)

    lived(script, settle=10, store=store)
    assert 0 < store.tries < 30


def _lower(simulation: Simulation) -> None:
    limits = replace(simulation.naming.limits, max_parts=FEW)
    simulation.naming = replace(simulation.naming, limits=limits)


def test_a_document_is_written_though_fewer_parts_are_allowed_meanwhile() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(6 * CHUNK + 3, 1))
        await killed_at(simulation, "store.put_document", lambda: _lower(simulation), when="before")
        await asyncio.sleep(600)

    assert lived(script, settle=600).problems() == []


@pytest.mark.parametrize("wiped", [False, True])
def test_a_finished_file_that_is_touched_is_known_though_fewer_parts_are_allowed(wiped: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 6 * CHUNK + 3)

        def meanwhile() -> None:
            if wiped:
                simulation.redis.wipe()
            _lower(simulation)
            simulation.disk.patch(PATH, 0, simulation.disk.content(PATH)[:1])

        await restart(simulation, meanwhile)
        await asyncio.sleep(600)

    assert lived(script, settle=600).problems() == []


@pytest.mark.parametrize("grown", [3, 12])
@pytest.mark.parametrize("steps", [(None, 2), (2, None)], ids=str)
def test_an_upload_with_another_step_is_adopted_without_redis(steps: tuple[int | None, int | None], grown: int) -> None:
    before, after = steps

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for turn in range(16):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 10 + turn))
            if turn == grown:

                def other() -> None:
                    simulation.naming = replace(simulation.naming, schedule=PartSchedule(CHUNK, step=after))
                    simulation.redis.wipe()

                await restart(simulation, other)

    naming = Naming(PartSchedule(CHUNK, step=before), limits=LIMITS)
    assert lived(script, settle=9000, naming=naming).problems() == []


@pytest.mark.parametrize("kind", ["default", "copies without checksums"])
def test_numbers_that_are_refused_while_an_object_is_replaced_copy_what_it_has_into_parts_that_fit(kind: str) -> None:
    """The parts are cut otherwise than the object's were; what lies wholly in unchanged ones is copied."""
    few = _Few(limits=LIMITS, **STORES.get(kind, {}))

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 8 * CHUNK + 3)
        few.most = 6
        sent_before = few.sent_bytes
        simulation.disk.patch(PATH, 1, b"\xff\xfe")
        await asyncio.sleep(600)
        sizes = recordings_in(few)[PATH].part_sizes
        assert sizes[0] > CHUNK and len(sizes) <= few.most
        # The first part goes alone, before the number of the next one is refused.
        assert few.sent_bytes - sent_before == CHUNK + sizes[0] + sizes[-1], "its patched part twice, and the tail"

    naming = Naming(PartSchedule(CHUNK, growing=False), limits=LIMITS)
    assert lived(script, settle=600, store=few, naming=naming).problems() == []


def test_the_limit_that_a_store_does_not_say_is_the_last_number_that_it_took() -> None:
    """Two parts are on their way at once; the later one may be refused first."""

    class Silent(_Few):
        most = 6
        says_so = False

        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            if number == self.most + 1:
                await asyncio.sleep(5)
            return await super().upload_part(key, upload_id, number, body)

    store = Silent(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 8 * CHUNK + 3)

    naming = Naming(PartSchedule(CHUNK, growing=False), limits=LIMITS)
    assert lived(script, settle=600, store=store, naming=naming).problems() == []
    assert store.count("create_upload") == 2
    assert len(recordings_in(store)[PATH].part_sizes) <= store.most
