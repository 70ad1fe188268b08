"""Turns at the store: at most so many recordings do S3 work at once, and none of them keeps the others waiting.

* Small requests go before parts. One that takes long goes on beside the others, and one that has waited long is let in
  beside them: both hold no memory. So many at most are beside.
* A recording whose last request hung, was refused or was far slower than those of others is on probation: such
  recordings together use at most one turn. Where there is only one, they get it when nobody else wants it, or once in
  a while.
* Who has a turn for parts, and has stored none for far longer than others need, gives way to those who wait.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from weakref import WeakSet

from .domain import Errand, Turn, current_errand

#: Seconds that a stream may keep its turn while others wait.
_TURN_SECONDS = 3.0
_ASKS_IN_A_ROW = 16
#: A small request that takes or has waited so long goes on beside the turns.
_BESIDE_SECONDS = 3.0
#: So many at most.
_MOST_BESIDE = 32
#: A small request of a recording on probation lets the next of them ask after so long.
_ALONE_SECONDS = 35.0
#: A part that took at least so long, and so many times as long as it would have at the speed of others, is slow.
_SLOW_SECONDS = 10.0
_SLOW_TIMES = 8.0
#: While nobody knows yet how long a part takes, who has stored none for so long gives way; the next one has twice as
#: long, so that parts get through a slow line, too.
_UNKNOWN_SECONDS = 30.0
_LOOK_SECONDS = 1.0
#: Who is on probation, where there is but one turn, waits no longer than this behind all others.
_LAST_SECONDS = 60.0

_Queue = deque[asyncio.Future[None]]


class FairSlots:
    """``count`` turns at the store; who waits longest is next, small requests first. The port ``Slots``.

    A new recording needs three or four small requests before its first part: if each waited behind the parts of
    fifty others, its first byte would be sent minutes later.
    """

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._asking: _Queue = deque()
        self._sending: _Queue = deque()
        self._last: _Queue = deque()  # those on probation, where there is but one turn
        self._probation = _OneAtATime()
        self._on_probation: WeakSet[Errand] = WeakSet()
        self._beside = 0
        self._asked_in_a_row = 0
        self._draining = False
        self._speed: float | None = None
        self._unknown_seconds = _UNKNOWN_SECONDS

    def drain(self) -> None:
        """Every turn ends at its next boundary from now on."""
        self._draining = True

    @property
    def contended(self) -> bool:
        """Whether a turn should make room."""
        return self._draining or bool(self._asking or self._sending)

    def _is_wanted(self, *, alone: bool) -> bool:
        """Whether others wait for the turn; those on probation wait for each other, too."""
        return self.contended or (alone and self._probation.is_waited_for)

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """A turn for one small request."""
        return self._held(self._asking)

    def sending(self) -> AbstractAsyncContextManager[Turn]:
        """A turn for parts."""
        return self._held(self._sending)

    def part_stored(self, size: int, seconds: float) -> None:
        """The errand's part of so many bytes was stored in so many seconds: its probation ends, unless it was slow."""
        errand, speed = current_errand(), size / max(seconds, 1e-6)
        usual = self._speed
        errand.parts_fail = seconds > self._longest(size)
        if errand.parts_fail:
            self._on_probation.add(errand)
            self._speed = max(speed, (usual or speed) / 2)  # perhaps all have become slow
        else:
            self._speed = speed if usual is None else 0.8 * usual + 0.2 * speed

    def _longest(self, size: int) -> float:
        """Seconds after which a part of so many bytes is slow, by the speed of those that were not."""
        return math.inf if self._speed is None else max(_SLOW_SECONDS, _SLOW_TIMES * size / self._speed)

    def _in_vain(self, size: int) -> float:
        """Seconds without a part stored after which a turn is passed on to those who wait."""
        return self._unknown_seconds if self._speed is None else self._longest(size)

    def _gave_way(self, seconds: float) -> None:
        """Perhaps all have become slow, or always were: then nobody is to give way for ever."""
        if self._speed is not None:
            self._speed /= 2
        else:
            self._unknown_seconds = max(self._unknown_seconds, 2 * seconds)

    def part_failed(self) -> None:
        """The store did not take the errand's part."""
        errand = current_errand()
        errand.parts_fail = True
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
    async def _held(self, queue: _Queue) -> AsyncIterator[Turn]:
        asks = queue is self._asking
        if not current_errand().on_probation:
            async with self._taken(queue, asks) as turn:
                yield turn
            return
        async with self._probation.place() as alone:
            if alone:
                queue = self._sending if self._count > 1 else self._last
            loop = asyncio.get_running_loop()
            leaving = loop.call_later(_ALONE_SECONDS, self._probation.leave, alone) if alone and asks else None
            try:
                async with self._taken(queue, asks) as turn:
                    turn.keeps_others_waiting = not alone or self._count == 1
                    turn.is_alone = alone is not None
                    yield turn
            finally:
                if leaving is not None:
                    leaving.cancel()

    @asynccontextmanager
    async def _taken(self, queue: _Queue, asks: bool) -> AsyncIterator[_Turn]:
        loop = asyncio.get_running_loop()
        turn = _Turn(self)
        turn.is_beside = await self._acquire(queue)
        turn.since = loop.time()
        letting_go = loop.call_later(_BESIDE_SECONDS, turn.go_beside) if asks else None
        try:
            yield turn
        finally:
            if letting_go is not None:
                letting_go.cancel()
            turn.give_back()

    async def _acquire(self, queue: _Queue) -> bool:
        """True: there was none, but the request may go on beside those that have one."""
        if self._free:
            self._free -= 1
            return False
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[None] = loop.create_future()
        waiting_long = asyncio.Event()
        queue.append(mine)
        timer: asyncio.TimerHandle | None = None
        if queue is self._asking:
            timer = loop.call_later(_BESIDE_SECONDS, self._let_in_beside, mine, waiting_long)
        elif queue is self._last:
            timer = loop.call_later(_LAST_SECONDS, self._let_in_like_others, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._give_back(beside=waiting_long.is_set())  # the turn had just been passed to us
            for line in (self._asking, self._sending, self._last):
                if mine in line:
                    line.remove(mine)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return waiting_long.is_set()

    def _let_in_beside(self, waiting: asyncio.Future[None], beside: asyncio.Event) -> None:
        if waiting.done():
            return
        if self._beside >= _MOST_BESIDE:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._let_in_beside, waiting, beside)
            return
        self._beside += 1
        beside.set()
        self._asking.remove(waiting)
        waiting.set_result(None)

    def _let_in_like_others(self, waiting: asyncio.Future[None]) -> None:
        if waiting in self._last:
            self._last.remove(waiting)
            self._sending.append(waiting)

    def _give_back(self, *, beside: bool) -> None:
        if beside:
            self._beside -= 1
        else:
            self._release()

    def _release(self) -> None:
        """Pass the turn on; a free turn and somebody who waits never exist together.

        After so many small requests in a row one turn is for parts, so that thousands of lookups do not keep live
        recordings waiting.
        """
        parts_first = self._asked_in_a_row >= _ASKS_IN_A_ROW
        first = (self._sending, self._asking) if parts_first else (self._asking, self._sending)
        for queue in (*first, self._last):
            while queue:
                following = queue.popleft()
                if not following.done():
                    self._asked_in_a_row = self._asked_in_a_row + 1 if queue is self._asking else 0
                    following.set_result(None)
                    return
        self._free += 1


@dataclass(slots=True)
class _Turn:
    slots: FairSlots
    since: float = 0.0
    is_beside: bool = False
    is_held: bool = True
    is_alone: bool = False  # of those on probation
    keeps_others_waiting: bool = True
    stored_at: float = 0.0

    def give_back(self) -> None:
        if self.is_held:
            self.is_held = False
            self.slots._give_back(beside=self.is_beside)

    def go_beside(self) -> None:
        """Let the next one have the turn, and go on."""
        slots = self.slots
        if not self.is_held or self.is_beside:
            return
        if slots._beside >= _MOST_BESIDE:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self.go_beside)
            return
        self.is_beside = True
        slots._beside += 1
        slots._release()

    def stored(self) -> None:
        self.stored_at = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def giving_way(self, size: int) -> AsyncIterator[None]:
        """Raises ``TimeoutError`` out of the sending of parts of up to so many bytes when others wait in vain."""
        self.stored()
        async with asyncio.timeout(None) as limit:
            watching = asyncio.get_running_loop().create_task(self._watch(limit, size), name="turn-watch")
            try:
                yield
            finally:
                watching.cancel()

    async def _watch(self, limit: asyncio.Timeout, size: int) -> None:
        loop, slots = asyncio.get_running_loop(), self.slots
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            seconds = loop.time() - self.stored_at
            if seconds > slots._in_vain(size) and slots._sending and self.keeps_others_waiting:
                slots._gave_way(seconds)
                limit.reschedule(loop.time())
                return

    def over(self) -> bool:
        return (
            self.slots._is_wanted(alone=self.is_alone)
            and asyncio.get_running_loop().time() - self.since >= self._length
        )

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
