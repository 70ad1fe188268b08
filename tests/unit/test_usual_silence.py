"""What counts as silent: longer than usual, and the usual follows those who are answered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from src.domain import Errand, UsualSilence, on_errand
from src.s3_client.transport import BodyFile, moving


def _usual(*silences: float, at: float = 0.0) -> UsualSilence:
    usual = UsualSilence()
    for number, silence in enumerate(silences):
        usual.note(silence, at + 100.0 * number)
    return usual


@pytest.mark.parametrize(
    ("usual", "longest"),
    [
        (_usual(), 10.0),
        (_usual(0.01), 2.0),
        (_usual(5.0), 40.0),
        (_usual(5.0, 5.0, 5.0), 40.0),
    ],
    ids=["nobody was answered yet", "fast", "slow from the start", "slow for all"],
)
def test_far_more_than_is_usual_and_never_a_moment(usual: UsualSilence, longest: float) -> None:
    assert usual.longest == pytest.approx(longest)


def test_those_who_are_slow_raise_it_step_by_step_and_all_at_once_but_one_step() -> None:
    usual = _usual(0.01)
    for _ in range(50):
        usual.note(25.0, 200.0)
    assert usual.longest == pytest.approx(4.0)
    usual.note(25.0, 224.0)
    assert usual.longest == pytest.approx(4.0), "it was asked before the last step"
    usual.note(25.0, 225.0)
    assert usual.longest == pytest.approx(8.0)


def test_a_usual_silence_counts_by_three_tenths() -> None:
    usual = _usual(1.0, 2.0)
    assert usual.seconds == pytest.approx(0.7 * 1.0 + 0.3 * 2.0)


def test_eight_times_the_usual_is_the_longest_that_is_usual() -> None:
    usual = _usual(1.0, 8.0)
    assert usual.seconds == pytest.approx(0.7 * 1.0 + 0.3 * 8.0)
    usual = _usual(1.0, 8.1)
    assert usual.seconds == pytest.approx(2.0), "a step, to twice the usual"


def test_it_falls_as_soon_as_others_are_fast() -> None:
    usual = _usual(25.0, *[0.01] * 12)
    assert usual.longest < 4.0


def test_the_longest_silence_of_an_errand_is_of_what_it_listens_to() -> None:
    errand = Errand()
    errand.listen(10.0)
    errand.heard(12.0)
    errand.heard(12.5)
    assert errand.longest_silence(13.0) == pytest.approx(2.0)
    assert errand.longest_silence(20.0) == pytest.approx(7.5)
    errand.heard(11.0)  # told late
    assert errand.heard_at == pytest.approx(12.5)
    errand.listen(30.0)
    assert errand.longest_silence(31.0) == pytest.approx(1.0)


async def test_each_byte_that_the_store_accepts_is_heard() -> None:
    errand, loop = Errand(), asyncio.get_running_loop()
    body = BodyFile(SimpleNamespace(size=10))
    errand.listen(loop.time() - 100)
    with on_errand(errand):
        async with moving(body, 30.0):
            before = loop.time()
            body.when_accepted(4)
    assert errand.heard_at >= before
