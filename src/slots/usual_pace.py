"""The speed of the store for requests that it answers, to distinguish a hanging request from a slow store.

Pure: it records which parts were stored and which requests were answered, and how long that took.
"""

from __future__ import annotations

import math

from ..domain import UsualSilence

#: A part is slow if it took at least this long, and this many times as long as at the speed of others.
_SLOW_SECONDS = 10.0
_SLOW_TIMES = 8.0
#: While the time for a part is unknown, a caller that has stored none for this long yields; the next one gets twice as
#: long, so that parts get through a slow line, too.
_UNKNOWN_SECONDS = 30.0


class UsualPace:
    """The speed of parts, and the silence before an answer, for parts and for small requests.

    The two silences are separate: a part is answered after all of it was written, so its sender is silent for longer.
    """

    def __init__(self) -> None:
        self.asks = UsualSilence()
        self._parts = UsualSilence()
        self._speed: float | None = None  # bytes per second; None before the first part was stored
        self._unknown_seconds = _UNKNOWN_SECONDS

    def part_stored(self, size: int, seconds: float, silence: float, now: float) -> bool:
        """Whether the part, with this size and this silence, was slow.

        A slow part is excluded from the average; otherwise a few of them would make slow the usual. But all may have
        become slow. So it halves the speed, at most down to its own: after a few of them parts of that speed are no
        longer slow.
        """
        self._parts.note(silence, now)
        usual, speed = self._speed, size / max(seconds, 1e-6)
        is_slow = seconds > self.slow(size)
        if is_slow:
            self._speed = max(speed, (usual or speed) / 2)
        else:
            self._speed = speed if usual is None else 0.8 * usual + 0.2 * speed
        return is_slow

    def far_slower(self, size: int) -> float:
        """Seconds far in excess of what a part of ``size`` bytes takes, at the speed of those that were not slow."""
        return math.inf if self._speed is None else _SLOW_TIMES * size / self._speed

    def slow(self, size: int) -> float:
        """Seconds after which such a part is slow. Small parts are stored so fast that a multiple of their time means
        little."""
        return max(_SLOW_SECONDS, self.far_slower(size))

    def in_vain(self, size: int, ended: int) -> float:
        """Seconds without a stored part after which a turn is passed on to those who wait.

        A caller that was cancelled ``ended`` times in a row gets twice as long each time, but no longer than all get
        while no speed is known. Otherwise, with a single turn, a recording slower than others would never progress.
        """
        if self._speed is None:
            return self._unknown_seconds
        longest = self.slow(size)
        return max(longest, min(longest * 2.0**ended, self._unknown_seconds))

    def gave_way(self, seconds: float) -> None:
        """All may have become slow, or always were: then they must not be cancelled indefinitely."""
        if self._speed is not None:
            self._speed /= 2
        else:
            self._unknown_seconds = max(self._unknown_seconds, 2 * seconds)

    def silence(self, *, asks: bool) -> UsualSilence:
        """For small requests, or for parts, whose usual silence is at least that of small requests."""
        asked, sent = self.asks, self._parts
        return asked if asks or sent.seconds is None or (asked.seconds or 0.0) > sent.seconds else sent
