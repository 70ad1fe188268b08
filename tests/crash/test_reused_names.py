"""The n-th recording under one name: what it costs, which key it gets, and that nothing is overwritten on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from src.object_keys import next_free
from src.ports import Naming
from src.recording import PartSchedule
from tests.harness.crash.scenes import bytes_of, lived, recordings_in, restart, settled
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Fault, Simulation
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)

NAME = "cam.mp4"


def _content(number: int) -> bytes:
    return bytes_of(2 * CHUNK + number % 7, number)


def _key(number: int) -> str:
    return NAME if number == 1 else next_free(NAME, number)


async def record(simulation: Simulation, number: int) -> Counter[str]:
    """Another file under the name; what was asked of the store until its object and document were there."""
    store = simulation.store
    before = len(store.calls)
    simulation.disk.replace(NAME, _content(number))
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)
    return Counter(method for method, _ in store.calls[before:])


async def record_many(simulation: Simulation, numbers: range) -> dict[int, Counter[str]]:
    return {number: await record(simulation, number) for number in numbers}


def _holds(store: FakeStore, *numbers: int) -> None:
    there = {key: found.data for key, found in recordings_in(store).items()}
    assert {_key(number): _content(number) for number in numbers}.items() <= there.items()


@pytest.mark.xfail(strict=True, reason="every key of the name is looked at")
def test_the_thirtieth_recording_of_a_name_costs_as_much_as_the_third() -> None:
    asked: dict[int, Counter[str]] = {}

    async def script(simulation: Simulation) -> None:
        asked.update(await record_many(simulation, range(1, 31)))

    simulation = lived(script)
    assert simulation.problems() == []
    _holds(simulation.store, *range(1, 31))
    assert asked[30] == asked[3]


@pytest.mark.xfail(strict=True, reason="every key of the name is looked at")
@pytest.mark.parametrize("way", ["wiped", "rolled back"])
def test_without_what_redis_knew_of_a_name_its_keys_are_listed_once(way: str) -> None:
    asked: list[Counter[str]] = []

    async def script(simulation: Simulation) -> None:
        for most in (4, 24):
            await record_many(simulation, range(most - 3, most + 1) if most == 4 else range(5, 25))
            redis = simulation.redis
            if way == "wiped":
                redis.wipe()
            else:
                redis.roll_back(sum(1 for _ in redis.history) // 2 if most == 4 else 80)
            await asyncio.sleep(2 * SCAN)
            asked.append(await record(simulation, 100 + most))

    simulation = lived(script)
    store = simulation.store
    first, second = asked
    assert second == first, "whatever the number"
    assert second["list_objects"] == 1
    assert len(recordings_in(store)) == 26


@pytest.mark.xfail(strict=True, reason="the first free key is taken")
def test_holes_that_a_deletion_left_are_not_filled() -> None:
    async def script(simulation: Simulation) -> None:
        await record_many(simulation, range(1, 6))
        for number in (1, 3, 5):
            simulation.store.delete_object(_key(number))
            simulation.store.delete_object(f"{_key(number)}.metadata.json")
        await record(simulation, 6)

    simulation = lived(script)
    assert sorted(recordings_in(simulation.store)) == [_key(2), _key(4), _key(6)]
    _holds(simulation.store, 2, 4, 6)
