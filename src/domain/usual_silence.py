"""How long peers that do answer are usually silent before: one that is silent for far longer may hang.

About answers of the store and of Redis; ``lifecycle.quiet_seconds`` determines when a recording is quiet.
Pure: it records how long each answer took. It follows what others need and is not distorted by a single slow one:
several slow ones raise it step by step, and fast ones lower it at once.
"""

from __future__ import annotations

import math

#: A shorter silence is never unusual.
SILENT_SECONDS = 2.0
_TIMES = 8.0
#: Used before the first answer, when the usual time is unknown.
_UNKNOWN_SECONDS = 10.0
#: Starting value; it grows by doubling.
_LEAST_SECONDS = 0.5
_NEWEST = 0.3


class UsualSilence:
    """``seconds``: the usual silence; None before the first answer."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._grew_at = -math.inf

    def note(self, silence: float, now: float) -> None:
        """Record an answer that arrived after ``silence`` seconds."""
        usual = self.seconds
        if usual is None:
            self.seconds = silence
        elif silence <= self.longest:
            self.seconds = (1 - _NEWEST) * usual + _NEWEST * silence
        elif now - self._grew_at >= silence:  # slow answers at the same time count as one sign
            self.seconds = min(silence, max(2 * usual, _LEAST_SECONDS))
            self._grew_at = now

    @property
    def longest(self) -> float:
        """The longest silence in seconds that is still usual."""
        return max(SILENT_SECONDS, _UNKNOWN_SECONDS if self.seconds is None else _TIMES * self.seconds)
