"""Each page says first for whom it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.documents.test_documents import DOCUMENTS, ROOT
from tests.harness.findings import each

#: But for those that are one of many on their list, which says it of all.
PAGES = [
    one
    for one in DOCUMENTS
    if one.parent != ROOT and not re.match(r"\d", one.name) and one != ROOT / "docs" / "index.md"
]


@each("page", PAGES, ids=lambda one: str(one.relative_to(ROOT)))
def test_a_page_says_first_for_whom_it_is(page: Path) -> None:
    """In its first paragraph."""
    first = page.read_text(encoding="utf-8").split("\n\n")[1]
    whom = "everyone|developers|operators|reviewers|readers"
    assert re.search(rf"\b[Ff]or (?:{whom})\b", first)
