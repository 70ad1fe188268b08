"""At risk: how much recorded data exists only on this disk, since when, and whether the upload catches up in time.

Pure rules that turn a series of observations into metrics. A byte is safe when S3 has the part that contains it. For
files whose growth was not observed, the birth time and the last change give the age of their bytes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from types import MappingProxyType

from .recording import Identity, Snapshot

#: Averaging window of rates, in seconds; a file that does not grow for longer counts as paused.
AVERAGED_SECONDS = 60.0
#: Points of a curve. Older points are further apart.
_MOST_POINTS = 128
#: Bytes per second below which nothing is being written: a weighted rate never reaches zero.
_STILL = 1.0
#: Entries of removed files that a small tally may keep.
_SPARE_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class Holding:
    """An unfinished recording: its size on disk, how much of it S3 has, and how much could be sent now.

    ``stream_id`` is None if no stream carries it: it is being looked up, or its stream has failed. ``proved`` is the
    snapshot for which its object was proved; bytes beyond it are newer.
    """

    path: str
    seen: Snapshot
    stored: int = 0
    sendable: int = 0
    stream_id: str | None = None
    proved: Snapshot | None = None

    @property
    def at_risk(self) -> int:
        """Bytes that exist only on this disk."""
        return max(0, self.seen.size - self.stored)


@dataclass(frozen=True, slots=True)
class Waiting:
    """All files that no stream has taken up yet: bytes and seconds at risk, and the birth time of the oldest (Unix
    seconds). ``grown`` counts the bytes written since the start while they waited.

    ``to_look_up`` files have not changed since the start, and their state in S3 is not known yet: they count as a
    number, not as bytes.
    """

    bytes: int = 0
    seconds: float = 0.0
    born: float | None = None
    grown: int = 0
    to_look_up: int = 0


@dataclass(frozen=True, slots=True)
class Risk:
    """Data that exists only on this disk: bytes, seconds of recording time, and the age of the oldest byte."""

    bytes: int = 0
    seconds: float = 0.0
    oldest: float = 0.0


def total_of(risks: Iterable[Risk]) -> Risk:
    """All of them together."""
    every = list(risks)
    return Risk(
        sum(risk.bytes for risk in every),
        sum(risk.seconds for risk in every),
        max((risk.oldest for risk in every), default=0.0),
    )


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that no stream has taken up: the bytes that S3 lacks, and since when (ns)."""

    seen: Snapshot
    missing: int
    born_ns: int
    to_look_up: bool

    @property
    def span_ns(self) -> int:
        return (self.seen.mtime_ns - self.born_ns) * self.missing // max(1, self.seen.size)

    def risk(self, utc: float) -> Risk:
        """Its share of ``Waiting`` at this moment."""
        oldest = max(0.0, utc - self.born_ns / 1e9) if self.missing else 0.0
        return Risk(self.missing, self.span_ns / 1e9, oldest)


class Tally:
    """Keeps ``Waiting`` up to date as files come and go, so that a look at 100,000 of them costs nothing."""

    def __init__(self) -> None:
        self._files: dict[str, WaitingFile] = {}
        self._by_birth: list[tuple[int, str]] = []  # a heap; removed entries stay until they reach the top
        self._bytes = self._span_ns = self._grown = self._to_look_up = 0

    def put(self, path: str, seen: Snapshot, proved: Snapshot | None = None, *, to_look_up: bool = False) -> None:
        """Add a waiting file or update it. ``proved`` is the snapshot that its object already contains."""
        before = self._files.get(path)
        born_ns = _born_ns(seen) if proved is None else seen.mtime_ns  # the object was complete until the file changed
        if before is not None and before.seen.identity == seen.identity:
            self._grown += max(0, seen.size - before.seen.size)
            born_ns = min(born_ns, before.born_ns)
        self.drop(path)
        missing = 0 if to_look_up else max(0, seen.size - (proved.size if proved else 0))
        entry = self._files[path] = WaitingFile(seen, missing, born_ns, to_look_up)
        self._count(entry, 1)
        if missing and (before is None or not before.missing or before.born_ns != born_ns):
            self._note_birth(born_ns, path)

    def drop(self, path: str) -> None:
        """Remove the file, if it is there."""
        if path in self._files:
            self._count(self._files.pop(path), -1)

    def file(self, path: str) -> WaitingFile:
        """One of the waiting files."""
        return self._files[path]

    def waiting(self) -> Waiting:
        """All files that wait now."""
        heap = self._by_birth
        while heap and not self._is_at_risk(*heap[0]):
            heappop(heap)
        born = heap[0][0] / 1e9 if heap else None
        return Waiting(self._bytes, self._span_ns / 1e9, born, self._grown, self._to_look_up)

    def _note_birth(self, born_ns: int, path: str) -> None:
        heap = self._by_birth
        heappush(heap, (born_ns, path))
        if len(heap) > 2 * len(self._files) + _SPARE_ENTRIES:
            heap[:] = {entry for entry in heap if self._is_at_risk(*entry)}
            heapify(heap)

    def _is_at_risk(self, born_ns: int, path: str) -> bool:
        entry = self._files.get(path)
        return entry is not None and entry.missing > 0 and entry.born_ns == born_ns

    def _count(self, entry: WaitingFile, sign: int) -> None:
        self._bytes += sign * entry.missing
        self._span_ns += sign * entry.span_ns
        self._to_look_up += sign * entry.to_look_up


def _born_ns(seen: Snapshot) -> int:
    """The birth time in ns, or the last change if there is none. A birth time after the last change belongs to a
    copy."""
    return min(seen.identity.birth_ns or seen.mtime_ns, seen.mtime_ns)


@dataclass(frozen=True, slots=True)
class Look:
    """One observation: ``at`` on the monotonic clock, ``utc`` to compare with file times (both in seconds).

    ``sent`` counts bytes since the daemon's start. ``free`` is NaN if unknown. ``away``: there is an S3 outage.
    """

    at: float
    utc: float
    holdings: Sequence[Holding]
    waiting: Waiting
    sent: float
    free: float
    away: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures behind the at-risk metrics. Rates are in bytes per second; ``math.inf`` means never.

    ``recordings`` has the risk of every unfinished recording, also of those that no stream carries, and ``holdings``
    what each of them was at this observation. ``waiting``: the share of files that no stream has taken up.
    ``sent``: the upload rate, weighted over a minute. ``utc``: when this was observed (Unix seconds).
    """

    total: Risk
    streams: Mapping[str, Risk]
    to_look_up: int
    backlog: int
    ingest: float
    uplink: float
    catch_up: float
    free: float
    disk_full: float
    recordings: Mapping[Identity, Risk] = field(default_factory=lambda: MappingProxyType({}))
    holdings: Mapping[Identity, Holding] = field(default_factory=lambda: MappingProxyType({}))
    waiting: Risk = Risk()
    sent: float = 0.0
    utc: float = 0.0


class Curve:
    """Maps lengths of a growing file to moments, by linear interpolation between points."""

    def __init__(self, length: float, moment: float) -> None:
        self._points = [(length, moment)]

    def reach(self, length: float, moment: float) -> None:
        """The file has this length from now on; points beyond it belong to a file that was longer."""
        points = self._points
        while len(points) > 1 and points[-1][0] > length:
            points.pop()
        points.append((length, moment))
        if len(points) > _MOST_POINTS:
            del points[1:-1:2]

    def moment(self, length: float) -> float:
        """When the byte at this offset was written."""
        points = self._points
        after = bisect_right(points, length, key=lambda point: point[0])
        if after in (0, len(points)):
            return points[min(after, len(points) - 1)][1]
        (shorter, before), (longer, then) = points[after - 1], points[after]
        return before + (then - before) * (length - shorter) / (longer - shorter)


class Rate:
    """Exponentially weighted rate in bytes per second.

    An initial ``value`` is the average since ``begun``, and has the weight of that time.
    """

    def __init__(self, value: float = 0.0, at: float | None = None, *, begun: float = -math.inf) -> None:
        self.value = value
        self._at = at
        self._begun = begun

    def measure(self, value: float, at: float) -> None:
        weight = 1.0
        if self._at is not None:
            weight = _newer(at - self._at) / (_newer(at - self._begun) or 1.0)
        self.value += weight * (value - self.value)
        self._at = at

    def at_least(self, value: float) -> None:
        """Add a measurement that was limited only by the supply of bytes."""
        self.value = max(self.value, value)

    def resume(self, value: float, at: float) -> None:
        """Add the first measurement after a pause; the pause itself does not count."""
        self.at_least(value)
        if self.value:
            self._at = at


def _newer(seconds: float) -> float:
    """The share of a rate's weight that lies within the last ``seconds``."""
    return 1.0 - math.exp(-seconds / AVERAGED_SECONDS)


class Growth:
    """The growth of one file."""

    def __init__(self, seen: Snapshot, at: float, utc: float) -> None:
        born, changed = _ages(seen, utc)
        self._size = seen.size
        self._looked_at, self._grew_at = at, at - changed
        self._curve = Curve(0, at - born)
        self._curve.reach(seen.size, self._grew_at)
        average = seen.size / (born - changed) if born > changed else 0.0
        self._rate = Rate(average, self._grew_at, begun=at - born) if average else Rate()

    def follow(self, size: int, at: float) -> None:
        """Record the current size."""
        if size > self._size:
            elapsed = min(max(at - self._grew_at, 1e-3), AVERAGED_SECONDS)
            self._rate.measure((size - self._size) / elapsed, at)
            self._curve.reach(self._size, self._looked_at)  # it did not grow before the last look
            self._grew_at = at
        if size != self._size:
            self._curve.reach(size, at)
            self._size = size
        self._looked_at = at

    def risk(self, stored: int, at: float) -> Risk:
        """The risk while S3 has the first ``stored`` bytes."""
        count = self._size - stored
        if count <= 0:
            return Risk()
        seconds = count / self._rate.value if self._rate.value else 0.0
        return Risk(count, seconds, max(0.0, at - self._curve.moment(stored)))


def first_risk(holding: Holding, utc: float) -> Risk:
    """The risk of a recording that no observation has yet, as the next one will see it."""
    growth = Growth(holding.proved or holding.seen, utc, utc)
    growth.follow(holding.seen.size, utc)
    return growth.risk(holding.stored, utc)


def _ages(seen: Snapshot, utc: float) -> tuple[float, float]:
    """Seconds since the birth and since the last change of a file; never negative, since its clock may differ."""
    return max(0.0, utc - _born_ns(seen) / 1e9), max(0.0, utc - seen.mtime_ns / 1e9)


@dataclass(slots=True)
class Watch:
    """Turns a series of observations into figures; remembers how each stream's file grew."""

    _growing: dict[Identity, Growth] = field(default_factory=dict)
    _sizes: dict[Identity, int] = field(default_factory=dict)
    _last: Look | None = None
    _was_behind: bool = False
    _ingest: Rate = field(default_factory=Rate)
    _sent: Rate = field(default_factory=Rate)
    _uplink: Rate = field(default_factory=Rate)

    def look(self, look: Look, media_seconds: Mapping[Identity, float]) -> Figures:
        """The figures of this observation. ``media_seconds``: seconds at risk by the media's own clock, where known."""
        holdings = {holding.seen.identity: holding for holding in look.holdings}  # hard links are one recording
        risks = {identity: self._risk(holding, look, media_seconds) for identity, holding in holdings.items()}
        self._growing = {identity: growth for identity, growth in self._growing.items() if identity in holdings}
        backlog = look.waiting.bytes + sum(holding.sendable for holding in holdings.values())
        self._measure(look, holdings, backlog)
        streams = {h.stream_id: risks[identity] for identity, h in holdings.items() if h.stream_id is not None}
        ingest, uplink = self._ingest.value, 0.0 if look.away else self._uplink.value
        to_gain = ingest if _is_behind(backlog, ingest) else 0.0
        waiting = _risk_of(look.waiting, look.utc)
        return Figures(
            total=total_of([*risks.values(), waiting]),
            streams=streams,
            to_look_up=look.waiting.to_look_up,
            backlog=backlog,
            ingest=ingest,
            uplink=uplink,
            catch_up=catch_up_seconds(backlog, uplink, to_gain),
            free=look.free,
            disk_full=look.free / ingest if ingest > _STILL else math.inf,
            recordings=risks,
            holdings=holdings,
            waiting=waiting,
            sent=0.0 if look.away else self._sent.value,
            utc=look.utc,
        )

    def _risk(self, holding: Holding, look: Look, media_seconds: Mapping[Identity, float]) -> Risk:
        seen = holding.seen
        growth = self._growing.get(seen.identity) or Growth(holding.proved or seen, look.at, look.utc)
        self._growing[seen.identity] = growth
        growth.follow(seen.size, look.at)
        risk = growth.risk(holding.stored, look.at)
        return Risk(risk.bytes, media_seconds.get(seen.identity, risk.seconds), risk.oldest)

    def _measure(self, look: Look, holdings: Mapping[Identity, Holding], backlog: int) -> None:
        last, sizes = self._last, {identity: holding.seen.size for identity, holding in holdings.items()}
        if last is not None and look.at > last.at:
            elapsed = look.at - last.at
            grown = sum(self._grown(holding, look, elapsed) for holding in holdings.values())
            grown += look.waiting.grown - last.waiting.grown
            self._ingest.measure(grown / elapsed, look.at)
            self._measure_uplink(last, look, (look.sent - last.sent) / elapsed, backlog)
        self._last, self._sizes = look, sizes

    def _measure_uplink(self, last: Look, look: Look, sent: float, backlog: int) -> None:
        """While the upload keeps up, its rate equals the ingest rate: the link can do at least that."""
        is_behind = _is_behind(backlog, self._ingest.value)
        if look.away or last.away:
            self._uplink.resume(sent, look.at)
        else:
            self._sent.measure(sent, look.at)
            if is_behind and self._was_behind:
                self._uplink.measure(sent, look.at)
            else:
                self._uplink.at_least(self._sent.value)
        self._was_behind = is_behind

    def _grown(self, holding: Holding, look: Look, elapsed: float) -> float:
        """Bytes since the last look. An old file that is new here was renamed and takes no new disk space; without
        birth times this is unknown."""
        seen = holding.seen
        if seen.identity in self._sizes:
            return max(0, seen.size - self._sizes[seen.identity])
        if not seen.identity.birth_ns:
            return 0
        born, _ = _ages(seen, look.utc)
        return seen.size * elapsed / max(elapsed, born)


def _is_behind(backlog: float, ingest: float) -> bool:
    """Whether the backlog exceeds one minute of growth: parts that are being sent are backlog but no delay."""
    return backlog > ingest * AVERAGED_SECONDS


def _risk_of(waiting: Waiting, utc: float) -> Risk:
    oldest = 0.0 if waiting.born is None else max(0.0, utc - waiting.born)
    return Risk(waiting.bytes, waiting.seconds, oldest)


def catch_up_seconds(backlog: float, uplink: float, ingest: float) -> float:
    """Seconds until the backlog is uploaded while recording continues; ``math.inf`` for never."""
    if not backlog:
        return 0.0
    return backlog / (uplink - ingest) if uplink > ingest else math.inf
