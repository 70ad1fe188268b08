"""Conduct on fakes in virtual time: files that are empty, gone, or out of sight."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.domain import moments
from src.metadata_generator import document_key
from tests.harness.crash.scenes import (
    PATH,
    QUIET,
    BlindDisk,
    BlindSimulation,
    bytes_of,
    failed_reasons,
    growing_file,
    heard,
    lived,
    on_effect,
    put_back,
    recordings_in,
    restart,
    settled,
    take_away,
    until,
    uploads,
    without,
)
from tests.harness.crash.simulation import CHUNK, SCAN, Simulation
from tests.harness.crash.virtual_time import run

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


# -- empty files -------------------------------------------------------------------------------------------------------


def test_an_empty_file_has_no_object_one_log_line_and_is_taken_up_when_bytes_come() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, b"")
        await asyncio.sleep(10 * QUIET)
        assert simulation.store.objects == {} and simulation.store.uploads == {}
        assert simulation.redis.state.records == {}
        assert len(heard(simulation, moments.EmptyFile)) == 1
        simulation.disk.append(PATH, bytes_of(2 * CHUNK + 1, 5))

    assert lived(script).problems(sent_at_most=2 * CHUNK + 1) == []


def test_a_recording_that_is_emptied_waits_for_its_bytes() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.disk.write(PATH, b"")
        await asyncio.sleep(10 * QUIET)
        assert recordings_in(simulation.store) == {}
        simulation.disk.append(PATH, bytes_of(CHUNK + 1, 5))

    assert lived(script).problems() == []


# -- the source --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [False, True])
def test_a_recording_that_disappears_fails_keeps_its_upload_and_goes_on_when_seen_again(down: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        file = take_away(simulation.disk)
        await settled(simulation)
        assert failed_reasons(simulation) == ["source_missing"]
        assert sorted(uploads(simulation)[0].parts) == [1, 2, 3]
        if down:
            await restart(simulation)
        await asyncio.sleep(7200)
        put_back(simulation.disk, file)
        simulation.disk.append(PATH, bytes_of(CHUNK, 50))

    simulation = lived(script)
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert simulation.store.count("create_upload") == 1
    assert failed_reasons(simulation) == []


def test_a_recording_that_comes_back_under_another_name_goes_on_with_its_upload() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        file = take_away(simulation.disk)
        await settled(simulation)
        put_back(simulation.disk, file, "elsewhere/found.mp4")

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_a_recording_that_is_put_back_while_its_failure_waits_for_redis_goes_on() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.redis.go_away()
        file = take_away(simulation.disk)
        await asyncio.sleep(60)
        put_back(simulation.disk, file)
        await asyncio.sleep(60)
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def test_a_recording_that_is_gone_for_a_moment_goes_on_as_if_nothing_was() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        file = take_away(simulation.disk)
        await asyncio.sleep(SCAN)
        put_back(simulation.disk, file)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert heard(simulation, moments.Failed) == []


def test_a_recording_deleted_after_its_object_was_proved_is_completed() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await on_effect(simulation, "store.complete_upload", lambda: take_away(simulation.disk)).wait()
        await settled(simulation)
        assert document_key(PATH) in simulation.store.objects

    assert lived(script).problems() == []


def test_a_file_touched_in_the_moment_of_its_completion_is_not_replaced() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await on_effect(simulation, "store.complete_upload", lambda: disk._touch(disk.files[PATH])).wait()

    simulation = lived(script)
    # What ffprobe would say is not believed once the file was touched, and nobody asks again.
    unseen = f"the document of {PATH} says nothing of the film: the file has changed"
    assert without(simulation.problems(sent_at_most=2 * CHUNK), unseen) == []
    assert simulation.store.count("complete_upload") == 1


def test_a_file_that_cannot_be_read_is_tried_again_until_it_can() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 1)
        simulation.disk.unreadable.add(PATH)
        simulation.disk.append(PATH, bytes_of(2 * CHUNK, 50))
        await asyncio.sleep(1000)
        assert 10 <= len(heard(simulation, moments.Trouble)) <= 100
        simulation.disk.unreadable.clear()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def _blind(script: Any) -> Simulation:
    async def live() -> Simulation:
        simulation = BlindSimulation()
        await simulation.run(lambda _: script(simulation, simulation.blind_disk), settle=9000)
        return simulation

    return run(live())


def test_a_file_that_no_stat_can_see_at_first_is_looked_at_again_without_another_hint() -> None:
    async def script(_: Simulation, disk: BlindDisk) -> None:
        disk.blind.add(PATH)
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await until(lambda: disk.blind_looks, "a look")
        disk.blind.clear()
        await asyncio.sleep(1000)

    assert _blind(script).problems() == []


def test_a_recording_that_no_stat_can_see_for_a_while_goes_on_afterwards() -> None:
    async def script(_: Simulation, disk: BlindDisk) -> None:
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await asyncio.sleep(10)
        disk.blind.add(PATH)
        disk.append(PATH, bytes_of(2 * CHUNK, 2))
        await asyncio.sleep(300)
        disk.blind.clear()

    simulation = _blind(script)
    assert simulation.problems(sent_at_most=4 * CHUNK) == []
    assert heard(simulation, moments.Failed) == []


def test_a_recording_that_no_stat_can_see_when_its_second_name_appears_does_not_end_the_daemon() -> None:
    async def script(simulation: Simulation, disk: BlindDisk) -> None:
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await asyncio.sleep(10)
        disk.blind.add(PATH)
        disk.link(PATH, "cam/link.mp4")
        await asyncio.sleep(10)
        disk.blind.clear()
        disk.write("cam/other.mp4", bytes_of(2 * CHUNK, 9))
        await asyncio.sleep(10)

    assert without(_blind(script).problems(), "'cam/link.mp4'") == []
