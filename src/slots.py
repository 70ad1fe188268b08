"""Turns at the store: at most so many recordings do S3 work at once, and none of them keeps the others waiting.

* Small requests go before parts. One that takes long goes on beside the others, and one that has waited long is let in
  beside them: both hold no memory. So many at most are beside; when others wait for that, the one that has been silent
  for longest is ended.
* A recording whose last request hung, was refused or was far slower than those of others is on probation: such
  recordings together use at most one turn. Where there is only one, they get it when nobody else wants it, or once in
  a while.
* Who has a turn for parts, and has stored none for far longer than others need, gives way to those who wait.
* Nobody knows before whether a recording will hang. So its first part goes alone, and once it is silent those who wait
  are lent the rest of its turn's memory, one part at a time each. When all who share a turn are silent and there is no
  memory left, the one that has been silent for longest is ended.

Silent is who has said nothing (no byte accepted, no answer) for longer than is usual, and for longer than he was heard
before. On a store that is slow as a whole nobody is.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from weakref import WeakSet

from .domain import SILENT_SECONDS, Errand, Turn, UsualSilence, current_errand

#: Seconds that a stream may keep its turn while others wait.
_TURN_SECONDS = 3.0
_ASKS_IN_A_ROW = 16
#: A small request that takes or has waited so long goes on beside the turns.
_BESIDE_SECONDS = 3.0
#: So many at most.
_MOST_BESIDE = 32
#: Who is silent may be ended for others after so long; twice as long each time, so that those who are slow get through.
_END_SECONDS = 3.0
_MOST_DOUBLINGS = 10
#: A small request of a recording on probation lets the next of them ask after so long.
_ALONE_SECONDS = 35.0
#: A part that took at least so long, and so many times as long as it would have at the speed of others, is slow.
_SLOW_SECONDS = 10.0
_SLOW_TIMES = 8.0
#: While nobody knows yet how long a part takes, who has stored none for so long gives way; the next one has twice as
#: long, so that parts get through a slow line, too.
_UNKNOWN_SECONDS = 30.0
_LOOK_SECONDS = 0.5
#: Who is on probation, where there is but one turn, waits no longer than this behind all others.
_LAST_SECONDS = 60.0

_Queue = deque["_Turn"]


class FairSlots:
    """``count`` turns at the store; who waits longest is next, small requests first. The port ``Slots``.

    A new recording needs three or four small requests before its first part: if each waited behind the parts of
    fifty others, its first byte would be sent minutes later.
    """

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._asking: _Queue = deque()
        self._sending: _Queue = deque()
        self._known: _Queue = deque()  # of those who send, the ones whose last part was taken
        self._last: _Queue = deque()  # those on probation, where there is but one turn
        self._probation = _OneAtATime()
        self._on_probation: WeakSet[Errand] = WeakSet()
        self._beside: set[_Turn] = set()
        self._usual_of_asks = UsualSilence()
        self._usual_of_parts = UsualSilence()
        self._asked_in_a_row = 0
        self._known_are_next = False
        self._draining = False
        self._speed: float | None = None
        self._unknown_seconds = _UNKNOWN_SECONDS

    def drain(self) -> None:
        """Every turn ends at its next boundary from now on."""
        self._draining = True

    @property
    def contended(self) -> bool:
        """Whether a turn should make room."""
        return self._draining or bool(self._asking) or self._is_sending_waited_for

    @property
    def _is_sending_waited_for(self) -> bool:
        return bool(self._sending or self._known)

    def _is_wanted(self, *, alone: bool) -> bool:
        """Whether others wait for the turn; those on probation wait for each other, too."""
        return self.contended or (alone and self._probation.is_waited_for)

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """A turn for one small request."""
        return self._held(self._asking, 1)

    def sending(self, at_once: int = 1) -> AbstractAsyncContextManager[Turn]:
        """A turn for parts, of which so many fit into its memory."""
        return self._held(self._sending, at_once)

    def part_stored(self, size: int, seconds: float) -> None:
        """The errand's part of so many bytes was stored in so many seconds: its probation ends, unless it was slow."""
        errand, speed = current_errand(), size / max(seconds, 1e-6)
        now = asyncio.get_running_loop().time()
        silence = min(seconds, errand.longest_silence(now))
        # The next part is not ended after a silence that this one needed.
        errand.parts_pass, errand.parts_ended = True, math.ceil(math.log2(max(1.0, silence / _END_SECONDS)))
        self._usual_of_parts.note(silence, now)
        usual = self._speed
        errand.parts_fail = seconds > self._longest(size)
        if errand.parts_fail:
            self._on_probation.add(errand)
            self._speed = max(speed, (usual or speed) / 2)  # perhaps all have become slow
        else:
            self._speed = speed if usual is None else 0.8 * usual + 0.2 * speed

    def _far_slower(self, size: int) -> float:
        """Seconds that are far more than a part of so many bytes takes, by the speed of those that were not slow."""
        return math.inf if self._speed is None else _SLOW_TIMES * size / self._speed

    def _longest(self, size: int) -> float:
        """Seconds after which such a part is slow."""
        return max(_SLOW_SECONDS, self._far_slower(size))

    def _in_vain(self, size: int, ended: int) -> float:
        """Seconds without a part stored after which a turn is passed on to those who wait.

        Who was ended ``ended`` times in a row has twice as long each time, but no longer than everybody has while no
        speed is known. Else, where there is but one turn, a recording that is slower than others would never get on.
        """
        if self._speed is None:
            return self._unknown_seconds
        longest = self._longest(size)
        return max(longest, min(longest * 2.0**ended, self._unknown_seconds))

    def _gave_way(self, seconds: float) -> None:
        """Perhaps all have become slow, or always were: then nobody is to give way for ever."""
        if self._speed is not None:
            self._speed /= 2
        else:
            self._unknown_seconds = max(self._unknown_seconds, 2 * seconds)

    def part_failed(self) -> None:
        """The store did not take the errand's part."""
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
        """It was the store, and it is back."""
        for errand in self._on_probation:
            errand.end_probation()
        self._on_probation.clear()
        self._probation.let_all_pass()

    @asynccontextmanager
    async def _held(self, queue: _Queue, at_once: int) -> AsyncIterator[Turn]:
        errand, asks = current_errand(), queue is self._asking
        turn = _Turn(self, errand, max(1, at_once), asks)
        if not errand.on_probation:
            if errand.parts_pass and not asks:
                queue = self._known
            async with self._taken(turn, queue):
                yield turn
            return
        async with self._probation.place() as alone:
            if alone:
                queue = self._sending if self._count > 1 else self._last
            turn.keeps_others_waiting = not alone or self._count == 1
            turn.is_alone = alone is not None
            loop = asyncio.get_running_loop()
            leaving = loop.call_later(_ALONE_SECONDS, self._probation.leave, alone) if alone and asks else None
            try:
                async with self._taken(turn, queue):
                    yield turn
            finally:
                if leaving is not None:
                    leaving.cancel()

    @asynccontextmanager
    async def _taken(self, turn: _Turn, queue: _Queue) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        await self._acquire(turn, queue)
        letting_go = loop.call_later(_BESIDE_SECONDS, turn.go_beside) if turn.asks else None
        try:
            if not turn.asks:
                yield
                return
            async with asyncio.timeout(None) as turn.limit:
                yield
            turn.errand.asks_ended = 0
            self._usual_of_asks.note(turn.errand.longest_silence(loop.time()), loop.time())
        finally:
            if letting_go is not None:
                letting_go.cancel()
            turn.give_back()

    async def _acquire(self, turn: _Turn, queue: _Queue) -> None:
        if self._free:
            self._free -= 1
            turn.begin(_Place())
            return
        loop = asyncio.get_running_loop()
        queue.append(turn)
        timer: asyncio.TimerHandle | None = None
        if queue is self._asking:
            timer = loop.call_later(_BESIDE_SECONDS, self._let_in_beside, turn)
        elif queue is self._last:
            timer = loop.call_later(_LAST_SECONDS, self._let_in_like_others, turn)
        try:
            await turn.told
        except asyncio.CancelledError:
            turn.give_back()  # it may just have begun
            for line in (self._asking, self._sending, self._known, self._last):
                if turn in line:
                    line.remove(turn)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _let_in_beside(self, turn: _Turn) -> None:
        if turn.told.done():
            return
        if not self._has_room_beside():
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._let_in_beside, turn)
            return
        self._asking.remove(turn)
        self._beside.add(turn)
        turn.begin(None)

    def _has_room_beside(self) -> bool:
        """Whether one more small request may go on beside the turns. If not, and others wait, one that is silent is
        ended, so that there is room soon."""
        if len(self._beside) < _MOST_BESIDE:
            return True
        if self._asking or self._is_sending_waited_for:
            _end_longest(self._beside)
        return False

    def _let_in_like_others(self, turn: _Turn) -> None:
        if turn in self._last:
            self._last.remove(turn)
            self._sending.append(turn)

    def _given_back(self, turn: _Turn) -> None:
        self._beside.discard(turn)
        place = turn.place
        if place is not None:
            place.turns.discard(turn)
            if place.turns:
                self._share(place)
            else:
                self._pass_on(place)

    def _pass_on(self, place: _Place) -> None:
        """A free turn and somebody who waits never exist together.

        After so many small requests in a row one turn is for parts, so that thousands of lookups do not keep live
        recordings waiting.
        """
        asking, sending = _first_of(self._asking), self._next_sender()
        parts_first = sending is not None and self._asked_in_a_row >= _ASKS_IN_A_ROW
        if asking is not None and not parts_first:
            self._asked_in_a_row += 1
            self._asking.popleft()
            asking.begin(place)
        elif sending is not None:
            self._asked_in_a_row = 0
            self._let_send(sending, place)
        elif (last := _first_of(self._last)) is not None:
            self._last.popleft()
            last.begin(place)
        else:
            self._free += 1

    def _next_sender(self) -> _Turn | None:
        """Those whose parts are taken have every second turn: they need not wait for all of whom nobody knows that."""
        new, known = _first_of(self._sending), _first_of(self._known)
        return known if new is None or (self._known_are_next and known is not None) else new

    def _let_send(self, turn: _Turn, place: _Place) -> None:
        self._known_are_next = turn in self._sending
        (self._sending if self._known_are_next else self._known).popleft()
        turn.begin(place)

    def _share(self, place: _Place) -> None:
        """While all who have the place are silent, let in the next one who waits to send, or make room for him."""
        following = self._next_sender()
        if following is None or not all(turn.is_silent for turn in place.turns):
            return
        if sum(map(_Turn.memory, place.turns)) + 1 / following.most <= 1.0 + 1e-9:
            self._let_send(following, place)
        else:
            _end_longest(place.turns)

    def _usual(self, *, asks: bool) -> UsualSilence:
        """Parts are silent for no shorter than small requests."""
        asked, sent = self._usual_of_asks, self._usual_of_parts
        return asked if asks or sent.seconds is None or (asked.seconds or 0.0) > sent.seconds else sent


def _first_of(queue: _Queue) -> _Turn | None:
    while queue and queue[0].told.done():
        queue.popleft()
    return queue[0] if queue else None


def _end_longest(turns: Iterable[_Turn]) -> None:
    ending = [turn for turn in turns if turn.may_be_ended]
    if ending:
        max(ending, key=_Turn.silence).end()


@dataclass(eq=False, slots=True)
class _Place:
    """A turn's memory. Of several who share it each has one part at a time."""

    turns: set[_Turn] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class _Turn:
    """``most``: parts that fit into the memory of a turn. ``place``: None while it waits, or goes on beside."""

    slots: FairSlots
    errand: Errand
    most: int
    asks: bool
    told: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    place: _Place | None = None
    limit: asyncio.Timeout | None = None  # which ends what is done in it
    since: float = 0.0
    stored_at: float = 0.0
    parts: int = 0  # in memory
    size: int = 0  # of the largest of them
    is_held: bool = False
    is_ended: bool = False
    is_alone: bool = False  # of those on probation
    keeps_others_waiting: bool = True

    def begin(self, place: _Place | None) -> None:
        self.place, self.is_held = place, True
        self.since = self.stored_at = asyncio.get_running_loop().time()
        self.errand.listen(self.since)
        if place is not None:
            place.turns.add(self)
        self.told.set_result(None)

    def give_back(self) -> None:
        if self.is_held:
            self.is_held = False
            self.slots._given_back(self)

    def go_beside(self) -> None:
        """Let the next one have the turn, and go on."""
        place, slots = self.place, self.slots
        if self.is_held and self.is_silent:
            self.errand.make_room()
        if not self.is_held or place is None:
            return
        if not slots._has_room_beside():
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self.go_beside)
            return
        self.place = None
        place.turns.discard(self)
        slots._beside.add(self)
        slots._pass_on(place)

    # -- silence ----------------------------------------------------------------------------------------------

    def _began(self) -> float:
        return max(self.since, self.stored_at)

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._began()

    def _heard_at(self) -> float:
        return max(self._began(), self.errand.heard_at)

    def silence(self) -> float:
        """Seconds since an answer came, or a byte moved."""
        return asyncio.get_running_loop().time() - self._heard_at()

    def _unusual(self) -> float:
        """Seconds of silence that are more than usual: on a slow line the last bytes of a part take long, too."""
        return max(self.slots._usual(asks=self.asks).longest, self._heard_at() - self._began())

    @property
    def is_silent(self) -> bool:
        """Also who says something, but has stored no part for far longer than others need."""
        slow = self.size and self._seconds() >= max(SILENT_SECONDS, self.slots._far_slower(self.size))
        return bool(slow) or self.silence() >= self._unusual()

    @property
    def may_be_ended(self) -> bool:
        if self.limit is None or self.is_ended or not self.keeps_others_waiting or (self.asks and self.is_alone):
            return False
        unusual, times = self._unusual(), self.errand.asks_ended if self.asks else self.errand.parts_ended
        return self.silence() >= max(_END_SECONDS, unusual) * 2.0**times

    def end(self) -> None:
        """For others. Raises ``TimeoutError`` out of what is done in it."""
        assert self.limit is not None
        self.is_ended = True
        if self.asks:
            self.errand.asks_ended = min(self.errand.asks_ended + 1, _MOST_DOUBLINGS)
        else:
            self.errand.parts_ended = min(self.errand.parts_ended + 1, _MOST_DOUBLINGS)
        self.limit.reschedule(asyncio.get_running_loop().time())

    # -- parts ------------------------------------------------------------------------------------------------

    def memory(self) -> float:
        """The share that it uses of the turn's."""
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
        """Whatever its file has taken: from now on the store is waited for."""
        self.errand.listen(asyncio.get_running_loop().time())

    def stored(self) -> None:
        self.stored_at = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def giving_way(self, size: int) -> AsyncIterator[None]:
        """Raises ``TimeoutError`` out of the sending of parts of up to so many bytes when others wait in vain."""
        self.stored()
        self.size = size
        async with asyncio.timeout(None) as limit:
            self.limit = limit
            watching = asyncio.get_running_loop().create_task(self._watch(), name="turn-watch")
            try:
                yield
            finally:
                watching.cancel()

    async def _watch(self) -> None:
        slots = self.slots
        while self.place is not None and not self.is_ended:
            await asyncio.sleep(_LOOK_SECONDS)
            if not slots._is_sending_waited_for or not self.is_held:
                continue
            seconds = self._seconds()
            longest = slots._in_vain(self.size, self.errand.parts_ended)
            if seconds > longest and self.keeps_others_waiting and not self.is_ended:
                slots._gave_way(seconds)
                self.end()
                return
            if self.is_silent:
                self.errand.make_room()
            if self.parts == 0 and self.silence() >= _LOOK_SECONDS:
                self.give_back()  # what it waits for needs neither the store nor memory
            else:
                slots._share(self.place)

    def over(self) -> bool:
        if not self.is_held:
            return True
        waited_for = self.slots._is_wanted(alone=self.is_alone)
        return waited_for and asyncio.get_running_loop().time() - self.since >= self._length

    @property
    def _length(self) -> float:
        return 0.0 if self.slots._draining else _TURN_SECONDS


class _OneAtATime:
    """A place for one. Whoever waits for it may be told that he needs it no longer."""

    def __init__(self) -> None:
        self._holder: object | None = None
        self._line: deque[asyncio.Future[bool]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[object | None]:
        """What holds the place; None: it is not needed any more."""
        holder = object() if await self._is_mine() else None
        if holder is not None:
            self._holder = holder
        try:
            yield holder
        finally:
            self.leave(holder)

    def leave(self, holder: object | None) -> None:
        """Twice: the second does nothing."""
        if holder is not None and self._holder is holder:
            self._pass_on()

    @property
    def is_waited_for(self) -> bool:
        return any(not waiting.done() for waiting in self._line)

    def let_all_pass(self) -> None:
        while self._line:
            if not (waiting := self._line.popleft()).done():
                waiting.set_result(False)

    async def _is_mine(self) -> bool:
        if self._holder is None:
            self._holder = self
            return True
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.result():
                self._pass_on()
            elif mine in self._line:
                self._line.remove(mine)
            raise

    def _pass_on(self) -> None:
        while self._line:
            if not (following := self._line.popleft()).done():
                self._holder = self  # until he knows
                following.set_result(True)
                return
        self._holder = None
