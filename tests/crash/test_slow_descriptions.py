"""A slow ffprobe keeps no object waiting, however many recordings lie ready; and what waits for it is limited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from src.dispatcher import newcomers
from src.domain import METADATA_SUFFIX, Identity, Probe, World
from src.stream_processor import describing
from tests.harness.crash.scenes import bytes_of, settled, until
from tests.harness.crash.simulation import CHUNK, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.prober import ReadingProber

pytestmark = pytest.mark.timeout(120)

MANY = 60
PROBING = 500.0
IN_PROGRESS = 16


class OneAtATime(ReadingProber):
    """Examines one file after the other, slowly."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation.disk)
        self.place = asyncio.Semaphore(1)
        self.seconds = PROBING
        self.most_waiting = 0

    async def probe(self, path: str, identity: Identity) -> Probe:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.place.acquire()
        finally:
            self.waiting -= 1
        try:
            await asyncio.sleep(self.seconds)
            return await super().probe(path, identity)
        finally:
            self.place.release()


@dataclass
class Crowd(Simulation):
    """Files that were closed long before the start."""

    soon: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prober = OneAtATime(self)
        for number in range(MANY):
            self.disk.write(f"{number:03}.mp4", bytes_of(2 * CHUNK + 3, number))

    def _world(self) -> World:
        return replace(super()._world(), prober=self.prober)

    def objects(self) -> int:
        return sum(not key.endswith(METADATA_SUFFIX) for key in self.store.objects)

    def documents(self) -> int:
        return len(self.store.objects) - self.objects()


def played(script: Callable[[Crowd], Awaitable[None]]) -> Crowd:
    async def live() -> Crowd:
        crowd = Crowd()
        await asyncio.sleep(3600)  # the files lie ready when the daemon starts
        await crowd.run(lambda _: script(crowd), settle=10)
        return crowd

    return run(live())


def test_all_objects_are_there_before_the_second_description() -> None:
    async def script(crowd: Crowd) -> None:
        await until(lambda: crowd.objects() == MANY, "all objects", seconds=PROBING)
        assert crowd.documents() <= 1
        crowd.prober.seconds = 0.1
        await settled(crowd)

    crowd = played(script)
    assert crowd.problems() == []
    assert crowd.documents() == MANY


def test_no_more_wait_for_their_description_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "_MOST_WAITING", 8)
    monkeypatch.setattr(newcomers, "_MOST_UNKNOWN", 8)  # those leave their room for the listing of the bucket

    async def script(crowd: Crowd) -> None:
        await asyncio.sleep(PROBING / 2)
        assert IN_PROGRESS <= crowd.objects() < MANY
        crowd.prober.seconds = 0.1
        await settled(crowd)

    crowd = played(script)
    assert crowd.problems() == []
    assert crowd.documents() == MANY
    assert crowd.prober.most_waiting <= 8 + 8 + IN_PROGRESS + 1
