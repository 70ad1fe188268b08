"""What the tests of conduct add to the simulation: a stage with a clock to wait on, slower stores, blind disks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from src.dispatcher import Dispatcher
from src.domain import ChunkBody, Snapshot, Status, StoredPart, moments
from src.events import StreamEvent, WatcherChangeType
from src.exceptions import ChunkProcessingError
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Disk, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.recordings import FakeFile
from tests.harness.fakes.store import FakeObject, FakeStore, FakeUpload

M = TypeVar("M", bound=moments.Moment)

Script = Callable[[Simulation], Awaitable[None]]
PATH = "cam/take 1.mp4"
SECOND = "cam/take 1~2.mp4"
THIRD = "cam/take 1~3.mp4"


class Stuck(AssertionError):
    """What was waited for did not come."""


def bytes_of(count: int, seed: int) -> bytes:
    """Bytes that differ from those of any other small seed, chunk by chunk."""
    return bytes((seed * 31 + position * 7 + position // CHUNK) % 251 for position in range(count))


def lived(script: Script, *, settle: float = 9000.0, **options: Any) -> Simulation:
    """Play the script against a running daemon, let everything come to rest, and give what is left to look at."""

    async def live() -> Simulation:
        simulation = Simulation(**options)

        async def recorder(_: Disk) -> None:
            await script(simulation)

        await simulation.run(recorder, settle=settle)
        return simulation

    return run(live())


async def until(condition: Callable[[], object], what: str, *, seconds: float = 20_000.0, step: float = 0.25) -> None:
    """Wait in virtual time. Raises ``Stuck`` after ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise Stuck(f"not within {seconds} s: {what}")
        await asyncio.sleep(step)


def is_settled(simulation: Simulation) -> bool:
    """Whether no stream is alive and nothing waits for a look."""
    dispatcher = simulation.dispatcher
    assert dispatcher is not None
    waiting = dispatcher._hints or len(dispatcher._newcomers)
    return not (dispatcher._register.by_identity or waiting or simulation.fuse.blown.is_set())


async def settled(simulation: Simulation, *, seconds: float = 20_000.0) -> None:
    """Until every file is done or its stream has failed, and the scan has had nothing new to say for a while."""
    quiet_since = asyncio.get_running_loop().time()
    deadline = quiet_since + seconds
    while asyncio.get_running_loop().time() - quiet_since < 3 * SCAN:
        now = asyncio.get_running_loop().time()
        if now > deadline:
            raise Stuck("a stream does not end")
        if not is_settled(simulation):
            quiet_since = now
        await asyncio.sleep(SCAN / 4)


def on_effect(
    simulation: Simulation,
    effect: str,
    action: Callable[[], object] = lambda: None,
    *,
    when: str = "after",
    nth: int = 1,
) -> asyncio.Event:
    """Run ``action`` in the very moment before or after the nth such effect; the event is set then.

    Effects follow each other without any (virtual) time between, so no polling could meet the moment.
    """
    happened, count = asyncio.Event(), 0
    fuse = simulation.fuse

    def hook(name: str, at: str) -> None:
        nonlocal count
        if (name, at) == (effect, when) and not happened.is_set():
            count += 1
            if count == nth:
                happened.set()
                action()
        fuse(name, at)

    simulation.store.fuse = simulation.redis.fuse = hook
    return happened


async def killed_at(simulation: Simulation, effect: str, meanwhile: Callable[[], object], **where: Any) -> None:
    """Kill the daemon at this effect, do something while it is down, start it again."""
    before = simulation.processes
    simulation.between_processes = lambda _: _nothing(meanwhile())
    await on_effect(simulation, effect, simulation.fuse.blown.set, **where).wait()
    await until(lambda: simulation.processes > before and not simulation.fuse.blown.is_set(), "the next process")
    simulation.between_processes = _nothing
    await asyncio.sleep(2 * SCAN)


async def restart(simulation: Simulation, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Kill the daemon here, do something while it is down, start it again."""
    before = simulation.processes

    simulation.between_processes = lambda _: _nothing(meanwhile())
    simulation.fuse.blown.set()
    await until(lambda: simulation.processes > before and not simulation.fuse.blown.is_set(), "the next process")
    simulation.between_processes = _nothing
    await asyncio.sleep(2 * SCAN)


def _nothing(_: object) -> None:
    return


async def finished_file(simulation: Simulation, size: int = 4 * CHUNK + 3, *, path: str = PATH, seed: int = 1) -> bytes:
    """A file that lies there whole, until it is done; its content."""
    content = bytes_of(size, seed)
    simulation.disk.write(path, content)
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)
    return content


async def growing_file(simulation: Simulation, chunks: int, *, path: str = PATH, seed: int = 1) -> None:
    """A file that gets a chunk every five seconds."""
    simulation.disk.write(path, bytes_of(3, seed))
    for number in range(chunks):
        await asyncio.sleep(5)
        simulation.disk.append(path, bytes_of(CHUNK, seed + 10 + number))


async def passed_by(simulation: Simulation, look: Callable[[], object] = lambda: None) -> None:
    """A stranger comes to the key of a recording that goes on to the third: the second is another file's, which grows
    while that one lives. ``look`` is called in between."""
    disk = simulation.disk
    disk.write("x~2.mp4", bytes_of(4 * CHUNK, 3))
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)
    disk.write("x.mp4", bytes_of(6 * CHUNK + 2, 4))
    growing: list[asyncio.Task[None]] = []

    async def grow() -> None:
        for step in range(60):
            disk.append("x.mp4", bytes_of(CHUNK, step))
            await asyncio.sleep(10)

    def plant() -> None:
        simulation.plant("x.mp4", b"a stranger's")
        growing.append(asyncio.create_task(grow()))

    await on_effect(simulation, "store.complete_upload", plant, when="before").wait()
    await asyncio.sleep(100)
    look()
    disk.append("x~2.mp4", bytes_of(CHUNK, 9))
    await asyncio.sleep(300)
    await growing[0]
    await settled(simulation)


async def rotated(simulation: Simulation) -> None:
    """Right after the first film is an object, another takes its name."""
    simulation.disk.write("cam.mp4", bytes_of(4 * CHUNK, 1))

    def rotate() -> None:
        simulation.disk.rename("cam.mp4", "cam-1.mp4")
        simulation.disk.replace("cam.mp4", bytes_of(9 * CHUNK, 5))

    await on_effect(simulation, "store.complete_upload", rotate).wait()
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)


def recordings_in(store: FakeStore) -> Mapping[str, FakeObject]:
    """The objects that are no documents."""
    return {key: found for key, found in store.objects.items() if not key.endswith(".metadata.json")}


def content_at(simulation: Simulation, key: str = PATH) -> bytes:
    return simulation.store.objects[key].data


def uploads(simulation: Simulation) -> list[FakeUpload]:
    return list(simulation.store.uploads.values())


def without(problems: list[str], *beginnings: str) -> list[str]:
    """The problems but for those that the test has made itself."""
    return [problem for problem in problems if not problem.startswith(beginnings)]


def heard(simulation: Simulation, *kinds: type[M]) -> list[M]:
    """Each moment of these kinds, the daemon's and the streams'."""
    return [moment for moment in simulation.telemetry.everything() if isinstance(moment, kinds)]


def failed_reasons(simulation: Simulation) -> list[str | None]:
    records = simulation.redis.state.records.values()
    return [record.failure for record in records if record.status is Status.FAILED]


def take_away(disk: Disk, path: str = PATH) -> FakeFile:
    """The file is moved out of the folder."""
    return disk.files.pop(path)


def put_back(disk: Disk, file: FakeFile, path: str = PATH) -> None:
    """The same file comes back; a rename changes its ctime."""
    disk.files[path] = file
    file.ctime_ns = disk._tick()


class SlowStore(FakeStore):
    """Takes its time for each part, and notes when parts came and how much memory was held."""

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(limits=options.pop("limits", LIMITS), **options)
        self.seconds = seconds
        self.arrivals: list[tuple[float, str, int]] = []  # (time, key, number)
        self.disk: Disk | None = None
        self.most_bodies = 0
        self.most_bytes = 0

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if self.disk is not None:
            held = self.disk.unreleased
            self.most_bodies = max(self.most_bodies, len(held))
            self.most_bytes = max(self.most_bytes, sum(one.size for one in held))
        await asyncio.sleep(self.seconds)
        stored = await super().upload_part(key, upload_id, number, body)
        self.arrivals.append((asyncio.get_running_loop().time(), key, number))
        return stored


class BlindDisk(Disk):
    """A stat can fail as it does where a folder may not be passed or a server does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.blind: set[str] = set()
        self.blind_looks = 0

    async def snapshot(self, path: str) -> Snapshot | None:
        if path in self.blind:
            self.blind_looks += 1
            raise ChunkProcessingError(f"{path!r}: Permission denied", operation="stat")
        return await super().snapshot(path)

    async def seen_by_the_scan(self, path: str) -> Snapshot | None:
        """The scan looks at a folder's entries, which works although the conduct's own stat does not."""
        return await super().snapshot(path)


class BlindSimulation(Simulation):
    """A simulation on a ``BlindDisk``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.blind_disk = self.disk = BlindDisk()

    async def _watch(self, dispatcher: Dispatcher) -> None:
        seen: dict[str, Snapshot | None] = {}
        while True:
            now = {path: await self.blind_disk.seen_by_the_scan(path) for path in list(self.disk.files)}
            for path in (*now, *(set(seen) - set(now))):
                if seen.get(path) != now.get(path):
                    dispatcher.publish(StreamEvent(WatcherChangeType.WRITE, path))
            seen = dict(now)
            dispatcher.first_scan_done()
            await asyncio.sleep(SCAN)


QUIET = TIMEOUT + 2 * SCAN
