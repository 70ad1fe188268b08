"""Whose errand a task is on, and what is noted of it."""

from __future__ import annotations

import asyncio

import pytest

from src.domain import Errand, current_errand, on_errand


def test_a_new_errand_holds_nothing_against_anybody() -> None:
    errand = Errand()
    assert errand.make_room() is None  # type: ignore[func-returns-value]
    assert errand.may_read()
    noted = (errand.is_growing, errand.parts_fail, errand.asks_fail, errand.redis_fails, errand.parts_pass)
    assert noted == (False,) * 5
    assert (errand.parts_ended, errand.asks_ended) == (0, 0)
    assert not errand.on_probation


def test_what_was_never_listened_to_is_silent_for_ever() -> None:
    assert Errand().longest_silence(0.0) == float("inf")


@pytest.mark.parametrize(("parts", "asks"), [(True, False), (False, True), (True, True)])
def test_either_failure_puts_on_probation_and_its_end_forgives_both(parts: bool, asks: bool) -> None:
    errand = Errand()
    errand.parts_fail, errand.asks_fail = parts, asks
    assert errand.on_probation
    errand.end_probation()
    assert not errand.on_probation
    assert (errand.parts_fail, errand.asks_fail) == (False, False)


def test_the_longest_silence_lies_between_two_sounds_or_lasts_still() -> None:
    errand = Errand()
    errand.listen(10.0)
    assert errand.longest_silence(10.0) == 0.0
    errand.heard(13.0)
    errand.heard(14.0)
    assert errand.longest_silence(14.0) == 3.0
    assert errand.longest_silence(18.0) == 4.0
    errand.listen(18.0)
    assert errand.longest_silence(18.0) == 0.0


async def test_each_task_is_on_its_own_errand_and_so_are_the_tasks_it_begins() -> None:
    one, other = Errand(), Errand()

    async def asks() -> Errand:
        await asyncio.sleep(0)
        return current_errand()

    async def carried(errand: Errand) -> list[Errand]:
        with on_errand(errand):
            return [await asks(), *await asyncio.gather(asks(), asks())]

    assert [*await asyncio.gather(carried(one), carried(other))] == [[one] * 3, [other] * 3]


def test_outside_of_any_recording_each_request_is_an_errand_of_its_own() -> None:
    assert current_errand() is not current_errand()


def test_an_errand_ends_with_its_block_also_when_that_fails() -> None:
    outer, inner = Errand(), Errand()

    def fail() -> None:
        with on_errand(inner):
            assert current_errand() is inner
            raise RuntimeError

    with on_errand(outer):
        with pytest.raises(RuntimeError):
            fail()
        assert current_errand() is outer


def test_two_errands_are_never_the_same_one() -> None:
    assert Errand() != Errand()
    assert len({Errand(), Errand()}) == 2
