"""Matroska and WebM from a few elements whose every figure is counted by hand."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.containers import ebml, matroska
from src.containers.matroska import ClusterClock

EBML, DOC_TYPE = 0x1A45DFA3, 0x4282
SEGMENT, INFO, TRACKS, CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
SCALE, DURATION, TIMESTAMP = 0x2AD7B1, 0x4489, 0xE7
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, VOID, CUES = 0xA3, 0xA0, 0xA1, 0xEC, 0x1C53BB6B
UNKNOWN = b"\x01" + b"\xff" * 7


def made(kind: int, content: bytes = b"", *, size: bytes | None = None) -> bytes:
    """An element; ``size``: what it says of itself, encoded."""
    width = (kind.bit_length() + 7) // 8
    told = (len(content) | 1 << 56).to_bytes(8, "big") if size is None else size
    return kind.to_bytes(width, "big") + told + content


def whole_number(kind: int, value: int) -> bytes:
    return made(kind, value.to_bytes(8, "big").lstrip(b"\0") or b"\0")


def head(doc_type: bytes = b"matroska") -> bytes:
    return made(EBML, made(DOC_TYPE, doc_type))


def info(ticks: float | None = None, *, scale: int = 1_000_000, form: str = ">d") -> bytes:
    told = made(DURATION, struct.pack(form, ticks)) if ticks is not None else b""
    return made(INFO, whole_number(SCALE, scale) + told)


def block(ticks: int, *, track: int = 1, grouped: bool = False) -> bytes:
    content = bytes([0x80 | track]) + struct.pack(">h", ticks) + b"\0" + bytes(20)
    return made(BLOCK_GROUP, made(BLOCK, content)) if grouped else made(SIMPLE_BLOCK, content)


def cluster(at: int, *ticks: int, size: bytes | None = None, grouped: bool = False) -> bytes:
    blocks = b"".join(block(one, grouped=grouped) for one in ticks)
    return made(CLUSTER, whole_number(TIMESTAMP, at) + blocks, size=size)


#: 25 pictures a second.
SECOND = tuple(range(0, 1000, 40))
TRACK = made(TRACKS, bytes(30))
MEDIA = cluster(0, *SECOND) + cluster(1000, *SECOND)


def file(*inside: bytes, size: bytes | None = None) -> bytes:
    return head() + made(SEGMENT, b"".join(inside), size=size)


CLOSED = file(info(2000), TRACK, MEDIA, made(CUES, bytes(9)))
LIVE = file(info(), TRACK, *(cluster(at, *SECOND, size=UNKNOWN) for at in (0, 1000)), size=UNKNOWN)


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, count: data[offset : offset + count]


def whole(data: bytes) -> bool:
    return matroska.is_whole(reading(data), len(data))


def seconds(data: bytes) -> float | None:
    return matroska.read_film(reading(data), len(data)).seconds


def remark(data: bytes) -> str:
    (found,) = matroska.read_film(reading(data), len(data)).remarks
    return found


def clock_of(data: bytes, *sizes: int) -> ClusterClock:
    clock = ClusterClock()
    for size in sizes or (len(data),):
        clock.walk(reading(data[:size]), size)
    return clock


# --- What it is, and whether it has ended ---------------------------------------------------------------------------


def test_the_document_type_is_the_media_type() -> None:
    assert matroska.content_type(head()) == "video/x-matroska"
    assert matroska.content_type(head(b"webm")) == "video/webm"
    assert matroska.content_type(head(b"webm\0\0")) == "video/webm", "a text may be padded"
    assert matroska.content_type(head(b"other")) is None
    assert matroska.content_type(made(EBML)) is None
    assert matroska.content_type(head()[:9]) is None
    assert matroska.begins(head())
    assert not matroska.begins(b"ftyp")


def test_a_segment_with_a_size_that_ends_with_the_file_is_the_proof() -> None:
    assert whole(CLOSED)
    assert whole(file(TRACK, MEDIA) + made(VOID, bytes(5)))
    assert not whole(LIVE), "it may go on for ever"
    assert not any(whole(CLOSED[:size]) for size in range(len(CLOSED)))
    assert not whole(CLOSED + b"\0")
    assert not whole(CLOSED + made(CUES, b"x")), "outside of the segment"
    assert not whole(head() + CLOSED), "a file within a file"
    assert not whole(CLOSED + CLOSED)


def test_a_segment_that_is_not_filled_is_no_proof() -> None:
    """A copy program may make the file as long as it will be before it writes."""
    for hole in range(len(head()) + 12, len(CLOSED) - 40, 40):
        assert not whole(CLOSED[:hole] + bytes(len(CLOSED) - hole))
    assert not whole(file())
    assert not whole(file(TRACK))
    assert not whole(file(MEDIA))
    assert not whole(file(TRACK, cluster(0, *SECOND, size=UNKNOWN)))
    assert not whole(file(TRACK, made(CLUSTER), whole_number(TIMESTAMP, 0))), "a cluster whose size was not patched"


def test_an_element_that_belongs_nowhere_ends_the_search() -> None:
    """A file may hold a million of them, and each of another kind."""
    data = file(TRACK, MEDIA, *(made(0x10000000 | number) for number in range(1000)))
    reads = 0

    def read(offset: int, count: int) -> bytes:
        nonlocal reads
        reads += 1
        return data[offset : offset + count]

    assert not matroska.is_whole(read, len(data))
    assert reads < 10


# --- How long -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [">d", ">f"])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_header_tells_the_duration_if_the_clusters_agree(form: str, grouped: bool) -> None:
    media = cluster(0, *SECOND, grouped=grouped) + cluster(1000, *SECOND, grouped=grouped)
    assert seconds(file(info(2000, form=form), TRACK, media)) == 2.0
    assert seconds(file(info(1000, scale=2_000_000), TRACK, cluster(0, *SECOND))) == 2.0
    assert seconds(file(info(2400), TRACK, media)) == 2.4, "sound may last longer than the last picture"


def test_a_start_offset_is_not_part_of_the_duration() -> None:
    late = cluster(100_000, *SECOND) + cluster(101_000, *SECOND)
    assert seconds(file(info(102_000), TRACK, late)) == pytest.approx(2.0)
    assert seconds(file(info(2000), TRACK, late)) == 2.0, "written by one that left it out"
    assert seconds(file(info(2000), TRACK, cluster(60, *SECOND) + cluster(1060, *SECOND))) == 2.0


def test_a_start_offset_of_less_than_the_tolerance_is_told_apart() -> None:
    """Whichever way the header counts, an offset may be shorter than two durations may differ."""
    late = cluster(400, *SECOND) + cluster(1400, *SECOND)
    assert seconds(file(info(2400), TRACK, late)) == pytest.approx(2.0)
    assert seconds(file(info(2000), TRACK, late)) == 2.0, "written by one that left it out"
    hours = (cluster(at, *SECOND) for at in (300_000, *range(1_000_000, 36_000_000, 1_000_000), 36_299_000))
    assert seconds(file(info(36_000_000), TRACK, *hours)) == 36_000.0


def test_a_long_file_that_lacks_its_last_minutes_has_no_known_duration() -> None:
    """One per cent may differ, but not because the file was cut."""
    long = file(info(36_000_000), TRACK, *(cluster(at, *SECOND) for at in range(0, 36_000_000, 100_000)))
    last = long.rindex(CLUSTER.to_bytes(4, "big"))
    assert seconds(long[:last]) is None
    assert remark(long[: last + 100]) == "the file ends in the middle of its segment"


@pytest.mark.parametrize("jump", [-90_000, 4_000_000])
def test_a_clock_that_jumps_makes_the_duration_unknown(jump: int) -> None:
    begin = 100_000
    media = cluster(0, *SECOND) + cluster(begin, *SECOND) + cluster(begin + jump, *SECOND)
    data = file(info(begin + jump + 1000), TRACK, media)
    assert seconds(data) is None
    assert remark(data) == "its clock jumps between two clusters"


def test_a_duration_that_the_clusters_contradict_is_unknown() -> None:
    assert remark(file(info(9000), TRACK, MEDIA)) == "its clusters end at 2.000 s, its header says 9.000 s"
    assert seconds(file(info(9000), TRACK, MEDIA)) is None
    assert seconds(CLOSED[: len(CLOSED) - 1100]) is None, "cut"
    assert "no media" in remark(file(info(2000), TRACK))
    assert seconds(file(info(0), TRACK, MEDIA)) is None
    assert seconds(file(info(float("nan")), TRACK, MEDIA)) is None
    assert seconds(file(info(float("inf")), TRACK, MEDIA)) is None
    assert seconds(file(info(-5), TRACK, MEDIA)) is None


def test_without_a_duration_in_its_header_it_is_unknown() -> None:
    assert seconds(LIVE) is None
    assert remark(LIVE) == "its header tells no duration: it was not closed, or written as a live stream"
    assert seconds(file(made(INFO), TRACK, MEDIA)) is None
    assert seconds(file(TRACK, MEDIA)) is None


def test_two_recordings_one_behind_the_other_have_no_length_together() -> None:
    assert remark(CLOSED + CLOSED) == "the file holds 2 recordings, one behind the other"


def test_one_picture_in_ten_seconds_lasts_as_long_as_the_one_before() -> None:
    assert seconds(file(info(30_000), TRACK, cluster(0, 0, 10_000, 20_000))) == 30.0


@pytest.mark.parametrize(
    "wrong",
    [
        made(INFO, whole_number(SCALE, 0)),
        made(INFO, made(SCALE, bytes(9))),
        made(INFO, made(DURATION, b"abc")),
        made(INFO, b"\0"),
        made(INFO, size=UNKNOWN),
        made(CLUSTER, block(0)),
        made(CLUSTER, whole_number(TIMESTAMP, 0) + made(SIMPLE_BLOCK, b"\x81\0")),
        made(CLUSTER, made(TIMESTAMP, bytes(9))),
        b"\0" * 40,
    ],
    ids=[
        "no ticks",
        "a long number",
        "an odd number",
        "rubbish",
        "endless",
        "no time",
        "a short block",
        "a long time",
        "0",
    ],
)
def test_elements_that_make_no_sense_make_the_duration_unknown_and_end_the_clock(wrong: bytes) -> None:
    data = file(info(2000), TRACK, MEDIA, wrong, made(VOID, bytes(9)))
    assert remark(data) == "its elements cannot be read"
    clock = clock_of(data)
    assert clock.is_over
    assert clock.seconds(0, len(data)) is None


def test_more_elements_than_any_recording_make_the_duration_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.matroska._MOST_BLOCKS", 10)
    assert remark(CLOSED) == "it has more elements than any recording"


# --- The clock of a growing file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [CLOSED, LIVE], ids=["closed", "live"])
@pytest.mark.parametrize("step", [1, 37, 500])
def test_seconds_are_counted_however_the_file_grows(data: bytes, step: int) -> None:
    clock = clock_of(data, *range(1, len(data), step), len(data))
    assert clock.seconds(0, len(data)) == pytest.approx(1.96)
    half = data.index(whole_number(TIMESTAMP, 1000))
    assert clock.seconds(half, len(data)) == pytest.approx(0.96, abs=0.05)
    assert clock.seconds(len(data), len(data)) == 0.0


def test_blocks_of_a_cluster_that_another_one_follows_are_not_read() -> None:
    reads = 0

    def read(offset: int, count: int) -> bytes:
        nonlocal reads
        reads += 1
        return many[offset : offset + count]

    many = file(info(), TRACK, *(cluster(at * 1000, *SECOND) for at in range(50)), size=UNKNOWN)
    clock = ClusterClock()
    clock.walk(read, len(many))
    assert clock.seconds(0, len(many)) == pytest.approx(49.96)
    assert reads < 50 * 5 + 100


def test_a_long_file_is_read_in_several_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.matroska._ELEMENTS_A_WALK", 10)
    clock = clock_of(LIVE)
    assert clock.is_behind
    assert clock.seconds(0, len(LIVE)) is None
    for _ in range(6):
        clock.walk(reading(LIVE), len(LIVE))
    assert clock.seconds(0, len(LIVE)) == pytest.approx(1.96)


@pytest.mark.parametrize("jump", [-90_000, 4_000_000])
def test_a_clock_that_jumps_adds_nothing(jump: int) -> None:
    begin = 100_000
    both = (cluster(at, *SECOND, size=UNKNOWN) for at in (begin, begin + jump))
    data = file(info(), *both, size=UNKNOWN)
    assert clock_of(data).seconds(0, len(data)) == pytest.approx(1.92)


def test_a_picture_that_is_shown_before_the_one_in_front_of_it_changes_nothing() -> None:
    data = file(info(), cluster(0, 0, 120, 40, 80, 160), size=UNKNOWN)
    assert clock_of(data).seconds(0, len(data)) == pytest.approx(0.16)


def test_many_tracks_need_little_memory() -> None:
    clock = clock_of(file(info(), made(CLUSTER, whole_number(TIMESTAMP, 0) + block(0, track=1) * 3, size=UNKNOWN)))
    for track in range(1000):
        clock._timeline._at(0, track, 0, track + 1)
    assert len(clock._timeline._of_track) <= 102


@given(st.binary(max_size=200), st.integers(0, len(CLOSED)))
def test_garbage_in_it_costs_nothing_but_its_figures(garbage: bytes, at: int) -> None:
    data = CLOSED[:at] + garbage + CLOSED[at:]
    assert whole(data) is (not garbage) or garbage[0] in (0xEC, 0xBF), "what may stand anywhere"
    found = seconds(data)
    assert found is None or found > 0
    clock_of(data, at, len(data))


def test_no_byte_that_is_damaged_breaks_it() -> None:
    chance = random.Random(25)
    for at in range(len(CLOSED)):
        data = bytearray(CLOSED)
        data[at] ^= 1 << chance.randrange(8)
        found = seconds(bytes(data))
        assert found is None or 0 < found < 100 * 366 * 86_400
        clock_of(bytes(data))


def test_a_number_is_as_wide_as_its_first_byte_says() -> None:
    assert ebml.number(b"\x81", 0) == (1, 0x81, 1)
    assert ebml.number(b"?\x40\x02", 1) == (2, 0x4002, 2)
    assert ebml.number(b"\x01" + bytes(6) + b"\x07", 0) == (8, 1 << 56 | 7, 7)
    for wrong in (b"", b"\0\0", b"\x40"):
        with pytest.raises(ValueError, match="no number"):
            ebml.number(wrong, 0)
