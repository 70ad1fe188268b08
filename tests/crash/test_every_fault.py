"""Killed, or left without an answer, in every moment of every recorder's life: nothing lost, doubled or left behind.

For each effect on Redis or the store: killed before it, killed after it, its answer lost, and its answer lost and
killed at the next effect; each with Redis kept, rolled back and wiped. And two kills in two moments: of these each run
takes a share, another one with each commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.harness.crash import cases
from tests.harness.crash.cases import ALL_SHAPES, FATES, Case, pairs_of_kills, single_faults
from tests.harness.crash.simulation import Fault

pytestmark = pytest.mark.no_cover

#: How many cases a run has at least.
LEAST = 5_000


def how_many(found: Iterator[Case]) -> int:
    return sum(1 for _ in found)


@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_a_life_without_a_fault_ends_with_the_file_in_the_store(shape: str) -> None:
    assert cases.problems(Case(shape)) == []


@pytest.mark.cases(number=lambda shape, redis: how_many(single_faults(shape, redis)))
@pytest.mark.parametrize("redis", FATES)
@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_a_kill_or_a_lost_answer_at_any_effect_loses_doubles_and_leaves_nothing(shape: str, redis: str) -> None:
    _expect_none_broken(single_faults(shape, redis))


@pytest.mark.timeout(1200)
@pytest.mark.cases(number=lambda shape, redis: how_many(pairs_of_kills(shape, redis)))
@pytest.mark.parametrize("redis", FATES)
@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_two_kills_in_any_two_moments_lose_double_and_leave_nothing(shape: str, redis: str) -> None:
    _expect_none_broken(pairs_of_kills(shape, redis))


@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_a_moment_that_has_no_case_of_its_own_leaves_the_same_world_as_the_one_before_it(shape: str) -> None:
    alone = cases.calm(Case(shape))
    left: list[object] = []
    different = []
    for moment, name in enumerate(alone.moments):
        left.append(cases.left_behind(Case(shape, ((moment, Fault.KILL),))))
        if moment not in alone.kills and left[-1] != left[-2]:
            different.append(f"{moment}: {name}")
    assert different == []


def test_these_are_thousands_of_different_cases(record_property: Callable[[str, object], None]) -> None:
    every = [(shape, redis) for shape in ALL_SHAPES for redis in FATES]
    single = {case for shape, redis in every for case in single_faults(shape, redis)}
    double = {case for shape, redis in every for case in pairs_of_kills(shape, redis)}
    record_property("crash cases", f"{len(single)} cases of one fault, {len(double)} of two kills")
    assert len(single) >= 3000
    assert len(single) + len(double) >= LEAST


def _expect_none_broken(some: Iterator[Case]) -> None:
    if table := cases.broken(some):
        pytest.fail(table, pytrace=False)
