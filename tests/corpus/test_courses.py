"""Every course of the corpus on the whole conduct: in the end each file is in S3 once, byte for byte."""

from __future__ import annotations

import pytest

from src.domain import SOURCE_MISSING, Limits, Naming, PartSchedule
from tests.corpus.courses import COURSES, Course
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    failed_reasons,
    lived,
    recordings_in,
    settled,
    without,
)
from tests.harness.crash.simulation import CHUNK, Fault, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = [pytest.mark.timeout(60), pytest.mark.no_cover]


def _ended(course: Course, *kills: int) -> Simulation:
    async def live() -> Simulation:
        simulation = Simulation(faults=dict.fromkeys(kills, Fault.KILL))
        await simulation.run(course.run, settle=9000.0)
        return simulation

    return run(live())


def _problems(simulation: Simulation, course: Course, *, sent_at_most: int | None = None) -> list[str]:
    kept = [f"open upload at {course.kept}"] if course.kept else []
    return without(simulation.problems(sent_at_most=sent_at_most), *kept)


@pytest.mark.parametrize("course", COURSES, ids=str)
def test_in_the_end_each_file_is_at_one_key_and_nothing_is_left_behind(course: Course) -> None:
    simulation = _ended(course)
    assert _problems(simulation, course, sent_at_most=course.sent) == []
    assert recordings_in(simulation.store).keys() == course.keys
    assert failed_reasons(simulation) == ([SOURCE_MISSING] if course.kept else [])
    assert simulation.disk.unreleased == [], "the memory of a part was not given back"


@pytest.mark.parametrize("course", COURSES, ids=str)
def test_two_kills_on_the_way_change_nothing_of_that(course: Course) -> None:
    simulation = _ended(course, 11, 40)
    assert _problems(simulation, course) == []
    assert simulation.processes > 1


LARGEST = Limits(min_part=CHUNK, max_part=2 * CHUNK, max_parts=10, parts_per_step=50)


def test_a_file_that_no_object_can_hold_is_said_so_and_not_tried_and_goes_on_when_it_is_cut() -> None:
    """Preallocated to an absurd size, as by a recorder that does not know how much will come."""
    most = LARGEST.max_part * LARGEST.max_parts

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(2 * CHUNK, 1))
        simulation.disk.truncate(PATH, most + 1)
        await settled(simulation)
        assert failed_reasons(simulation) == [f"{most + 1} bytes exceed the maximum object size of S3"]
        assert simulation.store.sent_bytes == 0 and simulation.disk.digests == []
        simulation.disk.truncate(PATH, 3 * CHUNK)

    naming = Naming(PartSchedule(CHUNK), limits=LARGEST)
    simulation = lived(script, naming=naming, store=FakeStore(limits=LARGEST))
    assert simulation.problems(sent_at_most=3 * CHUNK) == []


def test_a_file_that_fills_the_largest_object_is_one() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(LARGEST.max_part * LARGEST.max_parts, 1))

    naming = Naming(PartSchedule(CHUNK), limits=LARGEST)
    assert lived(script, naming=naming, store=FakeStore(limits=LARGEST)).problems() == []
