"""Facts, decisions and nouns are values: whoever got one can rely on it, and a misspelt field is an error.

A decision that changed its facts, or a checkpoint that two tasks share and one changes, would be seen by no other test.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

from src import containers, domain
from src.domain import moments

#: What gathers over time, in one task's hands.
GATHERING = {"Errand", "Watch", "_Found"}
MODULES = [
    *(
        import_module(f"{room.__name__}.{found.name}")
        for room in (domain, containers)
        for found in iter_modules(room.__path__)
    ),
    *(import_module(f"src.{name}") for name in ("dispatcher.sightings", "ownership.decision", "ownership.facts")),
    *(import_module(f"src.{name}") for name in ("stream_processor.next_step", "retry.policy")),
]


def _dataclasses(module: ModuleType) -> list[type]:
    found = [value for value in vars(module).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]
    return [one for one in found if one.__module__ == module.__name__]


VALUES = [one for module in MODULES for one in _dataclasses(module)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value.__module__}.{value.__name__}")
def test_a_value_cannot_be_changed_and_has_no_other_fields(value: type) -> None:
    is_frozen = value.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert is_frozen is (value.__name__ not in GATHERING)
    # A moment's class is made a dataclass after it was made, where slots would need another one.
    assert "__slots__" in vars(value) or issubclass(value, moments.Moment)


def test_those_that_gather_are_there() -> None:
    assert {value.__name__ for value in VALUES} >= GATHERING
