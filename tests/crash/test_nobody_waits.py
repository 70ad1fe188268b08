"""Nobody behind another: whatever is refused, hangs or is slow for some recordings, every other one goes on.

More recordings are harmed than there are turns. Each operation of the world is met alone, for as long as the test
likes; the recordings that it does not meet are complete a minute after their quiet time, memory stays within its
bound, and the harmed ones go on when it ends.
"""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from src.exceptions import S3Unavailable
from src.ports import ChunkBody
from src.recording import StoredPart, Writers
from tests.harness.crash.harm import DISK, FFPROBE, HARMED, REDIS, STORE, Harm, HarmedSimulation, Kind
from tests.harness.crash.scenes import QUIET, bytes_of, lived, settled, until
from tests.harness.crash.simulation import CHUNK, LIMITS, Disk, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(60)

SOON = 60.0
SLOTS = 2
CASES = [*product((*STORE, *REDIS, *DISK, *FFPROBE), Kind)]


def _write(simulation: HarmedSimulation, path: str, size: int, seed: int) -> None:
    simulation.disk.write(path, bytes_of(size, seed))
    simulation.disk.files[path].writers = Writers.NONE


async def _meanwhile(simulation: HarmedSimulation, most: list[int]) -> None:
    while True:
        most.append(sum(body.size for body in simulation.disk.unreleased))
        await asyncio.sleep(0.5)


class StoreThatRefusesParts(FakeStore):
    """From the second part on, for good, of what is called bad."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if key.startswith(HARMED) and number >= 2:
            raise S3Unavailable("upload_part: 403", operation="upload_part", misconfigured=True)
        return await super().upload_part(key, upload_id, number, body)


def test_parts_that_are_refused_for_good_keep_no_other_recording_waiting() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(simulation.slots):
            simulation.disk.write(f"{HARMED}{number}.mp4", bytes_of(6 * CHUNK, number))
        await asyncio.sleep(20)
        simulation.disk.write("good.mp4", bytes_of(6 * CHUNK, 9))
        await until(lambda: "good.mp4" in simulation.store.objects, "the good one", seconds=QUIET + SOON)

    lived(script, store=StoreThatRefusesParts(limits=LIMITS), settle=0)


@pytest.mark.parametrize("slots", [1, SLOTS])
@pytest.mark.parametrize(("operation", "kind"), CASES, ids=[f"{operation} {kind}" for operation, kind in CASES])
def test_what_meets_some_recordings_keeps_no_other_waiting(operation: str, kind: Kind, slots: int) -> None:
    late: dict[str, float] = {}
    held: list[int] = []

    async def live() -> HarmedSimulation:
        harm = Harm(operation, kind)
        simulation = HarmedSimulation(harm=harm, slots=slots)

        def clock() -> float:
            return asyncio.get_running_loop().time()

        async def is_complete_soon(path: str) -> None:
            closed = clock()
            finished = lambda: any(marker.path == path for marker in simulation.redis.state.markers.values())  # noqa: E731
            await until(finished, path, seconds=5000)
            late[path] = clock() - closed

        async def script(_: Disk) -> None:
            # Objects to be brought up to date, so that copying and comparing are met, too.
            harm.lasts = False
            for number in range(slots + 1):
                _write(simulation, f"{HARMED} {number}.mp4", 3 * CHUNK, number)
            await asyncio.sleep(2)
            await settled(simulation)
            harm.lasts = True
            watching = asyncio.create_task(_meanwhile(simulation, held))
            for number in range(slots + 1):
                simulation.disk.append(f"{HARMED} {number}.mp4", bytes_of(2 * CHUNK, 10 + number))
                _write(simulation, f"{HARMED} new {number}.mp4", 5 * CHUNK + 3, 20 + number)
            await asyncio.sleep(1)
            _write(simulation, "good 1.mp4", 5 * CHUNK + 3, 50)
            first = asyncio.create_task(is_complete_soon("good 1.mp4"))
            _write(simulation, "good 2.mp4", 3, 51)
            for step in range(20):
                await asyncio.sleep(5)
                simulation.disk.append("good 2.mp4", bytes_of(CHUNK, 60 + step))
            await is_complete_soon("good 2.mp4")
            await first
            watching.cancel()
            harm.end()
            await settled(simulation)

        await simulation.run(script)
        return simulation

    simulation = run(live())
    assert simulation.harm.met or operation in ("abort_upload", "put_marker", "object_crc64"), "nothing was met"
    assert all(seconds <= QUIET + SOON for seconds in late.values()), late
    assert max(held) <= slots * simulation.rhythm.memory
    assert simulation.problems() == []
