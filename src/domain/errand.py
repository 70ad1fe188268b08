"""The recording on whose behalf a task makes requests: set once for the task and available wherever it waits.

Code that waits for a service reports to the errand first, so that a waiting recording does not block others. The
results of the recording's latest requests are kept here, too: see ``slots``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True, eq=False, weakref_slot=True)
class Errand:
    """The errand of one recording. ``make_room`` releases a place that others wait for; it may be called repeatedly.

    ``may_read``: no other file has waited longer to be read. ``is_growing``: the file was repeatedly observed growing.
    ``parts_fail`` and ``asks_fail``: the store did not accept the last part, or did not answer the last small request.
    ``parts_pass``: it accepted the last part. ``heard_at``: when the last byte was transferred, in event-loop time.
    ``parts_ended`` and ``asks_ended``: how often in a row the last one was cancelled because others waited; after a
    part is stored, the value that gives the next part as much time. ``redis_fails``: Redis did not answer the last
    request.
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
        """A request begins: earlier progress does not count for it."""
        self.heard_at, self._silence = at, 0.0

    def heard(self, at: float) -> None:
        """A byte was transferred, or an answer arrived."""
        self._silence = self.longest_silence(at)
        self.heard_at = max(self.heard_at, at)

    def longest_silence(self, at: float) -> float:
        """Longest silence in seconds since ``listen``."""
        return max(self._silence, at - self.heard_at)

    @property
    def on_probation(self) -> bool:
        """Whether a turn of its own for this recording may delay others."""
        return self.parts_fail or self.asks_fail

    def end_probation(self) -> None:
        self.parts_fail = self.asks_fail = False


_current: ContextVar[Errand | None] = ContextVar("errand", default=None)


def current_errand() -> Errand:
    """The errand of the current task; a new one for work that belongs to no recording."""
    return _current.get() or Errand()


@contextmanager
def on_errand(errand: Errand) -> Iterator[None]:
    """Run the body, including tasks started in it, on behalf of this errand."""
    token = _current.set(errand)
    try:
        yield
    finally:
        _current.reset(token)
