"""Each numbered case of ``ownership.decision`` is needed: without it a scene ends badly that ends well with it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from src.domain import Naming, PartSchedule, StoredObject, Writers, moments
from src.metadata_generator import document_key, read_document
from src.ownership import decision
from src.ownership.decision import Case
from tests.crash import test_done_already as done_already
from tests.crash import test_found_by_the_model as by_the_model
from tests.crash import test_still_open as still_open
from tests.crash import test_whose_object as whose_object
from tests.harness.crash.scenes import (
    PATH,
    SECOND,
    bytes_of,
    content_at,
    finished_file,
    growing_file,
    heard,
    lived,
    recordings_in,
    restart,
    settled,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Simulation
from tests.harness.fakes.store import FakeStore
from tests.harness.numbered_cases import WithoutCase, demand_missed, without_each_case

pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

Scene = Callable[[], object]
Script = Callable[[Simulation], Awaitable[None]]
OTHER = "cam/elsewhere.mp4"
REPLACING = Naming(PartSchedule(CHUNK), limits=LIMITS, replace_reused_names=True)


class _AskedForEver(FakeStore):
    """Ends what would ask without a pause and without an end."""

    async def head(self, key: str) -> StoredObject | None:
        if self.count("head") > 500:
            raise RuntimeError("asked for ever")
        return await super().head(key)


def _played(script: Script, **options: Any) -> Simulation:
    return lived(script, store=_AskedForEver(limits=LIMITS), **options)


def a_finished_file_is_met_at_a_start() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(30, 1))
        simulation.disk.files[PATH].writers = Writers.NONE
        await settled(simulation)
        before = len(simulation.disk.digests), len(simulation.store.calls)
        await restart(simulation)
        await settled(simulation)
        assert (len(simulation.disk.digests), len(simulation.store.calls)) == before

    assert _played(script).problems() == []


def nobody_can_tell_whether_somebody_writes() -> None:
    """The folder is on another machine since: the file that was open is believed to be what its stat says."""

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(30, 1))
        simulation.disk.files[PATH].writers = Writers.PRESENT
        await settled(simulation)
        simulation.disk.files[PATH].writers = Writers.UNKNOWN
        reads = len(simulation.disk.digests)
        await asyncio.sleep(600)
        assert len(simulation.disk.digests) == reads
        assert [marker.still_open for marker in simulation.redis.state.markers.values()] == [False]

    assert _played(script).problems() == []


def a_file_is_begun_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.write(PATH, bytes_of(20, 2))

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH, SECOND}


def another_file_is_being_sent_to_the_key() -> None:
    """Its name was given to a new one, which replaces its object; then the old one goes on."""

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.rename(PATH, OTHER)
        simulation.disk.write(PATH, bytes_of(3, 2))
        for number in range(60):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, number))
            if number == 3:
                simulation.disk.append(OTHER, b"more")
        assert OTHER in simulation.store.objects, "it waits for the other"

    simulation = _played(script, naming=REPLACING)
    assert simulation.problems() == []


def a_stranger_is_where_the_object_was() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.store.delete_object(PATH)
        simulation.store.delete_object(document_key(PATH))
        simulation.plant(PATH, b"a stranger's film")
        simulation.disk.append(PATH, b"more")

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH, SECOND}
    assert heard(simulation, moments.KeyConflict) == []


def a_renamed_file_grows() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.rename(PATH, OTHER)
        simulation.disk.append(OTHER, b"more")

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


def a_living_recording_has_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        await growing_file(simulation, 1, path=SECOND)
        simulation.disk.replace(PATH, bytes_of(30, 5))
        await growing_file(simulation, 20, path=SECOND)
        await settled(simulation)

    assert _played(script).problems() == []


def a_hint_does_not_hold() -> None:
    """Of three recordings of a name somebody has deleted the last."""

    async def script(simulation: Simulation) -> None:
        for number in range(4):
            simulation.disk.replace(PATH, bytes_of(20 + number, number))
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)
            if number == 2:
                simulation.store.delete_object("cam/take 1~3.mp4")
                simulation.store.delete_object(document_key("cam/take 1~3.mp4"))

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH, SECOND, "cam/take 1~4.mp4"}


def an_object_is_deleted_and_forgotten_and_the_file_changes() -> None:
    """Its document is left. It says that the key is this file's, and which stream's."""
    streams: list[str] = []

    def note(simulation: Simulation) -> None:
        described = read_document(simulation.store.objects[document_key(PATH)].data)
        streams.append(described.stream_id if described else "")

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        note(simulation)
        simulation.store.delete_object(PATH)

        def touched() -> None:
            simulation.redis.wipe()
            simulation.disk._touch(simulation.disk.files[PATH])

        await restart(simulation, touched)
        await settled(simulation)
        note(simulation)

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}
    assert streams[0] == streams[1]


def a_forgotten_file_grows_whose_object_has_no_document() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.store.delete_object(document_key(PATH))
            simulation.disk.append(PATH, b"more")

        await restart(simulation, meanwhile)

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


def an_adopted_upload_is_forgotten_and_the_file_grows() -> None:
    """Its metadata name the stream that Redis forgot the first time, and an earlier file."""

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)

        def copied() -> None:
            simulation.redis.wipe()
            simulation.disk.replace(PATH, simulation.disk.content(PATH))

        def grown() -> None:
            simulation.redis.wipe()
            simulation.disk.append(PATH, b"more")

        await restart(simulation, copied)
        await settled(simulation)
        assert set(recordings_in(simulation.store)) == {PATH}
        await restart(simulation, grown)

    simulation = _played(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


def a_later_recording_has_no_document() -> None:
    """Two recordings were in the file; nothing says which of the objects was begun later."""

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 20)
        await by_the_model._begun_anew(simulation, 60, seed=2)

        def meanwhile() -> None:
            simulation.redis.wipe()
            simulation.store.delete_object(document_key(SECOND))
            simulation.disk.write(PATH, bytes_of(40, 3))

        await restart(simulation, meanwhile)

    simulation = _played(script)
    assert simulation.problems() == []
    assert content_at(simulation) == bytes_of(20, 1)
    assert content_at(simulation, SECOND) == bytes_of(60, 2)


#: For each case a scene that is clean with it, and not without it.
SCENES: Mapping[Case, Scene] = {
    Case.DONE: a_finished_file_is_met_at_a_start,
    Case.STILL_OPEN: functools.partial(
        still_open.test_a_patch_that_no_stat_shows_is_found_when_the_writer_has_gone, still_open._nothing
    ),
    Case.NOBODY_CAN_TELL: nobody_can_tell_whether_somebody_writes,
    Case.PATCHED_UNSEEN: functools.partial(
        still_open.test_a_patch_that_no_stat_shows_is_found_when_the_writer_has_gone, still_open._nothing
    ),
    Case.OPENED_AGAIN: still_open.test_a_writer_that_comes_while_the_file_is_read_again_is_waited_for_too,
    Case.CLOSED: still_open.test_a_file_that_did_not_change_is_read_once_more_and_never_again,
    Case.SHORTER: a_file_is_begun_anew,
    Case.TOUCHED: done_already.test_a_finished_file_that_is_touched_is_read_once_and_not_sent_again,
    Case.NO_BIRTH_TIME: (
        whose_object.test_an_inode_used_again_where_there_are_no_birth_times_does_not_cost_the_earlier_recording
    ),
    Case.MARKERS_KEY_TAKEN: another_file_is_being_sent_to_the_key,
    Case.NOT_MARKERS_OBJECT: a_stranger_is_where_the_object_was,
    Case.CHANGED: a_renamed_file_grows,
    Case.TAKEN: a_living_recording_has_the_next_key,
    Case.DOCUMENT_ALONE: (
        whose_object.test_a_strangers_document_at_a_free_key_stays_and_the_recording_takes_the_next_key
    ),
    Case.HINT_FAILED: a_hint_does_not_hold,
    Case.DELETED: an_object_is_deleted_and_forgotten_and_the_file_changes,
    Case.FREE: whose_object.test_a_strangers_object_at_the_key_stays_and_the_recording_takes_the_next_key,
    Case.DESCRIBED: (
        done_already.test_with_an_emptied_redis_object_and_document_prove_a_finished_file_without_reading_it
    ),
    Case.SAME_BYTES: whose_object.test_a_strangers_object_with_the_files_bytes_is_the_recording_whoever_put_it_there,
    Case.MADE_OF_IT: a_forgotten_file_grows_whose_object_has_no_document,
    Case.SAID_TO_BE: an_adopted_upload_is_forgotten_and_the_file_grows,
    Case.EARLIER: (
        whose_object.test_where_names_are_replaced_the_new_recording_and_its_document_take_the_place_of_the_old
    ),
    Case.LATER: functools.partial(
        by_the_model.test_with_an_emptied_redis_only_the_latest_recording_in_a_file_is_brought_up_to_date, 40, False
    ),
    Case.LATER_UNDESCRIBED: a_later_recording_has_no_document,
    Case.STRANGER: whose_object.test_a_strangers_object_at_the_key_stays_and_the_recording_takes_the_next_key,
    Case.UP_TO_DATE: a_renamed_file_grows,
    Case.OPEN_UPLOAD: done_already.test_the_upload_of_a_renamed_recording_is_found_again_without_redis,
    Case.NEW: whose_object.test_a_strangers_object_at_the_key_stays_and_the_recording_takes_the_next_key,
    Case.GONE: done_already.test_a_deleted_object_is_not_sent_again_by_its_document_and_a_touch_sends_it,
}


@pytest.mark.parametrize("mutant", list(without_each_case(decision, Case)), ids=str)
def test_a_scene_ends_badly_without_this_case(mutant: WithoutCase) -> None:
    assert isinstance(mutant.case, Case)
    demand_missed(mutant, SCENES[mutant.case])
