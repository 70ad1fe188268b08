"""Conduct on fakes in virtual time: how many parts an upload takes, and which are recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.domain import Checkpoint, Identity, Limits, Naming, Part, PartSchedule, Status, moments
from src.domain.part_plan import part_size
from src.exceptions import RedisUnavailable
from src.stream_processor.ledger import Ledger
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    heard,
    lived,
)
from tests.harness.crash.simulation import CHUNK, Simulation
from tests.harness.crash.virtual_time import VirtualClock, run
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.store import FakeStore
from tests.harness.fakes.telemetry import FakeStreamTelemetry

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


# -- capacity ----------------------------------------------------------------------------------------------------------


def test_equal_parts_are_warned_of_near_their_capacity_and_uploaded_anew_beyond_it() -> None:
    limits = Limits(min_part=CHUNK, max_part=8 * CHUNK, max_parts=10, parts_per_step=50)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for number in range(13):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 10 + number))

    naming = Naming(PartSchedule(CHUNK, growing=False), limits=limits)
    simulation = lived(script, naming=naming, store=FakeStore(limits=limits))
    assert simulation.problems(sent_at_most=10 * CHUNK + 13 * CHUNK + 3) == []
    assert len(heard(simulation, moments.NearCapacity)) == 1
    sizes = simulation.store.objects[PATH].part_sizes
    assert len(sizes) <= 10 and len(set(sizes[:-1])) == 1


def test_a_growing_schedule_takes_any_length_in_stride() -> None:
    limits = Limits(min_part=CHUNK, max_part=64 * CHUNK, max_parts=10, parts_per_step=3)
    schedule = PartSchedule(CHUNK)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for number in range(8):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(3 * CHUNK, 10 + number))

    naming = Naming(schedule, limits=limits)
    simulation = lived(script, naming=naming, store=FakeStore(limits=limits))
    assert simulation.problems(sent_at_most=24 * CHUNK + 3) == []
    sizes = simulation.store.objects[PATH].part_sizes
    assert sizes[:-1] == tuple(part_size(schedule, number, limits) for number in range(1, len(sizes)))
    assert heard(simulation, moments.NearCapacity) == []


# -- the record --------------------------------------------------------------------------------------------------------


def test_a_part_that_could_not_be_recorded_is_recorded_with_the_next_also_when_another_was_under_way() -> None:
    class HalfAway(FakeCheckpoints):
        async def save_part(self, checkpoint: Checkpoint, parts: Any) -> None:
            self.calls.append("asked")
            if self.calls.count("asked") == 2:
                raise RedisUnavailable("away", operation="redis.save_part")
            await asyncio.sleep(1)
            await super().save_part(checkpoint, parts)

    async def live() -> dict[int, Part]:
        redis = HalfAway()
        clock = VirtualClock()
        record = Checkpoint(
            "s", Status.ACTIVE, PATH, "b", PATH, Identity(1, 1), PartSchedule(CHUNK), clock.utc_now(), upload_id="u"
        )
        await redis.save(record)
        ledger = Ledger(record, redis, FakeStreamTelemetry("s", PATH))
        parts = [Part(number, CHUNK, f"e{number}", number, clock.utc_now()) for number in (1, 2, 3)]
        first = asyncio.create_task(ledger.part_stored(parts[0]))
        await asyncio.sleep(0.5)
        await ledger.part_stored(parts[1])
        await first
        await ledger.part_stored(parts[2])
        return dict(redis.state.records["s"].parts)

    assert sorted(run(live())) == [1, 2, 3]
