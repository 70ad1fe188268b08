"""On whose behalf a task asks the world: set once for the task of a recording, known wherever it waits.

Whoever waits for a service tells the errand before, so that the recording keeps nobody out meanwhile. What a service
made of the recording's last requests is noted here, too: see ``slots``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True, eq=False, weakref_slot=True)
class Errand:
    """One recording's. ``make_room`` gives back a place that others wait for; it may be called again and again.

    ``may_read``: whether no other file that is to be read has waited longer; ``is_growing``: it was seen written to,
    time and again. ``parts_fail`` and ``asks_fail``: the store did not take the last part, or did not answer the last
    small request. ``parts_pass``: it took the last part; ``heard_at``: when a byte moved last, in the time of the event
    loop. ``parts_ended`` and ``asks_ended``: how often in a row the last was ended because others waited;
    of a part that was stored at last, as often as gives the next one the time that it needed.
    ``redis_fails``: Redis did not answer the last one.
    """

    make_room: Callable[[], None] = lambda: None
    may_read: Callable[[], bool] = lambda: True
    is_growing: bool = False
    parts_fail: bool = False
    asks_fail: bool = False
    redis_fails: bool = False
    parts_pass: bool = False
    parts_ended: int = 0
    asks_ended: int = 0
    heard_at: float = -math.inf
    _silence: float = 0.0

    def listen(self, at: float) -> None:
        """Something begins: what was heard before says nothing of it."""
        self.heard_at, self._silence = at, 0.0

    def heard(self, at: float) -> None:
        """A byte moved, or an answer came."""
        self._silence = self.longest_silence(at)
        self.heard_at = max(self.heard_at, at)

    def longest_silence(self, at: float) -> float:
        """Seconds, since it was listened to."""
        return max(self._silence, at - self.heard_at)

    @property
    def on_probation(self) -> bool:
        """Whether it may cost others time to let it have a turn of its own."""
        return self.parts_fail or self.asks_fail

    def end_probation(self) -> None:
        self.parts_fail = self.asks_fail = False


_current: ContextVar[Errand | None] = ContextVar("errand", default=None)


def current_errand() -> Errand:
    """The task's own; a new one for what is done for no recording."""
    return _current.get() or Errand()


@contextmanager
def on_errand(errand: Errand) -> Iterator[None]:
    """What is done inside, also in tasks that are begun there, is done for this errand."""
    token = _current.set(errand)
    try:
        yield
    finally:
        _current.reset(token)
