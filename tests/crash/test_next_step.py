"""What a stream does next, without one of its cases: for each there is a scene that ends wrong then.

Most scenes are tests of their own elsewhere, which pass with all cases in place. Those that are none are below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import pytest

from src.domain import Answer, ChunkBody, Limits, Naming, PartSchedule, Snapshot, StoredPart, WhenMissing
from src.exceptions import PartTooLarge
from src.stream_processor import next_step
from src.stream_processor.next_step import Case, Loss, Refusal
from tests.corpus import test_courses as courses
from tests.crash import test_changes as changes
from tests.crash import test_done_already as done_already
from tests.crash import test_finishing_early as finishing_early
from tests.crash import test_found_by_the_model as of_the_model
from tests.crash import test_limits_of_stores as limits_of_stores
from tests.crash import test_lost_uploads as lost_uploads
from tests.crash import test_many_recordings as many_recordings
from tests.crash import test_parts as parts
from tests.crash import test_source as source
from tests.crash import test_source_missing as source_missing
from tests.harness.crash.scenes import PATH, bytes_of, growing_file, killed_at, lived, recordings_in, restart
from tests.harness.crash.simulation import CHUNK, Simulation
from tests.harness.fakes.store import FakeStore, Happens
from tests.harness.numbered_cases import WithoutCase, demand_missed, without_each_case

pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

Scene = Callable[[], None]


def _killed_behind_a_completion_that_happens_late() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.LATER)
        await growing_file(simulation, 3)
        await killed_at(simulation, "store.complete_upload", lambda: None)
        await asyncio.sleep(600)
        simulation.store.finish_assembling()

    assert lived(script).problems(sent_at_most=3 * CHUNK + 3) == []


def _killed_and_redis_has_lost_the_last_parts() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 4)
        await asyncio.sleep(5)
        await restart(simulation, partial(simulation.redis.roll_back, 3))

    assert lived(script).problems(sent_at_most=4 * CHUNK + 3) == []


def _quiet_without_a_proved_end() -> None:
    """A stream that looks again and again in the same moment would stop virtual time: its looks are refused then."""
    looked: list[float] = []

    async def script(simulation: Simulation) -> None:
        look = simulation.disk.snapshot

        async def counted(path: str) -> Snapshot | None:
            looked.append(asyncio.get_running_loop().time())
            assert looked[-50:].count(looked[-1]) < 50, "no time passes"
            return await look(path)

        simulation.disk.snapshot = counted  # type: ignore[method-assign]
        await growing_file(simulation, 3)

    assert lived(script, settle=600).problems(sent_at_most=3 * CHUNK + 3) == []


class _TakesSmallBodies(FakeStore):
    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        if body.size <= CHUNK:
            return await super().upload_part(key, upload_id, number, body)
        refusal = PartTooLarge("413", operation="upload_part")
        refusal.size = body.size
        raise refusal


def _no_body_of_that_size_passes() -> None:
    limits = Limits(min_part=CHUNK, max_part=64 * CHUNK, max_parts=100, parts_per_step=3)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 8)

    naming = Naming(PartSchedule(CHUNK), limits=limits)
    assert lived(script, naming=naming, store=_TakesSmallBodies(limits=limits)).problems() == []


def _completed_and_forgotten_and_the_file_grows() -> None:
    async def script(simulation: Simulation) -> None:
        def meanwhile() -> None:
            simulation.redis.roll_back(2)
            simulation.disk.append(PATH, bytes_of(CHUNK, 50))

        await growing_file(simulation, 3)
        await killed_at(simulation, "store.complete_upload", meanwhile)

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


_REDIS_FORGETS_THE_END = partial(
    done_already.test_a_redis_that_is_rolled_back_behind_a_done_stream_costs_nothing_and_is_right_after_a_start, 5
)
SCENES: Mapping[Case | Refusal | Loss, Scene] = {
    Case.LEAVE_TO_LATER: partial(
        of_the_model.test_a_record_that_redis_has_lost_the_end_of_is_left_when_its_file_is_a_later_recording, 6
    ),
    Case.FINISH_REMAINS: partial(source_missing.test_what_was_chosen_is_done_at_every_kill, WhenMissing.COMPLETE),
    Case.LOOK_AT_OBJECT: partial(
        lost_uploads.test_an_object_gone_or_overwritten_before_its_document_was_written_is_sent_anew, None
    ),
    Case.SETTLE: _killed_behind_a_completion_that_happens_late,
    Case.REJOIN: _killed_and_redis_has_lost_the_last_parts,
    Case.ADOPT: partial(changes.test_a_kill_while_parts_are_copied_goes_on_with_the_same_upload, True, "default"),
    Case.PROVED: _REDIS_FORGETS_THE_END,
    Case.GO_ON: partial(changes.test_growth_while_the_file_is_sealed_takes_it_back_to_active, 3),
    Case.OPEN: many_recordings.test_parts_are_sent_while_the_recorder_writes,
    Case.COPY: changes.test_growth_after_completion_copies_the_unchanged_parts_and_sends_the_rest,
    Case.LOOK: many_recordings.test_parts_are_sent_while_the_recorder_writes,
    Case.LEAVE_OBJECT: (
        of_the_model.test_a_recording_that_leaves_an_object_with_a_strangers_document_goes_on_under_an_id_of_its_own
    ),
    Case.TOO_LONG: courses.test_a_file_that_no_object_can_hold_is_said_so_and_not_tried_and_goes_on_when_it_is_cut,
    Case.SEND: many_recordings.test_parts_are_sent_while_the_recorder_writes,
    Case.EMPTY: source.test_a_recording_that_is_emptied_waits_for_its_bytes,
    Case.QUIET: _quiet_without_a_proved_end,
    Case.ASK_FOR_END: finishing_early.test_a_closed_and_complete_film_is_there_after_two_quiet_seconds,
    Case.END_PROVED: finishing_early.test_a_closed_and_complete_film_is_there_after_two_quiet_seconds,
    Case.WAIT: many_recordings.test_parts_are_sent_while_the_recorder_writes,
    Refusal.BACK: partial(changes.test_a_cut_while_the_file_is_sealed_makes_the_shorter_file_the_object, 3),
    Refusal.PAUSE: source.test_a_file_that_cannot_be_read_is_tried_again_until_it_can,
    Refusal.LOOK_AT_OBJECT: lost_uploads.test_an_upload_that_expires_while_the_recorder_writes_is_made_anew,
    Refusal.LARGER_PARTS: parts.test_equal_parts_are_warned_of_near_their_capacity_and_uploaded_anew_beyond_it,
    Refusal.FEWER_PARTS: limits_of_stores.test_the_limit_that_a_store_does_not_say_is_the_last_number_that_it_took,
    Refusal.SMALLER_PARTS: _no_body_of_that_size_passes,
    Refusal.ANOTHER_UPLOAD: (
        limits_of_stores.test_a_store_that_replaces_no_part_gets_a_patched_recording_in_another_upload
    ),
    Refusal.NOT_OURS: partial(
        source.test_a_recording_that_disappears_fails_keeps_its_upload_and_goes_on_when_seen_again, False
    ),
    Loss.LOST: lost_uploads.test_an_upload_that_expires_while_the_recorder_writes_is_made_anew,
    Loss.COMPARE: _REDIS_FORGETS_THE_END,
    Loss.COMPLETED: _REDIS_FORGETS_THE_END,
    Loss.OUTDATED: _completed_and_forgotten_and_the_file_grows,
    Loss.STRANGERS: lost_uploads.test_an_upload_that_expired_while_a_stranger_took_its_key_is_made_anew_at_the_next,
}
MUTANTS = [mutant for cases in (Case, Refusal, Loss) for mutant in without_each_case(next_step, cases)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_stream_without_this_case_ends_wrong(mutant: WithoutCase) -> None:
    demand_missed(mutant, SCENES[mutant.case])  # type: ignore[index]
