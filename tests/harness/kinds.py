"""Kinds of cases with their numbers, to show before and after a change of the suite that none was lost.

A kind is a test function. Its number is that of its cases: one for each set of parameters, or as many as a test says
that it walks through itself (``@pytest.mark.cases(number=...)``, an int, or a function of the test's parameters).

    .venv/bin/python -m tests.harness.kinds > after.txt
    .venv/bin/python -m tests.harness.kinds --before before.txt   # ends with 1 when a kind of that list is missing
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

_LINE = re.compile(r"^ *(\d+)  (\S+)$")


class _Collector:
    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.kinds[_name(item)] += _number(item)


def _name(item: pytest.Item) -> str:
    """Ring and function. Not the file: a test that moves to another one is the same kind."""
    ring = item.path.relative_to(item.config.rootpath / "tests").parts[0]
    return f"{ring}::{getattr(item, 'originalname', None) or item.name}"


def _number(item: pytest.Item) -> int:
    marker = item.get_closest_marker("cases")
    if marker is None:
        return 1
    number = marker.kwargs["number"]
    if not callable(number):
        return int(number)
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return int(number(**{name: given[name] for name in inspect.signature(number).parameters}))


def collected() -> Counter[str]:
    """The kinds of the whole suite. Raises RuntimeError when it cannot be collected."""
    collector = _Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider"], plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(output.getvalue()[-4000:])
    return collector.kinds


def listed(text: str) -> Counter[str]:
    """The kinds in a list that was printed before."""
    return Counter({found[2]: int(found[1]) for found in map(_LINE.match, text.splitlines()) if found})


def compared(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Which kinds are missing, and which have fewer cases. A test that moved to another ring is looked for there."""
    elsewhere = Counter[str]()
    for name, number in after.items():
        elsewhere[_function(name)] += number
    now = {name: after.get(name) or elsewhere[_function(name)] for name in sorted(before)}
    missing = [name for name, number in now.items() if not number]
    thinner = [f"{name}: {before[name]} → {number}" for name, number in now.items() if 0 < number < before[name]]
    return missing, thinner


def _function(name: str) -> str:
    return name.partition("::")[2]


def main() -> int:
    parser = argparse.ArgumentParser(description="Lists the kinds of cases with their numbers.")
    parser.add_argument("--before", type=Path, metavar="LIST", help="an earlier list to compare with")
    arguments = parser.parse_args()
    kinds = collected()
    rings = Counter(name.partition("::")[0] for name in kinds)
    cases = Counter[str]()
    for name, number in kinds.items():
        cases[name.partition("::")[0]] += number
    if arguments.before is None:
        for name in sorted(kinds):
            print(f"{kinds[name]:6}  {name}")
    for ring in sorted(rings):
        print(f"{ring}: {rings[ring]} kinds, {cases[ring]} cases")
    print(f"all: {len(kinds)} kinds, {kinds.total()} cases")
    if arguments.before is None:
        return 0
    missing, thinner = compared(listed(arguments.before.read_text(encoding="utf-8")), kinds)
    for heading, names in (("missing", missing), ("fewer cases", thinner)):
        print(f"{heading}: {len(names)}", *names, sep="\n  ")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
