"""The keys of a name to check for a new recording, with few requests however many recordings the name has had.

The keys of a name are its natural key and ``stem~2.mp4``, ``stem~3.mp4``, … Redis remembers the highest number in use
as a hint, which is correct if there is something at that key and nothing at the next. If it is wrong or missing, the
keys of the name are listed once. Listings and hints may be outdated, so each key is checked before it is taken, and
taken only by a conditional completion. Numbers only increase: a gap left by a deleted object is not filled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ..domain import LAST_NUMBER, METADATA_SUFFIX, PatientlyAsked, next_free, number_of, numbered_prefix

#: Number of earlier recordings with the file's size to compare with it, the latest first.
_MOST_ALIKE = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key of the name. ``may_be_taken``: a new recording gets it if nothing is there."""

    key: str
    number: int
    may_be_taken: bool = True


class Walk:
    """The candidates of one name, one after the other; the sequence never ends."""

    def __init__(
        self, store: PatientlyAsked, natural: str, first: tuple[Candidate, ...], size: int | None = None
    ) -> None:
        self._store = store
        self._natural = natural
        self._waiting = deque(first)
        self._highest = max((candidate.number for candidate in first), default=1)
        self._size = size
        self._following: Iterator[int] | None = None

    @classmethod
    def by_hint(cls, store: PatientlyAsked, natural: str, highest: int | None, size: int | None = None) -> Walk:
        """For a file without a known recording; ``highest`` is the number that Redis remembers. ``size`` is given for a
        file that had other recordings before: it may have the bytes of one of them again."""
        highest = highest if highest is not None and 1 < highest < LAST_NUMBER else None
        if size is not None:
            # The listing replaces this candidate at once; it only keeps new numbers above the remembered one.
            return cls(store, natural, () if highest is None else (_candidate(natural, highest),), size)
        if highest is None:
            # Most names have at most two recordings, and two looks are cheaper than a listing.
            return cls(store, natural, (_candidate(natural, 1), _candidate(natural, 2)))
        proof = _candidate(natural, highest, may_be_taken=False)
        return cls(store, natural, (proof, _candidate(natural, highest + 1)))

    @classmethod
    def onwards(cls, store: PatientlyAsked, natural: str, number: int, many: int = 3) -> Walk:
        """For a recording that had the key with this number (0: unknown)."""
        following = range(number + 1, min(number + many, LAST_NUMBER) + 1)
        return cls(store, natural, tuple(_candidate(natural, number) for number in following))

    async def following(self) -> Candidate:
        """The next candidate, after the previous one was rejected."""
        if self._following is None and (self._size is not None or not self._waiting):
            await self._list()
        if self._waiting:
            return self._waiting.popleft()
        assert self._following is not None
        return _candidate(self._natural, next(self._following))

    def was_free(self, candidate: Candidate) -> None:
        """There is nothing at a key that was to verify the hint."""
        if self._following is None:
            self._highest = candidate.number
            self._waiting.clear()

    async def _list(self) -> None:
        listed = await self._store.list_objects(
            numbered_prefix(self._natural), lambda found: number_of(self._natural, found.key) is not None
        )
        sizes: dict[int, int] = {}  # of recordings; a number may also be in use by a document alone
        taken: set[int] = set()
        for found in listed:
            number = number_of(self._natural, found.key)
            if number is not None:
                taken.add(number)
                if not found.key.endswith(METADATA_SUFFIX):
                    sizes[number] = found.size
        latest = max(taken, default=1)
        alike = sorted((number for number, size in sizes.items() if size == self._size), reverse=True)
        # A natural key may have become free by a deletion. That is a gap, too, if numbered keys are in use.
        nothing_numbered = max(latest, self._highest) == 1
        first = [1] * (self._size is not None) + alike[:_MOST_ALIKE] + [latest]
        self._waiting = deque(
            _candidate(self._natural, number, may_be_taken=nothing_numbered) for number in dict.fromkeys(first)
        )
        # A file may itself have the last number of all in its name.
        holes = (number for number in range(2, LAST_NUMBER) if number not in taken)
        self._following = chain(range(max(latest, self._highest) + 1, LAST_NUMBER + 1), holes)


def _candidate(natural: str, number: int, *, may_be_taken: bool = True) -> Candidate:
    return Candidate(natural if number == 1 else next_free(natural, number), number, may_be_taken)
