"""The script that counts and draws the house, on a small one whose figures can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.house import House, drawn, figures, measured, walked

FILES = {
    "__init__.py": '"""A house."""\n',
    "words.py": '"""Words."""\n\n\ndef told(path: str) -> str:\n    return path  # as it is\n',
    "books/__init__.py": '"""A room."""\n\nfrom .shelf import Shelf\n\n__all__ = ["Shelf"]\n',
    "books/shelf.py": '''"""Where books stand."""

from ..words import told
from .reader import Reader


class Shelf:
    """Holds a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def take(self, path: str) -> str:
        if not path:
            return ""
        self._reader.read(path)
        return told(path)
''',
    "books/reader.py": '''"""Reads."""

from ..words import told


class Reader:
    def read(self, path: str) -> str:
        return told(path=path) + told(path)
''',
    "main.py": '"""Builds."""\n\nfrom .books import Shelf\nfrom .words import told\n\nprint(Shelf, told)\n',
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return measured(tmp_path)


def test_rooms_arrows_and_floors_are_counted(house: House) -> None:
    assert house.rooms == {"words", "books", "main"}
    assert house.arrows() == {("books", "words"), ("main", "books"), ("main", "words")}
    assert house.floors() == {"words": 1, "books": 2, "main": 3}
    assert len(house.module_arrows()) == 6


def test_lengths_returns_and_comments_are_counted(house: House) -> None:
    shown = figures(house)
    assert (shown["rooms"], shown["modules"], shown["functions"]) == ("3", "5", "4")
    assert shown["longest class"] == "11 books.shelf.Shelf"
    assert shown["most methods"] == "2 books.shelf.Shelf"
    assert shown["longest function"] == "5 books.shelf.take"
    assert shown["most returns in a function"] == "2 books.shelf.take"
    assert shown["lines with a comment"] == f"{100 / sum(FILES[name].count(chr(10)) for name in list(FILES)[1:]):.1f} %"


def test_a_walk_counts_each_entry_along_the_calls_that_hand_the_value_on(house: House) -> None:
    # In books from the shelf to the reader; out for words twice, back to the shelf, and out again.
    assert walked(house, "Shelf.take:path") == ["books", "words", "books", "words", "books", "words"]
    assert walked(house, "Shelf.take:gone") is None


def test_a_circle_is_told(house: House, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("from .books import Shelf\n\n\ndef told(path: str) -> str:\n    return path\n")
    with pytest.raises(ValueError, match="a circle among books, main, words"):
        measured(tmp_path).floors()


def test_the_drawing_leaves_out_main(house: House) -> None:
    assert "books --> words" in drawn(house)
    assert "main -->" not in drawn(house)
