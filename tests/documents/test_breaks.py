"""Every row of the table of requirements has a known break, and every break can still be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.break_requirements import missing, result_of
from tests.documents.requirements_table import ROOT, Break, BrokenBreak, Edit, Row, breaks, rows

REPORT = '<testsuites><testsuite><testcase name="a"/><testcase name="b">{inside}</testcase></testsuite></testsuites>'


def _ours(found: Break) -> str:
    return f"{found.row}: {found.what}"


def test_every_row_that_is_met_has_a_break_and_a_test_that_can_be_run() -> None:
    assert missing(rows(), breaks()) == []


def test_every_break_can_still_be_made(tmp_path: Path) -> None:
    """``old`` in its file has to follow the code: give the break the new words, or another place."""
    assert [problem for number, known in enumerate(breaks()) for problem in _tried(known, tmp_path / str(number))] == []


def _tried(known: Break, tree: Path) -> Iterator[str]:
    """What is wrong with the break, tried on copies of its files."""
    for file in {edit.file for edit in known.edits if (ROOT / edit.file).is_file()}:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_bytes((ROOT / file).read_bytes())
    try:
        known.make(tree)
    except BrokenBreak as exc:
        yield f"{_ours(known)}: {exc}"


def test_no_two_breaks_are_called_the_same() -> None:
    names = [_ours(known) for known in breaks()]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit("a.py", "absent", "x"), "0 times"),
        (Edit("a.py", "1", "2"), "2 times"),
        (Edit("a.py", "one = 1", "one = 1"), "has this"),
        (Edit("b.py", None, None), "no file"),
        (Edit("a.py", "one = 1", "one ="), "no Python"),
    ],
    ids=["it is not there", "it is there twice", "nothing changes", "no file", "no Python comes out"],
)
def test_a_break_that_does_not_fit_the_tree_says_so(edit: Edit, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\nuno = 1\n")
    with pytest.raises(BrokenBreak, match=problem):
        Break("R1.1", "something", (edit,)).make(tmp_path)


def test_a_row_that_is_not_met_yet_needs_no_break_and_may_have_none(tmp_path: Path) -> None:
    document = tmp_path / "requirements.md"
    document.write_text(
        "| id | asked for | met in | shown by |\n|---|---|---|---|\n"
        "| R1.1 | one | `a` | `unit/test_wiring.py::test_no_setting_is_without_effect` |\n"
        "| R11.1 | another | | Not met yet: it comes with the leases |\n"
    )
    table = rows(document)
    assert [(row.number, row.is_met, len(row.tests)) for row in table] == [("R1.1", True, 1), ("R11.1", False, 0)]
    assert missing(table, []) == ["R1.1 has no break"]
    both = [Break("R1.1", "", ()), Break("R11.1", "", ())]
    assert missing(table, both) == ["R11.1 is broken, but no row that is met"]


def test_a_row_without_a_test_that_runs_here_is_reported() -> None:
    row = Row("R10.1", (("engine/checks.py", "test_its_configuration_says_what_it_is"),), is_met=True)
    assert missing([row], [Break("R10.1", "", ())]) == ["R10.1 names no test that runs without an engine"]


@pytest.mark.parametrize(
    ("inside", "code", "failed", "trouble"),
    [
        ("", 0, (), ""),
        ("<failure/>", 1, ("b",), ""),
        ("<error/>", 1, (), "an error outside"),
        ("<failure/><error/>", 1, ("b",), ""),
        ("<failure/>", 2, (), "ended with 2"),
    ],
    ids=["all pass", "one fails", "one cannot begin", "one fails and cannot end", "the run was cut off"],
)
def test_only_a_test_that_fails_sees_a_break(
    inside: str, code: int, failed: tuple[str, ...], trouble: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(inside=inside))
    seen, why = result_of(report, code)
    assert seen == failed
    assert trouble in why
    assert bool(why) == bool(trouble)


def test_tests_that_were_all_left_out_see_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuite><testcase name="a"><skipped/></testcase></testsuite>')
    assert result_of(report, 0) == ((), "(every test was left out)")
    assert result_of(tmp_path / "none.xml", 1) == ((), "(pytest ended with 1)")
