"""Conduct on fakes in virtual time: a store or a Redis that is away."""

from __future__ import annotations

import asyncio

import pytest

from src.domain import Status
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    growing_file,
    lived,
    on_effect,
    recordings_in,
    restart,
    until,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, Simulation

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


def test_a_store_that_is_away_for_hours_is_waited_for_and_caught_up_with() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.store.go_away()
        for number in range(3):
            await asyncio.sleep(3600)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        simulation.store.come_back()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_a_store_that_is_away_while_a_recording_is_finished_is_waited_for() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await until(lambda: len(uploads(simulation)) == 1 and len(uploads(simulation)[0].parts) == 3, "three parts")
        simulation.store.go_away()
        await asyncio.sleep(4 * 3600)
        simulation.store.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def test_a_store_that_is_away_at_start_delays_neither_looking_nor_recovery() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.go_away()
        await growing_file(simulation, 2)
        await restart(simulation)
        await asyncio.sleep(3600)
        assert simulation.dispatcher is not None and len(simulation.dispatcher._register.by_path) == 1
        simulation.store.come_back()

    assert lived(script).problems(sent_at_most=2 * CHUNK + 3) == []


def test_parts_go_on_being_sent_while_redis_is_away() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.redis.go_away()
        for number in range(3):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        await asyncio.sleep(10)
        assert sorted(uploads(simulation)[0].parts) == [1, 2, 3, 4, 5]
        await asyncio.sleep(3 * 3600)
        assert recordings_in(simulation.store) == {}, "nothing is completed without its intent in Redis"
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_a_kill_while_redis_is_away_sends_no_part_again() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.redis.go_away()
        for number in range(3):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        await asyncio.sleep(10)
        await restart(simulation)
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_redis_away_at_start_is_waited_for_before_anything_is_created() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.redis.go_away()
        await growing_file(simulation, 3)
        await asyncio.sleep(3600)
        assert simulation.store.count("create_upload") == 0
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def test_redis_wiped_under_a_living_daemon_is_written_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await asyncio.sleep(5)
        simulation.redis.wipe()
        for number in range(2):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        await asyncio.sleep(5)
        assert simulation.redis.members(Status.ACTIVE)

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


def test_cleaning_up_while_redis_is_away_holds_no_slot_that_others_need() -> None:
    other = "cam/other.mp4"

    async def script(simulation: Simulation) -> None:
        async with asyncio.TaskGroup() as recorders_at_work:
            recorders_at_work.create_task(growing_file(simulation, 60, path=other, seed=60))
            await growing_file(simulation, 3)
            simulation.disk.replace(PATH, bytes_of(2 * CHUNK, 40))
            await on_effect(simulation, "store.abort_upload", simulation.redis.go_away).wait()
            held = {upload.key: len(upload.parts) for upload in uploads(simulation)}
            await asyncio.sleep(60)
            assert len(uploads(simulation)[0].parts) >= held[other] + 10
            simulation.redis.come_back()

    assert lived(script, slots=1).problems() == []
