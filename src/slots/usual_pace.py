"""How fast the store is to those whom it answers, so that one who hangs can be told from a store that is slow to all.

Pure: it is told what was stored and answered, and after how long.
"""

from __future__ import annotations

import math

from ..domain import UsualSilence

#: A part that took at least so long, and so many times as long as it would have at the speed of others, is slow.
_SLOW_SECONDS = 10.0
_SLOW_TIMES = 8.0
#: While nobody knows yet how long a part takes, who has stored none for so long gives way; the next one has twice as
#: long, so that parts get through a slow line, too.
_UNKNOWN_SECONDS = 30.0


class UsualPace:
    """The speed of parts, and the silence before an answer, of parts and of small requests.

    The two silences are kept apart: a part is answered when all of it was written, so its sender is silent for longer.
    """

    def __init__(self) -> None:
        self.asks = UsualSilence()
        self._parts = UsualSilence()
        self._speed: float | None = None  # bytes a second; None before the first part was stored
        self._unknown_seconds = _UNKNOWN_SECONDS

    def part_stored(self, size: int, seconds: float, silence: float, now: float) -> bool:
        """Whether the part, of so many bytes and with such a silence in it, was slow.

        A slow one is left out of the average, or a few of them would make slow the usual. But perhaps all have become
        slow. So it halves the speed, at most to its own: after a few of them what is as fast as they were is not slow.
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
        """Seconds that are far more than a part of so many bytes takes, by the speed of those that were not slow."""
        return math.inf if self._speed is None else _SLOW_TIMES * size / self._speed

    def slow(self, size: int) -> float:
        """Seconds after which such a part is slow. Small parts are so soon stored that no multiple of it says much."""
        return max(_SLOW_SECONDS, self.far_slower(size))

    def in_vain(self, size: int, ended: int) -> float:
        """Seconds without a part stored after which a turn is passed on to those who wait.

        Who was ended ``ended`` times in a row has twice as long each time, but no longer than everybody has while no
        speed is known. Else, where there is but one turn, a recording that is slower than others would never get on.
        """
        if self._speed is None:
            return self._unknown_seconds
        longest = self.slow(size)
        return max(longest, min(longest * 2.0**ended, self._unknown_seconds))

    def gave_way(self, seconds: float) -> None:
        """Perhaps all have become slow, or always were: then nobody is to give way for ever."""
        if self._speed is not None:
            self._speed /= 2
        else:
            self._unknown_seconds = max(self._unknown_seconds, 2 * seconds)

    def silence(self, *, asks: bool) -> UsualSilence:
        """Of small requests, or of parts, which are silent for no shorter than those."""
        asked, sent = self.asks, self._parts
        return asked if asks or sent.seconds is None or (asked.seconds or 0.0) > sent.seconds else sent
