"""Conduct on fakes in virtual time: many recordings, their turns at the store, and one with a bug."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise

import pytest

from src.domain import ChunkBody, Rhythm, StoredObject, StoredPart, moments
from src.slots import FairSlots
from tests.harness.crash.scenes import (
    PATH,
    QUIET,
    SlowStore,
    bytes_of,
    finished_file,
    growing_file,
    heard,
    lived,
    recordings_in,
    until,
    uploads,
    without,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


# -- many recordings ---------------------------------------------------------------------------------------------------


def _fifty(seconds: float, chunks: int) -> tuple[Simulation, SlowStore]:
    store = SlowStore(seconds)

    async def script(simulation: Simulation) -> None:
        store.disk = simulation.disk
        for number in range(50):
            simulation.disk.write(f"cam {number:02}/take.mp4", bytes_of(chunks * CHUNK + number % CHUNK, number))
        await asyncio.sleep(SCAN)

    return lived(script, store=store, settle=20_000, soon=None), store  # so many parts take longer


def test_fifty_recordings_end_right_with_two_slots() -> None:
    simulation, store = _fifty(0.25, 40)
    assert simulation.problems() == []
    assert len(recordings_in(store)) == 50
    assert store.sent_bytes == sum(len(content) for _, content in simulation.recordings())


def test_no_recording_starves_while_forty_nine_others_have_more_to_send_than_a_turn() -> None:
    _, store = _fifty(0.25, 60)
    by_key: dict[str, list[float]] = defaultdict(list)
    for when, key, _ in store.arrivals:
        by_key[key].append(when)
    a_round = 50 / 2 * (3.0 + 2 * 0.25)
    waits = {key: max(later - earlier for earlier, later in pairwise(times[:60])) for key, times in by_key.items()}
    assert max(waits.values()) <= a_round, waits
    assert max(times[0] for times in by_key.values()) <= 3 * a_round, "somebody waited long for a first turn"


def test_memory_never_holds_more_than_slots_times_parts_in_flight() -> None:
    simulation, store = _fifty(0.25, 6)
    in_flight = simulation.slots * simulation.rhythm.parts_in_flight
    assert 1 < store.most_bodies <= in_flight
    assert store.most_bytes <= simulation.slots * simulation.rhythm.memory
    assert simulation.disk.unreleased == []


def test_large_parts_are_sent_one_at_a_time_when_two_do_not_fit_into_memory() -> None:
    store = SlowStore(0.25)

    async def script(simulation: Simulation) -> None:
        store.disk = simulation.disk
        await finished_file(simulation, 12 * CHUNK)

    rhythm = Rhythm(timeout=TIMEOUT, missing_grace=SCAN + 1, memory=CHUNK, parts_in_flight=4)
    assert lived(script, store=store, rhythm=rhythm).problems() == []
    assert store.most_bodies == 1


def test_parts_are_sent_while_the_recorder_writes() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 4)
        await asyncio.sleep(2 * SCAN)
        assert [sorted(upload.parts) for upload in uploads(simulation)] == [[1, 2, 3, 4]]

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


# -- turns at the store ------------------------------------------------------------------------------------------------


def test_turns_are_given_in_the_order_of_asking() -> None:
    async def live() -> list[int]:
        slots, order = FairSlots(1), []

        async def take(number: int) -> None:
            async with slots.turn():
                order.append(number)
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(take(number))
        return order

    assert run(live()) == [0, 1, 2, 3, 4]


def test_who_is_cancelled_while_waiting_takes_no_turn_with_him() -> None:
    async def live() -> bool:
        slots = FairSlots(1)

        async def wait() -> None:
            async with slots.turn():
                pass

        async with slots.turn():
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
        await asyncio.wait_for(wait(), 1)
        return waiting.cancelled()

    assert run(live())


@pytest.mark.parametrize("ticks", [0, 1, 2])
def test_who_is_cancelled_in_the_moment_in_which_the_turn_comes_is_just_cancelled(ticks: int) -> None:
    async def live() -> list[bool]:
        slots = FairSlots(1)

        async def hold() -> None:
            async with slots.turn():
                await asyncio.sleep(1000)

        holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(1)
        holder.cancel()
        for _ in range(ticks):
            await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        async with asyncio.timeout(1), slots.turn():
            return [holder.cancelled(), waiter.cancelled()]

    assert run(live()) == [True, True]


# -- one bad stream ----------------------------------------------------------------------------------------------------


def test_one_stream_that_meets_a_bug_does_not_stop_the_others_and_is_tried_again() -> None:
    class Buggy(FakeStore):
        bugs = 3

        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            if "bad" in key and self.bugs:
                self.bugs -= 1
                raise RuntimeError("nobody foresaw this")
            return await super().upload_part(key, upload_id, number, body)

    store = Buggy(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        for seed, name in enumerate(("bad", "good", "other")):
            simulation.disk.write(f"{name}.mp4", bytes_of(3 * CHUNK, seed))
        await until(lambda: len(recordings_in(store)) == 2, "the good ones", seconds=2 * QUIET)
        assert set(recordings_in(store)) == {"good.mp4", "other.mp4"}

    simulation = lived(script, store=store)
    assert without(simulation.problems(), "unforeseen") == []
    waits = [moment.retry_seconds for moment in heard(simulation, moments.Unexpected)]
    assert len(waits) >= 3 and waits == sorted(waits) and waits[0] < waits[-1]


def test_a_bug_met_before_a_file_is_a_stream_does_not_stop_the_others_either() -> None:
    class Buggy(FakeStore):
        bugs = 3

        async def head(self, key: str) -> StoredObject | None:
            if key == "bad.mp4" and self.bugs:
                self.bugs -= 1
                raise RuntimeError("nobody foresaw this")
            return await super().head(key)

    store = Buggy(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        for seed, name in enumerate(("bad", "good")):
            simulation.disk.write(f"{name}.mp4", bytes_of(3 * CHUNK, seed))

    simulation = lived(script, store=store)
    assert without(simulation.problems(), "unforeseen") == []
    assert set(recordings_in(store)) == {"bad.mp4", "good.mp4"}
    assert len(heard(simulation, moments.Unexpected)) == 3


def test_no_memory_is_kept_by_a_stream_that_met_a_bug() -> None:
    class Buggy(FakeStore):
        bugs = 5

        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            if self.bugs:
                self.bugs -= 1
                raise RuntimeError("nobody foresaw this")
            return await super().upload_part(key, upload_id, number, body)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(6 * CHUNK, 1))
        await asyncio.sleep(SCAN)

    simulation = lived(script, store=Buggy(limits=LIMITS))
    assert simulation.disk.unreleased == []
    assert {body.released for body in simulation.disk.bodies} == {True, False}, "after a failure: not to be used again"
