"""When a recording whose end is proved may be finished before the full timeout.

Pure: it gets the observations of a file in order, and keeps what it needs between two of them. That state is lost at a
restart. A file that a recorder reopens repeatedly may then be completed early once, and its object is replaced as after
any change.
"""

from __future__ import annotations

from .recording import Snapshot, Writers

#: Interval in seconds for checking whether a quiet file was closed: there is no notification for that.
_LOOK_SECONDS = 2.0


class EarlyEnd:
    """The state for one recording. ``quiet_for``: seconds without a change; None: never finish early."""

    def __init__(self, quiet_for: float | None) -> None:
        self._quiet_for = quiet_for
        self._closed: Snapshot | None = None  # the file when it was last observed closed and quiet
        self._was_reopened = False
        self.look_again_seconds = min(_LOOK_SECONDS, quiet_for or _LOOK_SECONDS)

    def is_due(self, quiet: float) -> bool:
        """Whether to check for writers, after ``quiet`` seconds without a change."""
        return self._quiet_for is not None and quiet >= self._quiet_for and not self._was_reopened

    def changed(self, snapshot: Snapshot) -> None:
        """The file changed. A rename or a change of permissions keeps size and mtime, and does not count as writing."""
        closed = self._closed
        if closed is not None and (snapshot.size, snapshot.mtime_ns) != (closed.size, closed.mtime_ns):
            self._was_reopened = True

    def is_closed(self, snapshot: Snapshot, writers: Writers) -> bool:
        """Whether the file has no writer and was not written again after it was closed once.

        A program that reopened a closed file may do so every minute: such a recording ends only after the full timeout.
        """
        if writers is Writers.PRESENT and self._closed is not None:
            self._was_reopened = True
        if writers is not Writers.NONE or self._was_reopened:
            return False
        self._closed = snapshot
        return True
