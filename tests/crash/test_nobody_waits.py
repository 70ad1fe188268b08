"""Nobody behind another: whatever is refused, hangs or is slow for some recordings, every other one goes on."""

from __future__ import annotations

import asyncio

import pytest

from src.ports import ChunkBody
from src.recording import StoredPart
from tests.harness.crash.scenes import QUIET, bytes_of, lived, until
from tests.harness.crash.simulation import CHUNK, LIMITS, Simulation
from tests.harness.fakes.store import FakeStore

HARMED = "bad"
SOON = 60.0


class StoreThatRefusesParts(FakeStore):
    """From the second part on, for good, of what is called bad: the edge then waits inside of the call."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if key.startswith(HARMED) and number >= 2:
            await asyncio.sleep(1e7)
        return await super().upload_part(key, upload_id, number, body)


@pytest.mark.xfail(strict=True, reason="what is refused for good is waited for within a turn")
def test_parts_that_are_refused_for_good_keep_no_other_recording_waiting() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(simulation.slots):
            simulation.disk.write(f"{HARMED}{number}.mp4", bytes_of(6 * CHUNK, number))
        await asyncio.sleep(20)
        simulation.disk.write("good.mp4", bytes_of(6 * CHUNK, 9))
        await until(lambda: "good.mp4" in simulation.store.objects, "the good one", seconds=QUIET + SOON)

    lived(script, store=StoreThatRefusesParts(limits=LIMITS), settle=0)
