"""Trouble of one recording, of Redis or of one kind of request takes turns, rooms and descriptions from nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from src.dispatcher import Dispatcher
from src.domain import (
    Answer,
    Checkpoint,
    ChunkBody,
    Identity,
    ListedObject,
    Manifest,
    Part,
    PartSchedule,
    Snapshot,
    Status,
    StoredPart,
    Writers,
)
from src.events import StreamEvent, WatcherChangeType
from src.exceptions import RedisUnavailable, S3Rejected, S3Unavailable
from src.redis_client.format import decode_meta, encode_meta
from src.slots import FairSlots
from tests.crash.test_nobody_waits import LengthSimulation, _documents
from tests.harness.crash.scenes import QUIET, bytes_of, lived, recordings_in, restart, settled, until
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Disk, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)

SOON = 60.0


class _Line(FakeStore):
    """Takes ``seconds`` for a part, whoever's it is."""

    seconds = 0.1
    sending = 0
    most_sending = 0

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        self.sending += 1
        self.most_sending = max(self.most_sending, self.sending)
        try:
            await asyncio.sleep(self.seconds)
            return await super().upload_part(key, upload_id, number, body)
        finally:
            self.sending -= 1


def _closed(simulation: Simulation, path: str, size: int, seed: int) -> None:
    simulation.disk.write(path, bytes_of(size, seed))
    simulation.disk.files[path].writers = Writers.NONE


def _chunks_behind(simulation: Simulation, store: FakeStore) -> int:
    stored = sum(len(data) for upload in store.uploads.values() for _, data in upload.parts.values())
    return sum(len(file.data) // CHUNK for file in simulation.disk.files.values()) - stored // CHUNK


def test_a_line_that_becomes_slow_for_all_is_still_used_with_all_turns() -> None:
    store = _Line(limits=LIMITS)
    behind: list[int] = []

    async def script(simulation: Simulation) -> None:
        for number in range(4):
            simulation.disk.write(f"{number}.mp4", bytes_of(4 * CHUNK, number))
        await asyncio.sleep(20)
        store.seconds = 12.0
        for step in range(60):
            if step == 30:
                store.most_sending = 0
            for number in range(4):
                simulation.disk.append(f"{number}.mp4", bytes_of(CHUNK, 100 + number + step))
            await asyncio.sleep(20)
        behind.append(_chunks_behind(simulation, store))

    lived(script, store=store, slots=4, settle=0)
    assert store.most_sending > 2
    assert behind[0] < 12


class _HangingRedis(FakeCheckpoints):
    hangs = False

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        if self.hangs:
            await asyncio.sleep(15)
            raise RedisUnavailable("no answer", operation="save_part")
        await super().save_part(checkpoint, parts)


class _WithHangingRedis(Simulation):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.redis = _HangingRedis()


def test_redis_that_hangs_puts_nobody_on_probation_at_the_store() -> None:
    store = _Line(limits=LIMITS)
    found: list[int] = []

    async def live() -> None:
        simulation = _WithHangingRedis(store=store, slots=4)

        async def script(_: Disk) -> None:
            for number in range(4):
                simulation.disk.write(f"{number}.mp4", bytes_of(4 * CHUNK, number))
            await asyncio.sleep(10)
            assert isinstance(simulation.redis, _HangingRedis)
            simulation.redis.hangs = True
            for step in range(30):
                for number in range(4):
                    simulation.disk.append(f"{number}.mp4", bytes_of(CHUNK, 100 + number + step))
                await asyncio.sleep(25)
            found.append(_chunks_behind(simulation, store))

        await simulation.run(script, settle=0)

    run(live())
    assert found[0] < 12


class _SlowStat(Disk):
    async def snapshot(self, path: str) -> Snapshot | None:
        found = await super().snapshot(path)
        await asyncio.sleep(0.01)
        return found


class _OldNamesFirst(LengthSimulation):
    """Hints as inotify gives them: first that the old name is gone, then that there is a new one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.disk = _SlowStat()
        self.prober.folder = self.disk

    async def _watch(self, dispatcher: Dispatcher) -> None:
        seen: dict[str, Snapshot | None] = {}
        while True:
            now = {path: await self.disk.snapshot(path) for path in list(self.disk.files)}
            for path in (*(set(seen) - set(now)), *now):
                if seen.get(path) != now.get(path):
                    dispatcher.publish(StreamEvent(WatcherChangeType.WRITE, path))
            seen = dict(now)
            dispatcher.first_scan_done()
            await asyncio.sleep(SCAN)


def test_a_rename_while_the_film_is_asked_about_loses_no_description() -> None:
    async def live() -> LengthSimulation:
        simulation = _OldNamesFirst()

        async def script(_: Disk) -> None:
            simulation.disk.write("cam.mp4", bytes_of(4 * CHUNK, 1))
            await until(lambda: simulation.prober.asked, "the question")
            await asyncio.sleep(5)
            simulation.disk.rename("cam.mp4", "done/cam.mp4")
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

        await simulation.run(script)
        return simulation

    simulation = run(live())
    assert simulation.problems() == []
    assert list(_documents(simulation).values()) == [(4 * CHUNK, float(4 * CHUNK))]


class _LongCompletions(FakeStore):
    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        if key.startswith("bad"):
            await asyncio.sleep(900)
            return Answer.NONE
        return await super().complete_upload(key, upload_id, manifest, parts)


@pytest.mark.parametrize("many", [3, 40])
def test_completions_that_hang_keep_nobody_waiting(many: int) -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(many):
            _closed(simulation, f"bad {number}.mp4", 2 * CHUNK, number)
        await asyncio.sleep(QUIET + 30)
        _closed(simulation, "good.mp4", 5 * CHUNK, 99)
        await until(lambda: "good.mp4" in simulation.store.objects, "the good one", seconds=QUIET + SOON)

    lived(script, store=_LongCompletions(limits=LIMITS), settle=0)


@pytest.mark.parametrize("streams", [[5], [[]], "ab", {"a": 1}], ids=str)
def test_a_description_that_nobody_wrote_is_asked_for_again(streams: object) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    record = Checkpoint("s", Status.ACTIVE, "a.mp4", "b", "a.mp4", Identity(1, 2), PartSchedule(8), began)
    fields = encode_meta(record) | {"probe": json.dumps({"streams": streams}).encode()}
    assert decode_meta(record.stream_id, fields).probe is None


class _OneSlowOneRefusedOnce(FakeStore):
    refused_at: float | None = None

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        now = asyncio.get_running_loop().time()
        if key.startswith("slow"):
            await asyncio.sleep(25)
        elif key == "once.mp4" and (self.refused_at is None or now < self.refused_at + 1):
            self.refused_at = self.refused_at or now
            raise S3Unavailable("500", operation="upload_part")
        else:
            await asyncio.sleep(0.1)
        return await super().upload_part(key, upload_id, number, body)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_who_was_refused_once_does_not_wait_for_all_that_a_slow_one_has(slots: int) -> None:
    async def script(simulation: Simulation) -> None:
        _closed(simulation, "first.mp4", 3 * CHUNK, 1)
        await asyncio.sleep(5)
        simulation.disk.write("slow.mp4", bytes_of(3 * CHUNK, 2))
        await asyncio.sleep(28)
        simulation.disk.append("slow.mp4", bytes_of(150 * CHUNK, 2))
        await asyncio.sleep(60)
        _closed(simulation, "once.mp4", 3 * CHUNK, 3)
        await until(lambda: "once.mp4" in simulation.store.objects, "the other one", seconds=QUIET + 3 * SOON)

    lived(script, store=_OneSlowOneRefusedOnce(limits=LIMITS), slots=slots, settle=0)


def _write_old(simulation: Simulation, count: int) -> None:
    """Files from before the start: they may have an object or an upload under another name."""
    for number in range(count):
        simulation.disk.write(f"old {number}.mp4", bytes_of(3 * CHUNK, number))
        file = simulation.disk.files[f"old {number}.mp4"]
        file.identity = replace(file.identity, birth_ns=file.identity.birth_ns - 10**9)


class _NoListing(FakeStore):
    hangs = False

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        if self.hangs:
            await asyncio.sleep(30)
            raise S3Unavailable("no answer within 30 s", operation="list_objects")
        return await super().list_objects(prefix, wanted)


def test_a_listing_of_the_bucket_that_hangs_keeps_no_new_recording_waiting() -> None:
    store = _NoListing(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await asyncio.sleep(10)

        def meanwhile() -> None:
            store.hangs = True
            _write_old(simulation, 20)

        await restart(simulation, meanwhile)
        await asyncio.sleep(20)
        simulation.disk.write("new.mp4", bytes_of(3 * CHUNK, 77))
        await until(lambda: "new.mp4" in store.objects, "the new one", seconds=QUIET + SOON)

    lived(script, store=store, settle=0)


class _NeverAnswered(FakeStore):
    """Takes each part of what is called bad, and answers none until the deadline of a part whose speed is not known."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if key.startswith("bad"):
            await asyncio.sleep(190)
            raise S3Unavailable("no answer", operation="upload_part")
        await asyncio.sleep(0.1)
        return await super().upload_part(key, upload_id, number, body)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_parts_that_are_never_answered_after_a_start_keep_nobody_waiting(slots: int) -> None:
    """No part was stored yet, so that nobody knows how long one takes."""

    async def script(simulation: Simulation) -> None:
        for number in range(slots + 1):
            simulation.disk.write(f"bad {number}.mp4", bytes_of(4 * CHUNK, number))
        await asyncio.sleep(10)
        _closed(simulation, "good.mp4", 3 * CHUNK, 99)
        await until(lambda: "good.mp4" in simulation.store.objects, "the good one", seconds=QUIET + SOON)

    lived(script, store=_NeverAnswered(limits=LIMITS), slots=slots, settle=0)


@pytest.mark.parametrize("seconds", [100, 700])
@pytest.mark.parametrize("slots", [1, 3])
def test_on_a_line_that_is_slow_from_the_start_parts_are_stored_all_the_same(slots: int, seconds: int) -> None:
    store = _Line(limits=LIMITS)
    store.seconds = seconds

    async def script(simulation: Simulation) -> None:
        for number in range(4):
            _closed(simulation, f"{number}.mp4", 3 * CHUNK, number)
        await until(lambda: len(recordings_in(store)) == 4, "all of them", seconds=22 * seconds)

    lived(script, store=store, slots=slots, settle=0)


def test_a_small_request_that_finds_all_places_beside_the_turns_taken_gets_the_next_that_is_free() -> None:
    async def live() -> float:
        slots, clock = FairSlots(1), asyncio.get_running_loop().time
        answered: list[float] = []

        async def ask() -> None:
            with suppress(TimeoutError):  # ended for those who wait
                async with slots.turn():
                    await asyncio.sleep(30)
            answered.append(clock())

        async def send() -> None:
            async with slots.sending():
                await asyncio.sleep(5000)

        sending = asyncio.create_task(send())
        await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(ask())
        sending.cancel()
        return max(answered)

    assert run(live()) < 120


class _TellsNotAll(FakeStore):
    """Once it is told to, it answers this kind of request about what is called bad with an error."""

    refused = ""
    error: Exception = S3Unavailable("403", operation="refused", misconfigured=True)

    async def _call(self, method: str, key: str) -> None:
        await super()._call(method, key)
        if method == self.refused and key.startswith("bad"):
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        S3Unavailable("403", operation="refused", misconfigured=True),
        S3Unavailable("500", operation="refused"),
        S3Rejected("400", operation="refused", code="400"),
    ],
    ids=["refused", "no answer", "rejected"],
)
@pytest.mark.parametrize("operation", ["head", "list_parts"])
def test_what_the_store_does_not_tell_of_a_strangers_keeps_no_recording_waiting(
    operation: str, error: Exception
) -> None:
    """Redis knows nothing of files from before the start."""
    store = _TellsNotAll(limits=LIMITS)
    store.error = error

    async def script(simulation: Simulation) -> None:
        simulation.plant("bad object.mp4", bytes_of(CHUNK, 50))
        simulation.plant_upload("bad upload.mp4", bytes_of(CHUNK, 51))
        await asyncio.sleep(10)

        def meanwhile() -> None:
            store.refused = operation
            _write_old(simulation, 3)

        await restart(simulation, meanwhile)
        ours = {f"old {number}.mp4" for number in range(3)}
        await until(lambda: ours <= recordings_in(store).keys(), "the recordings", seconds=1000)
        store.refused = ""

    assert lived(script, store=store).problems() == []
