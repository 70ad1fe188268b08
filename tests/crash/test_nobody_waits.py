"""Nobody behind another: whatever is refused, hangs or is slow for some recordings, every other one goes on.

More recordings are harmed than there are turns, by one or by far. Each operation of the world is met alone, for as long
as the test likes; the recordings that it does not meet are complete a minute after their quiet time, memory stays
within its bound, and the harmed ones go on when it ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from src.domain import METADATA_SUFFIX, ChunkBody, Identity, Probe, StoredObject, StoredPart, World
from src.exceptions import S3Unavailable
from tests.harness.crash.beside import SOON, live_beside
from tests.harness.crash.harm import DISK, FFPROBE, HARMED, REDIS, STORE, Kind
from tests.harness.crash.scenes import (
    QUIET,
    bytes_of,
    killed_at,
    lived,
    on_effect,
    passed_by,
    recordings_in,
    rotated,
    settled,
    until,
    without,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Disk, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.prober import ReadingProber, film_in
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(60)

SLOTS = 2
MANY = 8
#: What takes a place that others wait for, with every number of turns; of the rest a few with two, many with one.
_TAKES_A_PLACE = ("upload_part", "head", "get_document", "save_part", "marker", "read")


def _cases() -> Iterator[tuple[str, Kind, int, int]]:
    for operation, kind in product((*STORE, *REDIS, *DISK, *FFPROBE), Kind):
        yield operation, kind, SLOTS, SLOTS + 1
        yield operation, kind, 1, MANY * 2
        if operation in _TAKES_A_PLACE and kind is not Kind.REFUSED:
            yield operation, kind, SLOTS, MANY * (SLOTS + 1)


CASES = [pytest.param(*case, id=" ".join(map(str, case))) for case in _cases()]


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


def test_a_key_that_a_stream_only_passed_by_is_free_for_the_file_that_owns_it() -> None:
    """A stranger came to the key of a recording, which went on to the third: the second was another file's already."""
    sizes: dict[str, int] = {}

    async def script(simulation: Simulation) -> None:
        def look() -> None:
            assert simulation.dispatcher is not None
            assert list(simulation.dispatcher._keys._owners) == ["x~3.mp4"]

        await passed_by(simulation, look)
        sizes.update({key: len(found.data) for key, found in recordings_in(simulation.store).items()})

    simulation = lived(script, settle=2000)
    assert sizes["x~2.mp4"] == 5 * CHUNK, "the object of the finished file is brought up to date where it is"
    assert simulation.problems() == []


class SlowToAnswer(FakeStore):
    """The next look at one key takes minutes."""

    slow: str | None = None

    async def head(self, key: str) -> StoredObject | None:
        if key == self.slow:
            self.slow = None
            await asyncio.sleep(300)
        return await super().head(key)


def test_a_key_that_a_stream_only_looks_at_is_free_for_the_file_that_owns_it() -> None:
    """A stranger came to the key of a recording. While it looks at the second, the file goes on whose that is."""
    store = SlowToAnswer(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write("x~2.mp4", bytes_of(4 * CHUNK, 3))
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)

        def plant() -> None:
            simulation.plant("x.mp4", b"a stranger's")
            store.slow = "x~2.mp4"

        planted = on_effect(simulation, "store.complete_upload", plant, when="before")
        simulation.disk.write("x.mp4", bytes_of(6 * CHUNK, 4))
        await planted.wait()
        await until(lambda: store.slow is None, "the look")
        simulation.disk.append("x~2.mp4", bytes_of(CHUNK, 9))

    simulation = lived(script, store=store, soon=None)
    assert simulation.problems() == []
    sizes = {key: len(found.data) for key, found in recordings_in(store).items()}
    assert sizes == {"x.mp4": 12, "x~2.mp4": 5 * CHUNK, "x~3.mp4": 6 * CHUNK}


def test_two_files_look_at_one_key_and_neither_waits_for_the_other() -> None:
    """The first, whose own key is a stranger's, is a long time looking at the second: meanwhile that is taken."""
    store = SlowToAnswer(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        def read() -> int:
            return [path for path, _ in simulation.disk.digests].count("x.mp4")

        simulation.plant("x.mp4", bytes_of(4 * CHUNK, 8))
        store.slow = "x~2.mp4"
        simulation.disk.write("x.mp4", bytes_of(4 * CHUNK, 3))
        await until(lambda: store.slow is None, "the look")
        simulation.disk.write("x~2.mp4", bytes_of(2 * CHUNK, 4))
        await until(lambda: "x~2.mp4" in store.objects, "the second", seconds=QUIET + SOON)
        assert read() == 4, "read once, to be compared"
        read_before: list[int] = []
        begun = on_effect(simulation, "store.create_upload", lambda: read_before.append(read()))
        async with asyncio.timeout(600):
            await begun.wait()
        assert read_before == [4], "its bytes are still the same"

    simulation = lived(script, store=store, soon=None)
    assert simulation.problems() == []
    sizes = {key: len(found.data) for key, found in recordings_in(store).items()}
    assert sizes == {"x.mp4": 4 * CHUNK, "x~2.mp4": 2 * CHUNK, "x~3.mp4": 4 * CHUNK}


def test_a_live_file_that_is_renamed_over_an_emptied_one_leaves_no_stream_behind() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write("a.mp4", bytes_of(3 * CHUNK, 1))
        simulation.disk.write("b.mp4", bytes_of(3 * CHUNK, 2))
        await asyncio.sleep(8)
        simulation.disk.truncate("b.mp4", 0)
        await asyncio.sleep(8)
        simulation.disk.rename("a.mp4", "b.mp4")
        await asyncio.sleep(600)
        assert simulation.dispatcher is not None
        assert simulation.dispatcher._register.by_identity == {}, "the displaced one waits for a file that is gone"

    assert without(lived(script, settle=10).problems(), "open upload") == []


class ByLength(ReadingProber):
    """A film lasts as many seconds as its file has bytes; the answer takes a while."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.cancelled = 0

    async def probe(self, path: str, identity: Identity) -> Probe:
        self.asked.append(path)
        there = self.folder.files.get(path)
        if there is None or there.identity != identity:
            return Probe(error="another file has taken its place")
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return film_in(bytes(there.data))


@dataclass
class LengthSimulation(Simulation):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.prober = ByLength(self.disk)

    def _world(self) -> World:
        return replace(super()._world(), prober=self.prober)


def _documents(simulation: Simulation) -> dict[str, tuple[int, float | None]]:
    """Size and duration that each document tells."""
    objects = simulation.store.objects.items()
    told = {key: json.loads(found.data) for key, found in objects if key.endswith(METADATA_SUFFIX)}
    return {key: (document["total_size_bytes"], document["duration_seconds"]) for key, document in told.items()}


def test_a_document_never_describes_the_film_that_took_the_place_of_its_own() -> None:
    async def live() -> LengthSimulation:
        simulation = LengthSimulation()

        await simulation.run(lambda _: rotated(simulation))
        return simulation

    simulation = run(live())
    assert simulation.problems() == []
    told = _documents(simulation)
    assert len(told) == 2
    assert all(seconds == float(size) for size, seconds in told.values()), told


def test_a_change_of_the_file_ends_a_description_that_waits() -> None:
    async def live() -> LengthSimulation:
        simulation = LengthSimulation()

        async def script(_: Disk) -> None:
            simulation.disk.write("cam.mp4", bytes_of(4 * CHUNK, 1))
            await until(lambda: "cam.mp4" in simulation.store.objects, "the object")
            simulation.disk.append("cam.mp4", bytes_of(CHUNK, 2))
            await asyncio.sleep(2 * SCAN)
            assert simulation.prober.cancelled == 1
            await settled(simulation)

        await simulation.run(script)
        return simulation

    simulation = run(live())
    assert simulation.problems() == []
    assert list(_documents(simulation).values()) == [(5 * CHUNK, float(5 * CHUNK))]


def test_a_document_that_is_written_again_after_a_kill_has_the_same_bytes_without_another_look() -> None:
    written: list[bytes] = []

    async def live() -> LengthSimulation:
        simulation = LengthSimulation()

        async def script(_: Disk) -> None:
            simulation.disk.write("cam.mp4", bytes_of(4 * CHUNK, 1))

            def keep() -> None:
                written.append(simulation.store.objects[f"cam.mp4{METADATA_SUFFIX}"].data)

            await killed_at(simulation, "store.put_document", keep)
            await settled(simulation)

        await simulation.run(script)
        return simulation

    simulation = run(live())
    assert simulation.problems() == []
    assert [simulation.store.objects[f"cam.mp4{METADATA_SUFFIX}"].data] == written
    assert simulation.prober.asked == ["cam.mp4"]


@pytest.mark.parametrize(("operation", "kind", "slots", "harmed"), CASES)
def test_what_meets_some_recordings_keeps_no_other_waiting(operation: str, kind: Kind, slots: int, harmed: int) -> None:
    beside = live_beside(operation, kind, slots=slots, harmed=harmed)
    assert beside.simulation.harm.met or operation in ("abort_upload", "put_marker", "object_crc64"), "nothing was met"
    assert beside.problems() == []
