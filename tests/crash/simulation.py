"""The whole conduct on fakes in virtual time: a recorder writes, the daemon is killed and started again, and audited.

A "process" is one ``Dispatcher`` with its streams. It is killed by a fuse: the effect that blows it raises, every
later effect of that process raises too, and its tasks are cancelled. Store, Redis and disk live on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from src.dispatcher import Dispatcher, FairSlots
from src.events import StreamEvent, WatcherChangeType
from src.metadata_generator import document_key, read_document
from src.part_plan import Limits
from src.ports import Naming, Rhythm, World
from src.recording import Checkpoint, PartSchedule, Status, WhenMissing
from src.stream_processor import StreamProcessor
from tests.crash.virtual_time import VirtualClock
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.prober import FakeProber
from tests.fakes.recordings import FakeRecordings
from tests.fakes.store import FakeStore
from tests.fakes.telemetry import FakeTelemetry

CHUNK = 8
LIMITS = Limits(min_part=CHUNK, max_part=8 * CHUNK, max_parts=200, parts_per_step=50)
TIMEOUT = 30.0
SCAN = 2.0

Recorder = Callable[["Disk"], Awaitable[None]]


class Killed(BaseException):
    """The process was killed at this effect."""


class Fuse:
    """Counts effects and blows at the chosen ones; a blown fuse lets nothing through until the next process."""

    def __init__(self, kills: tuple[int, ...] = ()) -> None:
        self.effects: list[str] = []
        self.blown = asyncio.Event()
        self._kills = set(kills)

    def __call__(self, effect: str, when: str) -> None:
        if self.blown.is_set():
            raise Killed
        self.effects.append(f"{when} {effect}")
        if len(self.effects) - 1 in self._kills:
            self.blown.set()
            raise Killed


class Disk(FakeRecordings):
    """The folder, and the steps of a recorder in time."""

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _tick(self) -> int:
        """File times follow the virtual clock, so that a file that grows looks as if it does."""
        self.now_ns = max(self.now_ns + 1000, int(VirtualClock().utc_now().timestamp() * 1e9))
        return self.now_ns


@dataclass
class Simulation:
    """One folder, one store, one Redis, and as many processes one after the other as kills make necessary."""

    kills: tuple[int, ...] = ()
    store: FakeStore = field(default_factory=lambda: FakeStore(limits=LIMITS))
    slots: int = 2
    between_processes: Callable[[Simulation], None] = lambda simulation: None
    naming: Naming = field(default_factory=lambda: Naming(PartSchedule(CHUNK), limits=LIMITS))
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(timeout=TIMEOUT, missing_grace=SCAN + 1, memory=2 * CHUNK))

    when_missing: WhenMissing = WhenMissing.KEEP
    orphan_retention: timedelta | None = timedelta(days=7)

    def __post_init__(self) -> None:
        self.disk = Disk()
        self.redis = FakeCheckpoints()
        self.telemetry = FakeTelemetry()
        self.clock = VirtualClock()
        self.store._now = self.clock.utc_now
        self.fuse = Fuse(self.kills)
        self.processes = 0
        self.dispatcher: Dispatcher | None = None

    async def run(self, *recorders: Recorder, settle: float = 4000.0) -> None:
        """Let the recorders write, killing and restarting the daemon, until all is quiet; then stop it."""
        self.store.fuse = self.redis.fuse = self.fuse
        async with asyncio.TaskGroup() as group:
            daemon = group.create_task(self._keep_daemon_running())
            for work in [group.create_task(_recording(recorder, self.disk)) for recorder in recorders]:
                await work
            await self._quiet(settle)
            daemon.cancel()

    async def _quiet(self, at_most: float) -> None:
        """Until every file is settled or its stream has failed, and at most so long."""
        deadline = self.clock.monotonic() + at_most
        while self.clock.monotonic() < deadline:
            await asyncio.sleep(TIMEOUT + 2 * SCAN)
            if self.dispatcher is not None and not self.dispatcher._by_identity and not self.fuse.blown.is_set():
                return

    async def _keep_daemon_running(self) -> None:
        while True:
            self.processes += 1
            await self._process_until_killed()
            self.between_processes(self)
            self.fuse.blown.clear()

    async def _process_until_killed(self) -> None:
        dispatcher = self.dispatcher = Dispatcher(self._world(), self._processor)
        tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(self._watch(dispatcher))]
        try:
            await self.fuse.blown.wait()
        finally:
            await _kill(tasks, dispatcher)

    def _world(self) -> World:
        return World(
            root="/recordings",
            recordings=self.disk,
            store=self.store,
            checkpoints=self.redis,
            prober=FakeProber(),
            slots=FairSlots(self.slots),
            telemetry=self.telemetry,
            clock=self.clock,
            rhythm=self.rhythm,
            naming=self.naming,
            when_missing=self.when_missing,
            orphan_retention=self.orphan_retention,
        )

    def _processor(self, record: Checkpoint, claims: object) -> StreamProcessor:
        return StreamProcessor(self._world_of_process(), claims, record)  # type: ignore[arg-type]

    def _world_of_process(self) -> World:
        assert self.dispatcher is not None
        return self.dispatcher._world

    async def _watch(self, dispatcher: Dispatcher) -> None:
        """A scan like the watcher's: hints for what is new, changed or gone since the last one."""
        seen: dict[str, object] = {}
        while True:
            now = {path: await self.disk.snapshot(path) for path in list(self.disk.files)}
            for path in (*now, *(set(seen) - set(now))):
                if seen.get(path) != now.get(path):
                    dispatcher.publish(StreamEvent(WatcherChangeType.WRITE, path))
            seen = dict(now)
            await asyncio.sleep(SCAN)

    # -- the auditor --------------------------------------------------------------------------------------------

    def recordings(self) -> Iterator[tuple[str, bytes]]:
        """Each file that is on disk at the end, by name."""
        for path in self.disk.files:
            yield path, self.disk.content(path)

    def problems(self, *, sent_at_most: int | None = None) -> list[str]:
        """What is wrong at the end; empty when the promise held."""
        found = []
        documents = {key for key in self.store.objects if key.endswith(".metadata.json")}
        objects = {key: obj for key, obj in self.store.objects.items() if key not in documents}
        for path, content in self.recordings():
            holders = [key for key, obj in objects.items() if obj.data == content]
            if content and len(holders) != 1:
                found.append(f"{path!r} is at {len(holders)} keys: {holders}")
            found += [problem for key in holders for problem in self._document_problems(key)]
        found += [f"open upload at {upload.key}" for upload in self.store.uploads.values()]
        found += [
            f"{status} is not empty" for status in (Status.ACTIVE, Status.PENDING_COMPLETION) if self._has(status)
        ]
        found += [f"unforeseen: {moment}" for moment in self.telemetry.named("unexpected")]
        if sent_at_most is not None and self.store.sent_bytes > sent_at_most:
            found.append(f"{self.store.sent_bytes} bytes were sent, at most {sent_at_most} expected")
        return found

    def _document_problems(self, key: str) -> list[str]:
        document = self.store.objects.get(document_key(key))
        if document is None:
            return [f"{key} has no document"]
        described = read_document(document.data)
        if described is None or described.etag != self.store.objects[key].etag:
            return [f"the document of {key} is not its: {json.loads(document.data)}"]
        return []

    def _has(self, status: Status) -> bool:
        return bool(self.redis.members(status))


async def _recording(recorder: Recorder, disk: Disk) -> None:
    await recorder(disk)


async def _kill(tasks: list[asyncio.Task[None]], dispatcher: Dispatcher) -> None:
    everything = [*tasks, *dispatcher._tasks]
    for task in everything:
        task.cancel()
    for task in everything:
        with suppress(asyncio.CancelledError, Killed, BaseExceptionGroup):
            await task
