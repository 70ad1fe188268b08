"""Finds lost habits of language in what people read, each with what to write instead.

``python -m scripts.words`` in the checkout; part of ``make lint``. A pattern is added when a phrase was corrected, so
that it does not return. Quick and offline: one regular expression per habit, line by line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Files and folders that are read, relative to the checkout; folders with everything below.
READ = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "Dockerfile",
    "docker-compose.yml",
    "example.env",
)
FOLDERS = ("src", "bench", "deploy", "docs", "scripts", ".ci", ".github")
_SUFFIXES = frozenset({".md", ".py", ".yml", ".yaml", ".json", ".mmd", ".service", ".sh", ".env", ""})
#: This file quotes all habits.
OF_ITSELF = "scripts/words.py"
_CODE = re.compile(r"``[^`]+``|`[^`]+`|(?<!\*)\*[^*]+\*(?!\*)|(?<=\])\([^)]+\)")


@dataclass(frozen=True, slots=True)
class Habit:
    """One habit: a pattern, a phrase that has it, and the phrase to write instead."""

    pattern: str
    was: str
    write: str

    def found_in(self, line: str) -> str | None:
        """The words on the line that have the habit; code, names in italics and addresses of links do not count."""
        found = re.search(self.pattern, _CODE.sub("``", line))
        return found.group() if found else None


HABITS = (
    Habit(
        r"\b(that|which) differs? again\b",
        "sends every part that differs again",
        "sends every changed part a second time",
    ),
    Habit(r"\bstop(s|ped)?( the daemon)? in order\b", "stops the daemon in order", "stops the daemon cleanly"),
    Habit(r"\bfor ever\b", "waits for ever", "waits indefinitely"),
    Habit(r"\b[Ss]o (many|few)\b(?! that)", "at most so many streams", "a limited number of streams"),
    Habit(r"\b(for|after|in|than|within) so long\b(?! as| that)", "ended after so long", "ended after the timeout"),
    Habit(r"(?<!here )\b(is|are) none\b", "a folder is none", "a folder is not a file"),
    Habit(r"(?<!here )\b(it|that|this|which) is no (?!longer|more\b|other|need)", "it is no file", "it is not a file"),
    Habit(r"\b[Ss]omebody(?! who)\b|\b[Ss]omebody's\b", "somebody has it open", "a process has it open"),
    Habit(r"\b[Nn]obody (can|has|have|knows|asks?|asked|writes|is)\b", "nobody knows", "it is unknown"),
    Habit(r"\b(for|of|to|with|by) whom\b", "the operator, for whom it is", "who uses it: the operator"),
    Habit(r"\b(is|are|was|were) told\b", "is told once", "is logged once"),
    Habit(r"\btell(s|ing)? of\b", "a line that tells of it", "a line that reports it"),
    Habit(r"\bas what\b", "as what it waits", "the state in which it waits"),
    Habit(r"\b(is|are) (to be )?had\b", "no lease is to be had", "no lease is available"),
    Habit(r"\bbelongs? into\b", "belongs into a file", "belongs in a file"),
    Habit(r"\b(brought|brings?|bring it|bring them) up to date\b", "brought up to date", "replaced"),
    Habit(r"\b(throws?|thrown|throwing) (it |them )?away\b", "thrown away", "aborted"),
    Habit(r"\b(goes|gone|going) round\b", "the setting that goes round it", "the setting that avoids it"),
    Habit(r"\b(what|whatever) (came|comes|becomes|became) of\b", "what came of it", "the result"),
    Habit(r"\b[Mm]end(s|ed)?\b", "until the operator mends it", "until the operator fixes it"),
    Habit(r"\banew\b(?!\.py| import)", "uploaded anew", "uploaded again"),
    Habit(r"(^|\. )Who [a-z]+s\b", "Who waits now waits no longer.", "Wakes current waiters."),
    Habit(r"\bwakes? nobody\b", "an outage that wakes nobody", "an outage that raises no alert"),
    Habit(r"\btakes? no notice of\b", "takes no notice of If-Match", "ignores If-Match"),
    Habit(r"\b(is|are|was) away\b", "S3 is away", "S3 is unavailable"),
    Habit(r"\b[Ll]iving (stream|recording|daemon)s?\b", "a living stream", "an active stream"),
    Habit(r"\b(a|[Nn]o|from) strangers?('s)?\b", "a stranger's object", "another program's object"),
    Habit(r"\bat the most\b", "a minute at the most", "at most a minute"),
    Habit(r"\basks? the world\b", "asks the world", "uses files, store and Redis"),
    Habit(r"\bby (what for|why again)\b", "failures, by what for", "failures, by reason"),
    Habit(r"\b(is|are|was) (taken|mistaken) for\b", "is taken for finished", "counts as finished"),
    Habit(r"\bwithout end\b", "asked without end", "retried indefinitely"),
)


def lost_habits(root: Path = ROOT) -> Iterator[str]:
    """One line for each phrase, with where it is and what to write instead."""
    for path in read_by_people(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for habit in HABITS:
                if words := habit.found_in(line):
                    yield f"{path.relative_to(root)}:{number}: {words!r}: {habit.was} → {habit.write}"


def read_by_people(root: Path) -> Iterable[Path]:
    """The files that are checked."""
    below = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*")))
    found = (path for path in (*(root / name for name in READ), *below) if path.is_file())
    names = ((path.relative_to(root).as_posix(), path) for path in found)
    return [
        path
        for name, path in names
        if path.suffix in _SUFFIXES and "__pycache__" not in path.parts and name != OF_ITSELF
    ]


if __name__ == "__main__":
    lines = list(lost_habits())
    print("\n".join(lines) or "No lost habits.")
    sys.exit(bool(lines))
