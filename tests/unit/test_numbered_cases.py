"""A mutant of a case takes every other branch as before."""

from __future__ import annotations

import importlib
import sys
from enum import Enum, auto
from pathlib import Path
from types import ModuleType

import pytest

from tests.harness.numbered_cases import WithoutCase, without_each_case

DECISION = """
from enum import Enum, auto


class Case(Enum):
    NEGATIVE = auto()
    ZERO = auto()
    SMALL = auto()
    TWO = auto()
    THREE = auto()
    OTHER = auto()


def decide(number: int) -> Case:
    if number < 0:
        return Case.NEGATIVE
    elif number == 0:
        return Case.ZERO
    return _positive(number)


def _positive(number: int) -> Case:
    if number < 4:
        match number:
            case 2:
                return Case.TWO
            case 3:
                return Case.THREE
        return Case.SMALL
    return Case.OTHER
"""


@pytest.fixture
def decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "decision_of_a_test.py").write_text(DECISION)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "decision_of_a_test", raising=False)
    return importlib.import_module("decision_of_a_test")


def _decided(module: ModuleType, number: int) -> str:
    """The case's name, or what a mutant says that has nothing left."""
    try:
        case: Enum = module.decide(number)
    except AssertionError as exc:
        return str(exc)
    return case.name


NUMBERS = {-1: "NEGATIVE", 0: "ZERO", 1: "SMALL", 2: "TWO", 3: "THREE", 9: "OTHER"}


def test_each_case_is_missing_from_one_mutant_and_the_others_stay(decision: ModuleType) -> None:
    mutants = list(without_each_case(decision, decision.Case))
    assert [mutant.case for mutant in mutants] == list(decision.Case)
    for mutant in mutants:
        # What is inside of a branch goes with it.
        changed = {"SMALL", "TWO", "THREE"} if mutant.case.name == "SMALL" else {mutant.case.name}
        with pytest.MonkeyPatch.context() as patch:
            mutant(patch)
            for number, case in NUMBERS.items():
                assert (_decided(decision, number) == case) is (case not in changed), mutant
    assert {number: _decided(decision, number) for number in NUMBERS} == NUMBERS


def test_a_case_that_nothing_returns_is_an_error(decision: ModuleType) -> None:
    class Case(Enum):
        NEGATIVE = auto()
        FORGOTTEN = auto()

    mutants = without_each_case(decision, Case)
    assert isinstance(next(mutants), WithoutCase)
    with pytest.raises(ValueError, match="FORGOTTEN nowhere"):
        next(mutants)


def test_a_return_of_two_cases_is_an_error(decision: ModuleType, tmp_path: Path) -> None:
    source = DECISION.replace("return Case.SMALL", "return Case.SMALL if number else Case.OTHER")
    Path(str(decision.__file__)).write_text(source)
    with pytest.raises(ValueError, match="several cases"):
        list(without_each_case(decision, decision.Case))
