"""Conduct on fakes in virtual time: a stop, and the start after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.domain import moments
from src.slots import FairSlots
from tests.harness.crash.scenes import (
    PATH,
    SlowStore,
    bytes_of,
    growing_file,
    heard,
    lived,
    restart,
    take_away,
    until,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, Simulation
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


async def _drain(simulation: Simulation, grace: float = 20.0) -> float:
    """Stop the daemon as its signal handler does; the seconds that it took."""
    dispatcher = simulation.dispatcher
    assert dispatcher is not None
    slots = dispatcher._world.slots
    assert isinstance(slots, FairSlots)
    began = simulation.clock.monotonic()
    slots.drain()
    await dispatcher.drain(grace)
    assert dispatcher._tasks == set()
    return simulation.clock.monotonic() - began


@pytest.mark.parametrize("after", [3.0, 5.0, 7.0])
def test_a_stop_finishes_the_parts_in_flight_and_the_next_start_sends_none_of_them_again(after: float) -> None:
    store = SlowStore(1.5)

    async def script(simulation: Simulation) -> None:
        for number in range(4):
            simulation.disk.write(f"{number}.mp4", bytes_of(20 * CHUNK, number))
        await asyncio.sleep(after)
        assert await _drain(simulation) <= 2 * 1.5
        assert heard(simulation, moments.Drained) == [moments.Drained(dropped=0)]
        await restart(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems(sent_at_most=4 * 20 * CHUNK) == []
    assert len(store.completed_uploads) == 4


def test_a_stop_waits_no_longer_than_its_grace_for_parts_that_hang() -> None:
    store = SlowStore(1000.0)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(20 * CHUNK, 1))
        await asyncio.sleep(10)
        assert 20 <= await _drain(simulation) <= 21
        assert heard(simulation, moments.Drained) == [moments.Drained(dropped=1)]
        store.seconds = 0.1
        await restart(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems(sent_at_most=20 * CHUNK) == []
    assert simulation.disk.unreleased == []


def test_a_stop_while_everything_is_sent_again_at_the_seal_ends_at_a_part() -> None:
    store = SlowStore(1.5)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(30 * CHUNK, 1))
        await until(lambda: len(store.arrivals) == 30, "all parts")
        simulation.disk.patch(PATH, 0, bytes_of(30 * CHUNK, 2))
        await until(lambda: len(store.arrivals) == 34, "the seal")
        assert await _drain(simulation) <= 2 * 1.5
        await restart(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems(sent_at_most=60 * CHUNK) == []


def test_a_stop_while_the_store_and_redis_are_away_ends_within_its_grace() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(10):
            simulation.disk.write(f"{number}.mp4", bytes_of(3 * CHUNK, number))
        await asyncio.sleep(5)
        simulation.store.go_away()
        simulation.redis.go_away()
        for number in range(10):
            simulation.disk.append(f"{number}.mp4", bytes_of(3 * CHUNK, number + 30))
            simulation.disk.write(f"new {number}.mp4", bytes_of(3 * CHUNK, number + 60))
        await asyncio.sleep(100)
        assert await _drain(simulation) <= 21
        simulation.store.come_back()
        simulation.redis.come_back()
        await restart(simulation)

    assert lived(script).problems() == []


def test_a_stop_of_idle_streams_is_immediate() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await asyncio.sleep(5)
        assert await _drain(simulation) == 0.0
        await restart(simulation)

    assert lived(script).problems(sent_at_most=2 * CHUNK + 3) == []


def test_a_stop_does_not_wait_for_a_stream_that_rests_after_a_bug() -> None:
    class Buggy(FakeStore):
        async def create_upload(self, key: str, metadata: Any, **more: bool) -> str:
            raise RuntimeError("nobody foresaw this")

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 20)
        assert await _drain(simulation) <= 1.0
        take_away(simulation.disk)

    lived(script, store=Buggy(limits=LIMITS), settle=60)
