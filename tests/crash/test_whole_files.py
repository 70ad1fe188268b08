"""A short recording goes in one request that no upload fences: it may take effect at any later time, or be refused.

What was sent and not answered takes effect after each later effect of the stream's life, with the file as it was, grown
or patched meanwhile, and the daemon alive or killed: the object is the file, at its one key, and nothing is doubled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import pytest

from src.domain import Answer, ChunkBody, Hashes, Status, StoredObject
from src.exceptions import S3NotAble
from src.ownership.elsewhere import SURELY_LATER
from tests.harness.crash.scenes import PATH, bytes_of, lived, recordings_in, restart, settled, take_away, until
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Fuse, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = [pytest.mark.timeout(240), pytest.mark.no_cover]

SHORT = bytes_of(CHUNK - 3, 1)
NEW_PATH = "cam/another name.mp4"


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


def shorten(simulation: Simulation) -> None:
    simulation.disk.truncate(PATH, CHUNK - 5)


def begin_anew(simulation: Simulation) -> None:
    simulation.disk.replace(PATH, bytes_of(CHUNK - 1, 200))


def rename(simulation: Simulation) -> None:
    simulation.disk.rename(PATH, NEW_PATH)


def delete(simulation: Simulation) -> None:
    take_away(simulation.disk)


CHANGES: dict[str, Callable[[Simulation], None]] = {
    each.__name__: each for each in (nothing, grow, grow_by_chunks, patch, shorten, begin_anew, rename, delete)
}


#: What ends the recording; whatever is in the file afterwards is another one.
_ENDING = ("shorten", "begin_anew", "delete")


class Fate(StrEnum):
    """What becomes of the process that sent the request, and of Redis."""

    LIVES = "lives"
    KILLED = "killed at once"
    KILLED_AND_FORGOTTEN = "killed at once, and Redis is empty"
    FORGOTTEN = "lives, and Redis is empty"
    KILLED_AFTERWARDS = "killed when it has taken effect"


_RARER = (Fate.FORGOTTEN, Fate.KILLED_AND_FORGOTTEN, Fate.KILLED_AFTERWARDS)
_TELLING = ("nothing", "grow_by_chunks", "patch")
LIVES = [
    *((change, fate, False) for change in CHANGES for fate in (Fate.LIVES, Fate.KILLED)),
    *((change, fate, False) for change in _TELLING for fate in _RARER),
    *((change, Fate.LIVES, True) for change in _TELLING),  # Amazon's objects are not downloaded
]


def _live(
    change: Callable[[Simulation], None], index: int | None, fate: Fate, *, atomic: bool
) -> tuple[Simulation, _Lands]:
    async def life() -> tuple[Simulation, _Lands]:
        simulation = Simulation(store=FakeStore(limits=LIMITS, atomic=atomic), soon=None)  # it is the store that waits
        kill_at = {Fate.KILLED: 1, Fate.KILLED_AND_FORGOTTEN: 1}.get(fate)
        if fate is Fate.KILLED_AFTERWARDS and index is not None:
            kill_at = index + 1
        fuse = _Lands(simulation, index, kill_at=kill_at)
        simulation.fuse = fuse
        simulation.store.late_puts = 1
        if fate is Fate.KILLED_AND_FORGOTTEN:
            simulation.between_processes = lambda simulation: simulation.redis.wipe()

        async def record(_: object) -> None:
            await asyncio.sleep(2 * SURELY_LATER.total_seconds())
            simulation.disk.write(PATH, SHORT)
            await until(fuse.sent.is_set, "the request", step=SCAN / 4)
            change(simulation)
            if fate is Fate.FORGOTTEN:
                simulation.redis.wipe()
            await asyncio.sleep(2000)  # longer than an unanswered request is waited for

        await simulation.run(record)
        simulation.store.land()  # at the latest
        return simulation, fuse

    return run(life())


@pytest.mark.parametrize(("change", "fate", "atomic"), LIVES)
def test_a_whole_file_that_takes_effect_late_after_any_effect_costs_nothing(
    change: str, fate: Fate, atomic: bool
) -> None:
    _, never = _live(CHANGES[change], None, fate, atomic=atomic)
    assert never.later > 0
    broken = {}
    for index in range(1, never.later + 1):
        simulation, _ = _live(CHANGES[change], index, fate, atomic=atomic)
        problems = _wrong(simulation, change)
        if problems:
            broken[index] = problems
    assert broken == {}


def _wrong(simulation: Simulation, change: str) -> list[str]:
    problems = simulation.problems()
    if change in _ENDING:  # of a recording that was gone before anybody knew that it was stored
        problems = [problem for problem in problems if problem != f"{PATH} has no document"]
    objects = {key: found.data for key, found in recordings_in(simulation.store).items()}
    for _, now in simulation.recordings():
        if now not in objects.values():
            problems.append(f"the file is not in the store: {objects}")
    if len(objects) > 1 + (change in _ENDING):
        problems.append(f"more than the keys that are needed: {sorted(objects)}")
    return problems


def test_a_short_recording_goes_in_one_request_and_needs_no_upload() -> None:
    simulation = _simple(FakeStore(limits=LIMITS))
    assert simulation.problems(sent_at_most=len(SHORT)) == []
    assert [name for name, _ in simulation.store.calls] == ["get_document", "head", "put_whole", "put_document"]


@pytest.mark.parametrize(
    "lacking", [{"whole": False}, {"conditional": False}, {"crc64": False}], ids=lambda lacking: next(iter(lacking))
)
def test_where_a_second_put_was_not_seen_refused_no_file_goes_in_one_request(lacking: dict[str, Any]) -> None:
    simulation = _simple(FakeStore(limits=LIMITS, **lacking))
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
    simulation = _simple(_FindsOtherBytes(limits=LIMITS))
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
    simulation = _simple(_Repeats(limits=LIMITS, atomic=atomic))
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


class _AlwaysOccupied(FakeStore):
    """It refuses If-None-Match of every PutObject, wherever nothing is, too (Ceph RGW 16.2 does so with If-Match)."""

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        await self._call("put_whole", key)
        return Answer.PRECONDITION_FAILED, None


def test_a_store_that_refuses_every_whole_file_for_an_object_that_is_not_there_gets_an_upload() -> None:
    """Otherwise it would be asked for one key after the other, for a quarter of an hour each."""
    simulation = _simple(_AlwaysOccupied(limits=LIMITS))
    assert simulation.problems() == []
    assert [found.data for found in recordings_in(simulation.store).values()] == [SHORT]


def _first_part_of_the_next(simulation: Simulation) -> bool:
    return simulation.store.count("upload_part") > 0


def _is_stored(simulation: Simulation) -> bool:
    return bool(recordings_in(simulation.store))


def begin_a_long_one(simulation: Simulation) -> None:
    simulation.disk.replace(PATH, bytes_of(6 * CHUNK + 1, 77))


@pytest.mark.parametrize(
    ("change", "is_safe"),
    [(begin_a_long_one, _first_part_of_the_next), (patch, _is_stored)],
    ids=["another", "patched"],
)
def test_nobody_waits_long_for_a_request_that_was_lost_and_cannot_be_sent_again(
    change: Callable[[Simulation], None], is_safe: Callable[[Simulation], bool]
) -> None:
    """The next recording of this name may be growing, and has nothing in S3 until this one has ended."""

    async def script(simulation: Simulation) -> None:
        simulation.store.late_puts = 1
        simulation.disk.write(PATH, SHORT)
        await until(lambda: simulation.store.count("put_whole"), "the request", step=SCAN / 4)
        simulation.store.lose_late()
        change(simulation)
        await until(lambda: is_safe(simulation), "it is in S3", seconds=180)
        await settled(simulation)

    assert lived(script).problems() == []


class _TakesAndRefuses(FakeStore):
    """Behind a proxy that passes a whole file on and refuses it itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(limits=LIMITS, **options)
        self.then: Callable[[], object] = lambda: None

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        await super().put_whole(key, metadata, body)
        self.then()
        raise S3NotAble("too large", operation="put_object", code="413")


@pytest.mark.parametrize("is_gone", [False, True], ids=["its file stays", "its file goes"])
@pytest.mark.parametrize("atomic", [True, False], ids=["amazon", "others"])
def test_a_whole_file_that_was_refused_and_stored_all_the_same_is_found_and_needs_no_upload(
    atomic: bool, is_gone: bool
) -> None:
    async def script(simulation: Simulation) -> None:
        if is_gone:
            store.then = lambda: take_away(simulation.disk)
        simulation.disk.write(PATH, SHORT)
        await settled(simulation)

    store = _TakesAndRefuses(atomic=atomic)
    simulation = lived(script, store=store)
    assert simulation.problems() == []
    assert store.count("put_whole") == 1 and store.count("create_upload") == 0
    assert store.count("object_crc64") == (0 if atomic else 1)
    assert list(recordings_in(store)) == [PATH]


@pytest.mark.parametrize("atomic", [True, False], ids=["amazon", "others"])
def test_a_whole_file_that_was_refused_and_is_stored_later_leaves_no_upload(atomic: bool) -> None:
    class _Later(_TakesAndRefuses):
        def _blow(self, effect: str, when: str, key: str = "") -> None:
            if (effect, when) == ("complete_upload", "before"):
                self.land()
            super()._blow(effect, when, key)

    store = _Later(atomic=atomic)
    store.late_puts = 1
    simulation = _simple(store)
    assert simulation.problems() == []
    assert store.uploads == {}
    assert store.count("put_whole") == store.count("create_upload") == 1
    assert list(recordings_in(store)) == [PATH]


class _AfterTheRead(FakeStore):
    """Something happens between the last pass over the file and its request."""

    def __init__(self, happens: Callable[[], None], **options: Any) -> None:
        super().__init__(limits=LIMITS, **options)
        self._happens = [happens]

    async def hashes(self, upload_id: str | None = None) -> Hashes:
        if self._happens:
            self._happens.pop()()
        return await super().hashes(upload_id)


@pytest.mark.parametrize("is_seen", [True, False], ids=["a stat shows it", "no stat shows it"])
@pytest.mark.parametrize("atomic", [True, False], ids=["amazon", "others"])
def test_a_file_that_is_changed_between_the_last_pass_and_its_request_is_stored_as_it_is(
    is_seen: bool, atomic: bool
) -> None:
    async def script(simulation: Simulation) -> None:
        holder.append(simulation)
        simulation.disk.write(PATH, SHORT)
        await settled(simulation)

    holder: list[Simulation] = []
    store = _AfterTheRead(lambda: holder[0].disk.patch(PATH, 1, b"\xff\xfe", unseen=not is_seen), atomic=atomic)
    simulation = lived(script, store=store)
    assert store._happens == []
    assert simulation.problems() == []
    assert {key: found.data for key, found in recordings_in(store).items()} == {PATH: simulation.disk.content(PATH)}


def test_no_whole_file_is_sent_once_the_store_is_not_known_any_more_to_refuse_a_second() -> None:
    def update() -> None:
        store.whole = False

    store = _AfterTheRead(update)
    simulation = _simple(store)
    assert simulation.problems() == []
    assert store._happens == [] and store.count("put_whole") == 0


class _Blind(FakeStore):
    """Its HEADs say 404 of all that is there, until one is confirmed."""

    async def glance(self, key: str) -> StoredObject | None:
        await super().glance(key)
        return None


@pytest.mark.parametrize("atomic", [True, False], ids=["amazon", "others"])
@pytest.mark.parametrize("content", [SHORT, bytes_of(2 * CHUNK + 3, 1)], ids=["short", "long"])
@pytest.mark.parametrize("theirs", [True, False], ids=["a stranger's", "our own"])
def test_an_object_that_a_glance_has_missed_is_neither_overwritten_nor_doubled(
    theirs: bool, content: bytes, atomic: bool
) -> None:
    store = _Blind(limits=LIMITS, atomic=atomic)

    async def script(simulation: Simulation) -> None:
        if theirs:
            simulation.plant(PATH, b"a stranger's film")
        simulation.disk.write(PATH, content)
        if not theirs:
            await settled(simulation)
            del store.objects[f"{PATH}.metadata.json"]
            simulation.redis.wipe()
            await restart(simulation)
        await settled(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems() == []
    objects = {key: found.data for key, found in recordings_in(store).items()}
    assert objects == ({PATH: b"a stranger's film", "cam/take 1~2.mp4": content} if theirs else {PATH: content})


def _simple(store: FakeStore) -> Simulation:
    async def life() -> Simulation:
        simulation = Simulation(store=store)

        async def record(_: object) -> None:
            await asyncio.sleep(SCAN)
            simulation.disk.write(PATH, SHORT)

        await simulation.run(record)
        assert [r.status for r in simulation.redis.state.records.values() if r.status is Status.FAILED] == []
        return simulation

    return run(life())
