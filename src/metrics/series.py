"""Which streams have series of their own, and what is counted for a stream.

Their number is limited, and each keeps its series for some time after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Histogram

from ..domain import STATUSES, Care, Status
from .instruments import CAPACITY, FAILURES, STREAM_FAILURES, STREAMS, Instruments, Kind, Metric

#: The label of failures outside of every stream, or in a stream without series of its own.
NO_STREAM = "none"


class Roll:
    """The streams with series of their own; to make room, the one that ended first is dropped, otherwise the oldest."""

    def __init__(self, most: int, remove: Callable[[str], None]) -> None:
        self._most = most
        self._remove = remove
        self._ended_at: dict[str, float | None] = {}

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._ended_at

    def admit(self, stream_id: str) -> bool:
        """Make room for the stream; False if no stream may have series."""
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


@dataclass(frozen=True, slots=True)
class Shared:
    """Shared state of the daemon and all streams. ``now`` returns monotonic seconds; ``began`` is when counting
    began."""

    instruments: Instruments
    roll: Roll
    now: Callable[[], float]
    began: float
    fill: dict[object, float] = field(default_factory=dict)  # used capacity of the upload, by active stream


class Series:
    """Where a moment is counted: ``series(PARTS).inc()`` for the daemon, ``add_own`` for the stream itself.

    Nothing is counted for an unnamed stream (``stream_id`` empty), which also stands for no stream.
    """

    def __init__(self, shared: Shared, stream_id: str = "") -> None:
        self._shared = shared
        self._stream_id = stream_id
        self._admitted = False
        self._left = False
        self._status: Status | None = None

    def __call__(self, metric: Metric[Kind]) -> Kind:
        return self._shared.instruments(metric)

    def add_own(self, metric: Metric[Counter], amount: float) -> None:
        """Count for this stream, if it may have series of its own."""
        if self._has_series():
            self(metric).labels(self._stream_id).inc(amount)

    def observe_own(self, metric: Metric[Histogram], seconds: float) -> None:
        """Observe a value for this stream, if it may have series of its own."""
        if self._has_series():
            self(metric).labels(self._stream_id).observe(seconds)

    def failed(self, kind: str) -> None:
        """Count a failed attempt, also for this stream, if it has series of its own."""
        label = self._stream_id if self._has_series() else NO_STREAM
        self(STREAM_FAILURES).labels(label, kind).inc()
        self(FAILURES).labels(kind).inc()

    def has_watched_for(self, seconds: float) -> bool:
        """Whether the daemon has been running for ``seconds``."""
        return seconds <= self._shared.now() - self._shared.began

    def status_is(self, status: Status) -> None:
        """Kept streams are counted at their status: no processor carries them then."""
        self._leave_status()
        if STATUSES[status].care is Care.CARRIED:
            self._status = status
            self(STREAMS).labels(status).inc()

    def fill_is(self, ratio: float) -> None:
        self._shared.fill[self] = ratio
        self._show_fullest()

    def end(self) -> None:
        """The stream has ended; its series stay for a while."""
        self._admitted = False
        self._shared.roll.end(self._stream_id, self._shared.now())

    def leave(self) -> None:
        """The stream is no longer carried; the next processor gets another ``Series``."""
        self._left = True
        self._leave_status()
        if self._shared.fill.pop(self, None) is not None:
            self._show_fullest()
        self.end()

    def _has_series(self) -> bool:
        """Whether this stream's own metrics may be written.

        A stream that lost its series to newer ones does not get them back: otherwise two hundred and one streams would
        displace each other at every part, and every counter would restart at 0. The same applies to a task that
        outlives the stream: its series would never be removed.
        """
        if self._left or not self._stream_id or (self._admitted and self._stream_id not in self._shared.roll):
            return False
        self._admitted = self._shared.roll.admit(self._stream_id)
        return self._admitted

    def _leave_status(self) -> None:
        if self._status is not None:
            self(STREAMS).labels(self._status).dec()
            self._status = None

    def _show_fullest(self) -> None:
        self(CAPACITY).set(max(self._shared.fill.values(), default=0.0))
