"""Which markers go, and when: those of finished recordings whose file has been gone for long enough.

A marker holds ``unseen``: on how many days of the daemon's own running time a scan of the whole folder missed the file.
No clock on the wall says when a marker goes, so that neither a wrong one nor a daemon that was off for months takes one
away. What is forgotten costs nothing but requests when the file comes back: its object, or the document beside it,
says that it is done.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

#: Seconds of running time after which the next scan counts.
DAY_SECONDS = 86_400
_LONGER_THAN_ANY_TIME = 1e12  # seconds; times have a year of four digits


@dataclass(frozen=True, slots=True)
class Retention:
    """``days``: number of days on which a gone file is missed before its marker is removed; None: no limit. ``most``:
    maximum number of markers of gone files."""

    days: int | None = 30
    most: int = 100_000

    @classmethod
    def lasting(cls, time: timedelta | None, most: int) -> Retention:
        """Whole days, so that a part of one counts as one; None: kept whatever their age."""
        return cls(None if time is None else max(1, ceil(time / timedelta(days=1))), most)


def is_due(ran_seconds: int | None) -> bool:
    """Whether a scan counts, this number of seconds of running time after the last that did; None: none ever did."""
    return ran_seconds is None or ran_seconds >= DAY_SECONDS


def unseen_after(unseen: int, *, is_there: bool, retention: Retention) -> int | None:
    """A marker's ``unseen`` after a scan that counts; None: the marker goes."""
    if is_there:
        return 0
    if retention.days is not None and unseen + 1 >= retention.days:
        return None
    return unseen + 1


def age_of(unseen: int, completed_at: datetime) -> float:
    """Orders markers of gone files: older is what was missed more often, among equals what was completed earlier."""
    return unseen * _LONGER_THAN_ANY_TIME - completed_at.timestamp()


class Surplus:
    """Those of the oldest that are more than ``most``. First all ages are noted, then each is asked for once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ages = array("d")  # a million takes 8 MB
        self._youngest: float | None = None
        self._ties = 0

    def __len__(self) -> int:
        return len(self._ages)

    @property
    def many(self) -> int:
        """How many are too many of those noted so far."""
        return max(0, len(self._ages) - self._most)

    def note(self, age: float) -> None:
        self._ages.append(age)

    def takes(self, age: float) -> bool:
        """Whether one of this age goes."""
        if not self.many:
            return False
        if self._youngest is None:
            self._youngest = sorted(self._ages, reverse=True)[self.many - 1]
            self._ties = self.many - sum(1 for one in self._ages if one > self._youngest)
        if age == self._youngest:
            self._ties -= 1
            return self._ties >= 0
        return age > self._youngest
