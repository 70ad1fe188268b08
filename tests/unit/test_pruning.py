"""Which markers go: the rule alone, at each of its boundaries."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from src.domain import DAY_SECONDS, Retention, Surplus, age_of, is_due, unseen_after

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "days"),
    [
        (timedelta(days=30), 30),
        (timedelta(hours=1), 1),
        (timedelta(hours=25), 2),
        (timedelta(days=1), 1),
        (timedelta(0), 1),
        (None, None),
    ],
)
def test_a_part_of_a_day_counts_as_one(time: timedelta | None, days: int | None) -> None:
    assert Retention.lasting(time, 5) == Retention(days, 5)


@pytest.mark.parametrize(
    ("ran", "due"), [(None, True), (0, False), (DAY_SECONDS - 1, False), (DAY_SECONDS, True), (DAY_SECONDS * 9, True)]
)
def test_a_scan_counts_after_a_day_of_running_time_and_the_first_ever(ran: int | None, due: bool) -> None:
    assert is_due(ran) is due


@pytest.mark.parametrize("unseen", [0, 1, 29, 30, 1000])
def test_a_file_that_is_there_is_never_forgotten(unseen: int) -> None:
    assert unseen_after(unseen, is_there=True, retention=Retention(1, 0)) == 0


@pytest.mark.parametrize(("unseen", "after"), [(0, 1), (1, 2), (28, 29), (29, None), (400, None)])
def test_a_gone_file_is_forgotten_when_it_was_missed_thirty_times(unseen: int, after: int | None) -> None:
    assert unseen_after(unseen, is_there=False, retention=Retention(30, 9)) == after


def test_without_a_retention_no_age_is_enough() -> None:
    assert unseen_after(100_000, is_there=False, retention=Retention(None, 9)) == 100_001


def test_older_is_what_was_missed_more_often_and_then_what_was_completed_earlier() -> None:
    first, last = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    ages = [age_of(2, first), age_of(2, NOON), age_of(2, last), age_of(1, first), age_of(1, NOON), age_of(1, last)]
    assert sorted(ages, reverse=True) == ages
    assert age_of(4000, NOON) > age_of(4000, NOON + timedelta(seconds=1))


@pytest.mark.parametrize("most", [0, 1, 5, 9, 10, 11])
def test_the_oldest_go_until_no_more_than_so_many_are_left(most: int) -> None:
    ages = [age_of(unseen, NOON + timedelta(hours=hours)) for unseen in (1, 2) for hours in range(5)]
    random.Random(most).shuffle(ages)
    surplus = Surplus(most)
    for age in ages:
        surplus.note(age)
    assert (len(surplus), surplus.many) == (10, max(0, 10 - most))
    assert sorted(age for age in ages if not surplus.takes(age)) == sorted(ages)[:most]


def test_of_those_that_are_equally_old_only_so_many_go_as_have_to() -> None:
    surplus = Surplus(3)
    ages = [2.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    for age in ages:
        surplus.note(age)
    assert [age for age in ages if not surplus.takes(age)] == [1.0, 1.0, 0.0]
