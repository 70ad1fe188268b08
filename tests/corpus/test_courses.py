"""Every course of the corpus on the whole conduct: in the end each file is in S3 once, byte for byte."""

from __future__ import annotations

import pytest

from src.recording import SOURCE_MISSING
from tests.corpus.courses import COURSES, Course
from tests.crash.scenes import failed_reasons, recordings_in, without
from tests.crash.simulation import Simulation
from tests.crash.virtual_time import run

pytestmark = pytest.mark.timeout(60)


def _ended(course: Course, *kills: int) -> Simulation:
    async def live() -> Simulation:
        simulation = Simulation(kills=kills)
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
