"""One port for all formats: what a file is, its first bytes decide."""

from __future__ import annotations

import pytest

from src.containers import MediaClock, content_type, demuxer_of, formats, has_index_first, is_whole
from tests.unit.test_boxes import box
from tests.unit.test_fragments import FRAGMENTED
from tests.unit.test_matroska import CLOSED, head, reading
from tests.unit.test_transport import M2TS, TS

TYPESCRIPT = b"export type G = { G: 'G' };\n" * 60
PLAYLIST = b"#EXTM3U\n#EXTINF:2,\nsegment0.ts\n"


@pytest.mark.parametrize(
    ("beginning", "demuxer"),
    [
        (FRAGMENTED, "mov"),
        (box(b"wide", b"") + box(b"mdat", bytes(9)), "mov"),
        (CLOSED, "matroska"),
        (TS, "mpegts"),
        (M2TS, "mpegts"),
        (PLAYLIST, "mov"),
        (TYPESCRIPT, "mov"),
        (b"ffconcat version 1.0\nfile 'x.ts'\n", "mov"),
        (b"", "mov"),
    ],
)
def test_one_demuxer_may_read_a_file_and_no_playlist_has_one_of_its_own(beginning: bytes, demuxer: str) -> None:
    assert demuxer_of(reading(beginning)) == demuxer


@pytest.mark.parametrize(
    ("beginning", "name", "told"),
    [
        (box(b"ftyp", b"isom"), "a.mov", "video/mp4"),
        (box(b"ftyp", b"qt  "), "a.mp4", "video/quicktime"),
        (box(b"ftyp", b"M4V "), "a", "video/x-m4v"),
        (box(b"ftyp", b"M4A "), "a", "audio/mp4"),
        (box(b"mdat", b"x"), "cam/a.MOV", "video/quicktime"),
        (box(b"mdat", b"x"), "a.m4v", "video/x-m4v"),
        (box(b"mdat", b"x"), "a.bin", "video/mp4"),
        (head(), "a.webm", "video/x-matroska"),
        (head(b"webm"), "a.mkv", "video/webm"),
        (head(b"other"), "a.webm", "video/webm"),
        (head(b"other"), "a", "video/x-matroska"),
        (TS, "a.mp4", "video/mp2t"),
        (M2TS, "a.m2ts", "video/mp2t"),
        (bytes(50), "a.mp4", "video/mp4"),
        (b"", "a.MKV", "video/x-matroska"),
        (TYPESCRIPT, "app.ts", "application/octet-stream"),
        (b"RIFF", "a.avi", "application/octet-stream"),
        (b"x", "no ending", "application/octet-stream"),
        (b"x", "", "application/octet-stream"),
    ],
)
def test_the_media_type_is_told_by_the_content_and_otherwise_by_the_name(
    beginning: bytes, name: str, told: str
) -> None:
    assert content_type(beginning[: formats.BEGINNING], name) == told


def test_only_a_format_that_has_an_end_proves_it() -> None:
    assert is_whole(reading(CLOSED), len(CLOSED))
    for endless in (TS, M2TS, PLAYLIST, TYPESCRIPT, b""):
        assert not is_whole(reading(endless), len(endless))


def test_only_an_mp4_moves_its_index_to_the_front() -> None:
    assert has_index_first(reading(FRAGMENTED), len(FRAGMENTED))
    for other in (CLOSED, TS, PLAYLIST):
        assert not has_index_first(reading(other), len(other))


@pytest.mark.parametrize("data", [FRAGMENTED, TS, M2TS], ids=["mp4", "ts", "m2ts"])
def test_the_clock_is_that_of_the_format_as_soon_as_it_is_known(data: bytes) -> None:
    clock = MediaClock()
    clock.walk(reading(data[:500]), 500)
    assert (clock.is_over, clock.is_behind, clock.seconds(0, 500)) == (False, True, None)
    clock.walk(reading(data), len(data))
    assert not clock.is_behind
    assert clock.seconds(0, len(data)) is not None


def test_what_is_no_recording_has_no_clock() -> None:
    clock = MediaClock()
    clock.walk(reading(TYPESCRIPT), len(TYPESCRIPT))
    assert clock.is_over
