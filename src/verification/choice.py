"""Which recordings are verified: those that match a pattern, and a reproducible sample of them. Pure.

The same seed chooses the same keys, whatever the order of a listing; a key that comes or goes changes the choice of no
more than one other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sample:
    """``share``: a fraction above 0 and up to 1; or ``number`` of recordings. Neither: all of them."""

    seed: int
    share: float | None = None
    number: int | None = None

    @classmethod
    def written(cls, text: str, seed: int) -> Sample:
        """From "5%" or "200"; empty: all. Raises ``ValueError`` with the reason for anything else."""
        text = text.strip()
        if not text:
            return cls(seed)
        if found := _SHARE.fullmatch(text):
            share = float(found[1]) / 100
            if 0 < share <= 1:
                return cls(seed, share=share)
        elif text.isascii() and text.isdigit() and int(text) > 0:
            return cls(seed, number=int(text))
        raise ValueError(f"{text!r} is not a share such as 5% or a number of recordings such as 200")

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.number is None and (self.share is None or self.share == 1)

    def of(self, keys: Iterable[str]) -> list[str]:
        """The chosen keys, sorted; at least one of any."""
        every = sorted(keys)
        if self.is_all:
            return every
        most = self.number if self.number is not None else max(1, round(len(every) * (self.share or 0)))
        return sorted(sorted(every, key=self._place)[:most])

    def _place(self, key: str) -> bytes:
        return hashlib.sha256(f"{self.seed}\0".encode() + key.encode("utf-8", "surrogateescape")).digest()


def matches(pattern: str, prefix: str, key: str) -> bool:
    """Whether a pattern chooses a key: compared with the key, with or without its prefix, and a pattern without a slash
    also with the name alone. No pattern chooses all."""
    if not pattern:
        return True
    inside = key.removeprefix(prefix)
    names = (key, inside) if "/" in pattern else (key, inside, key.rpartition("/")[2])
    return any(fnmatchcase(name, pattern) for name in names)
