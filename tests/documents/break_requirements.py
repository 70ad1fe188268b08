"""Breaks each requirement on purpose, in a copy of the checkout, and shows that a test of its row notices.

``python -m tests.documents.break_requirements`` does all rows of ``docs/requirements.md``, ``--row R6.1`` only some of
them. It ends with 1 when a row has no break, when a break cannot be made any more, when no named test fails with it,
or when one fails without it. Rows that are not met yet are left out.

The named tests first run on a copy that is as it is (``--no-control`` spares that), then for each break, up to the
first one that fails. Tests that need an engine are left to ``.ci/containers``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.documents.requirements_table import ROOT, Break, BrokenBreak, Row, breaks, rows

#: What is not copied: caches, and what was built. The environment and the tools are used where they are.
_LEFT_OUT = (".git", ".venv", ".tools", "__pycache__", "dist", "build", ".*_cache", ".hypothesis", "*.egg-info", ".env")
_SHARED = (".venv", ".tools")
#: Longer than the slowest named test that waits in vain.
_LONGEST_SECONDS = 900.0


@dataclass(frozen=True)
class Outcome:
    """What the tests of a row said. ``seen_by``: those that failed. ``trouble``: why the answer is worth nothing."""

    row: str
    what: str
    seen_by: tuple[str, ...]
    trouble: str
    seconds: float

    @property
    def is_seen(self) -> bool:
        return bool(self.seen_by) and not self.trouble

    def __str__(self) -> str:
        verdict = "seen by " + ", ".join(self.seen_by) if self.is_seen else f"NOT SEEN {self.trouble}".rstrip()
        return f"{self.row:6} {self.seconds:5.0f} s  {self.what}: {verdict}"


def missing(table: Sequence[Row], known: Sequence[Break]) -> list[str]:
    """What does not fit: rows without a break, breaks without a row, and rows whose tests cannot be run here."""
    broken = {each.row for each in known}
    met = [row for row in table if row.is_met]
    problems = [f"{row.number} has no break" for row in met if row.number not in broken]
    problems += [
        f"{number} is broken, but no row that is met" for number in sorted(broken - {row.number for row in met})
    ]
    return problems + [f"{row.number} names no test that runs without an engine" for row in met if not row.node_ids()]


def result_of(report: Path, code: int) -> tuple[tuple[str, ...], str]:
    """Which tests failed by pytest's report, and what makes the run worthless: a crash, an error outside of a test."""
    if code not in (0, 1) or not report.exists():
        return (), f"(pytest ended with {code})"
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = tuple(case.get("name", "") for case in cases if case.find("failure") is not None)
    errors = [case.get("name", "") for case in cases if case.find("error") is not None]
    skipped = [case.get("name", "") for case in cases if case.find("skipped") is not None]
    if errors and not failed:
        return (), f"(an error outside of a test: {', '.join(errors)})"
    if not failed and len(skipped) == len(cases):
        return (), "(every test was left out)"
    return failed, ""


@contextmanager
def _copy_of_the_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="broken-") as folder:
        tree = Path(folder) / "checkout"
        shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        for name in _SHARED:
            if (ROOT / name).exists():
                (tree / name).symlink_to((ROOT / name).resolve())
        yield tree


def _run(tree: Path, tests: Sequence[str], *arguments: str) -> tuple[tuple[str, ...], str]:
    report = tree.parent / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tree.parent / "hypothesis"),
    }
    with (tree.parent / "output").open("wb") as output:
        try:
            done = subprocess.run(
                [*command, f"--basetemp={tree.parent / 'tmp'}", *arguments, *tests],
                cwd=tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_LONGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return (), f"(no end within {_LONGEST_SECONDS:.0f} s)"
    failed, trouble = result_of(report, done.returncode)
    if trouble:
        print((tree.parent / "output").read_text(errors="replace")[-2000:], file=sys.stderr)
    return failed, trouble


def _try(row: Row, known: Break) -> Outcome:
    """Break the requirement in a copy, and run the tests that the row names."""
    began = time.monotonic()
    with _copy_of_the_tree() as tree:
        try:
            known.make(tree)
        except BrokenBreak as exc:
            return Outcome(row.number, known.what, (), f"(the break cannot be made: {exc})", 0.0)
        seen_by, trouble = _run(tree, row.node_ids(), "-x")
    return Outcome(row.number, known.what, seen_by, trouble, time.monotonic() - began)


def _control(table: Sequence[Row]) -> tuple[str, ...]:
    """The named tests on an unbroken copy; those that fail."""
    tests = list(dict.fromkeys(test for row in table for test in row.node_ids()))
    with _copy_of_the_tree() as tree:
        failed, trouble = _run(tree, tests)
        return failed or ((trouble,) if trouble else ())


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every break of the chosen rows is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", metavar="R1.1", help="only this row; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="how many breaks are tried at a time")
    parser.add_argument("--no-control", action="store_true", help="do not run the tests on an unbroken copy first")
    chosen = parser.parse_args(arguments)
    table, known = rows(), breaks()
    problems = missing(table, known)
    by_number = {row.number: row for row in table if row.is_met}
    if unknown := set(chosen.row or ()) - by_number.keys():
        parser.error(f"no row that is met: {', '.join(sorted(unknown))}")
    wanted = set(chosen.row or by_number)
    todo = [each for each in known if each.row in wanted & by_number.keys()]
    if not chosen.no_control:
        red = _control([by_number[number] for number in by_number if number in wanted])
        problems += [f"fails without any break: {name}" for name in red]
        print(f"without any break: {', '.join(red) or 'all pass'}", flush=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        outcomes = []
        for outcome in pool.map(lambda each: _try(by_number[each.row], each), todo):
            print(outcome, flush=True)
            outcomes.append(outcome)
    unseen = [outcome for outcome in outcomes if not outcome.is_seen]
    print(f"{len(outcomes) - len(unseen)} of {len(outcomes)} breaks of {len(wanted)} rows are seen")
    for problem in problems:
        print(problem)
    return 1 if unseen or problems else 0


if __name__ == "__main__":
    sys.exit(main())
