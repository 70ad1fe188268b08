"""The head start: at the start, ready files wait until the recordings that may be growing have a first part in S3.

Beside an emptied Redis each ready file costs requests to S3, and a folder may hold 100,000 of them. Data of a growing
file exists only on this disk, and that of a ready file was there before.
"""

from __future__ import annotations

import asyncio

from .hints import Hints
from .newcomers import Newcomers
from .register import Register

#: Maximum head start in seconds. A recording may have no first part for any length of time: it is small, cannot be
#: read, or is refused, or S3 or Redis is unavailable.
_LONGEST_SECONDS = 10.0
#: Interval for checking whether it is over.
_LOOK_SECONDS = 0.1


class HeadStart:
    """Decides when ready files may be taken up. Once over, it never begins again."""

    def __init__(self, register: Register, newcomers: Newcomers, hints: Hints) -> None:
        self._register = register
        self._newcomers = newcomers
        self._hints = hints
        self._scanned = False

    def first_scan_done(self) -> None:
        """All files that existed at the start were hinted."""
        self._scanned = True

    async def is_over(self) -> None:
        """Returns after ``_LONGEST_SECONDS`` at the latest, and at once if nothing may be growing."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _LONGEST_SECONDS
        while True:
            if not self._is_needed() or loop.time() >= end:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_needed(self) -> bool:
        """A file that was not looked at yet may be growing, too."""
        if not self._scanned or not self._hints.are_all_looked_at or self._newcomers.fresh.files:
            return True
        return any(stream.lacks_first_part for stream in self._register.by_identity.values())
