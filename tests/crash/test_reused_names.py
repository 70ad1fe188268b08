"""The n-th recording under one name: what it costs, which key it gets, and that nothing is overwritten on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from src.domain import METADATA_SUFFIX, Naming, PartSchedule, StoredObject, next_free
from src.exceptions import S3Rejected
from tests.harness.crash.scenes import bytes_of, content_at, lived, on_effect, recordings_in, restart, settled
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


def test_the_thirtieth_recording_of_a_name_costs_as_much_as_the_third() -> None:
    asked: dict[int, Counter[str]] = {}

    async def script(simulation: Simulation) -> None:
        asked.update(await record_many(simulation, range(1, 31)))

    simulation = lived(script)
    assert simulation.problems() == []
    _holds(simulation.store, *range(1, 31))
    assert asked[30] == asked[3]


@pytest.mark.parametrize("way", ["wiped", "rolled back"])
def test_without_what_redis_knew_of_a_name_its_keys_are_listed_once(way: str) -> None:
    asked: list[Counter[str]] = []

    async def script(simulation: Simulation) -> None:
        redis = simulation.redis
        for numbers in (range(1, 5), range(5, 25)):
            await record_many(simulation, numbers)
            if way == "wiped":
                redis.wipe()
            else:
                redis.roll_back(len(redis.history) // 2 if 1 in numbers else 80)
            await asyncio.sleep(2 * SCAN)
            asked.append(await record(simulation, 100 + numbers[-1]))

    simulation = lived(script)
    store = simulation.store
    first, second = asked
    assert second == first, "whatever the number"
    assert second["list_objects"] == 1
    assert len(recordings_in(store)) == 26


def _delete(simulation: Simulation, number: int) -> None:
    simulation.store.delete_object(_key(number))
    simulation.store.delete_object(_key(number) + METADATA_SUFFIX)


def test_holes_that_a_deletion_left_are_not_filled() -> None:
    async def script(simulation: Simulation) -> None:
        await record_many(simulation, range(1, 6))
        for number in (1, 3, 5):
            _delete(simulation, number)
        await record(simulation, 6)

    simulation = lived(script)
    assert sorted(recordings_in(simulation.store)) == [_key(2), _key(4), _key(6)]
    _holds(simulation.store, 2, 4, 6)


def _remember(simulation: Simulation, number: int) -> None:
    """As if Redis had this number of the name."""
    history = simulation.redis.history
    history[-1] = replace(history[-1], numbers={NAME: number})


#: What Redis and the bucket hold when the fourth recording begins, and the number that it gets.
WORLDS: dict[str, tuple[Callable[[Simulation], None], int]] = {
    "right hint": (lambda simulation: None, 4),
    "old hint": (lambda simulation: _remember(simulation, 2), 4),
    "hint far too high": (lambda simulation: _remember(simulation, 77), 78),
    "hint without a following number": (lambda simulation: _remember(simulation, 9_999_999), 4),
    "no hint": (lambda simulation: simulation.redis.wipe(), 4),
    "a stranger at the next key": (lambda simulation: simulation.plant(_key(4), b"a stranger's"), 5),
    "the last one deleted": (lambda simulation: _delete(simulation, 3), 4),
}


@pytest.mark.parametrize("world", WORLDS)
def test_a_kill_in_any_moment_leaves_each_recording_of_a_name_at_a_key_of_its_own(world: str) -> None:
    prepare, number = WORLDS[world]
    begin = 0

    def lived_with(faults: dict[int, Fault]) -> Simulation:
        async def script(simulation: Simulation) -> None:
            nonlocal begin
            await record_many(simulation, range(1, 4))
            prepare(simulation)
            begin = len(simulation.fuse.effects)
            await record(simulation, 4)

        return lived(script, faults=faults)

    whole = lived_with({})
    moments = range(begin, len(whole.fuse.effects))
    assert len(moments) > 10
    for faults in ({}, *({moment: Fault.KILL} for moment in moments)):
        simulation = lived_with(faults)
        assert simulation.problems() == [], faults
        there = {key: found.data for key, found in recordings_in(simulation.store).items()}
        expected = {_key(1), _key(2), _key(3), *simulation.strangers}
        if world == "the last one deleted":
            expected -= {_key(3)}
        assert there.keys() - expected == {_key(number)}, faults
        assert there[_key(number)] == _content(4), faults
        _holds(simulation.store, 1, 2)


def test_a_file_that_is_begun_anew_costs_the_same_whatever_was_in_it_before() -> None:
    asked: dict[int, Counter[str]] = {}

    async def script(simulation: Simulation) -> None:
        for number in range(1, 31):
            before = len(simulation.store.calls)
            simulation.disk.write(NAME, b"-" * 3)
            await asyncio.sleep(2 * SCAN)
            simulation.disk.append(NAME, bytes_of(2 * CHUNK + number % 5, number))
            await settled(simulation)
            asked[number] = Counter(method for method, _ in simulation.store.calls[before:])

    simulation = lived(script)
    assert simulation.problems() == []
    assert len(recordings_in(simulation.store)) == 30
    assert asked[30] == asked[3]


@pytest.mark.parametrize("number", [1, 2, 5, 7])
def test_a_file_that_gets_the_bytes_of_an_earlier_recording_back_is_done(number: int) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.replace(NAME, b"")
        for each in [*range(1, 8), number]:
            simulation.disk.write(NAME, b"")
            await asyncio.sleep(2 * SCAN)
            simulation.disk.write(NAME, bytes_of(40 - 4 * each, each))
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert len(recordings_in(simulation.store)) == 7


def test_where_used_names_are_replaced_no_other_key_is_touched() -> None:
    async def script(simulation: Simulation) -> None:
        await record_many(simulation, range(1, 4))
        simulation.naming = replace(simulation.naming, replace_reused_names=True)
        await restart(simulation)
        asked.append(await record(simulation, 4))
        asked.append(await record(simulation, 5))

    asked: list[Counter[str]] = []
    simulation = lived(script, naming=Naming(PartSchedule(CHUNK), limits=LIMITS))
    assert sorted(recordings_in(simulation.store)) == [_key(1), _key(2), _key(3)]
    _holds(simulation.store, 1, 2)
    assert content_at(simulation, _key(3)) == _content(5)
    assert asked[0]["head"] == asked[1]["head"]


def test_the_number_of_a_recording_that_was_renamed_while_it_was_sent_is_that_of_its_first_name() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(1, 5):
            simulation.disk.replace(NAME, _content(number))
            await asyncio.sleep(2 * SCAN)
            simulation.disk.rename(NAME, f"cam-{number}.mp4")
            await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert sorted(recordings_in(simulation.store)) == sorted(_key(number) for number in range(1, 5))
    assert dict(simulation.redis.state.numbers) == {NAME: 4}


def test_a_stranger_at_the_key_sends_a_recording_to_the_next_with_few_questions() -> None:
    """Found out by the completion, when all of it had been sent."""
    asked: list[int] = []

    async def script(simulation: Simulation) -> None:
        store = simulation.store

        def plant(key: str) -> None:
            if key.startswith("cam"):
                store.before_completion = None
                simulation.plant(key, b"a stranger's")
                asked.append(-len(store.calls))

        for numbers in (range(1, 4), range(5, 24)):
            await record_many(simulation, numbers)
            store.before_completion = plant
            await record(simulation, numbers[-1] + 1)
            asked[-1] += len(store.calls)

    simulation = lived(script)
    assert simulation.problems() == []
    assert asked[0] == asked[1]


class _RefusesTheNext(FakeStore):
    """What lies at the second key cannot be asked about."""

    async def head(self, key: str) -> StoredObject | None:
        if key == _key(2):
            raise S3Rejected("head_object: 400", operation="head_object", code="400")
        return await super().head(key)


def test_a_key_that_could_not_be_asked_about_is_left_to_others() -> None:
    owners: dict[str, object] = {}

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(NAME, _content(1))
        await on_effect(
            simulation, "store.complete_upload", lambda: simulation.plant(NAME, b"a stranger's"), when="before"
        ).wait()
        await asyncio.sleep(120)
        assert simulation.dispatcher is not None
        owners.update(simulation.dispatcher._keys._owners)

    lived(script, store=_RefusesTheNext(limits=LIMITS), settle=10)
    assert owners.keys() == {NAME}
