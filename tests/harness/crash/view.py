"""What the auditor is shown of a simulation: its folder, its store, its Redis, and what its last process holds."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from src.dispatcher import newcomers
from src.domain import METADATA_SUFFIX, Identity, Status, WhenMissing, lifecycle, moments, origin_of
from src.slots import FairSlots
from tests.harness.audit_view import (
    Body,
    Document,
    File,
    Held,
    Limits,
    Marker,
    Media,
    Object,
    Record,
    Stranger,
    Upload,
    Wait,
    World,
    Write,
)
from tests.harness.crash.virtual_time import seconds_of
from tests.harness.fakes.prober import film_in
from tests.harness.fakes.store import FakeObject

if TYPE_CHECKING:
    from tests.harness.crash.simulation import Simulation


def view(simulation: Simulation, *, sent_at_most: int | None = None) -> World:
    """``sent_at_most``: bytes that may have been sent to the store in all."""
    store, state = simulation.store, simulation.redis.state
    waits = [*_waits(simulation)]
    objects = {key: there for key, there in store.objects.items() if not key.endswith(METADATA_SUFFIX)}
    documents = {key: there for key, there in store.objects.items() if key.endswith(METADATA_SUFFIX)}
    return World(
        files=[*_files(simulation, waits)],
        objects={key: _object(simulation, key, there) for key, there in objects.items()},
        documents={
            (of := key.removesuffix(METADATA_SUFFIX)): Document(
                of, there.data, seconds_of(there.modified_at), ours=store.wrote(key, there)
            )
            for key, there in documents.items()
        },
        uploads=[*_uploads(simulation)],
        records=[*_records(simulation)],
        markers=[Marker(m.key, m.etag, identity) for identity, m in state.markers.items()],
        held=[*_held(simulation)],
        alive=[True],
        waits=waits,
        writes=written(simulation),
        histories=histories(simulation),
        strangers=[*_strangers(simulation)],
        foreign_keys=simulation.strangers,
        media=lambda body: _media(body.read()),
        parts_known=not simulation.redis.has_forgotten,
        rescues=simulation.when_missing is WhenMissing.COMPLETE,
        checksums_kept=False,
        begun_once=False,
        films_known=True,
        unforeseen=[*map(str, simulation.telemetry.of(moments.Unexpected)), *simulation.errors],
        tasks_left=simulation.tasks_left,
        sent_bytes=store.sent_bytes,
        limits=Limits(simulation.soon, sent_at_most),
    )


def written(simulation: Simulation, since: int = 0) -> list[Write]:
    """What the product put into the store, but for documents; the first of them are left out."""
    writes = simulation.store.writes[since:]
    return [
        Write(key, _body(old) if old else None, _body(new))
        for key, old, new in writes
        if not key.endswith(METADATA_SUFFIX)
    ]


def histories(simulation: Simulation) -> dict[Hashable, list[Body]]:
    return {file: [Body.of(data) for data in past] for file, past in simulation.disk.histories.items()}


def _body(there: FakeObject) -> Body:
    return Body.of(there.data)


@lru_cache(maxsize=256)
def _media(data: bytes) -> Media:
    probe = film_in(data)
    return Media(probe.duration_seconds, tuple((one.codec, one.width, one.height) for one in probe.streams))


def _files(simulation: Simulation, waits: Sequence[Wait]) -> Iterator[File]:
    disk, markers = simulation.disk, simulation.redis.state.markers
    by_path: dict[str, list[Wait]] = {}
    for wait in waits:
        by_path.setdefault(wait.path, []).append(wait)
    replacements = {identity: marker.replacements for identity, marker in markers.items()}
    for path, content in simulation.recordings():
        identity = disk.files[path].identity
        past = [Body.of(data) for data in disk.histories.get(identity, ())]
        changed = disk.changed_at.get(identity)
        closed = None if changed is None else max(changed, disk.appeared.get(path, 0.0), simulation.calm_since)
        excused = simulation.is_met(path) or next(
            (wait.what for wait in by_path.get(path, ()) if _since(wait, changed)), None
        )
        quiet = lifecycle.quiet_seconds(simulation.rhythm.timeout, replacements.get(identity, 0))
        yield File(path, identity, Body.of(content), past, closed_at=closed, quiet=quiet, excused=excused)


def _object(simulation: Simulation, key: str, there: FakeObject) -> Object:
    origin = origin_of(there.metadata)
    return Object(
        key,
        _body(there),
        there.etag,
        there,
        stream_id=origin.stream_id if origin else None,
        file=origin.identity if origin else None,
        ours=simulation.store.wrote(key, there),
        stored_at=seconds_of(there.modified_at),
    )


def _strangers(simulation: Simulation) -> Iterator[Stranger]:
    """Nothing of anybody else may change, neither an object nor an open upload."""
    store = simulation.store
    for key, planted in simulation.strangers.items():
        yield Stranger(f"object at {key}", id(planted), id(store.objects.get(key)))
    for upload_id, parts in simulation.strangers_uploads.items():
        there = store.uploads.get(upload_id)
        yield Stranger(f"upload {upload_id}", parts, there and there.parts)


def _uploads(simulation: Simulation) -> Iterator[Upload]:
    """A stranger's stays, and that of a failed stream whose file may come back."""
    records = simulation.redis.state.records.values()
    failed = [record for record in records if record.status is Status.FAILED]
    kept = {record.upload_id for record in failed if record.path not in simulation.disk.files}
    for upload in simulation.store.uploads.values():
        excused = upload.upload_id in simulation.strangers_uploads or upload.upload_id in kept
        yield Upload(upload.key, excused=excused)


def _records(simulation: Simulation) -> Iterator[Record]:
    """None is under way; one that has failed is not that of a file which is finished."""
    for status in (Status.ACTIVE, Status.PENDING_COMPLETION):
        yield from (Record(stream_id, status) for stream_id in simulation.redis.members(status))


def _held(simulation: Simulation) -> Iterator[Held]:
    """Whoever has a key lives, or has failed and is kept, also where Redis forgot it. What else a stream holds while it
    lives is nobody's when none does."""
    dispatcher = simulation.dispatcher
    if dispatcher is None:
        return
    records = simulation.redis.state.records.values()
    kept = {(record.key, record.identity) for record in records if record.status is not Status.COMPLETED}
    living: dict[Identity, object] = {**dispatcher._register.by_identity, **dispatcher._register.failed}
    for key, identity in dispatcher._keys._owners.items():
        yield Held(key, (key, identity) in kept or identity in living)
    if dispatcher._register.by_identity or simulation.fuse.blown.is_set():
        return
    queues = dispatcher._newcomers
    rooms = {
        "a room of the fresh": (newcomers._CLAIMS_AT_ONCE, queues.fresh.rooms),
        "a room of those lying ready": (newcomers._RESTING_AT_ONCE, queues.resting.rooms),
        "a place among those without a claim": (newcomers._MOST_UNKNOWN, queues.resting.unknown),
        "a place among those to be read": (newcomers._MOST_UNKNOWN, queues.to_read.unknown),
    }
    for name, (most, free) in rooms.items():
        taken = 0 if free is None else most - free._value
        yield Held(f"{name} ({taken})", taken <= 1)  # one is kept for the next file
    yield Held("the turn to read a finished file", dispatcher._claims.reading._nobody.is_set())
    slots = dispatcher._world.slots
    if isinstance(slots, FairSlots):
        yield Held("a turn", slots._free >= slots._count)
        yield Held("a place beside the turns", not slots._beside)
    yield Held("memory of a chunk", not simulation.disk.unreleased)


def _waits(simulation: Simulation) -> Iterator[Wait]:
    """Under the name that the log has, and under the file's own: a Redis that was rolled back knows an earlier one."""
    now = {marker.stream_id: marker.path for marker in simulation.redis.state.markers.values()}
    for stream in simulation.telemetry.streams:
        for moment, at in zip(stream.moments, stream.times, strict=True):
            if isinstance(moment, moments.Trouble):
                for path in {stream.path, now.get(stream.stream_id, stream.path)}:
                    yield Wait(path, f"{moment.operation}: {moment.error}", at)


def _since(wait: Wait, changed: float | None) -> bool:
    return wait.at is not None and changed is not None and wait.at >= changed
