"""The media's own clock of a fragmented recording, and what garbage does to it: nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.containers.fragments import FragmentClock
from tests.unit.test_boxes import box

TEST_DATA = Path(__file__).parents[2] / "test_data"
FRAGMENTED = (TEST_DATA / "sample_fragmented.mp4").read_bytes()


def u32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def index(*numbers: int, scale: int = 1000, usual: int = 40) -> bytes:
    """A ``moov`` of tracks in fragments; one, unless told."""
    media, numbers = box(b"mdia", box(b"mdhd", u32(0, 0, 0, scale, 0, 0))), numbers or (1,)
    tracks = b"".join(box(b"trak", box(b"tkhd", u32(0, 0, 0, number, 0)) + media) for number in numbers)
    defaults = b"".join(box(b"trex", u32(0, number, 1, usual, 0, 0)) for number in numbers)
    return box(b"moov", tracks + box(b"mvex", defaults))


def fragment(tfhd: bytes, *truns: bytes, media: int = 1000) -> bytes:
    runs = b"".join(box(b"trun", trun) for trun in truns)
    return box(b"moof", box(b"traf", box(b"tfhd", tfhd) + runs)) + box(b"mdat", bytes(media))


def clock_of(*sizes: int, data: bytes) -> FragmentClock:
    clock = FragmentClock()
    for size in sizes or (len(data),):
        clock.walk(lambda offset, count, end=size: data[:end][offset : offset + count], size)  # type: ignore[misc]
    return clock


def seconds(data: bytes) -> float | None:
    return clock_of(data=data).seconds(0, len(data))


PLAIN = u32(0, 1)  # tfhd: no flags, track 1


def test_durations_come_from_the_index_the_fragment_or_each_sample() -> None:
    usual = fragment(PLAIN, u32(0, 25))
    of_fragment = fragment(u32(0x8, 1, 20), u32(0, 25))
    of_samples = fragment(PLAIN, u32(0x301, 2, 0, 100, 7, 150, 7), u32(0x305, 1, 0, 0, 250, 7))
    assert [seconds(index() + one) for one in (usual, of_fragment, of_samples)] == [1.0, 0.5, 0.5]
    assert seconds(index() + usual + of_fragment + of_samples) == 2.0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (0x100, (2, 100, 150)),
        (0x101, (2, 9, 100, 150)),
        (0x104, (2, 9, 100, 150)),
        (0x105, (2, 9, 9, 100, 150)),
        (0x300, (2, 100, 7, 150, 7)),
        (0xF00, (2, 100, 7, 7, 7, 150, 7, 7, 7)),
        (0xF05, (2, 9, 9, 100, 7, 7, 7, 150, 7, 7, 7)),
    ],
)
def test_the_durations_of_samples_stand_between_their_other_fields(flags: int, words: tuple[int, ...]) -> None:
    assert seconds(index() + fragment(PLAIN, u32(flags, *words))) == 0.25
    assert seconds(index() + fragment(PLAIN, u32(flags, *words)[:-1])) is None, "a run that is cut"


def test_what_stands_behind_the_samples_of_a_run_does_not_matter() -> None:
    assert seconds(index() + fragment(PLAIN, u32(0x100, 2, 100, 150, 999))) == 0.25


def test_the_size_of_samples_alone_says_nothing_of_their_durations() -> None:
    assert seconds(index() + fragment(PLAIN, u32(0x200, 2, 7, 7))) == 0.08


def test_fields_before_the_default_duration_are_stepped_over() -> None:
    assert seconds(index() + fragment(u32(0x1 | 0x2 | 0x8, 1, 0, 0, 9, 20), u32(0, 25))) == 0.5
    assert seconds(index() + fragment(u32(0x1 | 0x8, 1, 0, 9, 20), u32(0, 25))) == 0.5
    assert seconds(index() + fragment(u32(0x2 | 0x8, 1, 9, 20), u32(0, 25))) == 0.5
    assert seconds(index() + fragment(u32(0x10 | 0x8, 1, 20, 9), u32(0, 25))) == 0.5, (
        "what comes behind does not matter"
    )


def test_the_longest_track_is_the_films() -> None:
    picture, sound = fragment(u32(0, 2), u32(0, 25)), fragment(u32(0, 3), u32(0, 24))
    assert seconds(index(1, 2, 3) + 3 * (picture + sound)) == pytest.approx(3.0)


def test_while_no_track_has_a_fragment_nothing_is_known() -> None:
    assert seconds(index(1, 2)) is None
    assert seconds(index(1, 2) + fragment(PLAIN, u32(0, 0))) is None


def test_a_track_that_the_index_does_not_know_does_not_count() -> None:
    assert seconds(index() + fragment(PLAIN, u32(0, 25)) + fragment(u32(0, 2), u32(0, 999))) == 1.0


def test_a_file_that_names_a_new_track_in_every_fragment_fills_no_memory() -> None:
    data = index() + fragment(PLAIN, u32(0, 25)) + b"".join(fragment(u32(0, n), u32(0, 1)) for n in range(2, 500))
    assert list(clock_of(data=data)._seconds) == [1]


def test_a_part_of_the_file_has_its_share() -> None:
    data = index() + 10 * fragment(PLAIN, u32(0, 25))
    half = len(index()) + 5 * len(fragment(PLAIN, u32(0, 25)))
    assert clock_of(data=data).seconds(half, len(data)) == pytest.approx(5.0)


def test_a_file_is_read_on_wherever_the_looks_have_cut_it() -> None:
    data = index() + 20 * fragment(PLAIN, u32(0, 25))
    cuts = sorted(random.Random(1).sample(range(len(data)), 50))
    assert clock_of(*cuts, len(data), data=data).seconds(0, len(data)) == pytest.approx(20.0)


def test_a_fragment_that_is_half_written_counts_by_half() -> None:
    data = index() + fragment(PLAIN, u32(0, 25), media=100_000)
    assert clock_of(len(data) - 50_000, data=data).seconds(0, len(data) - 50_000) == pytest.approx(0.5, abs=0.01)


def test_the_time_of_a_fragment_is_spread_over_all_its_bytes_up_to_the_end_of_its_media() -> None:
    first = index() + fragment(PLAIN, u32(0, 25))
    header = fragment(PLAIN, u32(0, 25), media=0)[:-8]
    data = first + header + box(b"free", bytes(92)) + box(b"mdat", bytes(992))
    assert len(data) - len(first) == len(header) + 100 + 1000
    assert clock_of(data=data).seconds(len(data) - 500, len(data)) == pytest.approx(500 / (len(header) + 1100))


def test_media_before_the_first_fragment_has_no_time() -> None:
    begin = index() + box(b"mdat", bytes(1000))
    data = begin + fragment(PLAIN, u32(0, 25))
    clock = clock_of(data=data)
    assert (clock.seconds(0, len(begin)), clock.seconds(len(begin), len(data))) == (0.0, 1.0)


@pytest.mark.parametrize(("duration", "is_believed"), [(3_600_000, True), (3_600_001, False)])
def test_a_fragment_lasts_for_an_hour_at_most(duration: int, is_believed: bool) -> None:
    assert seconds(index() + fragment(PLAIN, u32(0x100, 1, duration))) == (3600.0 if is_believed else None)


def test_nothing_is_known_before_the_walk_has_come_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.fragments._BOXES_A_WALK", 4)
    data = index() + 3 * fragment(PLAIN, u32(0, 25))
    assert seconds(data) is None
    assert clock_of(len(data), len(data), data=data).seconds(0, len(data)) == 3.0


def test_the_sample_has_its_two_seconds() -> None:
    assert seconds(FRAGMENTED) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ["sample.mp4", "sample_faststart.mp4"])
def test_an_ordinary_recording_has_no_clock_of_its_own(name: str) -> None:
    clock = clock_of(data=(TEST_DATA / name).read_bytes())
    assert clock.is_over and clock.seconds(0, 100) is None


def test_an_ordinary_recording_under_way_is_given_up_at_once() -> None:
    assert clock_of(data=box(b"ftyp", b"isom") + b"\0\0\0\0mdat" + bytes(100)).is_over


@pytest.mark.parametrize(
    "data",
    [
        index(scale=0) + fragment(PLAIN, u32(0, 25)),
        index() + fragment(PLAIN, u32(0, 0xFFFFFFFF)),
        index() + fragment(PLAIN, u32(0x100, 0xFFFFFFFF, 1)),
        index() + box(b"moof", b"\0\0\0\7" + bytes(8)),
        index() + box(b"moof", box(b"free", bytes(9)) + b"\0\0\0\x09free") + box(b"mdat", bytes(50)),
        index() + b"\x7f\xff\xff\xffmoof" + bytes(50),
        fragment(PLAIN, u32(0, 25)),
        box(b"moov", b"") + box(b"free", b"12345678"),
    ],
    ids=[
        "no scale",
        "136 years",
        "more samples than bytes",
        "no box",
        "a box that ends outside",
        "a giant",
        "no index",
        "an empty index",
    ],
)
def test_what_makes_no_sense_ends_the_clock(data: bytes) -> None:
    assert clock_of(data=data).is_over
    assert seconds(data) is None


@pytest.mark.parametrize("kind", [b"moov", b"moof"])
@pytest.mark.parametrize(("length", "is_read"), [(8_388_608, True), (8_388_609, False)])
def test_an_index_or_a_fragments_header_has_at_most_8_mib(kind: bytes, length: int, is_read: bool) -> None:
    index_or_header = {b"moov": index(), b"moof": fragment(PLAIN, u32(0, 25), media=0)[:-8]}
    large = index_or_header[kind][8:] + box(b"free", bytes(length - len(index_or_header[kind]) - 8))
    index_or_header[kind] = box(kind, large)
    assert len(index_or_header[kind]) == length
    data = index_or_header[b"moov"] + index_or_header[b"moof"] + box(b"mdat", bytes(1000))
    assert seconds(data) == (1.0 if is_read else None)
    assert clock_of(data=data).is_over is not is_read


@given(st.binary(max_size=400))
@example(b"")
def test_any_bytes_are_survived(data: bytes) -> None:
    clock_of(data=data)
    clock_of(data=index() + data)


@given(st.data())
def test_any_damage_to_a_recording_is_survived_and_gives_seconds_that_can_be(draw: st.DataObject) -> None:
    data = bytearray(FRAGMENTED)
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    found = seconds(bytes(data))
    assert found is None or 0 <= found < 24 * 3600


@pytest.mark.parametrize("media", [1, 7, 8, 9])
def test_a_fragment_with_little_media_counts_as_soon_as_its_header_can_be_read(media: int) -> None:
    data = index() + fragment(PLAIN, u32(0, 25), media=media)
    is_read = media + 8 >= 16  # a header is looked at in 16 bytes, because it may have a long size
    assert seconds(data) == (1.0 if is_read else 0.0)
    assert seconds(data + fragment(PLAIN, u32(0, 25))) == 2.0


def test_until_the_header_of_the_next_fragment_is_complete_those_before_it_are_known() -> None:
    data = index() + fragment(PLAIN, u32(0, 25)) + fragment(PLAIN, u32(0, 25), media=0)[:-8]
    assert clock_of(len(data) - 1, data=data).seconds(0, len(data) - 1) == 1.0


def test_an_offset_in_a_fragments_header_is_not_a_duration() -> None:
    assert seconds(index() + fragment(u32(0x1, 1, 0, 9), u32(0, 25))) == 1.0
