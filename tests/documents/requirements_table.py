"""The table of requirements as it stands in ``docs/requirements.md``, and the known breaks of its rows.

A break is a small change of the tree that takes a requirement away. The files of ``breaks``, one for each chapter of
the table, hold at least one for every row::

    [[break]]
    row = "R6.1"
    what = "the document has another name"
    [[break.edit]]
    file = "src/domain/object_keys.py"
    old = '.metadata.json'     # occurs exactly once in the file
    new = '.info.json'

An edit with ``remove = true`` in place of ``old`` and ``new`` deletes the file.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BREAKS = Path(__file__).with_name("breaks")
#: A test as documents name it: its file below ``tests``, and its function.
NAMED_TEST = re.compile(r"`((?:\w+/)+\w+\.py)::(test_\w+)`")
#: How the cell "shown by" begins while nothing meets the requirement.
NOT_MET = "Not met yet"
#: Tests that need a Docker engine, which ``.ci/containers`` starts for them.
ENGINE_TESTS = "engine/"
#: The folders of tests, the quickest first.
_BY_PACE = ("unit", "documents", "deploy", "contract", "corpus", "crash", "browser", "e2e")


class BrokenBreak(Exception):
    """A break that cannot be made: the tree has changed since it was written."""


@dataclass(frozen=True)
class Row:
    """One requirement. ``tests``: file below ``tests`` and function; none while it is not met."""

    number: str
    tests: tuple[tuple[str, str], ...]
    is_met: bool

    def node_ids(self) -> list[str]:
        """The named tests as pytest calls them, the quick ones first, without those of the engine. Raises
        ``LookupError`` for one that is not there."""
        named = [(file, name) for file, name in self.tests if not file.startswith(ENGINE_TESTS)]
        named.sort(key=lambda test: _BY_PACE.index(test[0].partition("/")[0]))
        return [f"tests/{file}::{_qualified(file, name)}" for file, name in named]


@dataclass(frozen=True)
class Edit:
    """In ``file``, ``old`` becomes ``new``; None for both: the file is removed."""

    file: str
    old: str | None
    new: str | None

    def make(self, tree: Path) -> None:
        """Change the file below ``tree``. Raises ``BrokenBreak`` when it is not as this edit expects it."""
        path = tree / self.file
        if not path.is_file():
            raise BrokenBreak(f"there is no file {self.file}")
        if self.old is None or self.new is None:
            path.unlink()
            return
        text = path.read_bytes()
        if (count := text.count(self.old.encode())) != 1 or self.old == self.new:
            raise BrokenBreak(f"{self.file} has this {count} times: {self.old}")
        path.write_bytes(text.replace(self.old.encode(), self.new.encode()))


@dataclass(frozen=True)
class Break:
    """One way to take the requirement of a row away."""

    row: str
    what: str
    edits: tuple[Edit, ...]

    def make(self, tree: Path) -> None:
        """Change the copy of the tree. Raises ``BrokenBreak``, also when Python could not read what comes out."""
        for edit in self.edits:
            edit.make(tree)
        for path in {tree / edit.file for edit in self.edits if edit.old is not None and edit.file.endswith(".py")}:
            try:
                ast.parse(path.read_bytes())
            except SyntaxError as exc:
                raise BrokenBreak(f"{path.name} is no Python any more: {exc}") from exc


@cache
def _qualified(file: str, name: str) -> str:
    """The test with the class that it is in, if any."""
    tree = ast.parse((ROOT / "tests" / file).read_bytes())
    for owner in ast.walk(tree):
        for node in getattr(owner, "body", ()) if isinstance(owner, ast.Module | ast.ClassDef) else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return f"{owner.name}::{name}" if isinstance(owner, ast.ClassDef) else name
    raise LookupError(f"there is no {name} in tests/{file}")


def rows(document: Path = ROOT / "docs" / "requirements.md") -> list[Row]:
    """The rows of the table, in order."""
    found = []
    for line in document.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and re.fullmatch(r"R\d+\.\d+", cells[0]):
            tests = tuple((file, name) for file, name in NAMED_TEST.findall(cells[3]))
            found.append(Row(cells[0], tests, is_met=not cells[3].startswith(NOT_MET)))
    return found


def breaks(folder: Path = BREAKS) -> list[Break]:
    """All known breaks, chapter by chapter."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        chapter = tomllib.loads(path.read_text(encoding="utf-8"))
        found += [Break(each["row"], each["what"], tuple(map(_edit, each["edit"]))) for each in chapter["break"]]
    return found


def _edit(given: Mapping[str, Any]) -> Edit:
    if given.keys() == {"file", "remove"}:
        return Edit(given["file"], None, None)
    return Edit(given["file"], given["old"], given["new"])
