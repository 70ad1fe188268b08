"""Conduct on fakes in virtual time: the machine starts with a clock that is behind, as one without a battery does."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.harness.crash.scenes import PATH, bytes_of, finished_file, lived, recordings_in, restart, settled, without
from tests.harness.crash.simulation import CHUNK, SCAN, TIMEOUT, Simulation
from tests.harness.crash.virtual_time import VirtualClock

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang

LATER = "cam/moved.mp4"


class _Behind(VirtualClock):
    """Files have the times of the file system, which are right until the power fails."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def utc_now(self) -> datetime:
        return super().utc_now() - self.by


def _power_fails(simulation: Simulation) -> _Behind:
    """Redis has lost its last writes, and the clock is that of the last shutdown."""
    simulation.redis.wipe()
    clock = simulation.clock = _Behind(timedelta(hours=1))
    return clock


@pytest.mark.parametrize("set_right", [False, True], ids=["", "and is set right"])
def test_an_upload_of_a_file_from_the_future_goes_on(set_right: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await asyncio.sleep(3600)
        simulation.disk.write(PATH, bytes_of(6 * CHUNK + 1, 1))
        await asyncio.sleep(TIMEOUT / 2)
        assert simulation.store.uploads

        def meanwhile() -> None:
            clock = _power_fails(simulation)
            if set_right:
                asyncio.get_running_loop().call_later(0.0, setattr, clock, "by", timedelta())

        await restart(simulation, meanwhile)
        simulation.disk.append(PATH, bytes_of(2, 2))
        await settled(simulation)

    simulation = lived(script)
    assert simulation.store.count("create_upload") == 1
    assert simulation.problems() == []


@pytest.mark.parametrize("set_right", [False, True], ids=["", "and is set right"])
def test_a_renamed_file_from_the_future_gets_no_second_object(set_right: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await asyncio.sleep(3600)
        await finished_file(simulation)

        def meanwhile() -> None:
            clock = _power_fails(simulation)
            simulation.disk.rename(PATH, LATER)
            if set_right:
                asyncio.get_running_loop().call_later(0.0, setattr, clock, "by", timedelta())

        await restart(simulation, meanwhile)
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)

    simulation = lived(script)
    assert set(recordings_in(simulation.store)) == {PATH}
    assert without(simulation.problems(), f"the document of {PATH} tells the times") == []
