"""What was heard of streams and is in no checkpoint: who is done, why one failed, what is being retried.

Bounded: the newest entries are kept, and a day is counted by the hour.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from ..domain import Clock, moments
from .facts import DoneFacts

_NEWEST = 20
_MOST_STREAMS = 10_000
_DAY_HOURS = 24


class Chronicle:
    """Listens to the moments of all streams."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest: deque[DoneFacts] = deque(maxlen=_NEWEST)
        self._by_hour: deque[tuple[datetime, int]] = deque(maxlen=_DAY_HOURS)
        self._hints: OrderedDict[str, str] = OrderedDict()
        self._troubles: OrderedDict[str, str] = OrderedDict()

    def hear(self, stream_id: str, path: str, moment: moments.StreamMoment) -> None:
        match moment:
            case moments.Completed(key=key, size=size):
                self._forget(stream_id)
                self._count(path, key, size)
            case moments.Failed(hint=hint):
                self._forget(stream_id)
                _note(self._hints, stream_id, hint)
            case moments.Trouble(error=error, operation=operation):
                # The error's own text may contain a URL with a password; a hint never does.
                _note(self._troubles, stream_id or path, getattr(error, "hint", "") or f"{operation} is being retried")
            case (
                moments.StreamResumed()
                | moments.PartStored()
                | moments.Sealed()
                | moments.ObjectProved()
                | moments.AlreadyStored()
            ):
                self._forget(stream_id)
                self._troubles.pop(path, None)

    def hint(self, stream_id: str) -> str:
        """What was advised when the stream failed; empty if it failed before the start."""
        return self._hints.get(stream_id, "")

    def trouble(self, stream_id: str | None, path: str) -> str:
        """What is being retried for the stream, or for the file that no stream carries yet."""
        return self._troubles.get(stream_id or path, "")

    @property
    def newest(self) -> Sequence[DoneFacts]:
        """The recordings done last, newest first."""
        return tuple(reversed(self._newest))

    @property
    def last_day(self) -> int:
        """How many are done since the beginning of the hour 23 hours ago."""
        since = self._hour() - timedelta(hours=_DAY_HOURS - 1)
        return sum(count for hour, count in self._by_hour if hour >= since)

    def _count(self, path: str, key: str, size: int) -> None:
        self._newest.append(DoneFacts(path, key, size, self._clock.utc_now()))
        hour, count = self._hour(), 0
        if self._by_hour and self._by_hour[-1][0] == hour:
            _, count = self._by_hour.pop()
        self._by_hour.append((hour, count + 1))

    def _hour(self) -> datetime:
        return self._clock.utc_now().replace(minute=0, second=0, microsecond=0)

    def _forget(self, stream_id: str) -> None:
        self._hints.pop(stream_id, None)
        self._troubles.pop(stream_id, None)


def _note(notes: OrderedDict[str, str], whose: str, text: str) -> None:
    notes[whose] = text
    notes.move_to_end(whose)
    if len(notes) > _MOST_STREAMS:
        notes.popitem(last=False)
