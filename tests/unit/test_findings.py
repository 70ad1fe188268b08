"""A test that walks through a list names each case that fails, and the list of kinds counts them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import kinds
from tests.harness.findings import each


def test_each_case_that_fails_is_named_and_no_other(tmp_path: Path) -> None:
    @each("number", range(4), ids=lambda number: f"number {number}")
    def is_even(number: int, tmp_path: Path) -> None:
        assert tmp_path.exists()
        if number == 3:
            raise ValueError("three")
        assert number % 2 == 0, "odd"

    with pytest.raises(pytest.fail.Exception) as failed:
        is_even(tmp_path=tmp_path)
    lines = str(failed.value).splitlines()
    assert lines[0] == "2 of 4:"
    assert [line for line in lines if line.startswith("number")] == [lines[1], "number 3: ValueError: three"]
    assert lines[1].startswith("number 1: odd")


def test_a_list_in_which_nothing_fails_passes() -> None:
    seen: list[int] = []

    @each("number", [1, 2])
    def see(number: int) -> None:
        seen.append(number)

    see()
    assert seen == [1, 2]


def test_lists_inside_of_lists_count_as_many_cases() -> None:
    def check(first: int, second: int) -> None:
        raise AssertionError((first, second))

    both = each("first", range(3))(each("second", range(4))(check))
    marks = [mark for mark in both.pytestmark if mark.name == "cases"]  # type: ignore[attr-defined]
    assert marks[-1].kwargs == {"number": 12}
    with pytest.raises(pytest.fail.Exception, match="3 of 3"):
        both()


def test_the_list_of_kinds_finds_again_what_moved_and_misses_what_is_gone() -> None:
    before = {"unit::test_stays": 2, "unit::test_moved": 3, "unit::test_gone": 1, "crash::test_fewer": 9}
    printed = "\n".join(f"{number:6}  {name}" for name, number in before.items())
    after = {"unit::test_stays": 2, "documents::test_moved": 3, "crash::test_fewer": 4}
    assert kinds.listed(printed) == before
    assert kinds.compared(kinds.listed(printed), after) == (["unit::test_gone"], ["crash::test_fewer: 9 → 4"])
