"""Killed, or left without an answer, in every moment of every recorder's life: nothing lost, doubled or left behind.

For each effect on Redis or the store: killed before it, killed after it, its answer lost, and its answer lost and
killed at the next effect; each with Redis kept, rolled back and wiped. And two kills in any two moments.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.crash import cases
from tests.harness.crash.cases import ALL_SHAPES, FATES, Case

#: Two kills are many cases: so many tests share them.
SHARES = 8


@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_a_life_without_a_fault_ends_with_the_file_in_the_store(shape: str) -> None:
    assert cases.problems(Case(shape)) == []


@pytest.mark.parametrize("redis", FATES)
@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_a_kill_or_a_lost_answer_at_any_effect_loses_doubles_and_leaves_nothing(shape: str, redis: str) -> None:
    _expect_none_broken(cases.single_faults(shape, redis))


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("redis", FATES)
def test_two_kills_in_any_two_moments_lose_double_and_leave_nothing(redis: str, share: int) -> None:
    _expect_none_broken(_share_of_pairs(redis, share))


def test_these_are_thousands_of_different_cases() -> None:
    single = {case for shape in ALL_SHAPES for redis in FATES for case in cases.single_faults(shape, redis)}
    double = {case for redis in FATES for share in range(SHARES) for case in _share_of_pairs(redis, share)}
    print(f"{len(single)} cases of one fault, {len(double)} of two kills")
    assert len(single) >= 3000
    assert len(double) >= 3000
    assert {case for redis in FATES for case in cases.pairs_of_kills(redis)} == double


def _share_of_pairs(redis: str, share: int) -> Iterator[Case]:
    return cases.pairs_of_kills(redis, every=SHARES, start=share)


def _expect_none_broken(some: Iterator[Case]) -> None:
    if table := cases.broken(some):
        pytest.fail(table, pytrace=False)
