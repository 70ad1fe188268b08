"""What is known of the recorders since the daemon's start, gathered from what is heard of their recordings.

Recordings whose names differ only in what a recorder counts, such as a date, belong together: a *pattern*, such as
``obs/*.mp4``. Bounded: patterns and files that were not heard of for longest are forgotten first.
"""

from __future__ import annotations

import posixpath
import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType

from ..domain import Clock, SendReason, Status, Structure, moments
from .facts import Again, RecorderFacts, RecordingFacts
from .texts import name

_MOST_PATTERNS = 100
_MOST_FILES = 10_000
#: Looks of which the typical time to fill a part is the median, and the least number of them.
_MOST_LOOKS, _ENOUGH_LOOKS = 32, 5
_DATE = re.compile(r"\d{4}|\d\d-\d\d")


@dataclass(slots=True)
class _Pattern:
    recordings: int = 0
    sent: int = 0
    again: dict[SendReason, Again] = field(default_factory=dict)
    index_last: int = 0
    index_last_seconds: float = 0.0
    fragment_seconds: float = 0.0
    fills: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MOST_LOOKS))
    pauses: int = 0
    pause_seconds: float = 0.0


@dataclass(slots=True)
class _File:
    """``counted``: what was counted for it, each once. ``quiet_since``: on the monotonic clock."""

    counted: set[str] = field(default_factory=set)
    quiet_since: float | None = None


class RecorderNotes:
    """Listens to the moments of all streams and of the daemon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._patterns: OrderedDict[str, _Pattern] = OrderedDict()
        self._files: OrderedDict[str, _File] = OrderedDict()

    def hear_stream(self, _: str, path: str, moment: moments.StreamMoment) -> None:
        match moment:
            case moments.StreamStarted() | moments.StreamResumed():
                self._met(path)
            case moments.PartStored(size=size, reason=SendReason.NEW):
                self._met(path).sent += size
            case moments.PartStored(size=size, reason=reason):
                pattern = self._met(path)
                known = pattern.again.get(reason, Again())
                more = self._is_first(path, reason)
                pattern.again[reason] = Again(known.bytes + size, known.recordings + more)
            case moments.WentIdle(quiet_seconds=seconds):
                self._file(path).quiet_since = self._clock.monotonic() - seconds
            case moments.GrewAgain():
                self._went_on(path)
            case moments.Completed(duration_seconds=float() as seconds):
                self._took(path, seconds)

    def hear(self, moment: moments.Moment) -> None:
        if not isinstance(moment, moments.MediaSeen):
            return
        pattern = self._met(moment.file_path)
        if moment.structure is Structure.FRAGMENTED:
            pattern.fragment_seconds = moment.fragment_seconds
        if moment.structure is Structure.INDEX_LAST:
            pattern.index_last += self._is_first(moment.file_path, moment.structure)

    def look(self, recordings: Sequence[RecordingFacts]) -> None:
        """To be called about once a minute: how fast the recordings grow that are open now."""
        now = self._clock.utc_now()
        for each in recordings:
            if each.status is not Status.ACTIVE or not each.size_is_known:
                continue
            if each.started_at is not None:
                self._took(each.path, (now - each.started_at).total_seconds())
            if each.part_size and each.risk.bytes > 0 and each.risk.seconds > 0:
                fill = each.part_size * each.risk.seconds / each.risk.bytes
                self._met(each.path).fills.append((fill, each.part_size))

    def facts(self) -> tuple[RecorderFacts, ...]:
        """By pattern."""
        return tuple(_facts(pattern, known) for pattern, known in sorted(self._patterns.items()))

    def _went_on(self, path: str) -> None:
        file = self._file(path)
        if file.quiet_since is None:
            return
        pattern = self._met(path)
        pattern.pause_seconds = max(pattern.pause_seconds, self._clock.monotonic() - file.quiet_since)
        pattern.pauses += self._is_first(path, "pause")
        file.quiet_since = None

    def _took(self, path: str, seconds: float) -> None:
        if Structure.INDEX_LAST in self._file(path).counted:
            pattern = self._met(path)
            pattern.index_last_seconds = max(pattern.index_last_seconds, seconds)

    def _met(self, path: str) -> _Pattern:
        pattern = pattern_of(path)
        found = self._patterns.setdefault(pattern, _Pattern())
        self._patterns.move_to_end(pattern)
        if len(self._patterns) > _MOST_PATTERNS:
            self._patterns.popitem(last=False)
        found.recordings += self._is_first(path, "recording")
        return found

    def _file(self, path: str) -> _File:
        found = self._files.setdefault(path, _File())
        self._files.move_to_end(path)
        if len(self._files) > _MOST_FILES:
            self._files.popitem(last=False)
        return found

    def _is_first(self, path: str, what: str) -> bool:
        counted = self._file(path).counted
        is_first = what not in counted
        counted.add(what)
        return is_first


def pattern_of(path: str) -> str:
    """The folder and the ending of a recording; a folder that is named by a date stands for all of them."""
    folder, file = posixpath.split(path)
    named = ["*" if _DATE.search(part) else part for part in folder.split("/")] if folder else []
    return name("/".join([*named, f"*{posixpath.splitext(file)[1].lower()}"]))


def _facts(pattern: str, known: _Pattern) -> RecorderFacts:
    enough = len(known.fills) >= _ENOUGH_LOOKS
    return RecorderFacts(
        pattern=pattern,
        recordings=known.recordings,
        sent=known.sent,
        again=MappingProxyType(dict(known.again)),
        index_last=known.index_last,
        index_last_seconds=known.index_last_seconds,
        fragment_seconds=known.fragment_seconds,
        fill_seconds=median(fill for fill, _ in known.fills) if enough else 0.0,
        part_size=known.fills[-1][1] if enough else 0,
        pauses=known.pauses,
        pause_seconds=known.pause_seconds,
    )
