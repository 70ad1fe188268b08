"""Finished files that have to be read again, however many and however slowly, keep no live recording waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from src.dispatcher import newcomers
from src.domain import Chunk, Digest, Hashes, Identity, StoredObject, Writers, moments
from src.exceptions import ChunkProcessingError
from tests.harness.crash.scenes import bytes_of, heard, is_settled, lived, restart, settled, until
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Disk, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)

MANY = 40
READING = 100.0
SOON = 60.0


@dataclass
class SlowDisk(Disk):
    """Reads a finished file slowly, once it is told to; notes how many it reads at once, and the order."""

    seconds: float = 0.0
    hanging: str = ""
    reading: int = 0
    most_reading: int = 0
    read_whole: list[str] = field(default_factory=list)

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        if self.seconds and chunk.number == 1 and "old" in path:
            self.reading += 1
            self.most_reading = max(self.most_reading, self.reading)
            try:
                await asyncio.sleep(self.seconds)
                if path == self.hanging:
                    raise ChunkProcessingError(f"{path!r}: no answer", operation="read")
            finally:
                self.reading -= 1
            self.read_whole.append(path)
        return await super().digest(path, identity, chunk, hashes)


@dataclass
class Crowd(Simulation):
    """Many finished files on a slow disk, which keeps them waiting for each other."""

    soon: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.slow = self.disk = SlowDisk()

    async def finish_many(self, many: int = MANY) -> None:
        for number in range(many):
            self.disk.write(_old(number), bytes_of(4 * CHUNK, number))
        await asyncio.sleep(2 * SCAN)
        await settled(self)
        await asyncio.sleep(300)
        self.slow.seconds = READING

    def touch(self, many: int = MANY, first: int = 0) -> None:
        for number in range(first, many):
            self.disk._touch(self.disk.files[_old(number)])


def _old(number: int) -> str:
    return f"old {number:04}.mp4"


def played(script: Callable[[Crowd], Awaitable[None]], *, settle: float = 10.0) -> Crowd:
    async def live() -> Crowd:
        crowd = Crowd()
        await crowd.run(lambda _: script(crowd), settle=settle)
        return crowd

    return run(live())


def _sent(crowd: Crowd, key: str) -> int:
    return sum(len(upload.parts) for upload in crowd.store.uploads.values() if upload.key == key)


def _open_uploads(crowd: Crowd) -> set[str]:
    return {upload.key for upload in crowd.store.uploads.values()}


async def live_recording(crowd: Crowd, path: str = "live.mp4", *, key: str = "") -> None:
    """Its first part is there soon after it was whole, and its object soon after its quiet time."""
    key = key or path
    crowd.disk.write(path, bytes_of(3, 7))
    for step in range(12):
        await asyncio.sleep(5)
        crowd.disk.append(path, bytes_of(CHUNK, 100 + step))
        if step == 4:
            assert _sent(crowd, key), "no part of the live recording is sent"
    await until(lambda: key in crowd.store.objects, "the live one", seconds=TIMEOUT + SOON)


def _is_done(crowd: Crowd, path: str) -> bool:
    file = crowd.disk.files[path]
    marker = crowd.redis.state.markers.get(file.identity)
    return marker is not None and marker.snapshot.mtime_ns == file.mtime_ns


# -- what makes finished files be read ---------------------------------------------------------------------------------


async def _touched(crowd: Crowd) -> None:
    await crowd.finish_many()
    crowd.touch()


async def _with_other_rights(crowd: Crowd) -> None:
    await crowd.finish_many()
    for number in range(MANY):
        crowd.disk.files[_old(number)].ctime_ns = crowd.disk._tick()


async def _renamed(crowd: Crowd) -> None:
    await crowd.finish_many()
    for number in range(MANY):
        crowd.disk.rename(_old(number), f"done {_old(number)}")


async def _touched_while_redis_was_wiped(crowd: Crowd) -> None:
    await crowd.finish_many()

    def meanwhile() -> None:
        crowd.redis.wipe()
        crowd.touch()

    await restart(crowd, meanwhile)


async def _copied_anew(crowd: Crowd) -> None:
    """Other files of the same bytes, as after a restore of the folder; Redis knows none of them."""
    await crowd.finish_many()

    def meanwhile() -> None:
        crowd.redis.wipe()
        for number in range(MANY):
            crowd.disk.replace(_old(number), crowd.disk.content(_old(number)))

    await restart(crowd, meanwhile)


WAYS = (_touched, _with_other_rights, _renamed, _touched_while_redis_was_wiped, _copied_anew)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_live_recording_waits_for_no_reading_of_finished_files(way: Callable[[Crowd], Awaitable[None]]) -> None:
    async def script(crowd: Crowd) -> None:
        await way(crowd)
        await asyncio.sleep(2 * SCAN)
        await live_recording(crowd)
        await settled(crowd, seconds=2 * MANY * READING)

    crowd = played(script)
    assert crowd.problems() == []
    assert crowd.slow.most_reading == 1, "one finished file is read at a time"
    assert len(crowd.slow.read_whole) == MANY, "each of them once"


def test_a_recording_does_not_wait_for_the_reading_of_the_one_that_had_its_name() -> None:
    """Redis was wiped, and the file renamed: the object at the name's key is compared with what is an old one now."""

    async def script(crowd: Crowd) -> None:
        crowd.disk.write("cam.mp4", bytes_of(4 * CHUNK, 1))
        await asyncio.sleep(2 * SCAN)
        await settled(crowd)
        await asyncio.sleep(300)
        crowd.slow.seconds = 5 * READING

        def rotate() -> None:
            crowd.redis.wipe()
            crowd.disk.rename("cam.mp4", _old(1))

        await restart(crowd, rotate)
        await until(lambda: crowd.slow.reading, "the reading")
        await live_recording(crowd, "cam.mp4", key="cam~2.mp4")
        assert crowd.slow.reading
        await settled(crowd)

    crowd = played(script)
    assert crowd.problems() == []
    assert crowd.slow.read_whole == [_old(1)]


def test_a_finished_recording_that_goes_on_does_not_wait_for_the_reading_of_others() -> None:
    async def script(crowd: Crowd) -> None:
        await _touched(crowd)
        await asyncio.sleep(30)
        goes_on = _old(MANY - 1)
        for step in range(4):
            crowd.disk.append(goes_on, bytes_of(CHUNK, 100 + step))
            await asyncio.sleep(5)
        await until(lambda: goes_on in _open_uploads(crowd), "its upload", seconds=SOON)
        crowd.slow.seconds = 0.0
        await settled(crowd)

    assert played(script).problems() == []


def test_a_finished_recording_that_goes_on_while_it_is_read_is_no_longer_compared() -> None:
    async def script(crowd: Crowd) -> None:
        await crowd.finish_many(1)
        crowd.slow.seconds = 5000.0
        crowd.touch(1)
        await until(lambda: crowd.slow.reading, "the reading")
        for step in range(4):
            await asyncio.sleep(5)
            crowd.disk.append(_old(0), bytes_of(CHUNK, 100 + step))
        await until(lambda: _old(0) in _open_uploads(crowd), "its upload", seconds=SOON)
        crowd.slow.seconds = 0.0
        await settled(crowd)

    assert played(script).problems() == []


@pytest.mark.parametrize("writers", [Writers.PRESENT, Writers.UNKNOWN])
def test_a_preallocated_recording_under_a_used_name_does_not_wait_for_the_reading_of_others(writers: Writers) -> None:
    """It has the size of the object at its key, so that only a look at its bytes can tell the two apart."""

    async def script(crowd: Crowd) -> None:
        crowd.disk.write("cam.mp4", bytes_of(6 * CHUNK, 5))
        await _touched(crowd)
        await asyncio.sleep(2 * SCAN)
        crowd.disk.replace("cam.mp4", bytes(6 * CHUNK))
        crowd.disk.files["cam.mp4"].writers = writers
        for step in range(6):
            await asyncio.sleep(5)
            crowd.disk.patch("cam.mp4", step * CHUNK, bytes_of(CHUNK, 100 + step))
        await until(lambda: _sent(crowd, "cam~2.mp4"), "a part of it", seconds=SOON)
        crowd.disk.files["cam.mp4"].writers = Writers.NONE
        await until(lambda: "cam~2.mp4" in crowd.store.objects, "its object", seconds=TIMEOUT + SOON)
        crowd.slow.seconds = 0.0
        await settled(crowd)

    assert played(script).problems() == []


def test_a_finished_file_that_cannot_be_read_keeps_no_other_waiting() -> None:
    async def script(crowd: Crowd) -> None:
        await crowd.finish_many(4)
        crowd.slow.hanging = _old(0)
        crowd.touch(4)
        others = [_old(number) for number in range(1, 4)]
        await until(lambda: all(_is_done(crowd, path) for path in others), "the others", seconds=8 * READING)
        assert not _is_done(crowd, _old(0))
        crowd.slow.hanging = ""
        await until(lambda: _is_done(crowd, _old(0)), "the first, too", seconds=2000)
        await settled(crowd)

    assert played(script).problems() == []


def test_files_that_wait_to_be_read_hold_no_task() -> None:
    many = 240
    tasks: list[int] = []

    async def script(crowd: Crowd) -> None:
        await crowd.finish_many(many)
        before = len(asyncio.all_tasks())
        crowd.touch(many)
        for _ in range(60):
            await asyncio.sleep(SCAN)
            tasks.append(len(asyncio.all_tasks()) - before)
        crowd.slow.seconds = 0.0
        await until(lambda: is_settled(crowd), "all of them", seconds=2000)
        await settled(crowd)

    crowd = played(script)
    assert crowd.problems() == []
    assert max(tasks) < 30, "a task each"
    assert heard(crowd, moments.Unexpected) == []


def test_of_files_lying_ready_no_more_than_a_thousand_wait_for_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(newcomers, "_MOST_UNKNOWN", 50)
    living: list[int] = []

    async def script(crowd: Crowd) -> None:
        def meanwhile() -> None:
            crowd.store.go_away()
            for number in range(240):
                crowd.disk.write(_old(number), bytes_of(CHUNK, number))
                file = crowd.disk.files[_old(number)]
                file.mtime_ns = file.ctime_ns = file.mtime_ns - 10**13

        await asyncio.sleep(SCAN)
        await restart(crowd, meanwhile)
        for _ in range(30):
            await asyncio.sleep(SCAN)
            assert crowd.dispatcher is not None
            living.append(len(crowd.dispatcher._register.by_identity))
        crowd.store.come_back()
        await settled(crowd)

    assert played(script).problems() == []
    assert max(living) <= 50


# -- files that lie ready, and have to be quiet for some time ----------------------------------------------------------


async def _ready(crowd: Crowd, many: int) -> None:
    """As at a start beside a folder that no process has seen before."""

    def meanwhile() -> None:
        for number in range(many):
            crowd.disk.write(_old(number), bytes_of(CHUNK, number))
            file = crowd.disk.files[_old(number)]
            file.mtime_ns = file.ctime_ns = file.mtime_ns - 10**13

    await asyncio.sleep(SCAN)
    await restart(crowd, meanwhile)


def _objects(crowd: Crowd) -> int:
    return sum("old" in key and not key.endswith(".json") for key in crowd.store.objects)


def test_files_lying_ready_are_quiet_at_the_same_time() -> None:
    """One that waits in the queue is quiet meanwhile."""

    async def script(crowd: Crowd) -> None:
        await _ready(crowd, 80)
        await until(lambda: _objects(crowd) == 80, "all objects", seconds=TIMEOUT + 5.0)
        await settled(crowd)

    assert played(script).problems() == []


def test_a_file_that_changes_while_it_waits_in_the_queue_is_quiet_from_then_on() -> None:
    async def script(crowd: Crowd) -> None:
        await _ready(crowd, 40)
        last = _old(39)
        await asyncio.sleep(TIMEOUT - 10.0)
        assert crowd.dispatcher is not None and last in crowd.dispatcher._newcomers.resting.files
        crowd.disk.patch(last, 0, b"new")
        await asyncio.sleep(TIMEOUT - 1.0)
        assert _objects(crowd) == 39
        await until(lambda: last in crowd.store.objects, "its object", seconds=5.0)
        await settled(crowd)

    assert played(script).problems() == []


def test_a_file_that_changes_while_its_key_is_looked_at_is_quiet_from_then_on() -> None:
    class SlowToAnswer(FakeStore):
        async def head(self, key: str) -> StoredObject | None:
            if key == _old(0) and key not in self.objects:
                await asyncio.sleep(2 * TIMEOUT)
            return await super().head(key)

        glance = head

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(_old(0), bytes_of(CHUNK, 1))
        await asyncio.sleep(2 * TIMEOUT - SCAN)
        simulation.disk.patch(_old(0), 0, b"new")
        await asyncio.sleep(TIMEOUT - SCAN)
        assert _old(0) not in simulation.store.objects
        await until(lambda: _old(0) in simulation.store.objects, "its object", seconds=TIMEOUT)

    assert lived(script, store=SlowToAnswer(limits=LIMITS), soon=None).problems() == []
