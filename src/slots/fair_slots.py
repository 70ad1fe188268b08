"""Assigns the turns at the store: to the next caller, passed on, shared, and with small requests beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from weakref import WeakSet

from ..domain import Errand, Turn, current_errand
from ..timeouts import timeout
from .fair_turn import LOOK_SECONDS, FairTurn, Place, end_longest, endings
from .one_at_a_time import OneAtATime
from .usual_pace import UsualPace
from .waiting import Line, Waiting

#: Seconds that a stream may keep its turn while others wait.
_TURN_SECONDS = 3.0
#: A small request that has taken or waited this long continues beside the turns.
_BESIDE_SECONDS = 3.0
#: Maximum number of small requests beside the turns.
_MOST_BESIDE = 32
#: Seconds after which a small request of a recording on probation lets the next of them start.
_ALONE_SECONDS = 35.0
#: With a single turn, a recording on probation waits behind all others at most this long.
_LAST_SECONDS = 60.0


class FairSlots:
    """``count`` turns at the store, assigned in the order of waiting, small requests first. The port ``Slots``."""

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._waiting = Waiting()
        self._probation = OneAtATime()
        self._on_probation: WeakSet[Errand] = WeakSet()
        self._beside: set[FairTurn] = set()
        self._pace = UsualPace()
        self._draining = False

    def drain(self) -> None:
        """From now on every turn ends at its next boundary."""
        self._draining = True

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """A turn for one small request."""
        return self._held(self._waiting.asking, 1)

    def sending(self, at_once: int = 1) -> AbstractAsyncContextManager[Turn]:
        """A turn for parts; ``at_once`` of them fit into its memory."""
        return self._held(self._waiting.sending, at_once)

    # -- results of requests -----------------------------------------------------------------------------------

    def part_stored(self, size: int, seconds: float) -> None:
        """The errand's part of ``size`` bytes was stored in ``seconds``: its probation ends, unless it was slow."""
        errand, now = current_errand(), asyncio.get_running_loop().time()
        silence = min(seconds, errand.longest_silence(now))
        # The next part is not cancelled after a silence as long as this part needed.
        errand.parts_pass, errand.parts_ended = True, endings(silence)
        errand.parts_fail = self._pace.part_stored(size, seconds, silence, now)
        if errand.parts_fail:
            self._on_probation.add(errand)

    def part_failed(self) -> None:
        """The store did not accept the errand's part."""
        errand = current_errand()
        errand.parts_fail, errand.parts_pass = True, False
        self._on_probation.add(errand)

    def ask_answered(self, *, answered: bool) -> None:
        """Whether the errand's small request was answered."""
        errand = current_errand()
        errand.asks_fail = not answered
        if errand.asks_fail:
            self._on_probation.add(errand)

    def end_all_probations(self) -> None:
        """The cause was an outage of the store, which is over."""
        for errand in self._on_probation:
            errand.end_probation()
        self._on_probation.clear()
        self._probation.let_all_pass()

    # -- acquiring a turn --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _held(self, line: Line, at_once: int) -> AsyncIterator[Turn]:
        """Selects the line to wait in.

        - Not on probation: the line of its kind; for parts of a recording whose parts the store accepts, the line
          of those.
        - On probation: first the one place of all of them, so that of many that hang only one delays others. Then
          the line for parts, also for a small request; with a single turn, the line behind all others.
        - All probations ended while it waited for that place: the line of its kind.
        """
        errand, asks = current_errand(), line is self._waiting.asking
        turn = FairTurn(self, self._pace, errand, max(1, at_once), asks)
        if not errand.on_probation:
            if errand.parts_pass and not asks:
                line = self._waiting.known
            async with self._taken(turn, line):
                yield turn
            return
        async with self._probation.place() as alone:
            if alone:
                line = self._waiting.sending if self._count > 1 else self._waiting.last
            turn.keeps_others_waiting = not alone or self._count == 1
            turn.is_alone = alone is not None
            loop = asyncio.get_running_loop()
            # It may hang for as long as a request may take. A part may not: it yields to those who wait.
            leaving = loop.call_later(_ALONE_SECONDS, self._probation.leave, alone) if alone and asks else None
            try:
                async with self._taken(turn, line):
                    yield turn
            finally:
                if leaving is not None:
                    leaving.cancel()

    @asynccontextmanager
    async def _taken(self, turn: FairTurn, line: Line) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        await self._acquire(turn, line)
        letting_go = loop.call_later(_BESIDE_SECONDS, self._let_go_on_beside, turn) if turn.asks else None
        try:
            if not turn.asks:
                yield
                return
            async with timeout(None) as turn.limit:
                yield
            turn.errand.asks_ended = 0
            self._pace.asks.note(turn.errand.longest_silence(loop.time()), loop.time())
        finally:
            if letting_go is not None:
                letting_go.cancel()
            turn.give_back()

    async def _acquire(self, turn: FairTurn, line: Line) -> None:
        if self._free:
            self._free -= 1
            turn.begin(Place())
            return
        loop = asyncio.get_running_loop()
        line.append(turn)
        timer: asyncio.TimerHandle | None = None
        if line is self._waiting.asking:
            timer = loop.call_later(_BESIDE_SECONDS, self._let_in_beside, turn)
        elif line is self._waiting.last:
            timer = loop.call_later(_LAST_SECONDS, self._let_in_like_others, turn)
        try:
            await turn.told
        except asyncio.CancelledError:
            turn.give_back()  # it may just have begun
            self._waiting.leave(turn)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _let_in_like_others(self, turn: FairTurn) -> None:
        if turn in self._waiting.last:
            self._waiting.last.remove(turn)
            self._waiting.sending.append(turn)

    # -- beside the turns --------------------------------------------------------------------------------------

    def _let_in_beside(self, turn: FairTurn) -> None:
        """It has waited long for a turn."""
        if turn.told.done():
            return
        if not self._has_room_beside():
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._let_in_beside, turn)
            return
        self._waiting.asking.remove(turn)
        self._beside.add(turn)
        turn.begin(None)

    def _let_go_on_beside(self, turn: FairTurn) -> None:
        """It has had its turn for long: the next caller gets it now."""
        place = turn.place
        if turn.is_held and turn.is_silent:
            turn.errand.make_room()
        if not turn.is_held or place is None:
            return
        if not self._has_room_beside():
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._let_go_on_beside, turn)
            return
        turn.place = None
        place.turns.discard(turn)
        self._beside.add(turn)
        self._pass_on(place)

    def _has_room_beside(self) -> bool:
        """Whether one more small request may continue beside the turns. If not, and others wait, a silent one is
        cancelled to make room soon."""
        if len(self._beside) < _MOST_BESIDE:
            return True
        if self._waiting.asking or self._waiting.to_send:
            end_longest(self._beside)
        return False

    # -- passing turns on: the interface for turns -------------------------------------------------------------

    @property
    def is_sending_waited_for(self) -> bool:
        return self._waiting.to_send

    def wants_back(self, turn: FairTurn) -> bool:
        """Recordings on probation also wait for each other."""
        others = bool(self._waiting.asking) or self._waiting.to_send
        waited_for = self._draining or others or (turn.is_alone and self._probation.is_waited_for)
        lasts = 0.0 if self._draining else _TURN_SECONDS
        return waited_for and asyncio.get_running_loop().time() - turn.since >= lasts

    def given_back(self, turn: FairTurn) -> None:
        self._beside.discard(turn)
        place = turn.place
        if place is not None:
            place.turns.discard(turn)
            if place.turns:
                self.share(place)
            else:
                self._pass_on(place)

    def share(self, place: Place) -> None:
        """While all that share the place are silent, admit the next caller who waits to send, or make room for it."""
        following = self._waiting.next_sender()
        if following is None or not all(turn.is_silent for turn in place.turns):
            return
        if place.has_memory_for(following):
            self._waiting.take(following).begin(place)
        else:
            end_longest(place.turns)

    def _pass_on(self, place: Place) -> None:
        """A free turn and a waiting caller never coexist: a caller gets a free turn immediately."""
        following = self._waiting.next()
        if following is None:
            self._free += 1
        else:
            following.begin(place)
