"""When a part counts as slow, and a turn as held in vain, by what other parts took."""

from __future__ import annotations

import math

import pytest

from src.slots.usual_pace import UsualPace

MIB = 1024 * 1024


def _knowing(*seconds: float) -> UsualPace:
    """After parts of 1 MiB that were stored in so many seconds each."""
    pace = UsualPace()
    for number, took in enumerate(seconds):
        pace.part_stored(MIB, took, 0.1, 100.0 * number)
    return pace


def test_before_the_first_part_nothing_is_slow_and_a_turn_is_held_in_vain_after_half_a_minute() -> None:
    pace = UsualPace()
    assert pace.far_slower(MIB) == math.inf
    assert pace.in_vain(MIB, ended=0) == 30
    assert pace.in_vain(MIB, ended=5) == 30


def test_whoever_gave_way_before_the_first_part_leaves_twice_the_time_to_the_next() -> None:
    pace = UsualPace()
    pace.gave_way(31)
    assert pace.in_vain(MIB, ended=0) == 62
    pace.gave_way(5)
    assert pace.in_vain(MIB, ended=0) == 62


def test_a_part_is_far_slower_after_eight_times_what_its_size_takes() -> None:
    pace = _knowing(2.0)
    assert pace.far_slower(MIB) == 16
    assert pace.far_slower(3 * MIB) == 48


def test_no_part_is_slow_within_ten_seconds() -> None:
    pace = _knowing(0.01)
    assert pace.slow(MIB) == 10
    assert pace.part_stored(MIB, 10.0, 0.1, 100.0) is False
    assert pace.part_stored(MIB, 10.1, 0.1, 200.0) is True


def test_a_slow_part_does_not_become_usual_at_once_but_after_some_of_them() -> None:
    pace = _knowing(2.0)
    slow = [pace.part_stored(MIB, 100.0, 0.1, 100.0 * number) for number in range(1, 6)]
    assert slow == [True, True, True, False, False]


def test_the_speed_follows_parts_that_are_not_slow() -> None:
    pace = _knowing(2.0, 4.0)
    assert pace.far_slower(MIB) == pytest.approx(8 / (0.8 * 0.5 + 0.2 * 0.25))


def test_who_was_ended_for_others_has_twice_as_long_each_time_up_to_half_a_minute() -> None:
    pace = _knowing(0.1)
    assert [pace.in_vain(MIB, ended) for ended in range(4)] == [10, 20, 30, 30]


def test_a_part_that_is_usually_longer_than_half_a_minute_has_its_time() -> None:
    pace = _knowing(10.0)
    assert [pace.in_vain(MIB, ended) for ended in range(3)] == [80, 80, 80]


def test_whoever_gives_way_halves_the_speed_so_that_nobody_does_for_ever() -> None:
    pace = _knowing(2.0)
    pace.gave_way(100)
    assert pace.far_slower(MIB) == 32


def test_parts_are_silent_for_no_shorter_than_small_requests() -> None:
    pace = UsualPace()
    assert pace.silence(asks=False) is pace.asks
    pace.asks.note(3.0, 0.0)
    pace.part_stored(MIB, 1.0, 1.0, 1.0)
    assert pace.silence(asks=False).seconds == 3.0
    assert pace.silence(asks=True).seconds == 3.0
    pace = _knowing(1.0)
    assert pace.silence(asks=False).seconds == 0.1
    assert pace.silence(asks=True).seconds is None
