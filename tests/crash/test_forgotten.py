"""Conduct on fakes in virtual time: what pruning has forgotten is not sent again when its file comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from src.domain import DAY_SECONDS, Identity, Retention
from src.ownership import Pruning, claim
from tests.harness.crash.scenes import PATH, bytes_of, finished_file, lived, recordings_in, restart, settled
from tests.harness.crash.simulation import CHUNK, SCAN, Simulation

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang

SIZE = 4 * CHUNK + 3


@dataclass
class Days:
    """Running time that costs no scans."""

    simulation: Simulation
    ran: float = 0.0

    def monotonic(self) -> float:
        return self.simulation.clock.monotonic() + self.ran

    def utc_now(self) -> datetime:
        return self.simulation.clock.utc_now()

    async def pass_by(self, many: int, retention: Retention) -> None:
        simulation = self.simulation
        pruning = Pruning(simulation.redis, self._census, retention, self, simulation.telemetry.emit)
        for _ in range(many):
            self.ran += DAY_SECONDS
            await pruning.look()

    async def _census(self) -> Callable[[Sequence[tuple[Identity, str]]], Awaitable[list[bool]]]:
        there = {file.identity for file in self.simulation.disk.files.values()}

        async def are_gone(files: Sequence[tuple[Identity, str]]) -> list[bool]:
            return [identity not in there for identity, _ in files]

        return are_gone


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("deleted", [False, True], ids=["", "object deleted"])
def test_a_file_that_comes_back_after_it_was_forgotten_is_not_sent_again(deleted: bool, restarted: bool) -> None:
    """A part of the folder was on another disk, for forty days."""

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        await finished_file(simulation, path="stays.mp4", seed=2)
        away = simulation.disk.files.pop(PATH)
        await asyncio.sleep(3 * SCAN)
        await Days(simulation).pass_by(40, Retention(30, 100))
        assert [marker.path for marker in simulation.redis.state.markers.values()] == ["stays.mp4"]
        assert len(simulation.redis.state.completed) == 1
        if deleted:
            simulation.store.delete_object(PATH)
        if restarted:
            await restart(simulation)
        simulation.disk.files[PATH] = away
        await asyncio.sleep(3 * SCAN)
        await settled(simulation)
        assert len(simulation.redis.state.markers) == 2

    simulation = lived(script)
    assert simulation.store.sent_bytes == 2 * SIZE
    assert set(recordings_in(simulation.store)) == {"stays.mp4", *([] if deleted else [PATH])}


def test_a_file_that_is_met_again_is_missed_from_the_beginning() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        await finished_file(simulation, path="stays.mp4", seed=2)
        away = simulation.disk.files.pop(PATH)
        await asyncio.sleep(3 * SCAN)
        await Days(simulation).pass_by(29, Retention(30, 100))
        assert sorted(marker.unseen for marker in simulation.redis.state.markers.values()) == [0, 29]
        await restart(simulation, lambda: simulation.disk.files.update({PATH: away}))
        await settled(simulation)
        assert [marker.unseen for marker in simulation.redis.state.markers.values()] == [0, 0]

    simulation = lived(script)
    assert simulation.problems(sent_at_most=2 * SIZE) == []


@pytest.mark.parametrize("most", [0, 10])
def test_files_on_disk_beside_a_multitude_that_was_pruned_are_not_sent_again(most: int) -> None:
    many, gone = 10, 100

    async def script(simulation: Simulation) -> None:
        for number in range(many):
            simulation.disk.write(f"{number}.mp4", bytes_of(CHUNK, number))
        await asyncio.sleep(3 * SCAN)
        await settled(simulation)
        for number in range(gone):
            simulation.disk.write(f"gone {number}.mp4", bytes_of(3, number))
        await asyncio.sleep(3 * SCAN)
        await settled(simulation)
        assert len(simulation.redis.state.markers) == many + gone
        for number in range(gone):
            simulation.disk.delete(f"gone {number}.mp4")
        await asyncio.sleep(3 * SCAN)
        await Days(simulation).pass_by(40, Retention(30, most))
        assert len(simulation.redis.state.markers) == len(simulation.redis.state.completed) == many
        before = len(simulation.store.calls), len(simulation.disk.digests)
        await restart(simulation)
        await settled(simulation)
        assert (len(simulation.store.calls), len(simulation.disk.digests)) == before

    simulation = lived(script)
    assert simulation.store.sent_bytes == many * CHUNK + gone * 3


def test_of_files_that_were_completed_only_some_are_remembered_and_none_gets_a_second_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then Redis loses its data, and the first files, which are forgotten, are renamed."""
    monkeypatch.setattr(claim, "_MOST_COMPLETED", 6)

    async def script(simulation: Simulation) -> None:
        await asyncio.sleep(2 * SCAN)  # the files are younger than the process
        for number in range(20):
            await finished_file(simulation, path=f"{number}.mp4", seed=number)
            assert simulation.dispatcher is not None
            assert len(simulation.dispatcher._claims._completed) <= 6
        simulation.redis.wipe()
        for number in range(3):
            simulation.disk.rename(f"{number}.mp4", f"moved {number}.mp4")
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=20 * SIZE) == []
    assert set(recordings_in(simulation.store)) == {f"{number}.mp4" for number in range(20)}
