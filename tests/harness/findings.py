"""One test for a list of single checks: it walks through all of them, and its failure names each that fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

C = TypeVar("C")


def each(
    name: str, cases: Iterable[C], *, ids: Callable[[C], str] = str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like ``pytest.mark.parametrize`` with one parameter, as one test. For checks that leave nothing behind: the
    cases share the fixtures.
    """
    listed = list(cases)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        others = [parameter for parameter in signature.parameters.values() if parameter.name != name]

        @functools.wraps(test)
        def walk(*args: Any, **kwargs: Any) -> None:
            given = signature.replace(parameters=others).bind(*args, **kwargs).arguments
            findings = []
            for case in listed:
                try:
                    test(**given, **{name: case})
                except (Exception, pytest.fail.Exception) as exc:  # noqa: BLE001 - one case must not hide the next
                    findings.append(f"{ids(case)}: {_said(exc)}")
            if findings:
                pytest.fail(f"{len(findings)} of {len(listed)}:\n" + "\n".join(findings), pytrace=False)

        walk.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        walked: Callable[..., None] = pytest.mark.cases(number=len(listed) * _walked(test))(walk)
        return walked

    return decorate


def _walked(test: Callable[..., None]) -> int:
    """How many cases the test walks through already."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "cases"]
    return int(marks[-1].kwargs["number"]) if marks else 1


def _said(exc: BaseException) -> str:
    return str(exc) if isinstance(exc, AssertionError | pytest.fail.Exception) else f"{type(exc).__name__}: {exc}"
