"""Habits that the documents have lost do not come back.

A short list of phrases that a reader of English stumbles over, each with what to write instead. Names of tests,
commands and other code are not looked at.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.documents.test_documents import DOCUMENTS, ROOT
from tests.harness.findings import each

#: Pattern, and what to write.
LOST = {
    r"\bso many\b": "a number, or 'maximum number of'",
    r"\bfor so long\b": "a time, or 'this time'",
    r"\bfor ever\b": "indefinitely",
    r"(?<!there )\bis none\b": "is not a …",
    r"\b(?:is|are) told\b|\btold of\b": "logged, reported",
    r"\banew\b": "again",
    r"(?:^|\. )Who [a-z]+s\b": "whoever, or the noun",
    r"\bby what for\b": "by reason",
    r"\bthrown away\b": "aborted, deleted",
    r"\bwakes nobody\b": "raises no alert",
    r"\btakes no notice of\b": "ignores",
}
_CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]*`|\*[^*\n]+\*|src/\S+|\]\([^)]*\)|<!--.*?-->", re.MULTILINE | re.DOTALL)
#: Of what is past: not written again.
_NOT_LOOKED_AT = (ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "decisions").glob("*.md")))


def stumbling(text: str) -> list[str]:
    """The phrases in this text that are on the list."""
    prose = _CODE.sub("``", text.replace("**", ""))
    return [found for pattern in LOST for found in re.findall(pattern, prose, re.MULTILINE)]


@each(
    "document", [path for path in DOCUMENTS if path not in _NOT_LOOKED_AT], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_lost_habit_has_come_back(document: Path) -> None:
    assert stumbling(document.read_text(encoding="utf-8")) == []


def test_the_list_finds_what_it_is_for() -> None:
    assert stumbling("At most so many streams. Who waits now waits no longer.") == ["so many", ". Who waits"]
    assert stumbling("As in `test_it_is_told_for_ever`.") == []
