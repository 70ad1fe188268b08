"""D10, D12, D19: a record that can be read but is not true ends in the same object; the file is the truth.

A recording is killed half-way, its record is changed into a lie, and the next process believes as much of it as file
and store confirm. Beside it lie a recording that is done and one that still grows: these must not suffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

import pytest

from src.domain import Checkpoint, Identity, Manifest, Marker, Part, PartSchedule, Snapshot, Status, Superseded, moments
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    growing_file,
    heard,
    lived,
    restart,
    settled,
    take_away,
    until,
    without,
)
from tests.harness.crash.simulation import CHUNK, SCAN, Simulation
from tests.harness.fakes.checkpoints import State

pytestmark = pytest.mark.timeout(120)

DONE, LIVING = "cam/done.mp4", "cam/living.mp4"
NOWHERE = Identity(987_654_321, 1)


@dataclass(frozen=True)
class Scene:
    """What Redis says of the three recordings when the daemon is killed."""

    mine: Checkpoint
    living: Checkpoint
    done: Marker

    @property
    def true_snapshot(self) -> Snapshot:
        return replace(self.done.snapshot, identity=self.mine.identity)

    def manifest(self, **more: object) -> Manifest:
        values: dict[str, object] = {"size": 3 * CHUNK, "crc64": 5, "part_count": 3, "snapshot": self.true_snapshot}
        return Manifest(**{**values, **more})  # type: ignore[arg-type]

    def invented(self, *numbers: int, etag: str = "never-was", size: int = CHUNK) -> Mapping[int, Part]:
        return {n: Part(n, size, f"{etag}-{n}", 77 + n, self.mine.started_at) for n in numbers}


Lie = Callable[[Scene], Checkpoint]


def saying(**changes: object) -> Lie:
    return lambda scene: replace(scene.mine, **changes)  # type: ignore[arg-type]


LIES: Mapping[str, Lie] = {
    "the key of a recording that is done": lambda s: replace(s.mine, key=s.done.key),
    "the key of a recording that still grows": lambda s: replace(s.mine, key=s.living.key),
    "a key of another prefix": saying(key="elsewhere/other.mp4"),
    "the upload of another recording": lambda s: replace(s.mine, upload_id=s.living.upload_id),
    "the key and upload of another recording": lambda s: replace(
        s.mine, key=s.living.key, upload_id=s.living.upload_id, parts=s.living.parts
    ),
    "an upload that never was": saying(upload_id="never\nwas&uploads?"),
    "no upload": saying(upload_id=None),
    "the path of another recording": lambda s: replace(s.mine, path=s.living.path),
    "a path where nothing is": saying(path="cam/nothing.mp4"),
    "the identity of another recording": lambda s: replace(s.mine, identity=s.living.identity),
    "an identity that is nowhere": saying(identity=NOWHERE),
    "the identity, key and path of another recording": lambda s: replace(s.living, stream_id=s.mine.stream_id),
    "parts that never were": lambda s: replace(s.mine, parts=s.invented(1, 2, 3, 4, 5, 6)),
    "a part number behind all others": lambda s: replace(s.mine, parts={**s.mine.parts, **s.invented(199, 10_001)}),
    "no parts": saying(parts={}),
    "parts with the sizes and checksums of other bytes": lambda s: replace(
        s.mine, parts={n: replace(part, size=3, crc64=9) for n, part in s.mine.parts.items()}
    ),
    "parts with the checksums of other bytes": lambda s: replace(
        s.mine, parts={n: replace(part, crc64=n) for n, part in s.mine.parts.items()}
    ),
    "another schedule": saying(schedule=PartSchedule(2 * CHUNK)),
    "equal parts": saying(schedule=PartSchedule(CHUNK, growing=False)),
    "a beginning in the future": lambda s: replace(s.mine, started_at=s.mine.started_at + timedelta(days=9000)),
    "a completion that was never sent": lambda s: replace(
        s.mine, status=Status.PENDING_COMPLETION, manifest=s.manifest(), unanswered=True
    ),
    "a completion of parts that never were": lambda s: replace(
        s.mine,
        status=Status.PENDING_COMPLETION,
        manifest=s.manifest(part_count=7, size=6 * CHUNK + 1),
        unanswered=True,
        parts=s.invented(*range(1, 8)),
    ),
    "an object that never was": lambda s: replace(
        s.mine, status=Status.S3_COMPLETED, manifest=s.manifest(), etag="never-was-3", completed_at=s.mine.started_at
    ),
    "an object that is another recording's": lambda s: replace(
        s.mine,
        status=Status.S3_COMPLETED,
        key=s.done.key,
        manifest=s.manifest(size=s.done.snapshot.size, crc64=s.done.crc64, snapshot=s.done.snapshot),
        etag=s.done.etag,
        completed_at=s.mine.started_at,
    ),
    "that it takes the place of an object that never was": saying(replaces="never-was-1"),
    "that it takes the place of another recording's object": lambda s: replace(
        s.mine, key=s.done.key, upload_id=None, replaces=s.done.etag, parts={}
    ),
    "that it left the upload of a living recording behind": lambda s: replace(
        s.mine, superseded=(Superseded(s.living.key, s.living.upload_id, s.living.stream_id, s.mine.started_at),)
    ),
    "that it is done": saying(status=Status.COMPLETED),
    "that it is done, with an object that never was": lambda s: replace(
        s.mine, status=Status.COMPLETED, manifest=s.manifest(), etag="never-was-3", completed_at=s.mine.started_at
    ),
    "that it has failed": saying(status=Status.FAILED, failure="source_missing"),
    "a thousand million replacements": saying(replacements=10**9),
}


def told(lie: Lie) -> Simulation:
    """Live through it: three chunks are sent, the daemon is killed, the record lies, the recorder goes on and ends."""

    async def script(simulation: Simulation) -> None:
        disk, redis = simulation.disk, simulation.redis
        disk.write(DONE, bytes_of(3 * CHUNK + 1, 5))
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        async with asyncio.TaskGroup() as group:
            for seed, path in enumerate((PATH, LIVING), start=1):
                group.create_task(growing_file(simulation, 3, path=path, seed=seed))
        await until(lambda: all(len(r.parts) == 3 for r in redis.state.records.values()), "three parts of each", step=1)
        await restart(simulation, lambda: change(simulation, lie))
        for path in (PATH, LIVING):
            disk.append(path, bytes_of(CHUNK, 40))
            disk.patch(path, 1, b"\xff\xfe")

    return lived(script, soon=None)  # a record may say that it has to be quiet for an hour


def change(simulation: Simulation, lie: Lie) -> None:
    state = simulation.redis.state
    by_path = {record.path: record for record in state.records.values()}
    (done,) = state.markers.values()
    scene = Scene(by_path[PATH], by_path[LIVING], done)
    lied = lie(scene)
    assert lied != scene.mine
    records = {**state.records, lied.stream_id: lied}
    simulation.redis.history.append(State(MappingProxyType(records), state.markers, state.completed))


@pytest.mark.parametrize("lie", LIES)
def test_a_record_that_lies_costs_no_recording_its_bytes(lie: str) -> None:
    simulation = told(LIES[lie])
    # An upload that no record names any more, at a key where nothing was completed, is left to the retention.
    lies = [f"open upload at {PATH}", f"open upload at {LIVING}", f"the document of {PATH} tells the times"]
    assert without(simulation.problems(), *lies) == []
    assert len(simulation.store.uploads) <= 1
    assert simulation.store.objects[DONE].data == simulation.disk.content(DONE)


def test_two_records_of_one_recording_end_in_one_object() -> None:
    """D6, D14: as two deployments with one prefix leave them."""

    def twin(simulation: Simulation) -> None:
        state = simulation.redis.state
        mine = next(record for record in state.records.values() if record.path == PATH)
        records = {**state.records, "twin": replace(mine, stream_id="twin", upload_id=None, parts={})}
        simulation.redis.history.append(State(MappingProxyType(records), state.markers, state.completed))

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await restart(simulation, lambda: twin(simulation))
        simulation.disk.append(PATH, bytes_of(CHUNK, 40))

    assert lived(script).problems() == []


#: What the only write of a stream that expects nothing in Redis may say: its first, or the whole of a lost checkpoint.
LATE: Mapping[str, Callable[[Checkpoint], object]] = {
    "the intent": lambda record: True,
    "an upload": lambda record: record.upload_id,
    "a manifest": lambda record: record.manifest,
    "a proved object": lambda record: record.etag,
}


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_write_that_comes_after_the_end_of_its_stream_makes_it_no_other(late: str, is_there: bool) -> None:
    """The next start takes it up and finds the marker, whether the file is still there or not."""

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await settled(simulation)
        redis = simulation.redis
        found = next(state for state in redis.history if any(LATE[late](r) for r in state.records.values())).records

        def comes_late() -> None:
            completed = redis.state.completed - found.keys()
            redis.history.append(replace(redis.state, records=found, completed=completed))
            if not is_there:
                take_away(simulation.disk)

        before = dict(simulation.store.objects)
        await restart(simulation, comes_late)
        await settled(simulation)
        assert (dict(redis.state.records), set(redis.state.completed)) == ({}, set(found))
        assert simulation.store.objects == before
        assert heard(simulation, moments.Failed) == []

    lived(script)
