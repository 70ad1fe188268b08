"""Which old files are left alone: none whose upload is open, at whichever of its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from src.domain import Identity, Marker, PartSchedule, Snapshot, World, moments
from src.events import StreamEvent, WatcherChangeType
from src.exceptions import ChunkProcessingError
from src.ownership import LeftOut
from tests.harness.crash.scenes import bytes_of
from tests.harness.crash.simulation import CHUNK, Disk, Simulation
from tests.harness.crash.virtual_time import run

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def _emit(moment: moments.DaemonMoment) -> None:
    if isinstance(moment, moments.Unexpected):
        raise moment.error


def _left_out(world: World, old: Sequence[str], passed_on: list[str]) -> LeftOut:
    """After a first scan that found these files, beside a Redis that remembers no stream."""

    async def remembered() -> tuple[tuple[str, Identity], ...]:
        return ()

    left_out = LeftOut(
        world, remembered, lambda _: True, passes_on=lambda event: passed_on.append(event.path), emit=_emit
    )
    for path in old:
        left_out.publish(StreamEvent(WatcherChangeType.WRITE, path, is_old=True))
    left_out.first_scan_done()
    return left_out


@pytest.mark.parametrize("key", ["cam.mp4", "cam~2.mp4", "cam~30.mp4", None])
def test_an_old_file_whose_upload_is_open_is_taken_whatever_its_number(key: str | None) -> None:
    passed_on: list[str] = []

    async def live() -> None:
        simulation = Simulation()
        simulation.disk.write("cam.mp4", bytes_of(3 * CHUNK, 1))
        simulation.disk.write("other.mp4", bytes_of(3 * CHUNK, 2))
        if key is not None:
            simulation.store.put_upload(key)

        left_out = _left_out(simulation._world(), ("cam.mp4", "other.mp4"), passed_on)
        async with asyncio.timeout(60):
            await left_out.run()

    run(live())
    assert passed_on == ([] if key is None else ["cam.mp4"])


def test_redis_is_asked_about_many_old_files_in_one_exchange() -> None:
    passed_on: list[str] = []
    simulation = Simulation()

    async def live() -> None:
        names = [f"{number:03}.mp4" for number in range(450)]
        for seed, name in enumerate(names):
            simulation.disk.write(name, bytes_of(CHUNK, seed))

        world = simulation._world()
        for name in names[::9]:
            snapshot = await world.recordings.snapshot(name)
            assert snapshot is not None
            await simulation.redis.put_marker(
                Marker(name, name, world.store.bucket, name, snapshot, 0, "e-1", PartSchedule(CHUNK), NOON, NOON)
            )
        simulation.redis.calls.clear()
        left_out = _left_out(world, names, passed_on)
        await left_out.run()
        assert passed_on == names[::9]

    run(live())
    assert simulation.redis.calls == ["remembered_of"] * 3


_UNREADABLE = "007.mp4"


class _SlowDisk(Disk):
    async def snapshot(self, path: str) -> Snapshot | None:
        await asyncio.sleep(1.0)
        if path == _UNREADABLE:
            raise ChunkProcessingError("the folder cannot be read", operation="stat")
        return await super().snapshot(path)


def test_many_old_files_are_looked_at_together_and_one_that_cannot_be_is_passed_on() -> None:
    passed_on: list[str] = []
    names = [f"{number:03}.mp4" for number in range(450)]

    async def live() -> float:
        simulation = Simulation()
        simulation.disk = _SlowDisk()
        for seed, name in enumerate(names):
            simulation.disk.write(name, bytes_of(CHUNK, seed))

        left_out = _left_out(simulation._world(), names, passed_on)
        began = asyncio.get_running_loop().time()
        await left_out.run()
        return asyncio.get_running_loop().time() - began

    assert run(live()) < 10, "one after the other they need 450 s"
    assert passed_on == [_UNREADABLE]
