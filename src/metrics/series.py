"""Which streams have series of their own, and what of a stream is counted.

So many have some at once, and each for some time after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Histogram

from ..domain import STATUSES, Care, Status
from .instruments import CAPACITY, FAILURES, STREAM_FAILURES, STREAMS, Instruments, Kind, Metric

#: The label of what failed outside every stream, or in one that has no series of its own.
NO_STREAM = "none"


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


@dataclass(frozen=True, slots=True)
class Shared:
    """What the daemon and all streams count in. ``now`` gives monotonic seconds; ``began`` is when counting did."""

    instruments: Instruments
    roll: Roll
    now: Callable[[], float]
    began: float
    fill: dict[object, float] = field(default_factory=dict)  # by live stream: how full its upload is


class Series:
    """Where a moment counts: ``series(PARTS).inc()`` for the daemon, ``add_own`` for the stream itself.

    Nothing is counted under a stream that is not named (``stream_id`` empty), which also stands for none at all.
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
        """Count under this stream, where it may have series of its own."""
        if self._has_series():
            self(metric).labels(self._stream_id).inc(amount)

    def observe_own(self, metric: Metric[Histogram], seconds: float) -> None:
        """The same."""
        if self._has_series():
            self(metric).labels(self._stream_id).observe(seconds)

    def failed(self, kind: str) -> None:
        """Count a failed attempt, also under this stream, where it has series of its own."""
        label = self._stream_id if self._has_series() else NO_STREAM
        self(STREAM_FAILURES).labels(label, kind).inc()
        self(FAILURES).labels(kind).inc()

    def has_watched_for(self, seconds: float) -> bool:
        """Whether the daemon has been there for so long."""
        return seconds <= self._shared.now() - self._shared.began

    def status_is(self, status: Status) -> None:
        """Streams that are kept are counted where they are: by then nobody carries them."""
        self._leave_status()
        if STATUSES[status].care is Care.CARRIED:
            self._status = status
            self(STREAMS).labels(status).inc()

    def fill_is(self, ratio: float) -> None:
        self._shared.fill[self] = ratio
        self._show_fullest()

    def end(self) -> None:
        """The stream has come to its end; its series stay for a while."""
        self._admitted = False
        self._shared.roll.end(self._stream_id, self._shared.now())

    def leave(self) -> None:
        """Nobody carries this stream any longer; whoever takes it up again has another ``Series``."""
        self._left = True
        self._leave_status()
        if self._shared.fill.pop(self, None) is not None:
            self._show_fullest()
        self.end()

    def _has_series(self) -> bool:
        """Whether this stream's own metrics may be written.

        One that lost its series to newer streams does not take them back: two hundred and one streams would push
        each other out at every part, and every counter would begin at 0 again. Nor does what a task that outlives
        the stream tells: nobody would end them once more.
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
