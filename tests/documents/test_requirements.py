"""The table of requirements is complete, and what it names is there."""

from __future__ import annotations

import re

from tests.documents.requirements_table import NOT_MET
from tests.documents.test_documents import _TEST, ROOT, _rows, _tests_in

#: How many requirements each chapter has.
CHAPTERS = {1: 6, 2: 3, 3: 2, 4: 3, 5: 6, 6: 5, 7: 5, 8: 5, 9: 4, 10: 7, 11: 4, 12: 8, 13: 3, 14: 4, 15: 2}
DOCUMENT = ROOT / "docs" / "requirements.md"


def _table() -> list[list[str]]:
    return [cells for cells in _rows(DOCUMENT.read_text(encoding="utf-8")) if re.fullmatch(r"R\d+\.\d+", cells[0])]


def test_every_requirement_is_there_once() -> None:
    expected = [f"R{chapter}.{number}" for chapter, count in CHAPTERS.items() for number in range(1, count + 1)]
    assert [cells[0] for cells in _table()] == expected


def _is_met(cells: list[str]) -> bool:
    return not cells[3].startswith(NOT_MET)


def test_each_is_met_in_files_that_exist() -> None:
    for cells in filter(_is_met, _table()):
        paths = re.findall(r"`([\w./-]+)`", cells[2])
        assert paths, cells
        assert [path for path in paths if not (ROOT / path).is_file()] == [], cells


def test_each_names_a_test_that_exists_or_the_reason_why_there_is_none() -> None:
    for cells in _table():
        named = _TEST.findall(cells[3])
        assert named or re.match(rf"{NOT_MET}: \w+", cells[3]), cells
        assert len(named) == cells[3].count("::"), cells
        assert [f"{file}::{test}" for file, test in named if test not in _tests_in(file)] == [], cells


def test_the_top_level_is_what_was_asked_for() -> None:
    folders = ("src", "tests", "docs", "test_data", ".github")
    files = ("Dockerfile", "docker-compose.yml", "example.env", "pyproject.toml", "README.md", ".gitignore")
    assert [name for name in folders if not (ROOT / name).is_dir()] == []
    assert [name for name in files if not (ROOT / name).is_file()] == []
