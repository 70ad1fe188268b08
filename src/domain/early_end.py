"""When a recording whose end is proved may be finished before its quiet time has passed.

Pure: it is told what was seen of the file, in order, and holds what must be remembered between two looks. What it
remembers is lost when the process ends; then a file that a recorder opens again and again may be completed early
once, and its object is brought up to date as after any change.
"""

from __future__ import annotations

from .recording import Snapshot, Writers

#: Seconds between two looks whether a quiet file was closed: no notification tells of that.
_LOOK_SECONDS = 2.0


class EarlyEnd:
    """One recording's. ``quiet_for``: seconds without a change; None: never early."""

    def __init__(self, quiet_for: float | None) -> None:
        self._quiet_for = quiet_for
        self._closed: Snapshot | None = None  # the file when it was last seen closed and quiet
        self._was_reopened = False
        self.look_again_seconds = min(_LOOK_SECONDS, quiet_for or _LOOK_SECONDS)

    def is_due(self, quiet: float) -> bool:
        """Whether it is worth asking for writers, after ``quiet`` seconds without a change."""
        return self._quiet_for is not None and quiet >= self._quiet_for and not self._was_reopened

    def changed(self, snapshot: Snapshot) -> None:
        """The file was seen changed. A rename or a change of rights keeps size and mtime, and is no writer."""
        closed = self._closed
        if closed is not None and (snapshot.size, snapshot.mtime_ns) != (closed.size, closed.mtime_ns):
            self._was_reopened = True

    def is_closed(self, snapshot: Snapshot, writers: Writers) -> bool:
        """Whether nobody writes, and nobody has written again after that was seen once.

        Whoever opened a closed file again may do so every minute: only the quiet time ends such a recording.
        """
        if writers is Writers.PRESENT and self._closed is not None:
            self._was_reopened = True
        if writers is not Writers.NONE or self._was_reopened:
            return False
        self._closed = snapshot
        return True
