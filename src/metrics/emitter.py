"""Receives the moments: writes the log line and metrics of each as ``told`` defines, and calls the listeners.

The number of series is bounded: a stream has series of its own from its first part until some time after its end, and
the number of such streams is limited; totals without a stream stay. A repeated failure is logged at once, then at most
once a minute per operation, and its end is logged once.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from ..domain import moments
from .instruments import BUILD, Instruments
from .outages import Outages
from .row import Told
from .series import Roll, Series, Shared
from .told import TOLD
from .trouble import Quiet

Listener = Callable[[moments.Moment], None]
#: The arguments: the stream's ID, empty if it has none yet, its path when it began, and the moment.
StreamListener = Callable[[str, str, moments.StreamMoment], None]

_NOBODY: Mapping[str, str] = {}
#: The stream on whose behalf the current task works, so that failures in other packages are counted for it.
_at_work: ContextVar[Series | None] = ContextVar("stream_at_work", default=None)


def _logger(room: str) -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"{__name__.partition('.')[0]}.{room}")
    return found


class Metrics:
    """The port ``Telemetry``. ``now`` returns monotonic seconds, ``wall_clock`` Unix time."""

    def __init__(
        self,
        *,
        version: str,
        stream_max: int = 200,
        retention_seconds: float = 600.0,
        registry: CollectorRegistry | None = None,
        now: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # else every counter has a second series
        self.registry = CollectorRegistry() if registry is None else registry
        ProcessCollector(registry=self.registry)
        instruments = Instruments(self.registry)
        instruments(BUILD).labels(version, platform.python_version()).set(1)
        self._now = now
        self._retention_seconds = retention_seconds
        self._roll = Roll(stream_max, instruments.remove)
        self._shared = Shared(instruments, self._roll, now, began=now())
        self._of_no_stream = Series(self._shared)
        self._quiet = Quiet()
        self._last: dict[type[moments.Moment], object] = {}
        self._outages = Outages(self.tell, now=now, wall_clock=wall_clock)
        self._listeners: list[Listener] = [self._outages.hear]
        self._stream_listeners: list[StreamListener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every moment from now on, after its line was written. It must neither wait nor raise,
        and is not told which stream the moment belongs to."""
        self._listeners.append(listener)

    def listen_to_streams(self, listener: StreamListener) -> None:
        """Call ``listener`` with every moment of a stream from now on. It must neither wait nor raise."""
        self._stream_listeners.append(listener)

    def emit(self, moment: moments.DaemonMoment) -> None:
        self.tell(moment)

    def emit_of(self, who: Mapping[str, str], moment: moments.StreamMoment, series: Series) -> None:
        """A moment of this stream."""
        self.tell(moment, series, who)
        for listener in self._stream_listeners:
            listener(who["stream_id"], who["file_path"], moment)

    def stream(self, stream_id: str, path: str) -> StreamEmitter:
        return StreamEmitter(self, Series(self._shared, stream_id), stream_id, path)

    def expire(self, now: float) -> None:
        """Drop the series of streams that ended long ago, and old failures; to be called periodically."""
        self._roll.leave_ended_before(now - self._retention_seconds)
        self._quiet.forget(now)
        self._outages.expire(now)

    def tell(self, moment: moments.Moment, series: Series | None = None, who: Mapping[str, str] = _NOBODY) -> bool:
        """Whether it was logged. ``series`` and ``who`` are those of the moment's stream; failures elsewhere count for
        the stream of the current task."""
        told = TOLD[type(moment)]
        if told.metrics is not None:
            told.metrics(series or _at_work.get() or self._of_no_stream, moment)
        is_said = self._write(told, moment, who)
        for listener in self._listeners:
            listener(moment)
        return is_said

    def _write(self, told: Told[moments.Moment], moment: moments.Moment, who: Mapping[str, str]) -> bool:
        if told.line is None or not self._is_news(told, moment):
            return False
        counted: dict[str, object] = {}
        if told.limited is not None:
            kind, subject = told.limited(moment)
            counted["failures"] = self._quiet.worth_a_line((kind, subject or _any_of(who)), self._now())
            if not counted["failures"]:
                return False
        fields = told.fields_of(moment) | counted
        event = told.line.event.format(service=getattr(moment, "service", ""))
        write = partial(getattr(_logger(told.line.room), told.line.level), event, **who, **fields)
        if told.accounts_for is None:
            write()
        else:
            self._quiet.told(told.accounts_for(moment))
            Context().run(write)
        return True

    def _is_news(self, told: Told[moments.Moment], moment: moments.Moment) -> bool:
        if told.when_changed is None:
            return True
        found, before = told.when_changed(moment), self._last.get(type(moment))
        self._last[type(moment)] = found
        return bool(found) and found != before


class StreamEmitter:
    """The port ``StreamTelemetry``."""

    def __init__(self, metrics: Metrics, series: Series, stream_id: str, path: str) -> None:
        self._metrics = metrics
        self._series = series
        self._who = {"stream_id": stream_id, "file_path": path}

    def emit(self, moment: moments.StreamMoment) -> None:
        self._metrics.emit_of(self._who, moment, self._series)

    @contextmanager
    def bind(self) -> Iterator[None]:
        token = _at_work.set(self._series)
        try:
            with structlog.contextvars.bound_contextvars(**self._who):
                yield
        finally:
            _at_work.reset(token)
            self._series.leave()


def _any_of(who: Mapping[str, str]) -> str:
    """The identifier of the stream: its ID, if it has one, otherwise its path."""
    return next(filter(None, who.values()), "")
