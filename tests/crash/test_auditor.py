"""Each check of the one auditor has a mutant that only it catches: with that check switched off, nobody does.

A mutant is a fault in the product, or a harm to a clean world: one film that was brought up to date, one under the name
of an earlier one, one that was deleted before its end, a stranger's object and a stranger's upload.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from src.dispatcher import Dispatcher
from src.domain import METADATA_SUFFIX, Checkpoint, Identity, Marker, Probe, Snapshot, Status
from src.ownership import Keys
from src.stream_processor.describing import Describing
from src.stream_processor.documents import Documents
from tests.harness.audit_view import Body, Document, Held, Limits, Record, World, Write
from tests.harness.auditor import Check, Excuse, Finding, audit
from tests.harness.crash.harm import HARMED, Harm, HarmedSimulation, Kind
from tests.harness.crash.scenes import bytes_of, growing_file, lived, passed_by, rotated, settled
from tests.harness.crash.simulation import CHUNK, SCAN, TIMEOUT, Simulation
from tests.harness.crash.view import view
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.prober import ReadingProber, film_in
from tests.harness.fakes.store import FakeStore

pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

FILM, AGAIN, GONE, THEIRS = "cam/film.mp4", "cam/again.mp4", "cam/gone.mp4", "cam/theirs.mp4"
DOCUMENT = FILM + METADATA_SUFFIX
SHORT, LONG = bytes_of(3 * CHUNK + 1, 1), bytes_of(4 * CHUNK + 2, 1)

Script = Callable[[Simulation], Any]


async def clean(simulation: Simulation) -> None:
    """Everything that a check looks at is there, and nothing is wrong."""
    disk = simulation.disk
    simulation.plant(THEIRS, b"a stranger's film")
    simulation.plant_upload(THEIRS, b"a part of a stranger's")
    disk.write(FILM, SHORT)
    disk.write(AGAIN, bytes_of(2 * CHUNK + 3, 2))
    await growing_file(simulation, 2, path=GONE, seed=3)
    await asyncio.sleep(SCAN + 1)
    disk.delete(GONE)
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)
    disk.append(FILM, LONG[len(SHORT) :])
    disk.replace(AGAIN, bytes_of(3 * CHUNK, 4))
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)


# -- faults in the product --------------------------------------------------------------------------------------------

Break = Callable[[pytest.MonkeyPatch], None]


def keep_keys_that_were_passed_by(patch: pytest.MonkeyPatch) -> None:
    """A key that a stream has looked at is its own until it ends."""
    patch.setattr(Keys, "is_anothers", lambda self, key, identity: not self.take(key, identity))


def ask_about_the_film_by_its_path(patch: pytest.MonkeyPatch) -> None:
    """Whatever file has the name now is asked about."""

    async def by_path(self: Describing, proved: Snapshot) -> Probe:
        return await self._world.prober.probe(self._ledger.record.path, proved.identity)

    async def whatever_it_is(self: ReadingProber, path: str, identity: Identity) -> Probe:
        await asyncio.sleep(0)
        return film_in(bytes(self.folder.files[path].data))

    patch.setattr(Describing, "_probe", by_path)
    patch.setattr(ReadingProber, "probe", whatever_it_is)


def give_no_key_back(patch: pytest.MonkeyPatch) -> None:
    """The keys of streams that have ended stay theirs."""
    patch.setattr(Keys, "give_back", lambda self, identity: None)


def give_no_room_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("src.dispatcher.newcomers.Room.give_back", lambda self: None)


def keep_the_turn_while_waiting_for_the_film(patch: pytest.MonkeyPatch) -> None:
    """What ffprobe says is waited for with a turn at the store held."""
    ask = Describing._probe

    async def with_a_turn(self: Describing, proved: Any) -> Probe:
        async with self._world.slots.sending():
            return await ask(self, proved)

    patch.setattr(Describing, "_probe", with_a_turn)


def raise_at_the_first_document(patch: pytest.MonkeyPatch) -> None:
    """A bug that nobody foresaw: it is reported, and tried again."""
    put = Documents.put
    raised: list[Checkpoint] = []

    async def once(self: Documents, record: Checkpoint, probe: Probe) -> None:
        if not raised:
            raised.append(record)
            raise LookupError("a bug")
        await put(self, record, probe)

    patch.setattr(Documents, "put", once)


def leave_a_task_behind(patch: pytest.MonkeyPatch) -> None:
    """Whatever ends leaves something running that has no owner."""
    end = Dispatcher._end

    def and_go_on(self: Dispatcher, stream: Any, marker: Marker | None) -> None:
        end(self, stream, marker)
        asyncio.create_task(asyncio.sleep(1e9), name="nobody's")  # noqa: RUF006 - that is the fault

    patch.setattr(Dispatcher, "_end", and_go_on)


async def films_that_hang(simulation: Simulation) -> None:
    """ffprobe hangs for more recordings than there are turns; another is recorded meanwhile."""
    assert isinstance(simulation, HarmedSimulation)
    for number in range(6):
        simulation.disk.write(f"{HARMED} {number}.mp4", bytes_of(2 * CHUNK, number))
    await asyncio.sleep(TIMEOUT)
    simulation.disk.write("good.mp4", bytes_of(3 * CHUNK, 9))
    await asyncio.sleep(600)


async def one_film(simulation: Simulation) -> None:
    simulation.disk.write(FILM, LONG)
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)


def lived_with_harm(script: Script) -> Simulation:
    async def live() -> Simulation:
        simulation = HarmedSimulation(harm=Harm("probe", Kind.HANGING), slots=1)
        await simulation.run(lambda _: script(simulation))
        return simulation

    return run(live())


@dataclass(frozen=True)
class Fault:
    """The product without one of its rules, and a scene that shows it."""

    catches: Check
    breaks: Break
    script: Script
    live: Callable[[Script], Simulation] = lived

    def world(self) -> World:
        return view(self.live(self.script))


FAULTS = [
    Fault(Check.STALE, keep_keys_that_were_passed_by, passed_by),
    Fault(Check.MEDIA, ask_about_the_film_by_its_path, rotated),
    Fault(Check.WAITED, keep_the_turn_while_waiting_for_the_film, films_that_hang, lived_with_harm),
    Fault(Check.HELD, give_no_key_back, one_film),
    Fault(Check.HELD, give_no_room_back, one_film),
    Fault(Check.UNFORESEEN, raise_at_the_first_document, one_film),
    Fault(Check.TASK, leave_a_task_behind, one_film),
]


# -- harms to a clean world -------------------------------------------------------------------------------------------

Harming = Callable[[Simulation], World]


def _document(change: Callable[[dict[str, Any]], object]) -> Harming:
    """The film's document says something else."""

    def harm(simulation: Simulation) -> World:
        there = simulation.store.objects[DOCUMENT]
        told = json.loads(there.data)
        change(told)
        simulation.store.objects[DOCUMENT] = replace(there, data=json.dumps(told).encode())
        return view(simulation)

    return harm


def _store(change: Callable[[FakeStore], object]) -> Harming:
    def harm(simulation: Simulation) -> World:
        simulation.store._now = lambda: datetime(2026, 11, 1, 1, tzinfo=UTC)  # its clock has stopped
        change(simulation.store)
        return view(simulation)

    return harm


def _shown(change: Callable[[World], World]) -> Harming:
    """What the view shows is otherwise: as it would be where a harm cannot be done to fakes."""
    return lambda simulation: change(view(simulation))


def _first_file(**changes: Any) -> Harming:
    return _shown(lambda world: replace(world, files=[replace(world.files[0], **changes), *world.files[1:]]))


def _film(**changes: Any) -> Harming:
    return _shown(
        lambda world: replace(world, objects={**world.objects, FILM: replace(world.objects[FILM], **changes)})
    )


def _wrote(old: Body | None, new: Body | None) -> Harming:
    return _shown(lambda world: replace(world, writes=[*world.writes, Write(FILM, old, new)]))


def _metadata(store: FakeStore, **changes: str) -> dict[str, str]:
    """Those of the film's object, otherwise."""
    changed = {f"cefmp4-{name.replace('_', '-')}": value for name, value in changes.items()}
    return {**store.objects[FILM].metadata, **changed}


def _same_stream_twice(store: FakeStore) -> None:
    store.put_object("cam/other.mp4", b"other", _metadata(store, inode="7"))


def _same_file_twice(store: FakeStore) -> None:
    for number in (1, 2):
        metadata = _metadata(store, inode="7", stream_id=f"{number}")
        store.put_object(f"cam/other {number}.mp4", b"other", metadata)


def _no_film(store: FakeStore) -> None:
    store.delete_object(FILM)
    store.delete_object(DOCUMENT)


def _unexplained(world: World) -> World:
    """One recording that is gone cannot be two objects."""
    gone = next(past[-1] for past in (world.histories or {}).values() if past[-1].digest not in _contents(world))
    more = {key: replace(world.objects[FILM], key=key, body=gone, stream_id=None) for key in ("one.mp4", "two.mp4")}
    return replace(world, objects={**world.objects, **more})


def _contents(world: World) -> set[object]:
    return {there.body.digest for there in world.objects.values()}


def _says(name: str, value: object) -> Harming:
    return _document(lambda told: told.__setitem__(name, value))


def _no_film_for_a_reason(told: dict[str, Any]) -> None:
    """Nothing had met this recording."""
    told["duration_seconds"] = None
    told["media"].update(streams=[], probe_error="the file is gone")


NO_SUM = "AAAAAAAAAAA="
HARMS: list[tuple[Check, str, Harming]] = [
    (Check.FOLDER, "a file touched", _first_file(harm="was touched")),
    (Check.FOLDER, "a file made", _shown(lambda world: replace(world, foreign_files=["void.mp4"]))),
    (Check.ONE_KEY, "an object gone with its document", _store(_no_film)),
    (Check.ITS_KEY, "a key of another name", _first_file(keys=["cam/other.mp4"])),
    (
        Check.STALE,
        "an object not brought up to date",
        _store(lambda s: s.put_object("x", SHORT, _metadata(s, stream_id="7"))),
    ),
    (Check.DOCUMENT, "a document gone", _store(lambda store: store.delete_object(DOCUMENT))),
    (Check.DOCUMENT_OF_IT, "another's document", _document(lambda told: told["object"].update(etag="7"))),
    (Check.DOCUMENT_SCHEMA, "a field more", _says("void", 1)),
    (Check.DOCUMENT_FACTS, "another key", _says("s3_key_prefix", "cam/other.mp4")),
    (Check.DOCUMENT_FACTS, "times in another order", _says("stream_started_at_utc", "2099-01-01T00:00:00.000000Z")),
    (Check.DOCUMENT_CHECKSUM, "another sum", _document(lambda told: told["object"].update(checksum_crc64nvme=NO_SUM))),
    (
        Check.DOCUMENT_CHUNKS,
        "a part's sum",
        _document(lambda told: told["chunks"][0].update(checksum_crc64nvme=NO_SUM)),
    ),
    (Check.DOCUMENT_CHUNKS, "a part less", _document(lambda told: told["chunks"].pop())),
    (Check.MEDIA, "another duration", _says("duration_seconds", 7.0)),
    (Check.MEDIA, "another codec", _document(lambda told: told["media"]["streams"][0].update(codec="hevc"))),
    (Check.MEDIA, "no film, and why", _document(_no_film_for_a_reason)),
    (
        Check.MEDIA,
        "no film, and not why",
        _document(lambda told: (told.update(duration_seconds=None), told["media"].update(streams=[]))),
    ),
    (Check.CONTENT_TYPE, "no film by its type", _film(content_type="text/plain")),
    (Check.STORED_CHECKSUM, "the store's sum", _film(crc64=7)),
    (Check.KEPT, "an earlier recording", _shown(lambda world: replace(world, kept={AGAIN: b"another"}))),
    (Check.STREAM_TWICE, "a stream at two keys", _store(_same_stream_twice)),
    (Check.FILE_TWICE, "a file at two keys", _store(_same_file_twice)),
    (Check.STRANGER, "a stranger's object", _store(lambda store: store.put_object(THEIRS, b"ours now"))),
    (Check.STRANGER, "a stranger's upload", _store(lambda store: store.uploads.pop(next(iter(store.uploads))))),
    (Check.EXPLAINED, "an object that nobody recorded", _shown(_unexplained)),
    (
        Check.DOCUMENT_OF_NOTHING,
        "a document of nothing",
        _shown(lambda world: replace(world, documents={**world.documents, "void.mp4": Document("void.mp4", b"{}")})),
    ),
    (Check.WRITTEN, "torn bytes, put right later", _wrote(None, Body.of(LONG[:CHUNK] + b"torn"))),
    (
        Check.PUT_OVER,
        "one recording over another",
        _wrote(Body.of(bytes_of(2 * CHUNK + 3, 2)), Body.of(bytes_of(3 * CHUNK, 4))),
    ),
    (Check.SHRANK, "fewer bytes, put right later", _wrote(Body.of(LONG), Body.of(SHORT))),
    (Check.DELETED, "an object deleted, and made again", _wrote(Body.of(LONG), None)),
    (Check.UPLOAD, "an upload left open", _store(lambda store: store.put_upload(FILM))),
    (Check.STREAM, "a stream under way", _shown(lambda world: replace(world, records=[Record("7", Status.ACTIVE)]))),
    (Check.REDIS, "parts without their stream", _shown(lambda world: replace(world, left_in_redis=["stream:7:parts"]))),
    (Check.COMPLETED, "a stream not known as finished", _shown(lambda world: replace(world, completed=[]))),
    (
        Check.MARKER,
        "a marker that names another object",
        _shown(lambda world: replace(world, markers=[replace(one, etag="7") for one in world.markers])),
    ),
    (Check.HELD, "a key", _shown(lambda world: replace(world, held=[Held(FILM, None)]))),
    (Check.WAITED, "an hour late", _first_file(closed_at=-3600.0)),
    (Check.UNFORESEEN, "an error", _shown(lambda world: replace(world, unforeseen=["KeyError"]))),
    (Check.TASK, "a task", _shown(lambda world: replace(world, tasks_left=["sweep"]))),
    (Check.SECRET, "a password", _shown(lambda world: replace(world, secrets_told=["redis://:***@host"]))),
    (Check.STOP, "a stop of a minute", _shown(lambda world: replace(world, stops=[60.0], limits=Limits(grace=20.0)))),
    (Check.SENT, "a byte too many", _shown(lambda world: replace(world, sent_bytes=8, limits=Limits(sent_bytes=7)))),
]


def _only(check: Check, world: World) -> list[Finding]:
    """Found by this check, and by no other."""
    found = audit(world)
    assert found, f"nothing found: {check}"
    assert {finding.check for finding in found} == {check}, [*map(str, found)]
    assert audit(world, off=[check]) == []
    return found


def test_a_clean_world_gives_nothing_and_shows_everything() -> None:
    world = view(lived(clean))
    assert [*map(str, audit(world))] == []
    assert (len(world.files), len(world.objects), len(world.documents), len(world.uploads)) == (2, 4, 3, 2)
    assert world.writes and world.markers and world.strangers and world.held and world.histories


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.breaks.__name__)
def test_a_fault_in_the_product_is_caught_by_one_check_alone(fault: Fault) -> None:
    assert [*map(str, audit(fault.world()))] == [], "the product itself"
    with pytest.MonkeyPatch.context() as patch:
        fault.breaks(patch)
        _only(fault.catches, fault.world())


@pytest.mark.parametrize(
    ("check", "harm"), [(check, harm) for check, _, harm in HARMS], ids=[name for _, name, _ in HARMS]
)
def test_a_harm_to_the_world_is_caught_by_one_check_alone(check: Check, harm: Harming) -> None:
    world = harm(lived(clean))
    excuses = {Excuse(finding.check, finding.subject) for finding in _only(check, world)}
    assert audit(world, excuses) == []


def test_each_check_has_a_mutant_of_its_own() -> None:
    assert {check for check, _, _ in HARMS} | {fault.catches for fault in FAULTS} == set(Check)


def test_an_excuse_is_for_its_check_and_its_subject_alone() -> None:
    world = World(left_in_redis=["one", "two"], unforeseen=["one"])
    assert [finding.words for finding in audit(world, [Excuse(Check.REDIS, "one")])] == [
        "two is left in Redis",
        "unforeseen: one",
    ]
    assert [finding.check for finding in audit(world, [Excuse(Check.REDIS)])] == [Check.UNFORESEEN]
    assert audit(world, [Excuse(Check.REDIS), Excuse(Check.UNFORESEEN, saying="one")]) == []
    assert len(audit(world, [Excuse(Check.UNFORESEEN, saying="two")])) == 3
