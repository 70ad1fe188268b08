"""Which streams have series of their own: so many at once, and each for some time after its end."""

from __future__ import annotations

from collections.abc import Callable


class Roll:
    """Which streams have series of their own; when one has to go, the one that ended first, else the oldest."""

    def __init__(self, most: int, remove: Callable[[str], None]) -> None:
        self._most = most
        self._remove = remove
        self._ended_at: dict[str, float | None] = {}

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._ended_at

    def admit(self, stream_id: str) -> bool:
        """Make room for the stream; False when no stream may have series."""
        if stream_id not in self._ended_at and self._most == 0:
            return False
        while stream_id not in self._ended_at and len(self._ended_at) >= self._most:
            ended = {each: at for each, at in self._ended_at.items() if at is not None}
            self._leave(min(ended, key=lambda each: ended[each]) if ended else next(iter(self._ended_at)))
        self._ended_at[stream_id] = None
        return True

    def end(self, stream_id: str, now: float) -> None:
        if stream_id in self._ended_at:
            self._ended_at[stream_id] = now

    def leave_ended_before(self, moment: float) -> None:
        for stream_id in [each for each, at in self._ended_at.items() if at is not None and at <= moment]:
            self._leave(stream_id)

    def _leave(self, stream_id: str) -> None:
        del self._ended_at[stream_id]
        self._remove(stream_id)
