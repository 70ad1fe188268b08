"""A short recording goes in one request that no upload fences: it may take effect at any later time, or be refused.

What was sent and not answered takes effect after each later effect of the stream's life, with the file as it was, grown
or patched meanwhile, and the daemon alive or killed: the object is the file, at its one key, and nothing is doubled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from src.domain import Answer, ChunkBody, Status, StoredObject
from tests.harness.crash.scenes import PATH, bytes_of, lived, recordings_in, restart, settled, until
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Fuse, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = [pytest.mark.timeout(240), pytest.mark.no_cover]

SHORT = bytes_of(CHUNK - 3, 1)


class _Lands(Fuse):
    """What was to take effect late takes effect in the moment of this index after the request was sent."""

    def __init__(self, simulation: Simulation, index: int | None, *, kill_at: int | None = None) -> None:
        super().__init__({})
        self.happened = False
        self._simulation = simulation
        self._index = index
        self._kill_at = kill_at
        self._sent_at: int | None = None
        self.sent = asyncio.Event()

    @property
    def later(self) -> int:
        """Moments since it was sent."""
        return 0 if self._sent_at is None else len(self.effects) - 1 - self._sent_at

    def __call__(self, effect: str, when: str) -> None:
        if self._sent_at is None and (effect, when) == ("store.put_whole", "before"):
            super().__call__(effect, when)
            self._sent_at = len(self.effects) - 1
            self.sent.set()
            return
        super().__call__(effect, when)
        if self._sent_at is None:
            return
        if self.later == self._kill_at and not self.blown.is_set():
            self.blown.set()
            return
        if not self.happened and self._index is not None and self.later >= self._index:
            self.happened = True
            self._simulation.store.land()


def nothing(_: Simulation) -> None:
    return


def grow(simulation: Simulation) -> None:
    simulation.disk.append(PATH, b"ab")


def grow_by_chunks(simulation: Simulation) -> None:
    simulation.disk.append(PATH, bytes_of(2 * CHUNK + 1, 90))


def patch(simulation: Simulation) -> None:
    simulation.disk.patch(PATH, 1, b"\xff\xfe")


def begin_anew(simulation: Simulation) -> None:
    simulation.disk.replace(PATH, bytes_of(CHUNK - 1, 200))


CHANGES: dict[str, Callable[[Simulation], None]] = {
    each.__name__: each for each in (nothing, grow, grow_by_chunks, patch, begin_anew)
}


def _live(
    change: Callable[[Simulation], None], index: int | None, *, kill_at: int | None = None, atomic: bool = True
) -> tuple[Simulation, _Lands]:
    async def life() -> tuple[Simulation, _Lands]:
        simulation = Simulation(store=FakeStore(limits=LIMITS, atomic=atomic), soon=None)  # it is the store that waits
        fuse = _Lands(simulation, index, kill_at=kill_at)
        simulation.fuse = fuse
        simulation.store.late_puts = 1

        async def record(_: object) -> None:
            await asyncio.sleep(SCAN)
            simulation.disk.write(PATH, SHORT)
            await until(fuse.sent.is_set, "the request", step=SCAN / 4)
            change(simulation)
            await asyncio.sleep(2000)  # longer than an unanswered request is waited for

        await simulation.run(record)
        simulation.store.land()  # at the latest
        return simulation, fuse

    return run(life())


@pytest.mark.parametrize("atomic", [True, False], ids=["amazon", "others"])
@pytest.mark.parametrize("kills", [False, True], ids=["alive", "killed"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_whole_file_that_takes_effect_late_after_any_effect_costs_nothing(
    change: str, kills: bool, atomic: bool
) -> None:
    kill_at = 1 if kills else None
    _, never = _live(CHANGES[change], None, kill_at=kill_at, atomic=atomic)
    assert never.later > 0
    broken = {}
    for index in range(1, never.later + 1):
        simulation, _ = _live(CHANGES[change], index, kill_at=kill_at, atomic=atomic)
        problems = _wrong(simulation, change)
        if problems:
            broken[index] = problems
    assert broken == {}


def _wrong(simulation: Simulation, change: str) -> list[str]:
    problems = simulation.problems()
    if change == "begin_anew":  # of a recording that was overwritten before anybody knew that it was stored
        problems = [problem for problem in problems if problem != f"{PATH} has no document"]
    objects = {key: found.data for key, found in recordings_in(simulation.store).items()}
    now = simulation.disk.content(PATH)
    if now not in objects.values():
        problems.append(f"the file is not in the store: {objects}")
    if len(objects) > 1 + (change == "begin_anew"):
        problems.append(f"more than the keys that are needed: {sorted(objects)}")
    return problems


def test_a_short_recording_goes_in_one_request_and_needs_no_upload() -> None:
    simulation, _ = _simple(FakeStore(limits=LIMITS))
    assert simulation.problems(sent_at_most=len(SHORT)) == []
    assert [name for name, _ in simulation.store.calls] == ["get_document", "head", "put_whole", "put_document"]


@pytest.mark.parametrize(
    "lacking", [{"whole": False}, {"conditional": False}, {"crc64": False}], ids=lambda lacking: next(iter(lacking))
)
def test_where_a_second_put_was_not_seen_refused_no_file_goes_in_one_request(lacking: dict[str, Any]) -> None:
    simulation, _ = _simple(FakeStore(limits=LIMITS, **lacking))
    assert simulation.problems() == []
    assert simulation.store.count("put_whole") == 0


def test_a_strangers_object_that_comes_before_the_request_is_left_alone() -> None:
    async def life() -> Simulation:
        simulation = Simulation()

        class _Comes(Fuse):
            def __call__(self, effect: str, when: str) -> None:
                super().__call__(effect, when)
                if (effect, when) == ("store.put_whole", "before") and PATH not in simulation.strangers:
                    simulation.plant(PATH, b"a stranger's film")

        simulation.fuse = _Comes({})

        async def record(_: object) -> None:
            simulation.disk.write(PATH, SHORT)

        await simulation.run(record)
        return simulation

    simulation = run(life())
    assert simulation.problems() == []
    assert simulation.store.objects["cam/take 1~2.mp4"].data == SHORT


class _FindsOtherBytes(FakeStore):
    """It never takes a whole file: every time other bytes arrive than were sent."""

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        await self._call("put_whole", key)
        return Answer.WRONG_CONTENT, None


def test_a_whole_file_that_arrives_with_other_bytes_goes_by_an_upload_next() -> None:
    simulation, _ = _simple(_FindsOtherBytes(limits=LIMITS))
    assert simulation.problems() == []
    assert simulation.store.count("put_whole") == 1


class _Repeats(FakeStore):
    """Behind a proxy that sends a whole file twice and passes on the second answer."""

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        await super().put_whole(key, metadata, body)
        return await super().put_whole(key, metadata, body)


@pytest.mark.parametrize("atomic", [True, False], ids=["amazon", "others"])
def test_an_object_that_another_request_made_is_fetched_where_a_store_may_be_wrong_about_it(atomic: bool) -> None:
    simulation, _ = _simple(_Repeats(limits=LIMITS, atomic=atomic))
    assert simulation.problems() == []
    assert simulation.store.count("object_crc64") == (0 if atomic else 1)
    assert list(recordings_in(simulation.store)) == [PATH]


def test_after_a_restart_a_whole_file_is_sent_again_only_if_the_store_still_refuses_a_second() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.late_puts = 1
        simulation.disk.write(PATH, SHORT)
        await until(lambda: simulation.store.count("put_whole"), "the request", step=SCAN / 4)
        simulation.store.whole = False
        await restart(simulation)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert simulation.store.count("put_whole") == 1
    assert simulation.store.objects[PATH].data == SHORT


def _simple(store: FakeStore) -> tuple[Simulation, None]:
    async def life() -> Simulation:
        simulation = Simulation(store=store)

        async def record(_: object) -> None:
            await asyncio.sleep(SCAN)
            simulation.disk.write(PATH, SHORT)

        await simulation.run(record)
        assert [r.status for r in simulation.redis.state.records.values() if r.status is Status.FAILED] == []
        return simulation

    return run(life()), None
