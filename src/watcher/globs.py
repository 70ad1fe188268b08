"""Matches file names against the patterns, and recognises media files that no pattern matches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import translate


class Globs:
    """Decides which names are recordings. A pattern with a slash is compared with the whole relative path (there ``*``
    also matches slashes, and ``**/`` also matches no folder), any other with the name. Matching is case-sensitive.

    Names that match ``excluded`` are not recordings. There a pattern without a slash is also compared with the names of
    all folders above the file.
    """

    def __init__(self, patterns: Sequence[str], excluded: Sequence[str] = ()) -> None:
        self._name, self._path = _by_name_and_path(patterns)
        self._excluded_name, self._excluded_path = _by_name_and_path(excluded)

    def match(self, path: str) -> bool:
        named = self._name.match(path.rpartition("/")[2]) or self._path.match(path)
        return bool(named) and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Whether the path is excluded by its own name, or by that of a folder above it."""
        return bool(self._excluded_path.match(path) or any(map(self._excluded_name.match, path.split("/"))))


def _by_name_and_path(patterns: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    every = list(dict.fromkeys(form for pattern in patterns for form in _without_stars(pattern)))
    return _any_of([p for p in every if "/" not in p]), _any_of([p for p in every if "/" in p])


def _without_stars(pattern: str) -> Iterator[str]:
    """The pattern, and the same with ``**/`` matching no folder."""
    yield pattern
    before, stars, after = pattern.partition("**/")
    if stars:
        yield from (f"{before}{form}" for form in _without_stars(after))
        yield from (f"{before}{stars}{form}" for form in _without_stars(after) if form != after)


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) if patterns else r"(?!)")


#: Usual file names of media files.
_FILM = re.compile(
    r".\.(mp4|m4v|mov|qt|mkv|webm|ts|mts|m2ts|avi|mpe?g|flv|f4v|3gp|3g2|mxf|wmv|insv)", re.ASCII | re.IGNORECASE
)


def pattern_of_a_film(name: str) -> str | None:
    """The pattern that matches a media file's name, with its case; None for any other name."""
    dot = name.rfind(".")
    return f"*{name[dot:]}" if dot > 0 and _FILM.fullmatch(name[dot - 1 :]) else None
