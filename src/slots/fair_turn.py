"""One turn, from the request for it to its end: who has it, for how long it has been silent, and what it holds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from ..domain import SILENT_SECONDS, Errand
from ..timeouts import Timeout, timeout
from .usual_pace import UsualPace

#: A silent turn may be cancelled for others after this time, doubled each time, so that slow recordings get through.
_END_SECONDS = 3.0
_MOST_DOUBLINGS = 10
#: Interval for checking a caller that holds what others wait for.
LOOK_SECONDS = 0.5


class Keeper(Protocol):
    """What a turn needs from the object that assigns turns."""

    @property
    def is_sending_waited_for(self) -> bool:
        """Whether a caller waits to send parts."""

    def wants_back(self, turn: FairTurn) -> bool:
        """Whether others wait for it, and it has lasted long enough."""

    def given_back(self, turn: FairTurn) -> None:
        """The turn holds nothing any more."""

    def share(self, place: Place) -> None:
        """Admit others while all that have it are silent."""


@dataclass(eq=False, slots=True)
class Place:
    """A turn's memory. If several callers share it, each has one part at a time."""

    turns: set[FairTurn] = field(default_factory=set)

    def has_memory_for(self, turn: FairTurn) -> bool:
        """Whether one more part fits into it, of a caller that could have ``most`` of them there alone."""
        return sum(map(FairTurn.memory, self.turns)) + 1 / turn.most <= 1.0 + 1e-9  # three thirds must not exceed one


@dataclass(eq=False, slots=True)
class FairTurn:
    """The port ``Turn``. ``most``: parts that fit into the memory of a turn. ``asks``: it is for one small request."""

    keeper: Keeper
    pace: UsualPace
    errand: Errand
    most: int
    asks: bool
    told: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    place: Place | None = None  # none while it waits, or continues beside the turns
    limit: Timeout | None = None  # cancels the work in the turn
    since: float = 0.0
    stored_at: float = 0.0
    parts: int = 0  # in memory
    size: int = 0  # of the largest of them
    is_held: bool = False
    is_ended: bool = False
    is_alone: bool = False  # of those on probation
    keeps_others_waiting: bool = True  # False for the turn of those on probation, if others have further turns

    def begin(self, place: Place | None) -> None:
        self.place, self.is_held = place, True
        self.since = self.stored_at = asyncio.get_running_loop().time()
        self.errand.listen(self.since)
        if place is not None:
            place.turns.add(self)
        self.told.set_result(None)

    def give_back(self) -> None:
        """Twice: the second call does nothing."""
        if self.is_held:
            self.is_held = False
            self.keeper.given_back(self)

    # -- silence ----------------------------------------------------------------------------------------------

    def _began(self) -> float:
        """When the turn began, or its last part was stored: each part has its own time."""
        return max(self.since, self.stored_at)

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._began()

    def _heard_at(self) -> float:
        return max(self._began(), self.errand.heard_at)

    def silence(self) -> float:
        """Seconds since the last answer or transferred byte."""
        return asyncio.get_running_loop().time() - self._heard_at()

    def _unusual(self) -> float:
        """Seconds of silence in excess of the usual.

        Also in excess of the time in which it made progress: on a slow line the last bytes of a part take long, too.
        """
        return max(self.pace.silence(asks=self.asks).longest, self._heard_at() - self._began())

    @property
    def is_silent(self) -> bool:
        """Also true if it makes progress, but has stored no part for far longer than others need."""
        slow = self.size and self._seconds() >= max(SILENT_SECONDS, self.pace.far_slower(self.size))
        return bool(slow) or self.silence() >= self._unusual()

    @property
    def may_be_ended(self) -> bool:
        """Whether it may be cancelled for others.

        Not the turn of those on probation if others have further turns: it does not delay them. Nor its small request,
        which leaves the place of those on probation by itself after a while.
        """
        if self.limit is None or self.is_ended or not self.keeps_others_waiting or (self.asks and self.is_alone):
            return False
        unusual, times = self._unusual(), self.errand.asks_ended if self.asks else self.errand.parts_ended
        return self.silence() >= max(_END_SECONDS, unusual) * 2.0**times

    def end(self) -> None:
        """Cancel the work in the turn for others, with ``TimeoutError``."""
        assert self.limit is not None
        self.is_ended = True
        if self.asks:
            self.errand.asks_ended = min(self.errand.asks_ended + 1, _MOST_DOUBLINGS)
        else:
            self.errand.parts_ended = min(self.errand.parts_ended + 1, _MOST_DOUBLINGS)
        self.limit.reschedule(asyncio.get_running_loop().time())

    # -- parts ------------------------------------------------------------------------------------------------

    def memory(self) -> float:
        """The share of the turn's memory that it uses. A caller without a part in memory is about to read the next."""
        return max(1, self.parts) / self.most

    @property
    def at_once(self) -> int:
        if not self.is_held or self.place is None:
            return 0
        return self.most if self.errand.parts_pass and len(self.place.turns) == 1 else 1

    @contextmanager
    def part(self) -> Iterator[None]:
        self.parts += 1
        try:
            yield
        finally:
            self.parts -= 1

    def has_read(self) -> None:
        """However long the file took: from now on the store is waited for."""
        self.errand.listen(asyncio.get_running_loop().time())

    def stored(self) -> None:
        self.stored_at = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def giving_way(self, size: int) -> AsyncIterator[None]:
        """Cancel sending parts of up to ``size`` bytes with ``TimeoutError`` if others wait in vain."""
        self.stored()
        self.size = size
        async with timeout(None) as limit:
            self.limit = limit
            watching = asyncio.get_running_loop().create_task(self._watch(), name="turn-watch")
            try:
                yield
            finally:
                watching.cancel()

    async def _watch(self) -> None:
        """While parts are sent and others wait, decide about the turn; the first that applies:

        - no part was stored for far longer than others need: it is cancelled;
        - no part is in memory, and there is no progress: it waits for its file or for Redis, which needs no turn;
        - it is silent: its memory is lent to others.
        """
        while self.place is not None and not self.is_ended:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.keeper.is_sending_waited_for or not self.is_held:
                continue
            seconds = self._seconds()
            longest = self.pace.in_vain(self.size, self.errand.parts_ended)
            if seconds > longest and self.keeps_others_waiting and not self.is_ended:
                self.pace.gave_way(seconds)
                self.end()
                return
            if self.is_silent:
                self.errand.make_room()
            if self.parts == 0 and self.silence() >= LOOK_SECONDS:
                self.give_back()
            else:
                self.keeper.share(self.place)

    def over(self) -> bool:
        return not self.is_held or self.keeper.wants_back(self)


def end_longest(turns: Iterable[FairTurn]) -> None:
    """Cancel the turn that has been silent for longest, if any may be cancelled."""
    ending = [turn for turn in turns if turn.may_be_ended]
    if ending:
        max(ending, key=FairTurn.silence).end()


def endings(silence: float) -> int:
    """The number of consecutive cancellations after which such a silence is no longer cancelled."""
    return math.ceil(math.log2(max(1.0, silence / _END_SECONDS)))
