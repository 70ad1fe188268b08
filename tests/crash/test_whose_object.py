"""Conduct on fakes in virtual time: strangers' objects, and one name that many recordings bear."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace
from typing import Any

import pytest

from src.domain import Answer, Identity, Naming, PartSchedule, moments
from src.metadata_generator import document_key
from tests.harness.crash.scenes import (
    PATH,
    SECOND,
    THIRD,
    bytes_of,
    content_at,
    finished_file,
    growing_file,
    heard,
    killed_at,
    lived,
    on_effect,
    recordings_in,
    restart,
    settled,
    without,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Simulation
from tests.harness.fakes.store import FakeStore, Happens

OTHER, OTHER_SECOND = "cam/later.mp4", "cam/later~2.mp4"

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


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
    assert len(heard(simulation, moments.KeyConflict)) == 1


def test_a_strangers_object_with_the_files_bytes_is_the_recording_whoever_put_it_there() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, bytes_of(30, 1), {"author": "aws s3 cp"})
        await finished_file(simulation, 30)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=0) == []
    assert set(recordings_in(simulation.store)) == {PATH}


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


async def _two_recordings(simulation: Simulation, first: int, second: int, path: str = PATH) -> None:
    """One after the other in one file, which has the name ``path`` when the second begins."""
    await finished_file(simulation, first)
    if path != PATH:
        simulation.disk.rename(PATH, path)
    simulation.disk.write(path, bytes_of(15, 2))
    await asyncio.sleep(SCAN)
    await settled(simulation)
    simulation.disk.append(path, bytes_of(second - 15, 3))
    await asyncio.sleep(SCAN)
    await settled(simulation)


def _as_an_older_release_made_it(simulation: Simulation, key: str) -> None:
    """Its metadata do not tell when the recording began."""
    there = simulation.store.objects[key]
    metadata = {name: value for name, value in there.metadata.items() if name != "cefmp4-started-at"}
    simulation.store.objects[key] = replace(there, metadata=metadata)


@pytest.mark.parametrize("wiped", [False, True], ids=["", "wiped"])
@pytest.mark.parametrize("older", [False, True], ids=["", "older release"])
@pytest.mark.parametrize("without", [PATH, SECOND])
@pytest.mark.parametrize("first", [20, 60])
def test_an_earlier_recording_in_the_file_stays_whichever_document_is_missing(
    first: int, without: str, older: bool, wiped: bool
) -> None:
    async def script(simulation: Simulation) -> None:
        await _two_recordings(simulation, first, 40)
        simulation.store.delete_object(document_key(without))
        if older:
            for key in (PATH, SECOND):
                _as_an_older_release_made_it(simulation, key)

        def meanwhile() -> None:
            if wiped:
                simulation.redis.wipe()
            simulation.disk.append(PATH, b"more")

        await restart(simulation, meanwhile)
        await settled(simulation)

    simulation = lived(script)
    held = {key: found.data for key, found in recordings_in(simulation.store).items()}
    assert held == {PATH: bytes_of(first, 1), SECOND: simulation.disk.content(PATH)}


@pytest.mark.parametrize("older", [False, True], ids=["", "older release"])
def test_a_strangers_document_beside_an_earlier_recording_under_another_name_is_no_reason_for_a_second_object(
    older: bool,
) -> None:
    """Only if older releases made both, nothing tells which is the later one: then both stay."""

    async def script(simulation: Simulation) -> None:
        await _two_recordings(simulation, 60, 40, OTHER)
        simulation.store.put_object(document_key(PATH), b'{"a stranger": true}')
        if older:
            for key in (PATH, OTHER):
                _as_an_older_release_made_it(simulation, key)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.disk.append(OTHER, b"more")

        await restart(simulation, meanwhile)
        await settled(simulation)

    simulation = lived(script)
    held = {key: found.data for key, found in recordings_in(simulation.store).items()}
    now, before = simulation.disk.content(OTHER), bytes_of(15, 2) + bytes_of(25, 3)
    assert held == {PATH: bytes_of(60, 1), **({OTHER: before, OTHER_SECOND: now} if older else {OTHER: now})}


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
    assert len(heard(simulation, moments.StreamStarted, moments.StreamResumed)) == 2


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
    assert len(heard(simulation, moments.Unexpected)) == 1
    assert without(simulation.problems(), "unforeseen") == []
