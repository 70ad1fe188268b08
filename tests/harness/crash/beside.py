"""The ring of those who wait for nobody: recordings that one harm meets, and others beside them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from src.domain import Writers
from tests.harness.crash.harm import HARMED, Harm, HarmedSimulation, Kind
from tests.harness.crash.scenes import QUIET, bytes_of, settled, until
from tests.harness.crash.simulation import CHUNK, Disk, Simulation
from tests.harness.crash.virtual_time import run

#: Seconds of virtual time in which a recording is complete that the harm does not meet, after its quiet time.
SOON = 60.0
_LONGEST = 5000.0


@dataclass
class Beside:
    """What came of it. ``late``: seconds from the close of each of the others to its completion; ``held``: bytes of
    chunks in memory, twice a second."""

    simulation: HarmedSimulation
    late: dict[str, float] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)

    def problems(self) -> list[str]:
        """What is wrong with any recording, or with how long one waited."""
        waited = [
            f"{path} waited for others: it was complete after {seconds:.0f} s"
            for path, seconds in self.late.items()
            if seconds > QUIET + SOON
        ]
        most = self.simulation.slots * self.simulation.rhythm.memory
        held = [f"{max(self.held)} bytes of chunks in memory at once"] if max(self.held) > most else []
        return [*waited, *held, *self.simulation.problems()]


def write(simulation: Simulation, path: str, size: int, seed: int) -> None:
    """A recording that is closed."""
    simulation.disk.write(path, bytes_of(size, seed))
    simulation.disk.files[path].writers = Writers.NONE


def live_beside(operation: str, kind: Kind, *, slots: int, harmed: int) -> Beside:
    """So many recordings that are to be brought up to date, and as many new ones, are harmed at the same time, for as
    long as two others take: one that is closed, and one that grows. Then the harm ends, and all come to rest."""
    return run(_live(Beside(HarmedSimulation(harm=Harm(operation, kind), slots=slots)), harmed))


async def _live(beside: Beside, harmed: int) -> Beside:
    await beside.simulation.run(lambda _: _script(beside, harmed))
    return beside


async def _script(beside: Beside, harmed: int) -> None:
    simulation = beside.simulation
    # Objects to be brought up to date, so that copying and comparing are met, too.
    simulation.harm.lasts = False
    for number in range(harmed):
        write(simulation, f"{HARMED} {number}.mp4", 3 * CHUNK, number)
    await asyncio.sleep(2)
    await settled(simulation)
    simulation.harm.lasts = True
    watching = asyncio.create_task(_watch(simulation.disk, beside.held))
    for number in range(harmed):
        simulation.disk.append(f"{HARMED} {number}.mp4", bytes_of(2 * CHUNK, 10 + number))
        write(simulation, f"{HARMED} new {number}.mp4", 5 * CHUNK + 3, 1000 + number)
    await asyncio.sleep(1)
    write(simulation, "good 1.mp4", 5 * CHUNK + 3, 50)
    first = asyncio.create_task(_is_complete(beside, "good 1.mp4"))
    write(simulation, "good 2.mp4", 3, 51)
    for step in range(20):
        await asyncio.sleep(5)
        simulation.disk.append("good 2.mp4", bytes_of(CHUNK, 60 + step))
    await _is_complete(beside, "good 2.mp4")
    await first
    watching.cancel()
    simulation.harm.end()
    await settled(simulation)


async def _is_complete(beside: Beside, path: str) -> None:
    clock, simulation = asyncio.get_running_loop().time, beside.simulation
    closed = clock()
    is_complete = lambda: any(marker.path == path for marker in simulation.redis.state.markers.values())  # noqa: E731
    await until(is_complete, path, seconds=_LONGEST)
    beside.late[path] = clock() - closed


async def _watch(disk: Disk, held: list[int]) -> None:
    while True:
        held.append(sum(body.size for body in disk.unreleased))
        await asyncio.sleep(0.5)
