"""What recorders cost: what is noted of their recordings, what is advised, and how often it is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src.domain import Risk, SendReason, Status, Structure, moments
from src.page import shown
from src.status import (
    REMEDIES,
    SHORTER_FILES,
    Again,
    Costly,
    RecorderFacts,
    RecorderNotes,
    RecordingFacts,
    advice_on,
    view_of,
)
from src.status.advice import OnceADay
from src.status.recorders import pattern_of
from tests.harness import statuses

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
MB, MIB = 1_000_000, 1024 * 1024
PAGES = {"OBS": "obs.md", "ffmpeg": "ffmpeg.md", "GStreamer": "gstreamer.md", "MediaMTX": "mediamtx.md"}
GOOD = RecorderFacts(pattern="obs/*.mp4", recordings=4, sent=1000 * MB)


class _Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)

    def utc_now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def go(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def _again(**reasons: tuple[int, int]) -> RecorderFacts:
    return replace(GOOD, again={SendReason[name.upper()]: Again(*each) for name, each in reasons.items()})


# -- from facts to advice --------------------------------------------------------------------------------------------

#: What is seen, the same just below what is worth a word, what is said, bytes and seconds, and a setting that fixes it.
CASES: dict[Costly, tuple[RecorderFacts, RecorderFacts, str, int, float, str]] = {
    Costly.FASTSTART: (
        _again(faststart=(212_000 * MB, 3)),
        _again(lost=(212_000 * MB, 3)),
        "3 of 4 recordings: the index is moved to the front at the end (faststart), 212 GB sent twice",
        212_000 * MB,
        0.0,
        "ffmpeg: leave out -movflags +faststart",
    ),
    Costly.REWRITTEN: (
        _again(rewrite=(100 * MB, 3)),
        _again(rewrite=(100 * MB, 2)),
        "3 of 4 recordings: changed in the middle after they were written, 100 MB sent again (10% of what was "
        "recorded)",
        100 * MB,
        0.0,
        "OBS: Automatically remux to mp4: off",
    ),
    Costly.HEADS: (
        _again(head_patch=(100 * MB, 4)),
        _again(head_patch=(99 * MB, 4)),
        "4 of 4 recordings: the beginning is overwritten at the end, 100 MB sent again (10% of what was recorded)",
        100 * MB,
        0.0,
        "MediaMTX: a longer recordSegmentDuration",
    ),
    Costly.PAUSES: (
        replace(_again(tail_grew=(7 * MB, 2)), pauses=3, pause_seconds=41.0),
        replace(_again(tail_grew=(7 * MB, 2)), pauses=2, pause_seconds=41.0),
        "3 of 4 recordings: counted as finished during a pause (up to 41 s), 7 MB sent again",
        7 * MB,
        0.0,
        "CefMP4: STREAM_TIMEOUT_SECONDS=62",
    ),
    Costly.INDEX_LAST: (
        replace(GOOD, index_last=1, index_last_seconds=2520.0),
        replace(GOOD, index_last=4, index_last_seconds=60.0),
        "1 of 4 recordings: not playable before the file is closed; up to 42 min of recording would be lost with this "
        "machine, also in the bucket",
        0,
        2520.0,
        "OBS: Recording Format: Hybrid MP4",
    ),
    Costly.LONG_FRAGMENTS: (
        replace(GOOD, fragment_seconds=10.0),
        replace(GOOD, fragment_seconds=4.0),
        "fragments are 10 s long: at any moment up to 10 s of recording exist only in the recorder",
        0,
        10.0,
        "MediaMTX: recordPartDuration: 1s",
    ),
    Costly.SLOW_PARTS: (
        replace(GOOD, fill_seconds=120.0, part_size=64 * MIB),
        replace(GOOD, fill_seconds=60.0, part_size=64 * MIB),
        "a part of 67.1 MB takes 2 min to fill: at any moment up to 2 min of recording exist only on this disk",
        0,
        120.0,
        f"CefMP4: CHUNK_SIZE_BYTES={16 * MIB}",
    ),
}


@pytest.mark.parametrize("kind", Costly)
def test_each_costly_way_is_named_with_its_price_and_its_remedy_and_below_the_limit_nothing_is(kind: Costly) -> None:
    costly, good, text, again, seconds, remedy = CASES[kind]
    (found,) = advice_on([costly])
    assert (found.kind, found.recordings, found.text) == (kind, "obs/*.mp4", text)
    assert (found.bytes_sent_again, found.seconds_at_risk) == (again, seconds)
    assert remedy in found.hint
    assert "{" not in found.hint
    assert advice_on([good]) == advice_on([GOOD]) == ()


def test_parts_that_are_as_small_as_s3_allows_are_helped_by_shorter_files() -> None:
    (found,) = advice_on([replace(GOOD, fill_seconds=90.0, part_size=5 * MIB)])
    assert "parts cannot be smaller" in found.text
    assert found.remedies == SHORTER_FILES
    (small,) = advice_on([replace(GOOD, fill_seconds=1000.0, part_size=6 * MIB)])
    assert f"CHUNK_SIZE_BYTES={5 * MIB}" in small.hint


def test_what_risks_most_comes_first_and_then_what_costs_most() -> None:
    facts = [CASES[kind][0] for kind in (Costly.HEADS, Costly.FASTSTART, Costly.LONG_FRAGMENTS, Costly.INDEX_LAST)]
    assert [each.kind for each in advice_on(facts)] == ["index-last", "long-fragments", "faststart", "heads"]


@pytest.mark.parametrize("program", PAGES)
def test_each_setting_that_is_advised_stands_in_the_how_to_of_its_recorder(program: str) -> None:
    page = (HOW_TO / PAGES[program]).read_text(encoding="utf-8")
    advised = [each.setting for row in (*REMEDIES.values(), SHORTER_FILES) for each in row if each.program == program]
    assert advised
    for setting in advised:
        words = re.findall(r"[-+\w]*[A-Za-z][-+\w]{4,}", setting)
        names = [word for word in words if re.search(r"[-_+=A-Z]|faststart|splitmuxsink", word)] or [setting.split()[0]]
        assert [name for name in names if name.lstrip("+-").lower() not in page.lower()] == [], setting


# -- from moments to facts -------------------------------------------------------------------------------------------


def _part(size: int = 5 * MIB, reason: SendReason = SendReason.NEW, number: int = 1) -> moments.PartStored:
    return moments.PartStored(number=number, size=size, seconds=0.1, reason=reason)


def test_what_is_sent_again_is_counted_by_pattern_and_reason_and_each_recording_once() -> None:
    notes = RecorderNotes(_Clock())
    for path in ("obs/a.mp4", "obs/b.MP4", "cam/c.mp4"):
        notes.hear_stream("id", path, moments.StreamStarted(key=path))
        notes.hear_stream("id", path, _part())
    for number in (1, 2):
        notes.hear_stream("id", "obs/a.mp4", _part(10, SendReason.FASTSTART, number))
    notes.hear_stream("id", "obs/b.MP4", _part(7, SendReason.HEAD_PATCH))
    cam, obs = notes.facts()
    assert (cam.pattern, cam.recordings, cam.sent, dict(cam.again)) == ("cam/*.mp4", 1, 5 * MIB, {})
    assert (obs.pattern, obs.recordings, obs.sent) == ("obs/*.mp4", 2, 10 * MIB)
    assert dict(obs.again) == {SendReason.FASTSTART: Again(20, 1), SendReason.HEAD_PATCH: Again(7, 1)}


def test_a_pause_is_as_long_as_nothing_was_written_and_counts_once_for_each_recording() -> None:
    clock = _Clock()
    notes = RecorderNotes(clock)
    notes.hear_stream("id", "a.mp4", moments.GrewAgain())
    for _ in range(2):
        notes.hear_stream("id", "a.mp4", moments.WentIdle(quiet_seconds=30.0))
        clock.go(11)
        notes.hear_stream("id", "a.mp4", moments.GrewAgain())
        clock.go(1000)
        notes.hear_stream("id", "a.mp4", moments.GrewAgain())
    (facts,) = notes.facts()
    assert (facts.pauses, facts.pause_seconds) == (1, 41.0)


def test_how_long_recordings_take_counts_where_they_cannot_be_played_before_their_end() -> None:
    clock = _Clock()
    notes = RecorderNotes(clock)
    began = clock.at
    for path, structure in (("a/1.mp4", Structure.INDEX_LAST), ("b/1.mp4", Structure.INDEX_FIRST)):
        notes.hear(moments.MediaSeen(path, structure, 0.0))
        notes.hear(moments.MediaSeen(path, structure, 0.0))
    clock.go(90)
    opened = [
        RecordingFacts(path=f"{one}/1.mp4", size=9, stored=0, status=Status.ACTIVE, started_at=began) for one in "ab"
    ]
    notes.look(opened)
    a, b = notes.facts()
    assert (a.index_last, a.index_last_seconds) == (1, 90.0)
    assert (b.index_last, b.index_last_seconds) == (0, 0.0)
    done = moments.Completed(key="k", size=9, duration_seconds=600.0, stream_seconds=1.0, processing_seconds=1.0)
    notes.hear_stream("id", "a/1.mp4", done)
    notes.hear_stream("id", "a/1.mp4", replace(done, duration_seconds=None))
    assert notes.facts()[0].index_last_seconds == 600.0
    notes.hear(moments.MediaSeen("b/1.mp4", Structure.FRAGMENTED, 5.5))
    assert notes.facts()[1].fragment_seconds == 5.5


def test_the_time_to_fill_a_part_is_the_typical_one_of_growing_recordings_after_five_looks() -> None:
    notes = RecorderNotes(_Clock())
    growing = RecordingFacts(
        path="a.mp4", size=9, stored=0, status=Status.ACTIVE, part_size=8 * MIB, risk=Risk(MIB, 10.0, 1.0)
    )
    ignored = [
        replace(growing, status=Status.PENDING_COMPLETION),
        replace(growing, size_is_known=False),
        replace(growing, risk=Risk()),
        replace(growing, part_size=0),
    ]
    for seconds in (10.0, 10.0, 11.0, 10.0):
        notes.look([replace(growing, risk=Risk(MIB, seconds, 1.0)), *ignored])
        assert [each.fill_seconds for each in notes.facts()] == [0.0]
    notes.look([replace(growing, risk=Risk(MIB, 500.0, 1.0))])
    (facts,) = notes.facts()
    assert (facts.fill_seconds, facts.part_size) == (80.0, 8 * MIB)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("a.mp4", "*.mp4"),
        ("obs/Talk about 2026.MP4", "obs/*.mp4"),
        ("cam01/2026-11-28/12-00.mp4", "cam01/*/*.mp4"),
        ("cam/11-28/x.mp4", "cam/*/*.mp4"),
        ("no ending", "*"),
        ("bad\udcff/evil\u202e.mp4", "bad\\xff/*.mp4"),
    ],
)
def test_recordings_that_differ_by_what_a_recorder_counts_have_one_pattern(path: str, pattern: str) -> None:
    assert pattern_of(path) == pattern


def test_a_crowd_of_folders_and_files_is_forgotten_oldest_first() -> None:
    notes = RecorderNotes(_Clock())
    for number in range(20_000):
        notes.hear_stream("id", f"{number % 150}x/{number}.mp4", _part(1))
    facts = notes.facts()
    assert len(facts) == 100
    assert "49x/*.mp4" in {each.pattern for each in facts}, "the newest are kept"


# -- said --------------------------------------------------------------------------------------------------------------


def test_the_same_advice_is_given_once_a_day() -> None:
    said, advice = OnceADay(), advice_on([CASES[Costly.FASTSTART][0], replace(GOOD, pattern="x", fragment_seconds=9.0)])
    assert said.of(advice[:1], 0.0) == [advice[0]]
    assert said.of(advice, 60.0) == [advice[1]]
    assert said.of(advice, 86_399.0) == []
    assert said.of(advice, 86_400.0) == [advice[0]]
    assert said.of(advice, 86_460.0) == [advice[1]]


def test_the_page_shows_each_price_with_the_setting_of_each_recorder() -> None:
    view = statuses.usual()
    assert shown(view, (), 0.0).advice == ()
    facts = statuses.facts([], recorders=[CASES[Costly.FASTSTART][0], *_many(12)])
    page = shown(view_of(facts), (), 0.0)
    (first, *_) = [each for each in page.advice if "faststart" in each.text] or [page.advice[0]]
    assert len(page.advice) == 10
    assert page.advice_left_out == "3 more pieces of advice: type cefmp4 doctor."
    assert len({each.id for each in page.advice}) == 10
    assert first.steps[0].command


def _many(number: int) -> list[RecorderFacts]:
    make: Callable[[int], RecorderFacts] = lambda n: replace(GOOD, pattern=f"{n}/*.mp4", fragment_seconds=5.0 + n)  # noqa: E731
    return [make(n) for n in range(number)]
