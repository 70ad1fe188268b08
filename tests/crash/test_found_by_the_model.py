"""What the state machine has found, as plain stories: each was an overwritten recording, a second object or a hang."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from src.domain import ListedObject, moments
from src.metadata_generator import document_key
from tests.harness.crash.scenes import (
    PATH,
    SECOND,
    THIRD,
    bytes_of,
    content_at,
    finished_file,
    killed_at,
    lived,
    on_effect,
    recordings_in,
    restart,
    settled,
    until,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Simulation
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


async def _begun_anew(simulation: Simulation, size: int, *, seed: int, path: str = PATH) -> bytes:
    """Seen shorter than what is stored, the file is another recording, however long it becomes; its content."""
    simulation.disk.write(path, bytes_of(3, seed))
    await asyncio.sleep(2 * SCAN)
    simulation.disk.write(path, bytes_of(size, seed))
    await asyncio.sleep(2 * SCAN)
    await settled(simulation)
    return bytes_of(size, seed)


def _contents(simulation: Simulation) -> dict[str, bytes]:
    return {key: found.data for key, found in recordings_in(simulation.store).items()}


def test_a_third_recording_in_a_file_is_not_put_over_the_first_that_is_shorter() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        await _begun_anew(simulation, 60, seed=2)
        simulation.disk.write(PATH, bytes_of(40, 3))
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(60, 2), THIRD: bytes_of(40, 3)}
    assert simulation.problems() == []


@pytest.mark.parametrize("name", [PATH, "elsewhere.mp4"])
def test_with_an_emptied_redis_the_later_of_two_recordings_in_a_file_is_found_done(name: str) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        await _begun_anew(simulation, 60, seed=2)

        def meanwhile() -> None:
            simulation.redis.wipe()
            if name != PATH:
                simulation.disk.rename(PATH, name)

        await restart(simulation, meanwhile)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(60, 2)}
    assert simulation.problems(sent_at_most=20 + 60 + 2 * CHUNK) == []


@pytest.mark.parametrize("renamed", [False, True], ids=["same name", "renamed"])
@pytest.mark.parametrize("then", [40, 80], ids=["begun anew", "grown"])
def test_with_an_emptied_redis_only_the_latest_recording_in_a_file_is_brought_up_to_date(
    then: int, renamed: bool
) -> None:
    name = "elsewhere.mp4" if renamed else PATH

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        await _begun_anew(simulation, 60, seed=2)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.write(PATH, bytes_of(then, 3))
            if renamed:
                simulation.disk.rename(PATH, name)

        await restart(simulation, meanwhile)

    simulation = lived(script)
    newest = name if renamed else THIRD
    later = {SECOND: bytes_of(60, 2), newest: bytes_of(40, 3)} if then < 60 else {SECOND: bytes_of(80, 3)}
    assert _contents(simulation) == {PATH: bytes_of(20, 1), **later}
    assert simulation.problems() == []


def test_a_file_that_gets_the_bytes_of_its_first_recording_back_is_found_done() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        await _begun_anew(simulation, 60, seed=2)
        simulation.disk.write(PATH, bytes_of(20, 1))
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(60, 2)}
    assert simulation.problems() == []


def test_of_three_recordings_in_a_file_only_the_latest_is_brought_up_to_date() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 60)
        await _begun_anew(simulation, 27, seed=2)
        await _begun_anew(simulation, 26, seed=3)
        simulation.disk.append(PATH, bytes_of(13, 4))
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    last = bytes_of(26, 3) + bytes_of(13, 4)
    assert _contents(simulation) == {PATH: bytes_of(60, 1), SECOND: bytes_of(27, 2), THIRD: last}
    assert simulation.problems() == []


def test_with_an_emptied_redis_a_file_that_now_has_the_name_of_its_first_objects_key_is_found_done() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, b"a stranger's film")
        await finished_file(simulation, 20)
        await _begun_anew(simulation, 60, seed=2)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.rename(PATH, SECOND)

        await restart(simulation, meanwhile)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: b"a stranger's film", SECOND: bytes_of(20, 1), THIRD: bytes_of(60, 2)}


def _loses_the_last_writes_of_the_first_recording(
    simulation: Simulation, then: Callable[[], object], *, writes: int = 1
) -> asyncio.Event:
    def lose() -> None:
        simulation.redis.roll_back(writes)
        then()

    return on_effect(simulation, "redis.finish", lose)


@pytest.mark.parametrize("writes", [1, 3, 6])
def test_a_record_that_redis_has_lost_the_end_of_is_left_when_its_file_is_a_later_recording(writes: int) -> None:
    async def script(simulation: Simulation) -> None:
        lost = _loses_the_last_writes_of_the_first_recording(simulation, lambda: None, writes=writes)
        simulation.disk.write(PATH, bytes_of(20, 1))
        await lost.wait()
        await _begun_anew(simulation, 60, seed=2)
        await restart(simulation)
        await settled(simulation)
        simulation.disk.append(PATH, b"more")

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(60, 2) + b"more"}
    assert simulation.problems() == []


def test_two_records_of_one_file_are_both_brought_to_their_end_by_one_start() -> None:
    async def script(simulation: Simulation) -> None:
        lost = _loses_the_last_writes_of_the_first_recording(
            simulation, lambda: simulation.disk.write(PATH, bytes_of(18, 2))
        )
        simulation.disk.write(PATH, bytes_of(20, 1))
        await lost.wait()
        await killed_at(simulation, "redis.save_part", lambda: None)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(18, 2)}
    assert simulation.problems() == []


def test_a_stream_whose_redis_lost_that_it_had_taken_the_next_key_takes_the_same_again() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(20, 1))
        await until(lambda: simulation.store.uploads, "its upload")
        before = simulation.redis.writes
        simulation.store.put_object(PATH, b"a stranger's film")
        await settled(simulation)
        await restart(simulation, lambda: simulation.redis.roll_back(simulation.redis.writes - before))

    simulation = lived(script)
    assert _contents(simulation) == {PATH: b"a stranger's film", SECOND: bytes_of(20, 1)}
    assert simulation.problems() == []


def test_a_finished_file_that_is_renamed_after_a_living_daemons_redis_was_emptied_is_not_sent_again() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        simulation.redis.wipe()
        simulation.disk.rename(PATH, "elsewhere.mp4")
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    assert set(recordings_in(simulation.store)) == {PATH}
    assert simulation.problems(sent_at_most=20) == []


def test_a_file_begun_anew_under_the_name_of_its_latest_objects_key_is_not_put_over_its_first_recording() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        await _begun_anew(simulation, 60, seed=2)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.write(PATH, bytes_of(40, 3))
            simulation.disk.rename(PATH, SECOND)

        await restart(simulation, meanwhile)

    simulation = lived(script)
    third = SECOND.replace(".mp4", "~2.mp4")
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(60, 2), third: bytes_of(40, 3)}
    assert simulation.problems() == []


@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
def test_a_renamed_file_whose_latest_marker_redis_has_lost_is_not_put_over_its_first_recording(down: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        before = simulation.redis.writes
        await _begun_anew(simulation, 30, seed=2)

        def meanwhile() -> None:
            simulation.redis.roll_back(simulation.redis.writes - before)
            simulation.disk.append(PATH, b"more")
            simulation.disk.rename(PATH, "elsewhere.mp4")

        await restart(simulation, meanwhile) if down else meanwhile()
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(20, 1), SECOND: bytes_of(30, 2) + b"more"}
    assert simulation.problems() == []


def test_a_file_that_changes_while_its_forgotten_object_is_looked_for_is_looked_for_again() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 40)
        await _begun_anew(simulation, 20, seed=2)
        before = simulation.redis.writes
        await _begun_anew(simulation, 60, seed=3)
        simulation.redis.roll_back(simulation.redis.writes - before)

        def begin_anew(path: str, _: object) -> None:
            simulation.disk.on_read = None
            simulation.disk.write(path, bytes_of(50, 4))

        simulation.disk.on_read = begin_anew
        simulation.disk.rename(PATH, "elsewhere.mp4")
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    later = {SECOND: bytes_of(20, 2), THIRD: bytes_of(60, 3), "elsewhere.mp4": bytes_of(50, 4)}
    assert _contents(simulation) == {PATH: bytes_of(40, 1), **later}
    assert simulation.problems() == []


class _SlowToDescribe(FakeStore):
    """Gives the document of one object only after a minute, for as long as it is told to."""

    slow: str | None = None

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        if key == self.slow:
            await asyncio.sleep(60)
        return await super().get_document(key)


def test_with_an_emptied_redis_a_key_that_another_file_just_looks_at_is_not_taken_for_its_own() -> None:
    store = _SlowToDescribe(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20, path=SECOND)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.rename(SECOND, "elsewhere.mp4")
            simulation.disk.write(SECOND, bytes_of(30, 2))
            store.slow = document_key(SECOND)

        await restart(simulation, meanwhile)

    simulation = lived(script, store=store, soon=None)
    assert simulation.problems(sent_at_most=20 + 30) == []
    assert content_at(simulation, SECOND) == bytes_of(20, 1)


class _SlowToList(FakeStore):
    """Lists the bucket only after a while."""

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        await asyncio.sleep(10)
        return await super().list_objects(prefix, wanted)


def test_two_files_never_begin_at_one_key_although_one_of_them_looks_elsewhere_first() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 60)

        def meanwhile() -> None:
            simulation.disk.write(SECOND, bytes_of(30, 3))  # first: it must be no younger than the process
            simulation.disk.write(PATH, bytes_of(40, 2))

        await restart(simulation, meanwhile)
        await asyncio.sleep(70)

    simulation = lived(script, store=_SlowToList(limits=LIMITS))
    begun = {
        (moment.key, stream.stream_id)
        for stream in simulation.telemetry.streams
        for moment in stream.moments
        if isinstance(moment, moments.StreamStarted | moments.StreamResumed)
    }
    assert len({key for key, _ in begun}) == len(begun) == 3
    assert simulation.problems() == []


def test_the_quiet_time_ends_once_however_the_clocks_last_digits_round() -> None:
    async def script(simulation: Simulation) -> None:
        await asyncio.sleep(1000.1)  # 1030.1 - 1000.1 is less than 30
        simulation.disk.write(PATH, bytes_of(20, 1))
        simulation.dispatcher._hints.add(PATH)  # type: ignore[union-attr]
        await until(lambda: PATH in simulation.store.objects, "the object", seconds=2 * TIMEOUT)

    simulation = lived(script)
    assert simulation.problems() == []
    assert simulation.store.count("complete_upload") == 1


def test_a_recording_that_leaves_an_object_with_a_strangers_document_goes_on_under_an_id_of_its_own() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 30)
        simulation.store.delete_object(document_key(PATH))
        simulation.store.put_object(document_key(PATH), b'{"a stranger": true}')
        simulation.disk.append(PATH, b"more")
        await on_effect(simulation, "store.create_upload").wait()
        simulation.disk.write(PATH, bytes_of(20, 2))
        await settled(simulation)

    simulation = lived(script)
    assert _contents(simulation) == {PATH: bytes_of(30, 1), SECOND: bytes_of(20, 2)}
    assert not [problem for problem in simulation.problems() if problem.startswith("stream ")]
