"""Metric series and memory: after 10,000 recordings one after the other both are unchanged."""

from __future__ import annotations

import gc
import os
import secrets
from collections import deque
from collections.abc import Iterator
from io import StringIO

from prometheus_client import generate_latest

from src.domain import Holding, Identity, Look, SendReason, Snapshot, Status, Tally, Watch, moments
from src.logging_config import configure_logging
from src.metrics import AtRiskCollector, Metrics

from .processes import MIB, resident_bytes
from .report import Row

_STREAMS = 10_000
#: Recordings before the first measurement: by then all long-lived objects exist.
_FIRST = 1_000
_STREAM_MAX = 200
_RETENTION_SECONDS = 600.0
#: Seconds between the ends of two streams; more than ``_STREAM_MAX`` end within the retention.
_SECONDS_EACH = 2.0
_STREAMS_BETWEEN_SCRAPES = 500
#: Number of streams at a time.
_ALIVE = 5
#: The heap varies by two; a stream that leaked 500 bytes would add five.
TARGET_MIB = 4


def measure(_rounds: int) -> Iterator[Row]:
    """The real metrics with all moments of a stream and the at-risk metrics, without their log lines, scraped
    periodically."""
    configure_logging("production", "INFO", stream=_Nowhere())
    course = _Course()
    course.carry(_FIRST)
    before, memory_before = course.series(), _resident()
    course.carry(_STREAMS)
    after, memory_after = course.series(), _resident()
    course.rest()
    at_rest = course.series()
    yield Row(
        f"series, {_STREAMS:,} recordings in a row",
        after - before,
        "more",
        0,
        remarks=f"{after:.0f} with {_STREAM_MAX} streams of their own, {course.most:.0f} at most; "
        f"{at_rest:.0f} when the last has ended long ago",
    )
    grown = (memory_after - memory_before) / MIB
    yield Row("memory for it", grown, "MiB", TARGET_MIB, remarks=f"{memory_after / MIB:.0f} MiB in all")


class _Nowhere(StringIO):
    def write(self, text: str) -> int:
        return len(text)


class _Course:
    """Recordings one after the other, on a clock of their own."""

    def __init__(self) -> None:
        self._now = 0.0
        self._metrics = Metrics(
            version="bench", stream_max=_STREAM_MAX, retention_seconds=_RETENTION_SECONDS, now=lambda: self._now
        )
        self._at_risk = AtRiskCollector(self._metrics.registry, stream_max=_STREAM_MAX)
        self._tally, self._watch = Tally(), Watch()
        self._alive: deque[Holding] = deque(maxlen=_ALIVE)
        self.most = 0

    def carry(self, streams: int) -> None:
        for number in range(streams):
            self._carry_one()
            self._now += _SECONDS_EACH
            if number % _STREAMS_BETWEEN_SCRAPES == 0:
                self._metrics.expire(self._now)
                self.most = max(self.most, self.series())

    def rest(self) -> None:
        self._now += 2 * _RETENTION_SECONDS
        self._alive.clear()
        self._look()
        self._metrics.expire(self._now)

    def series(self) -> int:
        """The number of series in a scrape."""
        lines = generate_latest(self._metrics.registry).splitlines()
        return sum(not line.startswith(b"#") for line in lines)

    def _carry_one(self) -> None:
        stream_id = secrets.token_hex(16)
        self._record(stream_id)
        stream = self._metrics.stream(stream_id, f"camera/{stream_id}.mp4")
        with stream.bind():
            stream.emit(moments.StatusIs(Status.ACTIVE))
            stream.emit(moments.CapacityUsed(ratio=0.5))
            for number, reason in enumerate((SendReason.NEW, SendReason.NEW, SendReason.HEAD_PATCH), 1):
                self._metrics.emit(
                    moments.RequestEnded(
                        service="s3", operation="upload_part", seconds=0.1, error_class=None, answered=True
                    )
                )
                stream.emit(moments.PartStored(number=number, size=MIB, seconds=0.1, reason=reason))
            stream.emit(moments.Trouble(operation="file_read", error=OSError("I/O error"), retry_seconds=1.0))
            stream.emit(moments.Sealed(size=2 * MIB, seconds=0.5, sent_again=1))
            stream.emit(
                moments.Completed(
                    key=f"{stream_id}.mp4",
                    size=2 * MIB,
                    duration_seconds=60.0,
                    stream_seconds=61.0,
                    processing_seconds=1.0,
                )
            )

    def _record(self, stream_id: str) -> None:
        """It waits, is carried, and grows while others do; periodic at-risk updates see it."""
        path, born_ns = f"camera/{stream_id}.mp4", int(self._now * 1e9)
        for size in (1, MIB):
            self._tally.put(path, Snapshot(Identity(secrets.randbits(48), born_ns), size, born_ns + size, born_ns))
        seen = Snapshot(Identity(secrets.randbits(48), born_ns), 2 * MIB, born_ns, born_ns)
        self._alive.append(Holding(path, seen, MIB, MIB, stream_id))
        self._look()
        self._tally.drop(path)

    def _look(self) -> None:
        look = Look(self._now, self._now, [*self._alive], self._tally.waiting(), self._now * MIB, 1e12)
        self._at_risk.figures = self._watch.look(look, {})


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())
