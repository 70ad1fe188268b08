"""Conduct where something does not let up: many files at once, a store or a disk that contradicts itself for hours.

What is counted here is the cost: streams, requests, sends and writes stay bounded while nothing gets better.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from src.domain import (
    STATUSES,
    Answer,
    Chunk,
    ChunkBody,
    Digest,
    Hashes,
    Identity,
    Manifest,
    Marker,
    Part,
    Snapshot,
    Status,
    StoredObject,
    StoredPart,
    moments,
)
from src.events import StreamEvent, WatcherChangeType
from src.exceptions import FileChanged, Permanent, S3Rejected
from src.metadata_generator import document_key, read_document
from src.slots import FairSlots
from tests.harness.crash.scenes import (
    PATH,
    SlowStore,
    bytes_of,
    content_at,
    finished_file,
    growing_file,
    heard,
    killed_at,
    on_effect,
    recordings_in,
    restart,
    settled,
    until,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Disk, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang

HOUR = 3600.0
AT_ONCE = 16
NEW_PATH = "cam/final.mp4"


def played(
    script: Callable[[Simulation], Awaitable[None]], *, disk: Disk | None = None, settle: float = 9000.0, **options: Any
) -> Simulation:
    """Play the script against a running daemon, on this disk."""

    async def live() -> Simulation:
        simulation = Simulation(**options)
        if disk is not None:
            simulation.disk = disk
        await simulation.run(lambda _: script(simulation), settle=settle)
        return simulation

    return run(live())


def store_with(**options: Any) -> FakeStore:
    return FakeStore(limits=LIMITS, **options)


# -- many files that lie ready -----------------------------------------------------------------------------------------


def _lies_ready(simulation: Simulation, path: str, size: int, seed: int) -> None:
    """A file that nobody has written to for ten days."""
    simulation.disk.write(path, bytes_of(size, seed))
    simulation.disk.files[path].mtime_ns -= int(timedelta(days=10).total_seconds() * 1e9)


class CountingStore(SlowStore):
    """Notes how many streams have no proved object whenever a part comes, and when objects were completed."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.simulation: Simulation | None = None
        self.most_streams = 0
        self.ended: list[float] = []

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        assert self.simulation is not None and self.simulation.dispatcher is not None
        streams = self.simulation.dispatcher._register.by_identity.values()
        unproved = [
            stream
            for stream in streams
            if stream.processor is None or not STATUSES[stream.processor.checkpoint.status].is_proved
        ]
        self.most_streams = max(self.most_streams, sum(stream.path != PATH for stream in unproved))
        return await super().upload_part(key, upload_id, number, body)

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        answer = await super().complete_upload(key, upload_id, manifest, parts)
        if answer is Answer.DONE:
            self.ended.append(asyncio.get_running_loop().time())
        return answer


def _two_hundred(meanwhile: Callable[[Simulation], Awaitable[None]]) -> tuple[Simulation, CountingStore]:
    store = CountingStore()

    async def script(simulation: Simulation) -> None:
        store.simulation = simulation
        for number in range(200):
            _lies_ready(simulation, f"cam {number:03}/take.mp4", 2 * CHUNK + number % CHUNK, number)
        await meanwhile(simulation)
        await settled(simulation)

    return played(script, store=store, settle=20_000, soon=None), store  # so many parts take longer


async def _nothing(_: Simulation) -> None:
    return


def test_of_two_hundred_files_that_lie_ready_only_sixteen_are_under_way_at_once() -> None:
    simulation, store = _two_hundred(_nothing)
    assert simulation.problems() == []
    assert len(recordings_in(store)) == 200
    assert store.most_streams <= AT_ONCE


def test_the_first_of_two_hundred_files_are_in_the_store_long_before_the_last_are_begun() -> None:
    _, store = _two_hundred(_nothing)
    began: dict[str, float] = {}
    for when, key, _ in store.arrivals:
        began.setdefault(key, when)
    assert len(store.ended) == 200
    assert store.ended[AT_ONCE - 1] < max(began.values()) / 4, (store.ended[AT_ONCE - 1], max(began.values()))


def test_a_recording_that_begins_among_two_hundred_waiting_files_is_sent_at_once() -> None:
    came_after: list[float] = []

    async def meanwhile(simulation: Simulation) -> None:
        store = simulation.store
        assert isinstance(store, SlowStore)
        await asyncio.sleep(20)
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 250))
        since = simulation.clock.monotonic()
        await until(lambda: any(key == PATH for _, key, _ in store.arrivals), "its first part")
        came_after.append(simulation.clock.monotonic() - since)
        await growing_file(simulation, 3, seed=251)

    simulation, _ = _two_hundred(meanwhile)
    assert simulation.problems() == []
    assert came_after[0] <= 2 * SCAN + 10 * 0.5, "it waited behind files that had time"


# -- refusals ----------------------------------------------------------------------------------------------------------


class RefusesOnce:
    """Raises the error at the first call, and never again."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.refused = 0

    def __call__(self) -> None:
        if not self.refused:
            self.refused += 1
            raise self.error


class StoreThatRefusesOnce(FakeStore):
    def __init__(self, refusal: RefusesOnce) -> None:
        super().__init__(limits=LIMITS)
        self.refusal = refusal

    async def head(self, key: str) -> StoredObject | None:
        self.refusal()
        return await super().head(key)


def test_a_file_whose_claim_the_store_refused_once_is_claimed_again() -> None:
    refusal = RefusesOnce(S3Rejected("head: InvalidRequest", operation="head", code="InvalidRequest"))
    simulation = played(finished_file_of_one, store=StoreThatRefusesOnce(refusal))
    assert refusal.refused == 1
    assert simulation.problems() == []
    assert [trouble.operation for trouble in heard(simulation, moments.Trouble)] == ["head"]


async def finished_file_of_one(simulation: Simulation) -> None:
    await finished_file(simulation)


def test_a_file_whose_marker_redis_refused_once_is_claimed_again() -> None:
    refusal = RefusesOnce(Permanent("redis.marker: WRONGTYPE", operation="redis.marker"))

    async def script(simulation: Simulation) -> None:
        given = simulation.redis.marker

        async def marker(identity: Identity) -> Marker | None:
            refusal()
            return await given(identity)

        simulation.redis.marker = marker  # type: ignore[method-assign]
        await finished_file(simulation)

    simulation = played(script)
    assert refusal.refused == 1
    assert simulation.problems() == []
    assert [trouble.operation for trouble in heard(simulation, moments.Trouble)] == ["redis.marker"]


class StoreThatCallsEverythingWrong(FakeStore):
    """Answers each completion of its first uploads that the bytes are not what was announced."""

    def __init__(self, uploads: int) -> None:
        super().__init__(limits=LIMITS)
        self.wrong = {f"upload-{number}" for number in range(1, uploads + 1)}

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        if upload_id in self.wrong:
            self.calls.append(("complete_upload", key))
            return Answer.WRONG_CONTENT
        return await super().complete_upload(key, upload_id, manifest, parts)


def test_an_upload_that_the_store_calls_wrong_twice_is_left_for_another_after_two_full_reads() -> None:
    chunks = 5
    simulation = played(finished_file_of_one, store=StoreThatCallsEverythingWrong(uploads=1))
    assert simulation.problems() == []
    assert simulation.store.count("complete_upload", PATH) == 3
    assert simulation.store.count("create_upload", PATH) == 2
    assert len(simulation.disk.digests) <= 3 * chunks, "once for each completion"
    assert simulation.store.sent_bytes <= 2 * len(simulation.disk.content(PATH))


# -- what gets lost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [(), (1, 3)])
def test_a_proved_object_is_described_although_entries_of_its_parts_were_lost(kept: tuple[int, ...]) -> None:
    async def script(simulation: Simulation) -> None:
        redis = simulation.redis

        def lose() -> None:
            (record,) = redis.state.records.values()
            assert record.status is Status.S3_COMPLETED
            parts: Mapping[int, Part] = {number: record.parts[number] for number in kept}
            records = {record.stream_id: replace(record, parts=MappingProxyType(parts))}
            redis.history.append(replace(redis.state, records=MappingProxyType(records)))

        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await killed_at(simulation, "store.put_document", lose, when="before")
        await settled(simulation)

    simulation = played(script)
    assert simulation.processes == 2
    assert simulation.problems() == []
    assert len(heard(simulation, moments.Completed)) == 1
    described = read_document(simulation.store.objects[document_key(PATH)].data)
    assert described is not None
    assert [(chunk.number, chunk.size) for chunk in described.chunks] == [*((n, CHUNK) for n in range(1, 5)), (5, 3)]


# -- moments -----------------------------------------------------------------------------------------------------------


class DiskThatHoldsALook(Disk):
    """A look at the old name takes until the stream has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.has_ended: Callable[[], bool] | None = None
        self.held = 0

    async def snapshot(self, path: str) -> Snapshot | None:
        if self.has_ended is not None and path == PATH and path not in self.files:
            self.held += 1
            await until(self.has_ended, "the end of the stream", step=0.001)
            self.has_ended = None
        return await super().snapshot(path)


def test_a_rename_that_is_seen_in_the_moment_in_which_the_stream_ends_does_not_strand_the_name() -> None:
    disk = DiskThatHoldsALook()

    async def script(simulation: Simulation) -> None:
        dispatcher = simulation.dispatcher
        assert dispatcher is not None

        def rename() -> None:
            disk.rename(PATH, NEW_PATH)
            disk.has_ended = lambda: not dispatcher._register.by_identity
            dispatcher.publish(StreamEvent(WatcherChangeType.WRITE, NEW_PATH))

        disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await on_effect(simulation, "store.put_document", rename).wait()
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        disk.replace(NEW_PATH, bytes_of(3 * CHUNK, 2))
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        assert not dispatcher._register.by_path

    simulation = played(script, disk=disk)
    assert disk.held == 1, "the look was not caught in the act"
    assert simulation.problems() == []
    assert len(recordings_in(simulation.store)) == 2


# -- what contradicts itself for hours ---------------------------------------------------------------------------------


class StoreThatListsWrongChecksums(FakeStore):
    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        listed = await super().list_parts(key, upload_id)
        return {number: replace(part, etag="another", crc64=1) for number, part in listed.items()}


def test_parts_that_a_store_never_lists_as_they_were_sent_are_sent_more_and_more_slowly() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await asyncio.sleep(HOUR)

    simulation = played(script, settle=0, store=StoreThatListsWrongChecksums(limits=LIMITS))
    rounds = 8 + HOUR / simulation.rhythm.longest_pause
    assert 5 * 10 <= simulation.store.count("upload_part") <= 5 * rounds
    told = [trouble for trouble in heard(simulation, moments.Trouble) if trouble.operation == "list_parts"]
    assert 10 <= len(told) <= rounds
    assert "not listed as they were sent" in str(told[0].error)
    pauses = [trouble.retry_seconds or 0.0 for trouble in told]
    assert pauses == sorted(pauses) and pauses[-1] == simulation.rhythm.longest_pause


class StaleDisk(Disk):
    """A mount whose every stat is the same, and whose reads say all the same that the file has changed."""

    def __init__(self, *, sends: bool) -> None:
        super().__init__()
        self.sends = sends
        self.stale = False
        self.refused = 0

    def _refuse(self) -> None:
        if self.stale:
            self.refused += 1
            raise FileChanged("the file ends before its part does", operation="read")

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> FakeChunkBody:
        await asyncio.sleep(0)
        if self.sends:
            self._refuse()
        return await super().read(path, identity, chunk, hashes)

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        await asyncio.sleep(0)
        self._refuse()
        return await super().digest(path, identity, chunk, hashes)


@pytest.mark.parametrize("sends", [True, False], ids=["while sending", "while sealing"])
def test_a_file_that_reads_as_changed_while_every_stat_is_the_same_costs_redis_little(sends: bool) -> None:
    disk = StaleDisk(sends=sends)

    async def script(simulation: Simulation) -> None:
        disk.stale = True
        disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await asyncio.sleep(TIMEOUT)
        before = simulation.redis.writes
        await asyncio.sleep(HOUR)
        assert simulation.redis.writes - before <= 4 * HOUR / simulation.rhythm.longest_pause
        assert 10 <= disk.refused <= 3 * HOUR / simulation.rhythm.longest_pause
        assert heard(simulation, moments.Trouble)
        disk.stale = False
        await settled(simulation)

    assert played(script, disk=disk).problems() == []


# -- turns -------------------------------------------------------------------------------------------------------------


def test_sixteen_that_ask_again_and_again_do_not_keep_a_sender_waiting() -> None:
    asked, sent = 0, 0

    async def live() -> None:
        slots = FairSlots(2)

        async def ask() -> None:
            nonlocal asked
            while True:
                async with slots.turn():
                    asked += 1
                    await asyncio.sleep(0.01)

        async def send() -> None:
            nonlocal sent
            for _ in range(10):
                async with slots.sending():
                    sent += 1
                    await asyncio.sleep(0.01)

        askers = [asyncio.create_task(ask()) for _ in range(16)]
        await asyncio.sleep(0.1)
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await send()
        for asker in askers:
            asker.cancel()
        await asyncio.gather(*askers, return_exceptions=True)

    run(live())
    assert sent == 10
    assert asked <= 12 * 20, "each send waited for more than the asks that are allowed in a row"


# -- a Redis that lost everything --------------------------------------------------------------------------------------


def _heads_after_redis_is_emptied(files: int, meanwhile: Callable[[Simulation], object]) -> tuple[Simulation, int]:
    """How many HEAD requests it takes to find that every file is in the store."""
    heads: list[int] = []

    async def script(simulation: Simulation) -> None:
        for number in range(files):
            simulation.disk.write(f"cam {number:02}/take.mp4", bytes_of(CHUNK + number % 4, number))
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)

        def forget() -> None:
            simulation.redis.wipe()
            meanwhile(simulation)
            heads.append(simulation.store.count("head"))

        await asyncio.sleep(HOUR)
        await restart(simulation, forget)
        await settled(simulation)
        heads.append(simulation.store.count("head"))

    simulation = played(script, slots=4, settle=20_000)
    return simulation, heads[1] - heads[0]


def test_finding_sixty_finished_files_again_without_redis_takes_a_few_heads_each() -> None:
    simulation, heads = _heads_after_redis_is_emptied(60, lambda _: None)
    assert simulation.problems() == []
    assert len(recordings_in(simulation.store)) == 60
    assert heads <= 3 * 60


# -- stopping ----------------------------------------------------------------------------------------------------------


class CountingDisk(Disk):
    looks = 0

    async def snapshot(self, path: str) -> Snapshot | None:
        self.looks += 1
        return await super().snapshot(path)


def test_a_stop_while_many_files_wait_looks_at_none_of_them_again_and_again() -> None:
    files, seconds = 100, 20.0
    disk = CountingDisk()

    async def script(simulation: Simulation) -> None:
        for number in range(files):
            _lies_ready(simulation, f"cam {number:03}/take.mp4", 2 * CHUNK, number)
        dispatcher = simulation.dispatcher
        assert dispatcher is not None
        await until(lambda: simulation.store.count("upload_part"), "a part", step=0.05)
        before, since = disk.looks, simulation.clock.monotonic()
        disk.write(PATH, bytes_of(2 * CHUNK, 5))
        await dispatcher.drain(seconds)
        scans = (simulation.clock.monotonic() - since) / SCAN + 1
        assert disk.looks - before <= (scans + 3) * (files + 1)
        assert simulation.clock.monotonic() - since <= seconds

    played(script, disk=disk, settle=0, store=SlowStore(seconds / 2))


# -- strangers ---------------------------------------------------------------------------------------------------------


def test_on_a_store_without_conditions_a_strangers_document_is_not_overwritten() -> None:
    theirs = b'{"made by": "somebody else"}'

    async def script(simulation: Simulation) -> None:
        def stranger() -> None:
            simulation.store.put_object(document_key(PATH), theirs)

        simulation.disk.write(PATH, bytes_of(4 * CHUNK + 3, 1))
        await on_effect(simulation, "store.put_document", stranger, when="before").wait()
        await settled(simulation)

    simulation = played(script, store=store_with(conditional=False))
    assert content_at(simulation) == simulation.disk.content(PATH)
    assert simulation.store.objects[document_key(PATH)].data == theirs
    assert heard(simulation, moments.MetadataKeyOccupied) == [moments.MetadataKeyOccupied(key=document_key(PATH))]


def test_sixteen_files_that_cannot_be_read_do_not_keep_the_others_out() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(AT_ONCE):
            _lies_ready(simulation, f"bad {number:02}.mp4", 2 * CHUNK, number)
            simulation.disk.unreadable.add(f"bad {number:02}.mp4")
        await asyncio.sleep(2 * SCAN)
        _lies_ready(simulation, PATH, 2 * CHUNK, 99)
        await until(lambda: PATH in simulation.store.objects, "the good one", seconds=HOUR)

    played(script, settle=0)


class StoreThatRefusesSome(FakeStore):
    async def head(self, key: str) -> StoredObject | None:
        if key.startswith("bad"):
            raise S3Rejected("head: InvalidRequest", operation="head", code="InvalidRequest")
        return await super().head(key)


def test_sixteen_claims_that_are_refused_for_ever_do_not_keep_a_live_recording_out() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(AT_ONCE):
            simulation.disk.write(f"bad {number:02}.mp4", bytes_of(2 * CHUNK, number))
        await asyncio.sleep(2 * SCAN)
        await growing_file(simulation, 3)
        await until(lambda: PATH in simulation.store.objects, "the good one", seconds=HOUR)

    played(script, settle=0, store=StoreThatRefusesSome(limits=LIMITS))


def test_twenty_recordings_whose_file_times_are_behind_are_all_sent_while_they_grow() -> None:
    async def script(simulation: Simulation) -> None:
        paths = [f"cam {number:02}.mp4" for number in range(20)]
        for step in range(20):
            for number, path in enumerate(paths):
                if step:
                    simulation.disk.append(path, bytes_of(CHUNK, number + step))
                else:
                    simulation.disk.write(path, bytes_of(3, number))
                simulation.disk.files[path].mtime_ns -= int(600e9)
            await asyncio.sleep(5)
        assert {key for method, key in simulation.store.calls if method == "upload_part"} == set(paths)

    played(script, settle=0)


def test_a_finished_file_that_reads_as_changed_while_every_stat_is_the_same_is_compared_now_and_then() -> None:
    disk = StaleDisk(sends=False)

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        disk.stale = True
        disk.files[PATH].mtime_ns += 5_000_000_000  # touched: the bytes decide
        await asyncio.sleep(HOUR)
        assert 1 <= disk.refused <= 3 * HOUR / simulation.rhythm.longest_pause

    played(script, disk=disk, settle=0)


def test_a_store_that_refuses_every_completion_is_not_sent_the_file_again_every_minute() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(10 * CHUNK, 1))
        await asyncio.sleep(24 * HOUR)
        assert simulation.store.sent_bytes <= 50 * 10 * CHUNK
        assert len(simulation.store.uploads) <= 2

    played(script, settle=0, store=StoreThatCallsEverythingWrong(uploads=100_000))


class StoreThatNeverAnswersSome(FakeStore):
    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        if key.startswith("denied"):
            await asyncio.Event().wait()  # as at the edge, where a refusal is waited out
        return await super().create_upload(key, metadata, of_copies=of_copies)


def test_recordings_that_the_store_will_not_have_do_not_hold_the_turns_of_the_others() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(2 * simulation.slots):
            simulation.disk.write(f"denied {number}.mp4", bytes_of(2 * CHUNK, number))
        await asyncio.sleep(2 * SCAN)
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 99))
        await until(lambda: PATH in simulation.store.objects, "the good one", seconds=HOUR)

    played(script, settle=0, store=StoreThatNeverAnswersSome(limits=LIMITS))
