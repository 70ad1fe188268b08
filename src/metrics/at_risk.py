"""Exports how much recorded data exists only on this disk, as Prometheus metrics, updated every five seconds.

An update waits for neither S3 nor Redis, so that the figures continue during their outages, when they matter most. A
failed update is logged and costs one update, never the daemon. A disk that hangs costs the media's clock.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..containers import MediaClock, Read
from ..domain import Figures, Holding, Identity, Look, Risk, Structure, Waiting, Watch, moments
from ..exceptions import StreamProcessorError
from ..timeouts import timeout

T = TypeVar("T")

LOOK_SECONDS = 5.0
#: Fragments after which their average length is reported: the first one often has another length.
_ENOUGH_FRAGMENTS = 2
#: How long an update waits for a disk.
_PATIENCE_SECONDS = 2.0


class Files(Protocol):
    """What is needed to read recordings."""

    async def examine(self, path: str, identity: Identity, work: Callable[[Read], None]) -> None:
        """Run ``work`` in a thread on this very file. Raises like ``Recordings.read``, or OSError."""


class AtRiskCollector(Collector):
    """The metrics. ``figures`` is the newest observation; without one there are names and no values.

    At most ``stream_max`` streams have series of their own, the newest, and each only while it is active.
    """

    def __init__(self, registry: CollectorRegistry, *, stream_max: int) -> None:
        self.figures: Figures | None = None
        self._stream_max = stream_max
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families(None)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families(self.figures)

    def _families(self, figures: Figures | None) -> Iterator[GaugeMetricFamily]:
        for name, text, _, value in TOTALS:
            family = GaugeMetricFamily(name, text)
            if figures is not None:
                family.add_metric([], value(figures))
            yield family
        newest = list(figures.streams.items())[-self._stream_max :] if figures and self._stream_max else []
        for name, text, _, of in OF_STREAM:
            family = GaugeMetricFamily(name, text, labels=["stream_id"])
            for stream_id, risk in newest:
                family.add_metric([stream_id], of(risk))
            yield family


#: Name, help text, description in the reference, and value.
TOTALS: tuple[tuple[str, str, str, Callable[[Figures], float]], ...] = (
    (
        "cefmp4_at_risk_bytes",
        "Bytes of recordings that exist only on this disk.",
        "bytes of recordings that exist only on this disk; see [At risk](#at-risk)",
        lambda f: f.total.bytes,
    ),
    (
        "cefmp4_at_risk_seconds",
        "Seconds of recording time that exist only on this disk.",
        "the same in seconds of recording time, sum of all recordings",
        lambda f: f.total.seconds,
    ),
    (
        "cefmp4_at_risk_oldest_seconds",
        "Age of the oldest byte that exists only on this disk.",
        "age of the oldest byte that exists only on this disk",
        lambda f: f.total.oldest,
    ),
    (
        "cefmp4_files_to_look_up",
        "Files from before the start whose state in S3 is not known yet.",
        "files from before the start whose state in S3 is not known yet",
        lambda f: f.to_look_up,
    ),
    (
        "cefmp4_backlog_bytes",
        "Bytes that are ready for upload and not in S3 yet.",
        "bytes that are ready for upload: whole chunks, finished recordings, waiting files",
        lambda f: f.backlog,
    ),
    (
        "cefmp4_ingest_bytes_per_second",
        "Growth rate of all recordings.",
        "growth rate of all recordings, weighted over a minute",
        lambda f: f.ingest,
    ),
    (
        "cefmp4_uplink_bytes_per_second",
        "Upload rate, measured while the backlog is not empty.",
        "upload rate, measured while the backlog exceeds one minute of growth; otherwise the highest rate measured "
        "so far; 0 during an S3 outage",
        lambda f: f.uplink,
    ),
    (
        "cefmp4_catch_up_seconds",
        "Estimated time until the backlog is uploaded; +Inf: never.",
        "estimated time until the backlog is uploaded: backlog / (uplink - ingest), or backlog / uplink while the "
        "backlog is less than one minute of growth; 0 without a backlog; `+Inf`: never at the current rates, as "
        "during an S3 outage",
        lambda f: f.catch_up,
    ),
    (
        "cefmp4_disk_free_bytes",
        "Free bytes on the disk of the watched folder.",
        "free bytes on the disk of the watched folder; `NaN`: the folder is missing",
        lambda f: f.free,
    ),
    (
        "cefmp4_disk_full_seconds",
        "Estimated time until the disk is full; +Inf: never.",
        "estimated time until the disk is full: free / ingest; `+Inf`: nothing is being written",
        lambda f: f.disk_full,
    ),
)
OF_STREAM: tuple[tuple[str, str, str, Callable[[Risk], float]], ...] = (
    (
        "cefmp4_stream_at_risk_bytes",
        "Bytes of this recording that exist only on this disk.",
        "bytes of one stream that exist only on this disk",
        lambda r: r.bytes,
    ),
    (
        "cefmp4_stream_at_risk_seconds",
        "Seconds of this recording's time that exist only on this disk.",
        "the same in seconds of recording time",
        lambda r: r.seconds,
    ),
)


class _Patience(Generic[T]):
    """Work that may never end, because it uses a disk that hangs: one at a time, with a limited wait."""

    def __init__(self, work: Callable[..., Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._running: asyncio.Task[T] | None = None

    async def result(self, *args: object) -> T | None:
        """None if it takes longer; the next call waits for the same work."""
        if self._running is None:
            self._running = asyncio.create_task(self._work(*args))
        done, _ = await asyncio.wait({self._running}, timeout=_PATIENCE_SECONDS)
        if not done:
            return None
        ended, self._running = self._running, None
        return ended.result()

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})


class MediaClocks:
    """The media's own clock of each recording that a stream carries, if it has one.

    Of a recording that grows, it also emits how the file is laid out.
    """

    def __init__(self, files: Files, emit: moments.Emit) -> None:
        self._files = files
        self._emit = emit
        self._told: dict[Identity, int] = {}  # the number of fragments by then
        self._clocks: dict[Identity, MediaClock] = {}
        self._sizes: dict[Identity, int] = {}

    async def seconds(self, holdings: Sequence[Holding]) -> Mapping[Identity, float]:
        """Read what is new, and return the seconds at risk where known."""
        await self._follow(holdings)
        known = ((each.seen.identity, self._known(each)) for each in holdings)
        return {identity: seconds for identity, seconds in known if seconds is not None}

    def _known(self, holding: Holding) -> float | None:
        clock = self._clocks.get(holding.seen.identity)
        return clock.seconds(holding.stored, holding.seen.size) if clock else None

    async def _follow(self, holdings: Sequence[Holding]) -> None:
        carried = {holding.seen.identity: holding for holding in holdings if holding.stream_id is not None}
        for gone in self._clocks.keys() - carried.keys():
            del self._clocks[gone]
            self._sizes.pop(gone, None)
            self._told.pop(gone, None)
        for identity, holding in carried.items():
            size, before = holding.seen.size, self._sizes.get(identity, 0)
            if identity not in self._clocks or size < before:  # a file that became shorter contains different media
                self._clocks[identity] = MediaClock()
            clock = self._clocks[identity]
            if not clock.is_over and (size != before or clock.is_behind):
                with suppress(StreamProcessorError, OSError):  # the stream that sends the file reports read errors
                    await self._files.examine(holding.path, identity, partial(clock.walk, size=size))
            if 0 < before < size:
                self._tell(holding, clock)
            self._sizes[identity] = size

    def _tell(self, holding: Holding, clock: MediaClock) -> None:
        told = self._told.get(holding.seen.identity)
        if clock.structure is None or (told is not None and clock.fragments < 2 * max(1, told)):
            return
        if clock.structure is Structure.FRAGMENTED and clock.fragments < _ENOUGH_FRAGMENTS:
            return
        self._told[holding.seen.identity] = clock.fragments
        self._emit(moments.MediaSeen(holding.path, clock.structure, clock.fragment_seconds))


class Lookout:
    """Updates the collector's figures periodically, and when asked. ``holdings`` returns all unfinished recordings.

    ``hear`` must receive all moments from before the first part: the upload rate depends on the bytes sent since, and
    on outages of the store.
    """

    def __init__(
        self,
        collector: AtRiskCollector,
        holdings: Callable[[], tuple[list[Holding], Waiting]],
        files: Files,
        folder: Path,
        emit: moments.Emit,
    ) -> None:
        self._collector = collector
        self._holdings = holdings
        self._media_seconds = _Patience(MediaClocks(files, emit).seconds)
        self._free = _Patience(partial(asyncio.to_thread, _free_bytes, folder))
        self._emit = emit
        self._watch = Watch()
        self._bytes_sent = 0
        self._is_away = False
        self._looked_at = -math.inf
        self._looked = asyncio.Event()  # of the next update; each update has one of its own
        self._wanted = asyncio.Event()

    def hear(self, moment: moments.Moment) -> None:
        match moment:
            case moments.PartStored(size=size):
                self._bytes_sent += size
            case moments.OutageBegan(service="s3"):
                self._is_away = True
            case moments.OutageEnded(service="s3"):
                self._is_away = False

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except Exception as exc:  # noqa: BLE001 - figures are never worth a recording
                    self._emit(moments.Unexpected(file_path="", error=exc, retry_seconds=LOOK_SECONDS))
                self._looked_at = time.monotonic()
                self._wanted.clear()
                self._looked.set()
                self._looked = asyncio.Event()
                with suppress(TimeoutError):
                    async with timeout(LOOK_SECONDS):
                        await self._wanted.wait()
        finally:
            await self._media_seconds.close()
            await self._free.close()

    async def not_older_than(self, seconds: float) -> None:
        """Return when the figures are at most ``seconds`` old; if they are older, an update begins at once."""
        if time.monotonic() - self._looked_at > seconds:
            self._wanted.set()
            await self._looked.wait()

    async def _look(self) -> None:
        holdings, waiting = self._holdings()
        seconds = await self._media_seconds.result(holdings)
        free = await self._free.result()
        free = math.nan if free is None else free
        look = Look(time.monotonic(), time.time(), holdings, waiting, self._bytes_sent, free, self._is_away)
        self._collector.figures = await asyncio.to_thread(self._watch.look, look, seconds or {})


def _free_bytes(folder: Path) -> float:
    try:
        found = os.statvfs(folder)
    except OSError:
        return math.nan  # the folder is missing
    return found.f_bavail * found.f_frsize
