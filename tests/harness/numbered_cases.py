"""Mutants of a decision whose cases are numbered: for each case the module's functions as if it did not exist.

A decision is a pure function, or several of one module that call each other, whose ``return`` names a member of an enum
of its cases: ``return Decision(Case.GONE, …)``. A mutant of a case never takes the branches that return it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class WithoutCase:
    """Functions of ``module``, by name, as if ``case`` did not exist."""

    case: Enum
    module: ModuleType
    functions: Mapping[str, Callable[..., Any]]

    def __str__(self) -> str:
        return f"without {self.case.name}"

    def __call__(self, patch: pytest.MonkeyPatch) -> None:
        """Callers must say ``module.function(…)``: a name that they have imported stays as it was."""
        for name, function in self.functions.items():
            patch.setattr(self.module, name, function)


def without_each_case(module: ModuleType, cases: type[Enum]) -> Iterator[WithoutCase]:
    """One mutant a case, in order.

    Raises:
        ValueError: no ``return`` of the module names the case.
    """
    tree = ast.parse(inspect.getsource(module), str(module.__file__))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for case in cases:
        broken = {node.name: copy for node in functions if (copy := _without(node, case, module)) is not None}
        if not broken:
            raise ValueError(f"{module.__name__} returns {case} nowhere")
        yield WithoutCase(case, module, broken)


def demand_missed(mutant: WithoutCase, scene: Callable[[], object], *also: type[Exception]) -> None:
    """The scene ends well with the case, and without it an assertion fails, or ``also`` is raised: by itself, or in a
    task of the scene. Anything else is passed on: a mutant that cannot run says nothing of its case.
    """
    scene()
    expected: tuple[type[Exception], ...] = (AssertionError, *also)
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        try:
            scene()
        except expected:
            return
        except ExceptionGroup as group:
            if group.split(expected)[1] is None:
                return
            raise
    pytest.fail(f"nobody misses {mutant.case}")


def demand_told_otherwise(mutant: WithoutCase, examples: Sequence[Callable[[], Enum]]) -> None:
    """Each example is of the case, and without it of another one, or of none: also where the case keeps the others from
    what they cannot deal with."""
    assert {example() for example in examples} == {mutant.case}
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        for example in examples:
            try:
                told: Enum | None = example()
            except (AssertionError, AttributeError):
                told = None
            assert told is not mutant.case


def _without(function: ast.FunctionDef, case: Enum, module: ModuleType) -> Callable[..., Any] | None:
    """A copy that calls the module's other functions, mutants among them; None if it never returns the case."""
    copy = ast.parse(ast.unparse(function)).body[0]
    assert isinstance(copy, ast.FunctionDef)
    copy.decorator_list = []
    remover = _Remover(f"{type(case).__name__}.{case.name}")
    copy.body = remover.block(copy.body)
    if not remover.has_removed:
        return None
    made: dict[str, Any] = {}
    whole = ast.fix_missing_locations(ast.Module([copy], []))
    exec(compile(whole, f"<{module.__name__} without {case.name}>", "exec"), vars(module), made)
    return made[function.name]  # type: ignore[no-any-return]


class _Remover:
    """Makes untrue what leads to a ``return`` of the case. Where nothing leads to it the mutant fails."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.has_removed = False

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self._statement(statement) for statement in body]

    def _statement(self, statement: ast.stmt) -> ast.stmt:
        match statement:
            case ast.If():
                # Only the innermost branch: what is left of the outer ones may lead elsewhere.
                if self._returns(statement.body):
                    statement.test = ast.Constant(False)
                elif self._returns(statement.orelse):
                    statement.test = ast.Constant(True)
            case ast.Match():
                for arm in statement.cases:
                    if self._returns(arm.body):
                        arm.guard = ast.Constant(False)
                    arm.body = self.block(arm.body)
            case ast.Return() if self._names(statement):
                self.has_removed = True
                return ast.parse("raise AssertionError('nothing else applies')").body[0]
        for block in ("body", "orelse", "finalbody"):
            if inner := getattr(statement, block, None):
                setattr(statement, block, self.block(inner))
        return statement

    def _returns(self, body: list[ast.stmt]) -> bool:
        """Directly, and not inside of another branch."""
        return any(isinstance(statement, ast.Return) and self._names(statement) for statement in body)

    def _names(self, statement: ast.Return) -> bool:
        named = {ast.unparse(node) for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
        if self._name not in named:
            return False
        enum = self._name.partition(".")[0]
        if len({name for name in named if name.startswith(f"{enum}.")}) > 1:
            raise ValueError(f"one return names several cases: {ast.unparse(statement)}")
        return True
