"""The whole conduct on fakes in virtual time: a recorder writes, the daemon is killed and started again, and audited.

A "process" is one ``Dispatcher`` with its streams. It is killed by a fuse: the effect that blows it raises, every
later effect of that process raises too, and its tasks are cancelled. Store, Redis and disk live on. The fuse can also
take the answer to an effect away and let the process live.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tenacity import RetryCallState

from src.dispatcher import Dispatcher
from src.domain import (
    Checkpoint,
    Identity,
    Limits,
    Naming,
    Observation,
    PartSchedule,
    Rhythm,
    StoredPart,
    WhenMissing,
    World,
)
from src.events import StreamEvent, WatcherChangeType
from src.retry import RetryPolicy
from src.s3_client import PatientStore
from src.slots import FairSlots
from src.stream_processor import StreamProcessor
from tests.harness import auditor
from tests.harness.auditor import Check, Excuse
from tests.harness.crash.view import view
from tests.harness.crash.virtual_time import VirtualClock
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.fuse import LostAnswer
from tests.harness.fakes.prober import ReadingProber
from tests.harness.fakes.recordings import FakeFile, FakeRecordings
from tests.harness.fakes.store import FakeObject, FakeStore
from tests.harness.fakes.telemetry import FakeTelemetry

CHUNK = 8
LIMITS = Limits(min_part=CHUNK, max_part=8 * CHUNK, max_parts=200, parts_per_step=50)
TIMEOUT = 30.0
SCAN = 2.0
SOON = 60.0

Recorder = Callable[["Disk"], Awaitable[None]]


class Killed(BaseException):
    """The process was killed at this effect."""


class Fault(StrEnum):
    """What happens in a moment of a process's life."""

    KILL = "killed"
    LOSE_ANSWER = "answer lost"


class Fuse:
    """Counts the moments before and after each effect, and has the fault in store that the plan names for a moment.

    An answer can be lost in a moment after an effect only. A killed process does nothing more: a blown fuse lets
    nothing through until the next one. ``when_lost`` is called in the moment in which an answer is lost. ``look`` says
    what there is in a moment; its answers are kept in ``worlds``.
    """

    def __init__(self, plan: Mapping[int, Fault]) -> None:
        self.effects: list[str] = []
        self.blown = asyncio.Event()
        self.when_lost: Callable[[], None] = lambda: None
        self.look: Callable[[], object] | None = None
        self.worlds: list[object] = []
        self._plan = plan

    def __call__(self, effect: str, when: str) -> None:
        if self.blown.is_set():
            raise Killed
        self.effects.append(f"{when} {effect}")
        if self.look is not None:
            self.worlds.append(self.look())
        fault = self._plan.get(len(self.effects) - 1)
        if fault is Fault.KILL:
            self.blown.set()
            raise Killed
        if fault is Fault.LOSE_ANSWER:
            self.when_lost()
            raise LostAnswer

    @property
    def waiting(self) -> list[int]:
        """The moments of the plan that never came."""
        return [moment for moment in self._plan if moment >= len(self.effects)]


class _Names(dict[str, FakeFile]):
    def __init__(self, appeared: dict[str, float]) -> None:
        super().__init__()
        self._appeared = appeared

    def __setitem__(self, path: str, file: FakeFile) -> None:
        super().__setitem__(path, file)
        self._appeared[path] = asyncio.get_running_loop().time()


@dataclass
class Disk(FakeRecordings):
    """The folder, and the steps of a recorder in time. It keeps every content that each of its files ever had, in their
    order, and when each was changed last."""

    histories: defaultdict[Identity, list[bytes]] = field(default_factory=lambda: defaultdict(list), init=False)
    changed_at: dict[Identity, float] = field(default_factory=dict, init=False)
    appeared: dict[str, float] = field(default_factory=dict, init=False)  # when each name came to be, or came back

    def __post_init__(self) -> None:
        self.files = _Names(self.appeared)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _tick(self) -> int:
        """File times follow the virtual clock, so that a file that grows looks as if it does."""
        self.now_ns = max(self.now_ns + 1000, int(VirtualClock().utc_now().timestamp() * 1e9))
        return self.now_ns

    def _changed(self, file: FakeFile) -> None:
        data, history = bytes(file.data), self.histories[file.identity]
        if not history or history[-1] != data:
            history.append(data)
        self.changed_at[file.identity] = asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class EvenPolicy(RetryPolicy):
    """Without jitter, so that the same plan meets the same moments each time."""

    def wait_after(self, state: RetryCallState) -> float:
        return self.wait_in_a_row(state.attempt_number)

    async def wait_out(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with self.bell.heard():
                await self.rest(seconds)


@dataclass
class Simulation:
    """One folder, one store, one Redis, and as many processes one after the other as kills make necessary."""

    faults: Mapping[int, Fault] = field(default_factory=dict)
    store: FakeStore = field(default_factory=lambda: FakeStore(limits=LIMITS))
    slots: int = 2
    between_processes: Callable[[Simulation], None] = lambda simulation: None
    naming: Naming = field(default_factory=lambda: Naming(PartSchedule(CHUNK), limits=LIMITS))
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(timeout=TIMEOUT, missing_grace=SCAN + 1, memory=2 * CHUNK))

    when_missing: WhenMissing = WhenMissing.KEEP
    orphan_retention: timedelta | None = timedelta(days=7)
    soon: float | None = SOON  # seconds in which a quiet file is finished; None: the scene keeps it waiting

    def __post_init__(self) -> None:
        self.disk = Disk()
        self.redis = FakeCheckpoints()
        self.telemetry = FakeTelemetry()
        self.clock = VirtualClock()
        self.store._now = self.clock.utc_now
        self.fuse = Fuse(self.faults)
        self.processes = 0
        self.dispatcher: Dispatcher | None = None
        self.strangers: dict[str, FakeObject] = {}
        self.strangers_uploads: dict[str, dict[int, tuple[StoredPart, bytes]]] = {}
        self.began_at = 0.0  # the last process
        self.errors: list[str] = []
        self.tasks_left: list[str] = []

    def plant(self, key: str, data: bytes) -> None:
        """A stranger's object, which nobody may change."""
        self.store.put_object(key, data)
        self.strangers[key] = self.store.objects[key]

    def plant_upload(self, key: str, data: bytes) -> None:
        """A stranger's open upload, which nobody may change."""
        upload_id = self.store.put_upload(key)
        self.store.put_part(upload_id, 1, data)
        self.strangers_uploads[upload_id] = dict(self.store.uploads[upload_id].parts)

    async def run(self, *recorders: Recorder, settle: float = 4000.0) -> None:
        """Let the recorders write, killing and restarting the daemon, until all is quiet; then stop it."""
        self.store.fuse = self.redis.fuse = self.fuse
        asyncio.get_running_loop().set_exception_handler(self._note_error)
        before = asyncio.all_tasks()
        async with asyncio.TaskGroup() as group:
            daemon = group.create_task(self._keep_daemon_running())
            for work in [group.create_task(_recording(recorder, self.disk)) for recorder in recorders]:
                await work
            await self.rest(settle)
            daemon.cancel()
        self.tasks_left = [task.get_name() for task in asyncio.all_tasks() - before]

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a task raised and nobody asked for, or what a callback raised."""
        if not isinstance(error := context.get("exception"), Killed):
            self.errors.append(f"{context['message']}: {error!r}")

    async def rest(self, at_most: float) -> None:
        """Until every file is settled or its stream has failed, and at most so long."""
        deadline = self.clock.monotonic() + at_most
        while self.clock.monotonic() < deadline:
            await asyncio.sleep(TIMEOUT + 2 * SCAN)
            if (
                self.dispatcher is not None
                and not self.dispatcher._register.by_identity
                and not self.fuse.blown.is_set()
            ):
                return

    async def _keep_daemon_running(self) -> None:
        while True:
            self.processes += 1
            self.began_at = self.clock.monotonic()
            self.store.new_process()
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
        slots = FairSlots(self.slots)
        return World(
            root="/recordings",
            recordings=self.disk,
            store=PatientStore(self.store, slots, policy=EvenPolicy(), emit=self.telemetry.emit),
            checkpoints=self.redis,
            prober=ReadingProber(self.disk),
            slots=slots,
            telemetry=self.telemetry,
            clock=self.clock,
            rhythm=self.rhythm,
            naming=self.naming,
            when_missing=self.when_missing,
            orphan_retention=self.orphan_retention,
        )

    def _processor(self, record: Checkpoint, claims: object, first: Observation | None) -> StreamProcessor:
        return StreamProcessor(self._world_of_process(), claims, record, first)  # type: ignore[arg-type]

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
            dispatcher.first_scan_done()
            await asyncio.sleep(SCAN)

    def recordings(self) -> Iterator[tuple[str, bytes]]:
        """Each file that is on disk now, by name."""
        for path in self.disk.files:
            yield path, self.disk.content(path)

    @property
    def calm_since(self) -> float:
        """Since when nothing has kept everybody: the start of the process, or the end of an outage."""
        return max(self.began_at, self.store.calm_since, self.redis.calm_since)

    def is_met(self, path: str) -> str | None:
        """Why a recording may be late that others do not wait for."""
        return None

    def permitted(self) -> Iterator[Excuse]:
        """What the settings allow."""
        if self.naming.replace_reused_names:
            yield Excuse(Check.PUT_OVER)
            yield Excuse(Check.SHRANK)

    def problems(self, *, sent_at_most: int | None = None) -> list[str]:
        """What is wrong at the end; empty when the promise held."""
        return auditor.words(auditor.audit(view(self, sent_at_most=sent_at_most), self.permitted()))


async def _recording(recorder: Recorder, disk: Disk) -> None:
    await recorder(disk)


async def _kill(tasks: list[asyncio.Task[None]], dispatcher: Dispatcher) -> None:
    """The dispatcher first: until it has ended it may begin another stream, which would outlive its process."""
    await _cancel(tasks)
    await _cancel(list(dispatcher._tasks))


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Killed, BaseExceptionGroup):
            await task
