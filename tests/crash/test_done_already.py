"""Conduct on fakes in virtual time: what is finished or found is not sent again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from src.domain import Chunk, ChunkBody, Identity, Marker, PartSchedule, Status, StoredPart, moments
from src.exceptions import RedisUnavailable
from src.metadata_generator import document_key
from src.ownership import Claims, Keys, descriptions
from src.stream_processor import documents
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    content_at,
    finished_file,
    growing_file,
    heard,
    lived,
    on_effect,
    recordings_in,
    restart,
    settled,
    until,
    uploads,
    without,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, SOON, Simulation
from tests.harness.crash.stores import STORES, store_with
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


def test_after_a_restart_a_finished_file_is_neither_read_nor_sent_nor_asked_for() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        reads, calls = len(simulation.disk.digests), len(simulation.store.calls)
        await restart(simulation)
        await settled(simulation)
        assert (len(simulation.disk.digests), len(simulation.store.calls)) == (reads, calls)

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


@pytest.mark.parametrize("many", [3, 60])
def test_beside_a_kept_redis_no_number_of_finished_files_adds_a_request_to_a_start(many: int) -> None:
    """Before the first part of a live recording there are the six requests of this recording. Objects that are younger
    than its file are a different matter: each may be its own, under another name. Redis is asked for some hundreds of
    finished files at a time."""

    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, many)
        before, asked_before = len(simulation.store.calls), len(simulation.redis.calls)
        await restart(simulation, lambda: simulation.disk.write(PATH, bytes_of(3, 100)))
        for number in range(4):
            simulation.disk.append(PATH, bytes_of(CHUNK, 101 + number))
            await asyncio.sleep(5)
        calls = [str(call) for call in simulation.store.calls[before:]]
        assert [call for call in calls if "old " in call] == []
        assert next(place for place, call in enumerate(calls) if "upload_part" in call) == 6
        asked = Counter(simulation.redis.calls[asked_before:])
        assert asked["marker"] + asked["remembered_of"] <= 6
        assert len(heard(simulation, moments.AlreadyStored)) == many
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=many * 30 + 4 * CHUNK + 3) == []


@pytest.mark.parametrize("many", [3, 60])
def test_beside_a_wiped_redis_finished_files_are_asked_for_after_the_first_part_of_a_live_recording(many: int) -> None:
    """Before its first part there are the same six requests as beside a kept Redis."""

    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, many)
        before = len(simulation.store.calls)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.write(PATH, bytes_of(3, 100))

        await restart(simulation, meanwhile)
        for number in range(4):
            simulation.disk.append(PATH, bytes_of(CHUNK, 101 + number))
            await asyncio.sleep(5)
        calls = [str(call) for call in simulation.store.calls[before:]]
        first_part = next(place for place, call in enumerate(calls) if "upload_part" in call)
        assert [call for call in calls[:first_part] if "old " in call] == []
        assert first_part == 6
        await until(lambda: len(simulation.redis.state.markers) >= many, "the finished ones are known", seconds=SOON)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=many * 30 + 4 * CHUNK + 3) == []


def _nothing_happens(_: Simulation) -> None:
    return


def _is_too_small(simulation: Simulation) -> None:
    simulation.disk.write(PATH, bytes_of(3, 100))


def _cannot_be_read(simulation: Simulation) -> None:
    simulation.disk.write(PATH, bytes_of(4 * CHUNK, 100))
    simulation.disk.unreadable.add(PATH)


@pytest.mark.parametrize(("live", "seconds"), [(_nothing_happens, 1.0), (_is_too_small, 12.0), (_cannot_be_read, 12.0)])
def test_finished_files_wait_some_seconds_at_most_for_a_recording_without_a_first_part(
    live: Callable[[Simulation], None], seconds: float
) -> None:
    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, 3)
        ids = [file.identity for file in simulation.disk.files.values()]

        def meanwhile() -> None:
            simulation.redis.wipe()
            live(simulation)

        asked = simulation.store.calls
        before = len(asked)
        began = asyncio.get_running_loop().time()
        restarting = asyncio.create_task(restart(simulation, meanwhile))
        await until(lambda: any("old " in key for _, key in asked[before:]), "they are asked for", seconds=seconds)
        await until(lambda: all(one in simulation.redis.state.markers for one in ids), "they are known", seconds=1.0)
        assert (asyncio.get_running_loop().time() - began > 9.0) is (live is not _nothing_happens)
        await restarting
        simulation.disk.unreadable.clear()
        await settled(simulation)

    assert lived(script).problems(sent_at_most=3 * 30 + 4 * CHUNK) == []


def test_finished_files_wait_some_seconds_at_most_for_a_recording_that_is_deleted() -> None:
    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, 3)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.write(PATH, bytes_of(3, 100))

        await restart(simulation, meanwhile)
        simulation.disk.files.pop(PATH)
        await until(lambda: len(simulation.redis.state.markers) == 3, "they are known", seconds=8.0)

    lived(script)


def test_of_many_files_that_are_not_done_redis_is_asked_once_for_all() -> None:
    """The answer of the one look is used by the claim of each."""

    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, 90)
        before = len(simulation.redis.calls)

        def all_is_lost() -> None:
            simulation.redis.wipe()
            simulation.store.objects.clear()

        await restart(simulation, all_is_lost)
        await until(lambda: len(simulation.redis.state.markers) == 90, "all are done again", seconds=600)
        asked = Counter(simulation.redis.calls[before:])
        assert asked["remembered_of"] <= 5  # the last nineteen are too few for it
        assert asked["marker"] <= 19

    assert len(recordings_in(lived(script).store)) == 90


@pytest.mark.parametrize("meanwhile", ["completed", "renamed"])
def test_what_redis_said_of_a_file_that_has_waited_since_is_not_used_later(meanwhile: str) -> None:
    simulation = Simulation()

    async def ask() -> None:
        world, redis = simulation._world(), simulation.redis
        simulation.disk.write("a.mp4", bytes_of(30, 1))
        snapshot = await world.recordings.snapshot("a.mp4")
        assert snapshot is not None
        claims = Claims(world, Keys())
        assert await claims.known({"a.mp4": snapshot}) == {}
        now = world.clock.utc_now()
        done = Marker("a", "a.mp4", world.store.bucket, "a.mp4", snapshot, 1, "e-1", PartSchedule(CHUNK), now, now)
        await redis.put_marker(done)
        if meanwhile == "completed":
            claims.is_done(done)
        claimed = await claims.claim("a.mp4" if meanwhile == "completed" else "b.mp4", snapshot)
        assert isinstance(claimed, Marker) and claimed.stream_id == "a"
        assert Counter(redis.calls)["marker"] == 1

    run(ask())


async def _never_answered(*_: object) -> dict[Identity, Marker]:
    await asyncio.Event().wait()
    return {}


async def _refused(*_: object) -> dict[Identity, Marker]:
    raise RedisUnavailable("refused", operation="redis.marker")


@pytest.mark.parametrize("broken", [_never_answered, _refused])
def test_finished_files_that_redis_is_not_asked_for_together_are_asked_for_one_by_one(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Awaitable[dict[Identity, Marker]]]
) -> None:
    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, 30)
        monkeypatch.setattr(simulation.redis, "remembered_of", broken)
        before = len(simulation.store.calls)
        await restart(simulation)
        await until(lambda: len(heard(simulation, moments.AlreadyStored)) == 30, "all are found done", seconds=SOON)
        assert len(simulation.store.calls) == before

    assert lived(script).problems(sent_at_most=30 * 30) == []


def test_files_that_changed_are_not_taken_for_those_that_redis_knows() -> None:
    """Of many, one is longer, one touched, one renamed, and one replaced while the daemon is away."""

    async def script(simulation: Simulation) -> None:
        await _finished_long_ago(simulation, 30)
        disk = simulation.disk

        def meanwhile() -> None:
            disk.append("old 3.mp4", bytes_of(CHUNK, 100))
            disk._touch(disk.files["old 4.mp4"])
            disk.rename("old 5.mp4", "new 5.mp4")
            disk.replace("old 6.mp4", bytes_of(31, 101))

        await restart(simulation, meanwhile)
        await asyncio.sleep(400)
        await settled(simulation)
        await restart(simulation)
        await settled(simulation)
        assert content_at(simulation, "old 3.mp4") == disk.content("old 3.mp4")

    assert lived(script).problems() == []


async def _finished_long_ago(simulation: Simulation, many: int) -> None:
    for number in range(many):
        simulation.disk.write(f"old {number}.mp4", bytes_of(30, number))
    await until(lambda: len(simulation.redis.state.markers) == many, "all are done", seconds=600)
    await asyncio.sleep(400)


def test_with_an_emptied_redis_object_and_document_prove_a_finished_file_without_reading_it() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        reads, puts = len(simulation.disk.digests), simulation.store.count("put_document")
        await restart(simulation, simulation.redis.wipe)
        await settled(simulation)
        assert len(simulation.disk.digests) == reads
        assert simulation.store.count("put_document") == puts
        assert simulation.store.count("object_crc64") == 0
        assert len(simulation.redis.state.markers) == 1

    simulation = lived(script)
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("store", STORES)
def test_with_an_emptied_redis_and_no_document_one_read_proves_a_finished_file_and_the_document_is_written(
    store: str,
) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        reads = len(simulation.disk.digests)
        simulation.store.delete_object(document_key(PATH))
        await restart(simulation, simulation.redis.wipe)
        await settled(simulation)
        assert len(simulation.disk.digests) == reads + 5

    simulation = lived(script, store=store_with(**STORES[store]))
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_an_emptied_redis_and_a_file_that_cannot_be_read_at_first_do_not_make_a_second_object() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.store.delete_object(document_key(PATH))
        simulation.disk.unreadable.add(PATH)
        await restart(simulation, simulation.redis.wipe)
        await asyncio.sleep(60)
        simulation.disk.unreadable.clear()
        await asyncio.sleep(400)
        await settled(simulation)

    simulation = lived(script)
    assert without(simulation.problems(sent_at_most=4 * CHUNK + 3), "unforeseen") == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_a_file_that_cannot_be_read_when_it_is_claimed_is_an_expected_trouble() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk._touch(simulation.disk.files[PATH])
        simulation.disk.unreadable.add(PATH)
        await asyncio.sleep(60)
        simulation.disk.unreadable.clear()
        await asyncio.sleep(400)

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


def test_an_emptied_redis_and_a_file_that_changes_while_it_is_compared_do_not_make_a_second_object() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        await finished_file(simulation)
        simulation.store.delete_object(document_key(PATH))

        def cut_and_written_again(path: str, chunk: Chunk) -> None:
            disk.on_read = None
            whole = disk.content(path)
            disk.truncate(path, chunk.offset)
            asyncio.get_running_loop().call_later(0.5, disk.append, path, whole[chunk.offset :] + b"and more")

        disk.on_read = cut_and_written_again
        await restart(simulation, simulation.redis.wipe)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_a_finished_file_that_is_renamed_is_still_done() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.rename(PATH, "archive/first.mp4")
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        await restart(simulation)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}
    assert [marker.path for marker in simulation.redis.state.markers.values()] == ["archive/first.mp4"]


def test_a_finished_file_that_is_touched_is_read_once_and_not_sent_again() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        reads = len(simulation.disk.digests)
        simulation.disk._touch(simulation.disk.files[PATH])
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        await restart(simulation)
        await settled(simulation)
        assert len(simulation.disk.digests) == reads + 5

    simulation = lived(script)
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert simulation.store.count("create_upload") == 1


@pytest.mark.parametrize("other", ["cam/zweitname.mp4", "cam/a name before.mp4"])
@pytest.mark.parametrize("finished", [False, True])
def test_a_hard_link_is_no_second_recording(finished: bool, other: str) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        if finished:
            await settled(simulation)
        simulation.disk.link(PATH, other)
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        await restart(simulation)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("writes", [1, 2, 3, 5])
def test_a_redis_that_is_rolled_back_behind_a_done_stream_costs_nothing_and_is_right_after_a_start(writes: int) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.redis.roll_back(writes)
        assert simulation.redis.members(Status.ACTIVE) | simulation.redis.members(Status.PENDING_COMPLETION)
        await asyncio.sleep(600)
        await restart(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert simulation.store.count("complete_upload") == 1


class ForgetfulStore(FakeStore):
    """Loses every upload as soon as it is begun, until it is mended."""

    broken = True

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if self.broken:
            self.uploads.pop(upload_id, None)
        return await super().upload_part(key, upload_id, number, body)


def test_a_store_that_loses_every_upload_is_asked_more_and_more_slowly() -> None:
    store = ForgetfulStore(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(6 * 3600)
        assert store.count("create_upload") < 25
        store.broken = False

    simulation = lived(script, store=store, settle=20_000.0)
    assert simulation.problems() == []


class LyingStore(FakeStore):
    """Answers a sending with another part's ETag; its listing is right."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        stored = await super().upload_part(key, upload_id, number, body)
        return replace(stored, etag="0" * 32)


def test_the_document_has_the_etags_that_the_store_lists_whatever_it_answered() -> None:
    store = LyingStore(limits=LIMITS)
    listed: dict[int, str] = {}

    async def script(simulation: Simulation) -> None:
        def note() -> None:
            listed.update({number: part.etag for number, (part, _) in uploads(simulation)[0].parts.items()})

        completing = on_effect(simulation, "store.complete_upload", note, when="before")
        await growing_file(simulation, 3)
        await completing.wait()

    simulation = lived(script, store=store)
    assert simulation.problems() == []
    document = json.loads(store.objects[document_key(PATH)].data)
    assert {chunk["part_number"]: chunk["etag"] for chunk in document["chunks"]} == listed


async def _renamed_and_forgotten(simulation: Simulation, *meanwhile: Any) -> None:
    """A recording gets another name while the daemon is down and Redis is emptied."""

    def happens() -> None:
        simulation.redis.wipe()
        simulation.disk.rename(PATH, "cam/final.mp4")
        for happening in meanwhile:
            happening()

    await growing_file(simulation, 3)
    await asyncio.sleep(5)
    await restart(simulation, happens)
    await growing_more(simulation, "cam/final.mp4")


def test_the_upload_of_a_renamed_recording_is_found_again_without_redis() -> None:
    simulation = lived(_renamed_and_forgotten)
    assert simulation.problems(sent_at_most=5 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_an_upload_under_the_name_of_a_file_that_is_there_is_that_files_however_alike_they_are() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        await _renamed_and_forgotten(simulation, lambda: disk.write(PATH, disk.content("cam/final.mp4")))

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation, "cam/final.mp4") == simulation.disk.content("cam/final.mp4")
    assert content_at(simulation) == simulation.disk.content(PATH)


def test_an_upload_with_other_bytes_under_a_name_that_is_gone_is_left_alone() -> None:
    async def script(simulation: Simulation) -> None:
        upload = simulation.store.put_upload("cam/gone.mp4")
        simulation.store.put_part(upload, 1, bytes_of(CHUNK, 99))
        await _renamed_and_forgotten(simulation)
        await settled(simulation)
        assert [(each.upload_id, len(each.parts)) for each in uploads(simulation)] == [(upload, 1)]

    assert set(recordings_in(lived(script).store)) == {PATH}


def test_an_upload_of_zeros_under_a_name_that_is_gone_is_no_proof_for_a_preallocated_file() -> None:
    async def script(simulation: Simulation) -> None:
        upload = simulation.store.put_upload("cam/gone.mp4")
        simulation.store.put_part(upload, 1, bytes(CHUNK))
        await restart(simulation, lambda: simulation.disk.write(PATH, bytes(3 * CHUNK)))
        await settled(simulation)
        assert [(each.upload_id, len(each.parts)) for each in uploads(simulation)] == [(upload, 1)]

    assert set(recordings_in(lived(script).store)) == {PATH}


def test_what_a_forgotten_stream_left_at_its_key_is_aborted_when_the_object_is_found_to_be_the_file() -> None:
    """A kill before the upload was noted, another upload completed, and then Redis forgot when it all began."""

    async def script(simulation: Simulation) -> None:
        simulation.store.go_away()
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 1))
        simulation.store.put_upload(PATH)
        simulation.store.put_object(PATH, simulation.disk.content(PATH))
        await asyncio.sleep(300)
        await restart(simulation, simulation.store.come_back)
        await settled(simulation)

    simulation = lived(script)
    assert uploads(simulation) == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_each_open_upload_is_asked_once_for_whose_it_is_however_many_files_there_are() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(7):
            upload = simulation.store.put_upload(f"cam/gone{number}.mp4")
            simulation.store.put_part(upload, 1, bytes_of(CHUNK, 90 + number))
        simulation.store.go_away()
        for number in range(5):
            simulation.disk.write(f"cam/{number}.mp4", bytes_of(2 * CHUNK, number))
        await asyncio.sleep(1)
        await restart(simulation, simulation.store.come_back)
        await settled(simulation)

    simulation = lived(script)
    asked = [call for call in simulation.store.calls if call[0] == "list_parts" and "gone" in call[1]]
    assert len(asked) == 7
    assert len(recordings_in(simulation.store)) == 5


@pytest.mark.parametrize("named_last", [False, True])
def test_of_two_names_of_a_recording_the_bytewise_smallest_is_its_path(named_last: bool) -> None:
    names = ["cam/ä.mp4", "cam/z.mp4"] if named_last else ["cam/z.mp4", "cam/ä.mp4"]

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2, path=names[0])
        simulation.disk.link(*names)
        await asyncio.sleep(2 * SCAN)
        await growing_more(simulation, names[1])
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=5 * CHUNK) == []
    assert [marker.path for marker in simulation.redis.state.markers.values()] == ["cam/z.mp4"]
    assert {moment.file_path for moment in heard(simulation, moments.FileSkipped)} == {"cam/ä.mp4"}


def test_the_name_that_is_left_of_two_is_the_recordings_path() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.disk.link(PATH, "cam/a.mp4")
        await asyncio.sleep(2 * SCAN)
        simulation.disk.delete("cam/a.mp4")
        await asyncio.sleep(2 * SCAN)
        await growing_more(simulation, PATH)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=5 * CHUNK) == []
    assert [marker.path for marker in simulation.redis.state.markers.values()] == [PATH]


async def growing_more(simulation: Simulation, path: str) -> None:
    for number in range(2):
        simulation.disk.append(path, bytes_of(CHUNK, 60 + number))
        await asyncio.sleep(5)


def test_an_object_that_somebody_deleted_is_told_and_not_sent_again() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        await finished_file(simulation, path="stays.mp4", seed=2)
        await asyncio.sleep(400)
        assert heard(simulation, moments.ObjectsGone)[-1] == moments.ObjectsGone(count=0, keys=[])
        simulation.store.delete_object(PATH)
        await restart(simulation)
        await settled(simulation)
        await asyncio.sleep(400)
        assert heard(simulation, moments.ObjectsGone)[-1] == moments.ObjectsGone(count=1, keys=[PATH])

    simulation = lived(script)
    assert simulation.store.sent_bytes == 2 * (4 * CHUNK + 3)
    assert set(recordings_in(simulation.store)) == {"stays.mp4"}


def test_a_deleted_object_is_not_sent_again_by_its_document_and_a_touch_sends_it() -> None:
    """What the log says: told once, nothing is sent while the file stays as it is, and a touch is enough."""

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.store.delete_object(PATH)
        for what in (simulation.redis.wipe, lambda: None):
            await restart(simulation, what)
            await settled(simulation)
            await asyncio.sleep(400)
            assert set(recordings_in(simulation.store)) == set()
            assert len(heard(simulation, moments.ObjectDeleted)) == 1
            assert heard(simulation, moments.ObjectsGone)[-1] == moments.ObjectsGone(count=1, keys=[PATH])
        simulation.disk._touch(simulation.disk.files[PATH])
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=2 * (4 * CHUNK + 3)) == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_a_document_that_may_have_megabytes_is_read_and_written_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop would stand still meanwhile: 10,000 chunks take 80 ms."""
    in_threads: dict[str, set[bool]] = defaultdict(set)
    begun = [0]
    to_thread = asyncio.to_thread

    async def counted(work: Callable[..., Any], *arguments: Any) -> Any:
        def run() -> Any:
            begun[0] += 1
            try:
                return work(*arguments)
            finally:
                begun[0] -= 1

        return await to_thread(run)

    def noted(module: ModuleType, name: str) -> None:
        work = getattr(module, name)

        def note(*arguments: Any, **named: Any) -> Any:
            in_threads[name].add(begun[0] > 0)
            return work(*arguments, **named)

        monkeypatch.setattr(module, name, note)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    noted(descriptions, "read_document")
    noted(documents, "read_document")
    noted(documents, "encode_document")

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.append(PATH, bytes_of(CHUNK, 5))
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        await restart(simulation, simulation.redis.wipe)

    assert lived(script).problems() == []
    assert in_threads == {"read_document": {True}, "encode_document": {True}}
