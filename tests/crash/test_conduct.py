"""Conduct on fakes in virtual time: what happens to the world around a recording, and what becomes of its object."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from src.dispatcher import FairSlots
from src.exceptions import RedisUnavailable, S3Rejected
from src.ledger import Ledger
from src.metadata_generator import document_key
from src.part_plan import Limits, part_size
from src.ports import ChunkBody, Naming, Rhythm
from src.recording import (
    Answer,
    Checkpoint,
    Chunk,
    Identity,
    Manifest,
    Part,
    PartSchedule,
    SendReason,
    Status,
    StoredPart,
)
from tests.harness.crash.recorders import SHAPES
from tests.harness.crash.scenes import (
    PATH,
    QUIET,
    SECOND,
    THIRD,
    BlindDisk,
    BlindSimulation,
    SlowStore,
    bytes_of,
    content_at,
    failed_reasons,
    finished_file,
    growing_file,
    killed_at,
    lived,
    moments,
    on_effect,
    put_back,
    recordings_in,
    restart,
    settled,
    take_away,
    until,
    uploads,
    without,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Simulation
from tests.harness.crash.virtual_time import VirtualClock, run
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.store import FakeStore, Happens
from tests.harness.fakes.telemetry import FakeStreamTelemetry

pytestmark = pytest.mark.timeout(20)  # a loop without a pause stops virtual time: it must fail, not hang

STORES: dict[str, dict[str, Any]] = {
    "etags that are md5": {"crc64": False},
    "no checksums at all": {"crc64": False, "md5_etags": False, "object_size": False},
    "no copying": {"copy": False},
    "no conditions": {"conditional": False},
    "nothing beyond the oldest S3": {"crc64": False, "object_size": False, "conditional": False, "copy": False},
    "repeated completions are gone": {"repeat_completion": "gone"},
    "repeated completions fail their condition": {"repeat_completion": "precondition"},
}


def _store(**options: Any) -> FakeStore:
    return FakeStore(limits=LIMITS, **options)


# -- many recordings ---------------------------------------------------------------------------------------------------


def _fifty(seconds: float, chunks: int) -> tuple[Simulation, SlowStore]:
    store = SlowStore(seconds)

    async def script(simulation: Simulation) -> None:
        store.disk = simulation.disk
        for number in range(50):
            simulation.disk.write(f"cam {number:02}/take.mp4", bytes_of(chunks * CHUNK + number % CHUNK, number))
        await asyncio.sleep(SCAN)

    return lived(script, store=store, settle=20_000), store


def test_fifty_recordings_end_right_with_two_slots() -> None:
    simulation, store = _fifty(0.25, 40)
    assert simulation.problems() == []
    assert len(recordings_in(store)) == 50
    assert store.sent_bytes == sum(len(content) for _, content in simulation.recordings())


def test_no_recording_starves_while_forty_nine_others_have_more_to_send_than_a_turn() -> None:
    _, store = _fifty(0.25, 60)
    by_key: dict[str, list[float]] = defaultdict(list)
    for when, key, _ in store.arrivals:
        by_key[key].append(when)
    a_round = 50 / 2 * (3.0 + 2 * 0.25)
    waits = {key: max(later - earlier for earlier, later in pairwise(times[:60])) for key, times in by_key.items()}
    assert max(waits.values()) <= a_round, waits
    assert max(times[0] for times in by_key.values()) <= 3 * a_round, "somebody waited long for a first turn"


def test_memory_never_holds_more_than_slots_times_parts_in_flight() -> None:
    simulation, store = _fifty(0.25, 6)
    in_flight = simulation.slots * simulation.rhythm.parts_in_flight
    assert 1 < store.most_bodies <= in_flight
    assert store.most_bytes <= simulation.slots * simulation.rhythm.memory
    assert simulation.disk.unreleased == []


def test_large_parts_are_sent_one_at_a_time_when_two_do_not_fit_into_memory() -> None:
    store = SlowStore(0.25)

    async def script(simulation: Simulation) -> None:
        store.disk = simulation.disk
        await finished_file(simulation, 12 * CHUNK)

    rhythm = Rhythm(timeout=TIMEOUT, missing_grace=SCAN + 1, memory=CHUNK, parts_in_flight=4)
    assert lived(script, store=store, rhythm=rhythm).problems() == []
    assert store.most_bodies == 1


def test_parts_are_sent_while_the_recorder_writes() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 4)
        await asyncio.sleep(2 * SCAN)
        (upload,) = uploads(simulation)
        assert sorted(upload.parts) == [1, 2, 3, 4]

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


# -- whose object ------------------------------------------------------------------------------------------------------


def test_a_strangers_object_at_the_key_stays_and_the_recording_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, b"a stranger's film", {"author": "somebody"})
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == b"a stranger's film"
    assert content_at(simulation, SECOND) == simulation.disk.content(PATH)


def test_a_strangers_document_at_a_free_key_stays_and_the_recording_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(document_key(PATH), b'{"mine": true}')
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {SECOND}
    assert content_at(simulation, document_key(PATH)) == b'{"mine": true}'


def test_a_stranger_that_comes_just_before_the_completion_stays_and_the_recording_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        def stranger_comes(key: str) -> None:
            simulation.store.before_completion = None
            simulation.store.put_object(key, b"a stranger's film")

        simulation.store.before_completion = stranger_comes
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == b"a stranger's film"
    assert set(recordings_in(simulation.store)) == {PATH, SECOND}
    assert len(moments(simulation, "next_key")) == 1


def test_a_strangers_object_with_the_files_bytes_is_the_recording_whoever_put_it_there() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, bytes_of(30, 1), {"author": "aws s3 cp"})
        await finished_file(simulation, 30)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=0) == []
    assert set(recordings_in(simulation.store)) == {PATH}


# -- answers to a completion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("happens", [Happens.NOW, Happens.NEVER])
@pytest.mark.parametrize("answer", list(Answer))
def test_whatever_a_completion_answers_the_file_is_at_its_key_in_the_end(answer: Answer, happens: Happens) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(answer, happens)
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=2 * len(simulation.disk.content(PATH))) == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.UPLOAD_GONE])
def test_a_completion_whose_answer_was_lost_is_not_sent_twice(answer: Answer) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(answer, Happens.NOW)
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert simulation.store.count("complete_upload") == 1


def test_an_object_that_is_still_assembling_is_waited_for() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.LATER)
        await growing_file(simulation, 3)
        await until(lambda: simulation.store.count("complete_upload"), "the completion")
        await asyncio.sleep(600)
        assert simulation.store.count("create_upload") == 1
        simulation.store.finish_assembling()

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []


def test_a_completion_that_came_to_nothing_is_waited_for_a_quarter_of_an_hour_and_uploaded_anew() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.LATER)
        await growing_file(simulation, 3)
        await until(lambda: simulation.store.count("complete_upload"), "the completion")
        asked = simulation.clock.monotonic()
        await until(lambda: simulation.store.count("create_upload") == 2, "the second upload")
        assert 900 <= simulation.clock.monotonic() - asked <= 1100

    assert lived(script).problems() == []


def test_an_upload_that_expired_behind_a_lost_completion_is_made_anew() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.NEVER)
        await growing_file(simulation, 3)
        await until(lambda: simulation.store.count("complete_upload"), "the completion")
        simulation.store.expire(uploads(simulation)[0].upload_id)

    assert lived(script).problems() == []


@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.INVALID_PART, Answer.WRONG_CONTENT])
def test_a_store_that_refuses_again_and_again_is_asked_more_and_more_slowly(answer: Answer) -> None:
    asked: list[float] = []

    class Refusing(FakeStore):
        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            asked.append(asyncio.get_running_loop().time())
            return await super().complete_upload(key, upload_id, manifest, parts)

    async def script(simulation: Simulation) -> None:
        for _ in range(6):
            simulation.store.answer_next_completion(answer, Happens.NEVER)
        await growing_file(simulation, 3)

    simulation = lived(script, store=Refusing(limits=LIMITS))
    assert simulation.problems() == []
    assert len(asked) == 7
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[0] >= 0.5 and pauses[-1] > 2 * pauses[0], pauses


@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.WRONG_CONTENT])
def test_a_refused_upload_stays_until_the_next_holds_all_of_the_file(answer: Answer) -> None:
    whole: list[int] = []
    most_open = 0

    class Refusing(FakeStore):
        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            nonlocal most_open
            if whole:
                assert any(len(upload.parts) == whole[0] for upload in self.uploads.values()), "nothing is whole"
            most_open = max(most_open, len(self.uploads))
            return await super().upload_part(key, upload_id, number, body)

        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            whole.append(manifest.part_count)
            return await super().complete_upload(key, upload_id, manifest, parts)

    async def script(simulation: Simulation) -> None:
        for _ in range(8):
            simulation.store.answer_next_completion(answer, Happens.NEVER)
        await growing_file(simulation, 3)

    simulation = lived(script, store=Refusing(limits=LIMITS))
    assert simulation.problems() == []
    assert len(whole) == 9 and most_open == 2


def test_a_completion_that_s3_rejects_for_good_fails_the_stream_and_a_change_revives_it() -> None:
    class Rejecting(FakeStore):
        rejects = True

        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            if self.rejects:
                raise S3Rejected("complete_upload: InvalidArgument", code="InvalidArgument", hint="look at the bucket")
            return await super().complete_upload(key, upload_id, manifest, parts)

    store = Rejecting(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await settled(simulation)
        assert failed_reasons(simulation) == ["complete_upload: InvalidArgument"]
        store.rejects = False
        simulation.disk.append(PATH, b"more")

    assert lived(script, store=store).problems() == []


@pytest.mark.parametrize("answer", [Answer.INVALID_PART, Answer.WRONG_CONTENT, Answer.CONFLICT])
def test_a_failed_stream_whose_completion_had_no_answer_goes_on_whatever_is_answered_then(answer: Answer) -> None:
    class Rejecting(FakeStore):
        rejects = True

        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            if self.rejects:
                raise S3Rejected("complete_upload: InvalidArgument", code="InvalidArgument")
            return await super().complete_upload(key, upload_id, manifest, parts)

    store = Rejecting(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await settled(simulation)
        store.rejects = False
        store.answer_next_completion(answer, Happens.NEVER)
        simulation.disk.append(PATH, b"more")

    assert lived(script, store=store).problems() == []


# -- a world that is away ----------------------------------------------------------------------------------------------


def test_a_store_that_is_away_for_hours_is_waited_for_and_caught_up_with() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.store.go_away()
        for number in range(3):
            await asyncio.sleep(3600)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        simulation.store.come_back()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_a_store_that_is_away_while_a_recording_is_finished_is_waited_for() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await until(lambda: len(uploads(simulation)) == 1 and len(uploads(simulation)[0].parts) == 3, "three parts")
        simulation.store.go_away()
        await asyncio.sleep(4 * 3600)
        simulation.store.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def test_a_store_that_is_away_at_start_delays_neither_looking_nor_recovery() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.go_away()
        await growing_file(simulation, 2)
        await restart(simulation)
        await asyncio.sleep(3600)
        assert simulation.dispatcher is not None and len(simulation.dispatcher._by_path) == 1
        simulation.store.come_back()

    assert lived(script).problems(sent_at_most=2 * CHUNK + 3) == []


def test_parts_go_on_being_sent_while_redis_is_away() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.redis.go_away()
        for number in range(3):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        await asyncio.sleep(10)
        assert sorted(uploads(simulation)[0].parts) == [1, 2, 3, 4, 5]
        await asyncio.sleep(3 * 3600)
        assert recordings_in(simulation.store) == {}, "nothing is completed without its intent in Redis"
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_a_kill_while_redis_is_away_sends_no_part_again() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.redis.go_away()
        for number in range(3):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        await asyncio.sleep(10)
        await restart(simulation)
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_redis_away_at_start_is_waited_for_before_anything_is_created() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.redis.go_away()
        await growing_file(simulation, 3)
        await asyncio.sleep(3600)
        assert simulation.store.count("create_upload") == 0
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def test_redis_wiped_under_a_living_daemon_is_written_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await asyncio.sleep(5)
        simulation.redis.wipe()
        for number in range(2):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
        await asyncio.sleep(5)
        assert simulation.redis.members(Status.ACTIVE)

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


def test_cleaning_up_while_redis_is_away_holds_no_slot_that_others_need() -> None:
    other = "cam/other.mp4"

    async def script(simulation: Simulation) -> None:
        async with asyncio.TaskGroup() as recorders_at_work:
            recorders_at_work.create_task(growing_file(simulation, 60, path=other, seed=60))
            await growing_file(simulation, 3)
            simulation.disk.replace(PATH, bytes_of(2 * CHUNK, 40))
            await on_effect(simulation, "store.abort_upload", simulation.redis.go_away).wait()
            held = {upload.key: len(upload.parts) for upload in uploads(simulation)}
            await asyncio.sleep(60)
            assert len(uploads(simulation)[0].parts) >= held[other] + 10
            simulation.redis.come_back()

    assert lived(script, slots=1).problems() == []


# -- uploads that vanish -----------------------------------------------------------------------------------------------


def test_an_upload_that_expires_while_the_recorder_writes_is_made_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.store.expire(uploads(simulation)[0].upload_id)
        for number in range(3):
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
            await asyncio.sleep(5)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=9 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}
    assert len(moments(simulation, "upload_lost")) == 1


def test_an_upload_that_expires_while_the_daemon_is_down_is_made_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        await restart(simulation, lambda: simulation.store.expire(uploads(simulation)[0].upload_id))

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_a_part_that_the_store_lost_is_sent_again_alone() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 4)
        await asyncio.sleep(5)
        del uploads(simulation)[0].parts[2]

    simulation = lived(script)
    assert simulation.problems(sent_at_most=5 * CHUNK + 3) == []
    assert [m["number"] for m in moments(simulation, "part_stored") if m["reason"] is SendReason.LOST] == [2]


def test_an_upload_that_expired_while_a_stranger_took_its_key_is_made_anew_at_the_next() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.store.expire(uploads(simulation)[0].upload_id)
        simulation.store.put_object(PATH, b"a stranger's film")
        simulation.disk.append(PATH, bytes_of(CHUNK, 50))

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == b"a stranger's film"
    assert content_at(simulation, SECOND) == simulation.disk.content(PATH)


def _lose_part(simulation: Simulation, number: int) -> None:
    del uploads(simulation)[0].parts[number]


def test_a_part_that_is_lost_behind_an_unanswered_completion_is_sent_again() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.NEVER)
        lose_a_part = functools.partial(_lose_part, simulation, 2)
        await growing_file(simulation, 4)
        await on_effect(simulation, "store.complete_upload", lose_a_part).wait()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


@pytest.mark.parametrize("strangers", [None, b"a stranger's film"])
def test_an_object_gone_or_overwritten_before_its_document_was_written_is_sent_anew(strangers: bytes | None) -> None:
    async def script(simulation: Simulation) -> None:
        def meanwhile() -> None:
            if strangers is None:
                simulation.store.delete_object(PATH)
            else:
                simulation.store.put_object(PATH, strangers)

        simulation.disk.write(PATH, bytes_of(3 * CHUNK, 1))
        await killed_at(simulation, "store.put_document", meanwhile, when="before")

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == ({PATH, SECOND} if strangers else {PATH})


def test_a_strangers_document_beside_the_same_bytes_stays_and_says_so_once() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, bytes_of(30, 1))
        simulation.store.put_object(document_key(PATH), b'{"mine": true}')
        await finished_file(simulation, 30)

    simulation = lived(script)
    assert content_at(simulation, document_key(PATH)) == b'{"mine": true}'
    assert set(recordings_in(simulation.store)) == {PATH}
    assert len(moments(simulation, "document_taken")) == 1
    assert simulation.store.sent_bytes == 0


# -- done already ------------------------------------------------------------------------------------------------------


def test_after_a_restart_a_finished_file_is_neither_read_nor_sent_nor_asked_for() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        reads, calls = len(simulation.disk.digests), len(simulation.store.calls)
        await restart(simulation)
        await settled(simulation)
        assert (len(simulation.disk.digests), len(simulation.store.calls)) == (reads, calls)

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


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

    simulation = lived(script, store=_store(**STORES[store]))
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
    assert {moment["path"] for moment in moments(simulation, "file_skipped")} == {"cam/ä.mp4"}


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
        assert moments(simulation, "objects_gone")[-1] == {"count": 0, "keys": ()}
        simulation.store.delete_object(PATH)
        await restart(simulation)
        await settled(simulation)
        await asyncio.sleep(400)
        assert moments(simulation, "objects_gone")[-1] == {"count": 1, "keys": (PATH,)}

    simulation = lived(script)
    assert simulation.store.sent_bytes == 2 * (4 * CHUNK + 3)
    assert set(recordings_in(simulation.store)) == {"stays.mp4"}


# -- empty files -------------------------------------------------------------------------------------------------------


def test_an_empty_file_has_no_object_one_log_line_and_is_taken_up_when_bytes_come() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, b"")
        await asyncio.sleep(10 * QUIET)
        assert simulation.store.objects == {} and simulation.store.uploads == {}
        assert simulation.redis.state.records == {}
        assert len(moments(simulation, "empty_file")) == 1
        simulation.disk.append(PATH, bytes_of(2 * CHUNK + 1, 5))

    assert lived(script).problems(sent_at_most=2 * CHUNK + 1) == []


def test_a_recording_that_is_emptied_waits_for_its_bytes() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        simulation.disk.write(PATH, b"")
        await asyncio.sleep(10 * QUIET)
        assert recordings_in(simulation.store) == {}
        simulation.disk.append(PATH, bytes_of(CHUNK + 1, 5))

    assert lived(script).problems() == []


# -- changes at the wrong moment ---------------------------------------------------------------------------------------


def _while_sealing(simulation: Simulation, at_chunk: int, change: Any) -> None:
    """Run ``change`` once, in the middle of the reading of this chunk while the recording is sealed."""

    def on_read(_: str, chunk: Chunk) -> None:
        if chunk.number == at_chunk and simulation.redis.members(Status.PENDING_COMPLETION):
            simulation.disk.on_read = None
            change()

    simulation.disk.on_read = on_read


@pytest.mark.parametrize("offset", range(0, 4 * CHUNK, 5))
@pytest.mark.parametrize("at_chunk", [1, 3, 5])
@pytest.mark.parametrize("store", ["default", "etags that are md5", "no checksums at all"])
def test_a_patch_while_the_file_is_sealed_is_in_the_object(at_chunk: int, offset: int, store: str) -> None:
    async def script(simulation: Simulation) -> None:
        _while_sealing(simulation, at_chunk, lambda: simulation.disk.patch(PATH, offset, b"\xff\xfe"))
        await growing_file(simulation, 4)

    assert lived(script, store=_store(**STORES.get(store, {}))).problems(sent_at_most=6 * CHUNK + 6) == []


@pytest.mark.parametrize("at_chunk", [1, 3, 5])
def test_growth_while_the_file_is_sealed_takes_it_back_to_active(at_chunk: int) -> None:
    async def script(simulation: Simulation) -> None:
        _while_sealing(simulation, at_chunk, lambda: simulation.disk.append(PATH, bytes_of(2 * CHUNK, 50)))
        await growing_file(simulation, 4)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=7 * CHUNK + 6) == []
    assert len(moments(simulation, "replacing")) == 0, "seen before the completion, so nothing was replaced"


@pytest.mark.parametrize("at_chunk", [1, 3, 5])
def test_a_cut_while_the_file_is_sealed_makes_the_shorter_file_the_object(at_chunk: int) -> None:
    async def script(simulation: Simulation) -> None:
        _while_sealing(simulation, at_chunk, lambda: simulation.disk.truncate(PATH, 2 * CHUNK + 1))
        await growing_file(simulation, 4)

    assert lived(script).problems() == []


def test_a_patch_while_a_part_is_read_is_in_the_object() -> None:
    async def script(simulation: Simulation) -> None:
        def patch_under_the_reader(path: str, chunk: Chunk) -> None:
            simulation.disk.on_read = None
            simulation.disk.patch(path, chunk.offset, b"\xff\xfe\xfd")

        simulation.disk.on_read = patch_under_the_reader
        await growing_file(simulation, 4)

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_a_patch_between_seal_and_completion_is_in_the_object() -> None:
    async def script(simulation: Simulation) -> None:
        def patch(_: str) -> None:
            simulation.store.before_completion = None
            simulation.disk.patch(PATH, 1, b"\xff\xfe")

        simulation.store.before_completion = patch
        await growing_file(simulation, 4)

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("store", ["default", *STORES])
def test_a_patch_after_completion_replaces_the_object_at_its_key(store: str) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.patch(PATH, 2 * CHUNK + 1, b"\xff\xfe")
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script, store=_store(**STORES.get(store, {})))
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_ends_right_on_every_kind_of_store(shape: str, store: str) -> None:
    async def script(simulation: Simulation) -> None:
        await SHAPES[shape](simulation.disk)

    assert lived(script, store=_store(**STORES[store])).problems() == []


def test_each_replacement_doubles_the_quiet_time() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        for number in range(3):
            simulation.disk.patch(PATH, number, b"\xff")
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert [moment["quiet_seconds"] for moment in moments(simulation, "went_idle")] == [30, 60, 120, 240]


def test_a_recorder_that_writes_every_forty_seconds_is_replaced_ever_more_rarely() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for number in range(200):
            await asyncio.sleep(40)
            simulation.disk.append(PATH, bytes_of(3, number))

    simulation = lived(script, settle=20_000)
    assert simulation.problems() == []
    assert simulation.store.count("complete_upload") <= 4


# -- replacing by copying ----------------------------------------------------------------------------------------------


async def _grows_after_completion(simulation: Simulation) -> None:
    await finished_file(simulation, 10 * CHUNK + 3)
    simulation.disk.append(PATH, bytes_of(2 * CHUNK, 70))
    await asyncio.sleep(2 * SCAN)


def test_growth_after_completion_copies_the_unchanged_parts_and_sends_the_rest() -> None:
    simulation = lived(_grows_after_completion)
    assert simulation.problems(sent_at_most=12 * CHUNK + 6) == []
    assert simulation.store.count("copy_part") == 10
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("store", ["etags that are md5", "no conditions"])
def test_growth_after_completion_copies_also_on_lesser_stores(store: str) -> None:
    simulation = lived(_grows_after_completion, store=_store(**STORES[store]))
    assert simulation.problems(sent_at_most=12 * CHUNK + 6) == []
    assert simulation.store.count("copy_part") == 10


def test_without_copying_everything_is_sent_again_and_the_object_is_right() -> None:
    simulation = lived(_grows_after_completion, store=_store(copy=False))
    assert simulation.problems() == []
    assert simulation.store.count("copy_part") == 1


def test_a_patch_after_completion_sends_the_patched_part_and_the_tail_alone() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 10 * CHUNK + 3)
        simulation.disk.patch(PATH, 4 * CHUNK, b"\xff\xfe")
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=11 * CHUNK + 6) == []
    assert simulation.store.count("copy_part") == 9


def test_a_recorder_that_keeps_writing_has_its_unchanged_parts_copied_all_the_same() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        await finished_file(simulation, 10 * CHUNK + 3)
        disk.on_read = lambda path, chunk: disk.append(path, b"x") if chunk.number % 4 == 0 else None
        disk.append(PATH, bytes_of(2 * CHUNK, 70))
        await asyncio.sleep(10)
        disk.on_read = None

    simulation = lived(script)
    assert simulation.problems(sent_at_most=14 * CHUNK) == []
    assert simulation.store.count("copy_part") == 10


@pytest.mark.parametrize("wiped", [False, True], ids=["redis kept", "redis wiped"])
def test_a_kill_while_parts_are_copied_goes_on_with_the_same_upload(wiped: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 10 * CHUNK + 3)
        simulation.disk.append(PATH, bytes_of(2 * CHUNK, 70))
        await killed_at(simulation, "store.copy_part", simulation.redis.wipe if wiped else lambda: None, nth=5)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=13 * CHUNK + 6) == []
    assert simulation.store.count("create_upload") == 2
    assert simulation.store.count("copy_part") <= 11


# -- the source --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [False, True])
def test_a_recording_that_disappears_fails_keeps_its_upload_and_goes_on_when_seen_again(down: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        file = take_away(simulation.disk)
        await settled(simulation)
        assert failed_reasons(simulation) == ["source_missing"]
        assert sorted(uploads(simulation)[0].parts) == [1, 2, 3]
        if down:
            await restart(simulation)
        await asyncio.sleep(7200)
        put_back(simulation.disk, file)
        simulation.disk.append(PATH, bytes_of(CHUNK, 50))

    simulation = lived(script)
    assert simulation.problems(sent_at_most=4 * CHUNK + 3) == []
    assert simulation.store.count("create_upload") == 1
    assert failed_reasons(simulation) == []


def test_a_recording_that_comes_back_under_another_name_goes_on_with_its_upload() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        file = take_away(simulation.disk)
        await settled(simulation)
        put_back(simulation.disk, file, "elsewhere/found.mp4")

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_a_recording_that_is_put_back_while_its_failure_waits_for_redis_goes_on() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.redis.go_away()
        file = take_away(simulation.disk)
        await asyncio.sleep(60)
        put_back(simulation.disk, file)
        await asyncio.sleep(60)
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def test_a_recording_that_is_gone_for_a_moment_goes_on_as_if_nothing_was() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        file = take_away(simulation.disk)
        await asyncio.sleep(SCAN)
        put_back(simulation.disk, file)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert moments(simulation, "failed") == []


def test_a_recording_deleted_after_its_object_was_proved_is_completed() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await on_effect(simulation, "store.complete_upload", lambda: take_away(simulation.disk)).wait()
        await settled(simulation)
        assert document_key(PATH) in simulation.store.objects

    assert lived(script).problems() == []


def test_a_file_touched_in_the_moment_of_its_completion_is_not_replaced() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await on_effect(simulation, "store.complete_upload", lambda: disk._touch(disk.files[PATH])).wait()

    simulation = lived(script)
    assert simulation.problems(sent_at_most=2 * CHUNK) == []
    assert simulation.store.count("complete_upload") == 1


def test_a_file_that_cannot_be_read_is_tried_again_until_it_can() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 1)
        simulation.disk.unreadable.add(PATH)
        simulation.disk.append(PATH, bytes_of(2 * CHUNK, 50))
        await asyncio.sleep(1000)
        assert 10 <= len(moments(simulation, "trouble")) <= 100
        simulation.disk.unreadable.clear()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def _blind(script: Any) -> Simulation:
    async def live() -> Simulation:
        simulation = BlindSimulation()
        await simulation.run(lambda _: script(simulation, simulation.blind_disk), settle=9000)
        return simulation

    return run(live())


def test_a_file_that_no_stat_can_see_at_first_is_looked_at_again_without_another_hint() -> None:
    async def script(_: Simulation, disk: BlindDisk) -> None:
        disk.blind.add(PATH)
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await until(lambda: disk.blind_looks, "a look")
        disk.blind.clear()
        await asyncio.sleep(1000)

    assert _blind(script).problems() == []


def test_a_recording_that_no_stat_can_see_for_a_while_goes_on_afterwards() -> None:
    async def script(_: Simulation, disk: BlindDisk) -> None:
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await asyncio.sleep(10)
        disk.blind.add(PATH)
        disk.append(PATH, bytes_of(2 * CHUNK, 2))
        await asyncio.sleep(300)
        disk.blind.clear()

    simulation = _blind(script)
    assert simulation.problems(sent_at_most=4 * CHUNK) == []
    assert moments(simulation, "failed") == []


def test_a_recording_that_no_stat_can_see_when_its_second_name_appears_does_not_end_the_daemon() -> None:
    async def script(simulation: Simulation, disk: BlindDisk) -> None:
        disk.write(PATH, bytes_of(2 * CHUNK, 1))
        await asyncio.sleep(10)
        disk.blind.add(PATH)
        disk.link(PATH, "cam/link.mp4")
        await asyncio.sleep(10)
        disk.blind.clear()
        disk.write("cam/other.mp4", bytes_of(2 * CHUNK, 9))
        await asyncio.sleep(10)

    assert without(_blind(script).problems(), "'cam/link.mp4'") == []


# -- one name, many recordings -----------------------------------------------------------------------------------------


def test_a_new_file_under_the_name_of_a_finished_one_takes_the_next_key_and_the_one_after_it() -> None:
    async def script(simulation: Simulation) -> None:
        for seed in (1, 2, 3):
            simulation.disk.replace(PATH, bytes_of(3 * CHUNK, seed))
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    held = {key: found.data for key, found in recordings_in(simulation.store).items()}
    assert held == {PATH: bytes_of(24, 1), SECOND: bytes_of(24, 2), THIRD: bytes_of(24, 3)}


def test_a_file_that_is_begun_anew_under_its_inode_after_completion_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 4 * CHUNK)
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 2))
        await asyncio.sleep(SCAN)
        simulation.disk.append(PATH, bytes_of(4 * CHUNK, 3))

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == bytes_of(4 * CHUNK, 1)
    assert set(recordings_in(simulation.store)) == {PATH, SECOND}


@pytest.mark.parametrize("wiped", [False, True])
def test_a_file_begun_anew_while_the_daemon_is_down_takes_the_next_key(wiped: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 4 * CHUNK)

        def meanwhile() -> None:
            simulation.disk.write(PATH, bytes_of(2 * CHUNK, 2))
            if wiped:
                simulation.redis.wipe()

        await restart(simulation, meanwhile)

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == bytes_of(4 * CHUNK, 1)
    assert set(recordings_in(simulation.store)) == {PATH, SECOND}


def test_a_file_begun_anew_between_completion_and_document_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(4 * CHUNK, 1))
        await killed_at(
            simulation, "store.complete_upload", lambda: simulation.disk.write(PATH, bytes_of(2 * CHUNK, 2))
        )

    simulation = lived(script)
    assert simulation.problems() == []
    held = {key: found.data for key, found in recordings_in(simulation.store).items()}
    assert held == {PATH: bytes_of(4 * CHUNK, 1), SECOND: bytes_of(2 * CHUNK, 2)}


def test_a_file_begun_anew_while_its_object_is_brought_up_to_date_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 4 * CHUNK)
        simulation.disk.append(PATH, bytes_of(CHUNK, 5))
        await asyncio.sleep(10)
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 2))

    simulation = lived(script)
    assert simulation.problems() == []
    held = {key: found.data for key, found in recordings_in(simulation.store).items()}
    assert held[PATH][: 4 * CHUNK] == bytes_of(4 * CHUNK, 1), "the earlier recording is lost"
    assert held[SECOND] == bytes_of(2 * CHUNK, 2)


def test_where_names_are_replaced_the_new_recording_and_its_document_take_the_place_of_the_old() -> None:
    async def script(simulation: Simulation) -> None:
        for seed in (1, 2):
            simulation.disk.replace(PATH, bytes_of(3 * CHUNK, seed))
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

    naming = Naming(PartSchedule(CHUNK), limits=LIMITS, replace_reused_names=True)
    simulation = lived(script, naming=naming)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("how", ["another file", "the same file, emptied"])
def test_where_names_are_replaced_a_shorter_recording_takes_the_place_of_a_longer_one(how: str) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3 * CHUNK, 1))
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        if how == "another file":
            simulation.disk.replace(PATH, bytes_of(2 * CHUNK, 2))
        else:
            simulation.disk.truncate(PATH, 0)
            await asyncio.sleep(2 * SCAN)
            simulation.disk.append(PATH, bytes_of(2 * CHUNK, 2))
        await asyncio.sleep(10 * SCAN)
        await settled(simulation)

    naming = Naming(PartSchedule(CHUNK), limits=LIMITS, replace_reused_names=True)
    simulation = lived(script, naming=naming)
    assert simulation.problems() == []
    assert content_at(simulation) == bytes_of(2 * CHUNK, 2)
    assert set(recordings_in(simulation.store)) == {PATH}
    assert len(moments(simulation, "started")) == 2


def test_where_names_are_replaced_a_strangers_object_stays_all_the_same() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, b"a stranger's film")
        await growing_file(simulation, 3)

    naming = Naming(PartSchedule(CHUNK), limits=LIMITS, replace_reused_names=True)
    simulation = lived(script, naming=naming)
    assert simulation.problems() == []
    assert content_at(simulation) == b"a stranger's film"


def test_an_inode_used_again_where_there_are_no_birth_times_does_not_cost_the_earlier_recording() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        disk.write(PATH, bytes_of(3 * CHUNK, 1))
        disk.files[PATH].identity = Identity(7, 0)
        await asyncio.sleep(2 * SCAN)
        await settled(simulation)
        disk.delete(PATH)
        await asyncio.sleep(2 * SCAN)
        disk.write("cam/take 2.mp4", bytes_of(5 * CHUNK, 2))
        disk.files["cam/take 2.mp4"].identity = Identity(7, 0)

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == bytes_of(3 * CHUNK, 1)


def test_a_file_renamed_while_the_daemon_is_down_goes_on_under_its_key() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        await restart(simulation, lambda: simulation.disk.rename(PATH, "cam/final.mp4"))

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("away", [False, True])
def test_a_name_that_changes_while_the_daemon_is_down_is_learnt_also_when_redis_is_late(away: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)

        def meanwhile() -> None:
            simulation.disk.rename(PATH, "cam/final.mp4")
            if away:
                simulation.redis.go_away()

        await restart(simulation, meanwhile)
        await asyncio.sleep(60)
        simulation.redis.come_back()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


@pytest.mark.parametrize("away", [False, True])
def test_a_file_replaced_while_the_daemon_is_down_is_taken_up_also_when_redis_is_late(away: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)

        def meanwhile() -> None:
            simulation.disk.replace(PATH, bytes_of(2 * CHUNK, 9))
            if away:
                simulation.redis.go_away()

        await restart(simulation, meanwhile)
        await asyncio.sleep(60)
        simulation.redis.come_back()

    assert lived(script).problems() == []


def test_uploads_that_a_replaced_recording_had_left_behind_are_aborted_with_its_last_one() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.CONFLICT, Happens.NEVER)
        await growing_file(simulation, 3)
        replace_file = functools.partial(simulation.disk.replace, PATH, bytes_of(2 * CHUNK, 9))
        await on_effect(simulation, "store.create_upload", replace_file).wait()

    assert lived(script).problems() == []


def test_uploads_of_a_replaced_recording_are_aborted_also_when_the_store_is_unfriendly_to_its_successor() -> None:
    class Moody(FakeStore):
        moods = 1

        async def head(self, key: str) -> Any:
            if self.moods and self.uploads and recorded:
                self.moods -= 1
                raise RuntimeError("nobody foresaw this")
            return await super().head(key)

    recorded: list[bool] = []

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.disk.replace(PATH, bytes_of(2 * CHUNK, 9))
        recorded.append(True)

    simulation = lived(script, store=Moody(limits=LIMITS))
    assert len(moments(simulation, "unexpected")) == 1
    assert without(simulation.problems(), "unforeseen") == []


# -- capacity ----------------------------------------------------------------------------------------------------------


def test_equal_parts_are_warned_of_near_their_capacity_and_uploaded_anew_beyond_it() -> None:
    limits = Limits(min_part=CHUNK, max_part=8 * CHUNK, max_parts=10, parts_per_step=50)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for number in range(13):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, 10 + number))

    naming = Naming(PartSchedule(CHUNK, growing=False), limits=limits)
    simulation = lived(script, naming=naming, store=FakeStore(limits=limits))
    assert simulation.problems(sent_at_most=10 * CHUNK + 13 * CHUNK + 3) == []
    assert len(moments(simulation, "near_capacity")) == 1
    sizes = simulation.store.objects[PATH].part_sizes
    assert len(sizes) <= 10 and len(set(sizes[:-1])) == 1


def test_a_growing_schedule_takes_any_length_in_stride() -> None:
    limits = Limits(min_part=CHUNK, max_part=64 * CHUNK, max_parts=10, parts_per_step=3)
    schedule = PartSchedule(CHUNK)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for number in range(8):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(3 * CHUNK, 10 + number))

    naming = Naming(schedule, limits=limits)
    simulation = lived(script, naming=naming, store=FakeStore(limits=limits))
    assert simulation.problems(sent_at_most=24 * CHUNK + 3) == []
    sizes = simulation.store.objects[PATH].part_sizes
    assert sizes[:-1] == tuple(part_size(schedule, number, limits) for number in range(1, len(sizes)))
    assert moments(simulation, "near_capacity") == []


# -- one bad stream ----------------------------------------------------------------------------------------------------


def test_one_stream_that_meets_a_bug_does_not_stop_the_others_and_is_tried_again() -> None:
    class Buggy(FakeStore):
        bugs = 5

        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            if "bad" in key and self.bugs:
                self.bugs -= 1
                raise RuntimeError("nobody foresaw this")
            return await super().upload_part(key, upload_id, number, body)

    store = Buggy(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        for seed, name in enumerate(("bad", "good", "other")):
            simulation.disk.write(f"{name}.mp4", bytes_of(3 * CHUNK, seed))
        await until(lambda: len(recordings_in(store)) == 2, "the good ones", seconds=2 * QUIET)
        assert set(recordings_in(store)) == {"good.mp4", "other.mp4"}

    simulation = lived(script, store=store)
    assert without(simulation.problems(), "unforeseen") == []
    waits = [moment["retry_seconds"] for moment in moments(simulation, "unexpected")]
    assert len(waits) >= 3 and waits == sorted(waits) and waits[0] < waits[-1]


def test_no_memory_is_kept_by_a_stream_that_met_a_bug() -> None:
    class Buggy(FakeStore):
        bugs = 5

        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            if self.bugs:
                self.bugs -= 1
                raise RuntimeError("nobody foresaw this")
            return await super().upload_part(key, upload_id, number, body)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(6 * CHUNK, 1))
        await asyncio.sleep(SCAN)

    simulation = lived(script, store=Buggy(limits=LIMITS))
    assert simulation.disk.unreleased == []
    assert {body.released for body in simulation.disk.bodies} == {True, False}, "after a failure: not to be used again"


# -- stopping ----------------------------------------------------------------------------------------------------------


async def _drain(simulation: Simulation, grace: float = 20.0) -> float:
    """Stop the daemon as its signal handler does; the seconds that it took."""
    dispatcher = simulation.dispatcher
    assert dispatcher is not None
    slots = dispatcher._world.slots
    assert isinstance(slots, FairSlots)
    began = simulation.clock.monotonic()
    slots.drain()
    await dispatcher.drain(grace)
    assert dispatcher._tasks == set()
    return simulation.clock.monotonic() - began


@pytest.mark.parametrize("after", [3.0, 5.0, 7.0])
def test_a_stop_finishes_the_parts_in_flight_and_the_next_start_sends_none_of_them_again(after: float) -> None:
    store = SlowStore(1.5)

    async def script(simulation: Simulation) -> None:
        for number in range(4):
            simulation.disk.write(f"{number}.mp4", bytes_of(20 * CHUNK, number))
        await asyncio.sleep(after)
        assert await _drain(simulation) <= 2 * 1.5
        assert moments(simulation, "drained") == [{"dropped": 0}]
        await restart(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems(sent_at_most=4 * 20 * CHUNK) == []
    assert len(store.completed_uploads) == 4


def test_a_stop_waits_no_longer_than_its_grace_for_parts_that_hang() -> None:
    store = SlowStore(1000.0)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(20 * CHUNK, 1))
        await asyncio.sleep(10)
        assert 20 <= await _drain(simulation) <= 21
        assert moments(simulation, "drained") == [{"dropped": 1}]
        store.seconds = 0.1
        await restart(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems(sent_at_most=20 * CHUNK) == []
    assert simulation.disk.unreleased == []


def test_a_stop_while_everything_is_sent_again_at_the_seal_ends_at_a_part() -> None:
    store = SlowStore(1.5)

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(30 * CHUNK, 1))
        await until(lambda: len(store.arrivals) == 30, "all parts")
        simulation.disk.patch(PATH, 0, bytes_of(30 * CHUNK, 2))
        await until(lambda: len(store.arrivals) == 34, "the seal")
        assert await _drain(simulation) <= 2 * 1.5
        await restart(simulation)

    simulation = lived(script, store=store)
    assert simulation.problems(sent_at_most=60 * CHUNK) == []


def test_a_stop_while_the_store_and_redis_are_away_ends_within_its_grace() -> None:
    async def script(simulation: Simulation) -> None:
        for number in range(10):
            simulation.disk.write(f"{number}.mp4", bytes_of(3 * CHUNK, number))
        await asyncio.sleep(5)
        simulation.store.go_away()
        simulation.redis.go_away()
        for number in range(10):
            simulation.disk.append(f"{number}.mp4", bytes_of(3 * CHUNK, number + 30))
            simulation.disk.write(f"new {number}.mp4", bytes_of(3 * CHUNK, number + 60))
        await asyncio.sleep(100)
        assert await _drain(simulation) <= 21
        simulation.store.come_back()
        simulation.redis.come_back()
        await restart(simulation)

    assert lived(script).problems() == []


def test_a_stop_of_idle_streams_is_immediate() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await asyncio.sleep(5)
        assert await _drain(simulation) == 0.0
        await restart(simulation)

    assert lived(script).problems(sent_at_most=2 * CHUNK + 3) == []


def test_a_stop_does_not_wait_for_a_stream_that_rests_after_a_bug() -> None:
    class Buggy(FakeStore):
        async def create_upload(self, key: str, metadata: Any) -> str:
            raise RuntimeError("nobody foresaw this")

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 20)
        assert await _drain(simulation) <= 1.0
        take_away(simulation.disk)

    lived(script, store=Buggy(limits=LIMITS), settle=60)


# -- turns at the store ------------------------------------------------------------------------------------------------


def test_turns_are_given_in_the_order_of_asking() -> None:
    async def live() -> list[int]:
        slots, order = FairSlots(1), []

        async def take(number: int) -> None:
            async with slots.turn():
                order.append(number)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(take(number))
        return order

    assert run(live()) == [0, 1, 2, 3, 4]


def test_who_is_cancelled_while_waiting_takes_no_turn_with_him() -> None:
    async def live() -> bool:
        slots = FairSlots(1)

        async def wait() -> None:
            async with slots.turn():
                pass

        async with slots.turn():
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
        await asyncio.wait_for(wait(), 1)
        return waiting.cancelled()

    assert run(live())


@pytest.mark.parametrize("ticks", [0, 1, 2])
def test_who_is_cancelled_in_the_moment_in_which_the_turn_comes_is_just_cancelled(ticks: int) -> None:
    async def live() -> list[bool]:
        slots = FairSlots(1)

        async def hold() -> None:
            async with slots.turn():
                await asyncio.sleep(1000)

        holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(1)
        holder.cancel()
        for _ in range(ticks):
            await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        async with asyncio.timeout(1), slots.turn():
            return [holder.cancelled(), waiter.cancelled()]

    assert run(live()) == [True, True]


# -- the record --------------------------------------------------------------------------------------------------------


def test_a_part_that_could_not_be_recorded_is_recorded_with_the_next_also_when_another_was_under_way() -> None:
    class HalfAway(FakeCheckpoints):
        async def save_part(self, checkpoint: Checkpoint, parts: Any) -> None:
            self.calls.append("asked")
            if self.calls.count("asked") == 2:
                raise RedisUnavailable("away", operation="redis.save_part")
            await asyncio.sleep(1)
            await super().save_part(checkpoint, parts)

    async def live() -> dict[int, Part]:
        redis = HalfAway()
        clock = VirtualClock()
        record = Checkpoint(
            "s", Status.ACTIVE, PATH, "b", PATH, Identity(1, 1), PartSchedule(CHUNK), clock.utc_now(), upload_id="u"
        )
        await redis.save(record)
        ledger = Ledger(record, redis, FakeStreamTelemetry("s", PATH))
        parts = [Part(number, CHUNK, f"e{number}", number, clock.utc_now()) for number in (1, 2, 3)]
        first = asyncio.create_task(ledger.part_stored(parts[0]))
        await asyncio.sleep(0.5)
        await ledger.part_stored(parts[1])
        await first
        await ledger.part_stored(parts[2])
        return dict(redis.state.records["s"].parts)

    assert sorted(run(live())) == [1, 2, 3]
