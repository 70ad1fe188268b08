"""What a recorder's way of writing costs, and the setting that fixes it, from facts alone. Pure.

Page, ``doctor`` and log say it with the words of this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..domain import MIB, S3_LIMITS, SendReason
from .facts import Again, RecorderFacts
from .texts import count, size, span

#: Of what was recorded, this share is sent again before it is worth a word, and at least of this many recordings.
WORTH_A_WORD, _ENOUGH_RECORDINGS = 0.1, 3
#: A recording that cannot be played before its end is worth a word if it is longer (seconds).
LONG_RECORDING_SECONDS = 60.0
LONG_FRAGMENT_SECONDS = 4.0
LONG_FILL_SECONDS = 60.0
_DAY_SECONDS = 86_400.0
#: The time to fill a part that is advised.
_GOOD_FILL_SECONDS = 30.0


class Costly(StrEnum):
    """What costs something."""

    FASTSTART = "faststart"
    REWRITTEN = "rewritten"
    HEADS = "heads"
    PAUSES = "pauses"
    INDEX_LAST = "index-last"
    LONG_FRAGMENTS = "long-fragments"
    SLOW_PARTS = "slow-parts"


@dataclass(frozen=True, slots=True)
class Remedy:
    """``program``: a recorder, or CefMP4; ``setting``: what to set there."""

    program: str
    setting: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What the recordings of a pattern cost, since the daemon's start.

    ``text`` says what was seen and what it costs: ``bytes_sent_again``, or ``seconds_at_risk``, the recording time that
    would be lost with this machine. ``remedies``: each fixes it in one program.
    """

    kind: str
    recordings: str
    text: str
    bytes_sent_again: int
    seconds_at_risk: float
    remedies: tuple[Remedy, ...]

    @property
    def hint(self) -> str:
        """The remedies in one line."""
        return "; ".join(f"{each.program}: {each.setting}" for each in self.remedies)


class OnceADay:
    """Which advice is to be logged now: what was not said of these recordings for a day."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], float] = {}

    def of(self, advice: Sequence[Advice], now: float) -> list[Advice]:
        """``now`` in seconds, on the monotonic clock."""
        self._said = {what: when for what, when in self._said.items() if now - when < _DAY_SECONDS}
        due = [each for each in advice if (each.kind, each.recordings) not in self._said]
        self._said |= {(each.kind, each.recordings): now for each in due}
        return due


_FRAGMENTS = Remedy("ffmpeg", "-movflags +frag_keyframe+empty_moov+default_base_moof")
_GSTREAMER = Remedy("GStreamer", "mp4mux fragment-duration=1000")
REMEDIES: Mapping[Costly, tuple[Remedy, ...]] = {
    Costly.FASTSTART: (
        Remedy("OBS", "Recording Format: Hybrid MP4"),
        Remedy("ffmpeg", "leave out -movflags +faststart"),
    ),
    Costly.REWRITTEN: (
        Remedy("OBS", "Automatically remux to mp4: off"),
        Remedy("ffmpeg", "leave out -movflags +global_sidx"),
        Remedy("CefMP4", "FINISH_EARLY_SECONDS above the time after which another program changes the file"),
    ),
    Costly.HEADS: (
        Remedy("OBS", "Recording Format: Fragmented MP4"),
        _FRAGMENTS,
        Remedy("GStreamer", "mp4mux fragment-duration=1000 without reserved-moov-update-period"),
        Remedy("MediaMTX", "a longer recordSegmentDuration, such as 1h"),
    ),
    Costly.PAUSES: (Remedy("CefMP4", "STREAM_TIMEOUT_SECONDS={seconds}"),),
    Costly.INDEX_LAST: (Remedy("OBS", "Recording Format: Hybrid MP4"), _FRAGMENTS, _GSTREAMER),
    Costly.LONG_FRAGMENTS: (
        Remedy("OBS", "Keyframe Interval: 2 s"),
        Remedy("ffmpeg", "-g of two seconds of pictures, such as -g 60"),
        Remedy("GStreamer", "mp4mux fragment-duration=1000, and key-int-max of the encoder"),
        Remedy("MediaMTX", "recordPartDuration: 1s, and a key frame each two seconds at the camera"),
    ),
    Costly.SLOW_PARTS: (Remedy("CefMP4", "CHUNK_SIZE_BYTES={bytes}"),),
}
#: Where parts are as small as S3 allows: a file's last part is sent when the file is closed.
SHORTER_FILES: tuple[Remedy, ...] = (
    Remedy("OBS", "Automatic File Splitting: 1 min"),
    Remedy("ffmpeg", "-f segment -segment_time 60"),
    Remedy("GStreamer", "splitmuxsink max-size-time=60000000000"),
    Remedy("MediaMTX", "recordSegmentDuration: 1m"),
)


def advice_on(recorders: Sequence[RecorderFacts]) -> tuple[Advice, ...]:
    """What is worth a word: first what risks most, then what sends most again."""
    found = [each for facts in recorders for each in _of(facts)]
    return tuple(sorted(found, key=lambda each: (-each.seconds_at_risk, -each.bytes_sent_again, each.recordings)))


def _of(facts: RecorderFacts) -> Iterator[Advice]:
    yield from _sent_again(facts)
    yield from _paused(facts)
    if facts.index_last and facts.index_last_seconds > LONG_RECORDING_SECONDS:
        text = (
            f"{_some(facts.index_last, facts)}: not playable before the file is closed; up to "
            f"{span(facts.index_last_seconds)} of recording would be lost with this machine, also in the bucket"
        )
        yield _advice(Costly.INDEX_LAST, facts, text, seconds=facts.index_last_seconds)
    if facts.fragment_seconds > LONG_FRAGMENT_SECONDS:
        long = span(facts.fragment_seconds)
        text = f"fragments are {long} long: at any moment up to {long} of recording exist only in the recorder"
        yield _advice(Costly.LONG_FRAGMENTS, facts, text, seconds=facts.fragment_seconds)
    if facts.fill_seconds > LONG_FILL_SECONDS:
        yield _slow(facts)


def _sent_again(facts: RecorderFacts) -> Iterator[Advice]:
    faststart = facts.again.get(SendReason.FASTSTART, Again())
    if faststart.bytes:
        text = (
            f"{_some(faststart.recordings, facts)}: the index is moved to the front at the end (faststart), "
            f"{size(faststart.bytes)} sent twice"
        )
        yield _advice(Costly.FASTSTART, facts, text, again=faststart.bytes)
    for kind, reason, what in (
        (Costly.REWRITTEN, SendReason.REWRITE, "changed in the middle after they were written"),
        (Costly.HEADS, SendReason.HEAD_PATCH, "the beginning is overwritten at the end"),
    ):
        again = facts.again.get(reason, Again())
        if again.recordings >= _ENOUGH_RECORDINGS and again.bytes >= WORTH_A_WORD * facts.sent:
            share = f" ({again.bytes / facts.sent:.0%} of what was recorded)" if facts.sent else ""
            text = f"{_some(again.recordings, facts)}: {what}, {size(again.bytes)} sent again{share}"
            yield _advice(kind, facts, text, again=again.bytes)


def _paused(facts: RecorderFacts) -> Iterator[Advice]:
    if facts.pauses < _ENOUGH_RECORDINGS or facts.pauses < WORTH_A_WORD * facts.recordings:
        return
    again = facts.again.get(SendReason.TAIL_GREW, Again()).bytes
    text = (
        f"{_some(facts.pauses, facts)}: counted as finished during a pause (up to {span(facts.pause_seconds)}), "
        f"{size(again)} sent again"
    )
    seconds = math.ceil(facts.pause_seconds * 1.5)
    yield _advice(Costly.PAUSES, facts, text, again=again, setting={"seconds": seconds})


def _slow(facts: RecorderFacts) -> Advice:
    fill = facts.fill_seconds
    text = (
        f"a part of {size(facts.part_size)} takes {span(fill)} to fill: at any moment up to {span(fill)} of recording "
        "exist only on this disk"
    )
    if facts.part_size <= S3_LIMITS.min_part:
        said = f"{text}; parts cannot be smaller"
        return _advice(Costly.SLOW_PARTS, facts, said, seconds=fill, remedies=SHORTER_FILES)
    wanted = int(facts.part_size * _GOOD_FILL_SECONDS / fill) // MIB * MIB
    return _advice(Costly.SLOW_PARTS, facts, text, seconds=fill, setting={"bytes": max(S3_LIMITS.min_part, wanted)})


def _some(number: int, facts: RecorderFacts) -> str:
    return f"{number:,} of {count(max(number, facts.recordings), 'recording')}"


def _advice(
    kind: Costly,
    facts: RecorderFacts,
    text: str,
    *,
    again: int = 0,
    seconds: float = 0.0,
    setting: Mapping[str, int] | None = None,
    remedies: tuple[Remedy, ...] = (),
) -> Advice:
    found = remedies or REMEDIES[kind]
    named = tuple(Remedy(each.program, each.setting.format(**setting or {})) for each in found)
    return Advice(str(kind), facts.pattern, text, again, seconds, named)
