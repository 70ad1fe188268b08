"""How long those who answer at last are usually silent before: who is silent for far longer may hang.

Pure: it is told what was answered after how long. It follows what others need, and is led astray by no single one: some
that are slow raise it step by step, and lower it as soon as others are fast.
"""

from __future__ import annotations

import math

#: No silence that is shorter is out of the usual.
SILENT_SECONDS = 2.0
_TIMES = 8.0
#: While nothing was answered nobody knows what is usual.
_UNKNOWN_SECONDS = 10.0
#: It grows by doubling, from here on.
_LEAST_SECONDS = 0.5
_NEWEST = 0.3


class UsualSilence:
    """``seconds`` of silence that are usual; None before the first answer."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._grew_at = -math.inf

    def note(self, silence: float, now: float) -> None:
        """An answer came after so many seconds."""
        usual = self.seconds
        if usual is None:
            self.seconds = silence
        elif silence <= self.longest:
            self.seconds = (1 - _NEWEST) * usual + _NEWEST * silence
        elif now - self._grew_at >= silence:  # what is slow at the same time is one sign, however much of it there is
            self.seconds = min(silence, max(2 * usual, _LEAST_SECONDS))
            self._grew_at = now

    @property
    def longest(self) -> float:
        """Seconds of silence that are usual still."""
        return max(SILENT_SECONDS, _UNKNOWN_SECONDS if self.seconds is None else _TIMES * self.seconds)
