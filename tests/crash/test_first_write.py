"""When Redis gets the first checkpoint of a recording: before anything is created in S3 for it, and before it waits for
long. A short one that only lies there gets it with what is to be made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from src.domain import Rhythm, Status, moments
from src.exceptions import ChunkProcessingError
from src.slots import FairSlots
from tests.harness.crash.scenes import PATH, bytes_of, heard, lived, on_effect, restart, settled, take_away, until
from tests.harness.crash.simulation import CHUNK, SCAN, TIMEOUT, Simulation

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang

SHORT = bytes_of(CHUNK - 3, 1)


def _writes(simulation: Simulation) -> list[str]:
    return [call for call in simulation.redis.calls if call in ("save", "save_part", "finish")]


async def _found(simulation: Simulation) -> None:
    """The stream of the file has begun and waits."""
    await until(lambda: heard(simulation, moments.StreamStarted), "it is taken up")
    await asyncio.sleep(2 * SCAN)


@pytest.mark.parametrize(("size", "effect"), [(CHUNK - 3, "store.put_whole"), (3 * CHUNK, "store.create_upload")])
def test_nothing_is_created_in_s3_before_redis_has_the_checkpoint(size: int, effect: str) -> None:
    async def script(simulation: Simulation) -> None:
        held: list[int] = []
        created = on_effect(simulation, effect, lambda: held.append(len(simulation.redis.state.records)), when="before")
        simulation.disk.write(PATH, bytes_of(size, 1))
        await created.wait()
        assert held == [1]

    assert lived(script).problems(sent_at_most=size) == []


def test_a_short_recording_is_saved_with_its_end_and_costs_four_writes() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, SHORT)
        await _found(simulation)
        assert not simulation.redis.state.records
        await settled(simulation)

    simulation = lived(script)
    first = next(state for state in simulation.redis.history if state.records)
    (record,) = first.records.values()
    assert record.status is Status.PENDING_COMPLETION and record.manifest is not None and record.unanswered
    assert _writes(simulation) == ["save", "save", "save", "finish"]
    assert simulation.redis.calls.count("marker") == 1
    assert simulation.problems(sent_at_most=len(SHORT)) == []


def _grows(simulation: Simulation) -> None:
    simulation.disk.append(PATH, b"more")


def _cannot_be_read(simulation: Simulation) -> None:
    def refuse(*_: object) -> None:
        raise ChunkProcessingError("no right to read it", operation="read")

    simulation.disk.on_read = refuse


def _nothing(_: Simulation) -> None:
    return


@pytest.mark.parametrize(
    ("size", "happens", "within"),
    [
        (len(SHORT), _grows, 3 * SCAN),
        (len(SHORT), _cannot_be_read, TIMEOUT + 3 * SCAN),
        (len(SHORT), _nothing, 60 + 3 * SCAN),  # its timeout is an hour
        (CHUNK, _nothing, 3 * SCAN),  # it needs an upload
    ],
    ids=["it grows", "it cannot be read", "its end takes long", "it has a whole part"],
)
def test_a_recording_that_goes_on_is_saved(size: int, happens: Callable[[Simulation], None], within: float) -> None:
    timeout = TIMEOUT if happens is _cannot_be_read else 3600.0

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(size, 1))
        await until(lambda: heard(simulation, moments.StreamStarted), "it is taken up")
        await asyncio.sleep(2 * SCAN)
        happens(simulation)
        await until(lambda: simulation.redis.state.records, "Redis has it", seconds=within)
        assert all(record.manifest is None for record in simulation.redis.state.records.values())
        simulation.disk.on_read = None

    rhythm = Rhythm(timeout=timeout, missing_grace=SCAN + 1, memory=2 * CHUNK)
    assert lived(script, rhythm=rhythm, soon=None).problems() == []


def test_an_emptied_recording_is_saved_before_it_waits_for_its_bytes() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, SHORT)
        await _found(simulation)
        simulation.disk.truncate(PATH, 0)
        await until(lambda: simulation.redis.state.records, "Redis has it", seconds=10 * SCAN)
        await asyncio.sleep(10 * TIMEOUT)
        simulation.disk.append(PATH, SHORT)

    assert lived(script, soon=None).problems() == []


@pytest.mark.parametrize("is_away", [False, True])
def test_a_recording_that_a_stop_meets_is_saved_in_one_attempt(is_away: bool) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, SHORT)
        await _found(simulation)
        if is_away:
            simulation.redis.go_away()
        dispatcher, began = simulation.dispatcher, simulation.clock.monotonic()
        assert dispatcher is not None and isinstance(dispatcher._world.slots, FairSlots)
        dispatcher._world.slots.drain()
        await dispatcher.drain(20.0)
        assert simulation.clock.monotonic() - began < 1
        assert len(simulation.redis.state.records) == (0 if is_away else 1)
        if is_away:
            simulation.redis.come_back()
        await restart(simulation)
        await settled(simulation)

    assert lived(script).problems(sent_at_most=len(SHORT)) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_kill_before_the_first_write_costs_nothing(is_there: bool) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, SHORT)
        await _found(simulation)
        await restart(simulation, (lambda: None) if is_there else (lambda: _gone(simulation)))
        await settled(simulation)
        assert heard(simulation, moments.Failed) == []

    simulation = lived(script)
    assert simulation.problems(sent_at_most=len(SHORT)) == []
    assert bool(simulation.store.objects) is is_there


def _gone(simulation: Simulation) -> None:
    take_away(simulation.disk)
