"""Lost habits of language do not return, and the patterns that find them fit their examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.words import HABITS, ROOT, Habit, lost_habits, read_by_people


def test_no_lost_habit_is_in_what_people_read() -> None:
    assert list(lost_habits()) == []


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.was)
def test_a_habit_is_found_in_its_example_and_in_no_suggestion(habit: Habit) -> None:
    assert habit.found_in(habit.was)
    assert [other.pattern for other in HABITS if other.found_in(habit.write)] == []


def test_a_finding_names_file_line_words_and_suggestion(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n\nIt waits for ever.\n", encoding="utf-8")
    found = list(lost_habits(tmp_path))
    assert found == ["docs/page.md:3: 'for ever': waits for ever → waits indefinitely"]


def test_the_files_that_people_read_first_are_checked() -> None:
    names = {"README.md", "docs/glossary.md", "src/config.py", "deploy/prometheus/rules/cefmp4.yml", "example.env"}
    assert names <= {path.relative_to(ROOT).as_posix() for path in read_by_people(ROOT)}
