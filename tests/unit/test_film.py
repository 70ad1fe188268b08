"""What the boxes of a film say, in films of a few boxes whose every figure is counted by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from src.containers import Film, Track, close_to, read_film
from tests.unit.test_boxes import box

UNKNOWN_32, UNKNOWN_64 = 2**32 - 1, 2**64 - 1
NO_TURN = (1 << 16, 0, 0, 0, 1 << 16)
MEDIA = 400  # bytes of samples, behind the header of an ``mdat`` that stands first
FIRST_BYTE = 8
NO_BYTES = [0] * 25  # samples that lie anywhere

Edit = tuple[int, int]  # duration in the film's ticks, and where the media begins in the track's; -1: nothing is shown


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]) + content)


def table(kind: bytes, rows: Sequence[tuple[int, ...]], form: str = ">I") -> bytes:
    return full(kind, u32(len(rows)) + b"".join(struct.pack(form, *row) for row in rows))


def times(kind: bytes, scale: int, duration: int, *, long: bool = False) -> bytes:
    """An ``mvhd`` or ``mdhd``."""
    if long:
        return full(kind, bytes(16) + struct.pack(">IQ", scale, duration) + bytes(8), version=1)
    return full(kind, bytes(8) + u32(scale, duration) + bytes(8))


def tkhd(number: int, matrix: Sequence[int] = NO_TURN, *, long: bool = False) -> bytes:
    # Behind the times: number, reserved, duration, reserved (8), layer to reserved (8), the matrix.
    rest = u32(number, 0) + bytes(8 if long else 4) + bytes(16) + struct.pack(">5i", *matrix) + bytes(24)
    return full(b"tkhd", bytes(16 if long else 8) + rest, version=int(long))


def edts(edits: Sequence[Edit], *, long: bool = False) -> bytes:
    form = ">QqI" if long else ">IiI"
    rows = b"".join(struct.pack(form, duration, begins, 0x10000) for duration, begins in edits)
    return box(b"edts", full(b"elst", u32(len(edits)) + rows, version=int(long)))


def stsd(width: int, height: int) -> bytes:
    entry = box(b"avc1", bytes(24) + struct.pack(">HH", width, height) + bytes(50))
    return full(b"stsd", u32(1) + entry)


def trak(
    number: int = 1,
    kind: bytes = b"vide",
    *,
    scale: int = 1000,
    claimed: int | None = None,
    stts: Sequence[tuple[int, int]] = ((25, 40),),
    chunks: Sequence[int] = (FIRST_BYTE,),
    in_a_chunk: int = 25,
    sizes: int | Sequence[int] = 16,
    edits: Sequence[Edit] | None = None,
    matrix: Sequence[int] = NO_TURN,
    size: tuple[int, int] = (160, 120),
    long: bool = False,
    far: bool = False,
    tables: bytes | None = None,
) -> bytes:
    """A track of 25 samples that last 40 ms each, unless told; they are one chunk of 400 bytes."""
    count = sum(samples for samples, _ in stts)
    if claimed is None:
        claimed = sum(samples * delta for samples, delta in stts)
    if tables is None:
        stsz = u32(sizes, count) if isinstance(sizes, int) else u32(0, len(sizes), *sizes)
        offsets = [(chunk,) for chunk in chunks]
        tables = table(b"stts", stts, ">II") + table(b"stsc", [(1, in_a_chunk, 1)], ">III") + full(b"stsz", stsz)
        tables += table(b"co64", offsets, ">Q") if far else table(b"stco", offsets)
    stbl = box(b"stbl", stsd(*size) + tables)
    media = times(b"mdhd", scale, claimed, long=long) + full(b"hdlr", bytes(4) + kind + bytes(13))
    edit_list = b"" if edits is None else edts(edits, long=long)
    return box(b"trak", tkhd(number, matrix, long=long) + edit_list + box(b"mdia", media + box(b"minf", stbl)))


def moov(*tracks: bytes, scale: int = 600, long: bool = False, mvex: bytes = b"") -> bytes:
    return box(b"moov", times(b"mvhd", scale, 600, long=long) + b"".join(tracks) + mvex)


def film_of(data: bytes) -> Film | None:
    def read(offset: int, count: int) -> bytes:
        assert 0 <= offset <= len(data) and 0 <= count <= 1 << 16, "only what is there, in pieces"
        return data[offset : offset + count]

    return read_film(read, len(data))


def film(*tracks: bytes, long: bool = False) -> Film:
    found = film_of(box(b"mdat", bytes(MEDIA)) + moov(*tracks, long=long))
    assert found is not None
    return found


def the_track(*told: bytes) -> Track:
    return film(*told).tracks[1]


# --- One track ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("long", [False, True], ids=["32 bits", "64 bits"])
def test_the_samples_are_counted(long: bool) -> None:
    found = film(trak(7, edits=[(600, 0)], matrix=(0, 1 << 16, 0, -(1 << 16), 0), long=long), long=long)
    assert (found.seconds, found.is_fragmented, found.runs, found.is_irregular, found.remarks) == (
        1,
        False,
        1,
        False,
        (),
    )
    track = found.tracks[7]
    assert (track.number, track.kind, track.samples, dict(track.usual)) == (7, "video", 25, {0.04: 25})
    assert (track.starts, track.seconds, track.media_seconds, track.ends) == (0.0, 1.0, 1.0, 1.0)
    assert (track.width, track.height, track.rotation_degrees, track.is_mirrored) == (160, 120, 90, False)
    assert not track.is_of_unknown_length


@pytest.mark.parametrize(
    ("kind", "told"), [(b"vide", "video"), (b"soun", "audio"), (b"tmcd", "tmcd"), (b"\xa9xyz", "\xa9xyz")]
)
def test_a_track_is_of_the_kind_that_its_handler_says(kind: bytes, told: str) -> None:
    track = the_track(trak(1, kind))
    assert track.kind == told
    of_a_picture = (track.width, track.height, track.rotation_degrees)
    assert of_a_picture == ((160, 120, 0) if told == "video" else (None, None, None))
    assert not track.is_mirrored


@pytest.mark.parametrize(
    ("matrix", "degrees"),
    [
        ((1, 0, 0, 0, 1), 0),
        ((0, 1, 0, -1, 0), 90),
        ((-1, 0, 0, 0, -1), 180),
        ((0, -1, 0, 1, 0), 270),
        ((1, 1, 0, -1, 1), 45),
        ((2, 0, 0, 0, 3), 0),
        ((1, 0, 0, 5, 1), 0),
        ((2, 3, 0, 1, 2), 56),
        ((1, 0, 0, 0, -1), None),
        ((-1, 0, 0, 0, 1), None),
        ((0, 1, 0, 1, 0), None),
        ((1, 2, 0, 2, 4), None),
        ((0, 0, 0, 0, 0), None),
    ],
)
def test_a_picture_is_turned_clockwise_or_mirrored(matrix: tuple[int, ...], degrees: int | None) -> None:
    track = the_track(trak(matrix=[number << 16 if abs(number) == 1 else number * 65536 for number in matrix]))
    assert (track.rotation_degrees, track.is_mirrored) == (degrees, degrees is None)


@pytest.mark.parametrize("long", [False, True], ids=["32 bits", "64 bits"])
def test_a_picture_that_is_enlarged_200_times_is_not_turned(long: bool) -> None:
    assert the_track(trak(matrix=(200 << 16, 0, 0, 0, 200 << 16), long=long)).rotation_degrees == 0


def test_a_size_of_nothing_is_unknown() -> None:
    assert [(t.width, t.height) for t in (the_track(trak(size=(0, 1))), the_track(trak(size=(1, 0))))] == [
        (None, 1),
        (1, None),
    ]


def test_a_track_without_a_sample_entry_has_no_size() -> None:
    tables = table(b"stts", [(25, 40)], ">II")
    track = the_track(trak(tables=tables).replace(b"stsd", b"free"))
    assert (track.width, track.height, track.seconds) == (None, None, 1.0)


@pytest.mark.parametrize(("length", "size"), [(44, (160, 120)), (43, (None, None))])
def test_a_sample_entry_that_is_cut_has_no_size(length: int, size: tuple[int | None, int | None]) -> None:
    tables = table(b"stts", [(25, 40)], ">II") + box(b"stsd", stsd(160, 120)[8 : 8 + length])
    track = the_track(trak(tables=tables).replace(b"stsd", b"free", 1))
    assert ((track.width, track.height), track.seconds) == (size, 1.0)


@pytest.mark.parametrize("long", [False, True], ids=["32 bits", "64 bits"])
def test_a_length_that_the_header_does_not_know_is_counted(long: bool) -> None:
    track = the_track(trak(claimed=UNKNOWN_64 if long else UNKNOWN_32, long=long))
    assert track.is_of_unknown_length
    assert (track.seconds, track.media_seconds) == (1.0, 1.0)


def test_the_largest_known_lengths_are_known() -> None:
    assert not the_track(trak(claimed=UNKNOWN_32 - 1)).is_of_unknown_length
    assert not the_track(trak(claimed=2**63 - 1, long=True)).is_of_unknown_length
    assert the_track(trak(claimed=2**63, long=True)).is_of_unknown_length


@pytest.mark.parametrize(
    ("claimed", "is_believed"),
    [(1000, True), (1500, True), (1501, False), (500, True), (499, False), (0, True), (1, False)],
)
def test_samples_and_header_may_differ_by_half_a_second(claimed: int, is_believed: bool) -> None:
    found = film(trak(claimed=claimed))
    assert (found.seconds, found.tracks[1].media_seconds) == ((1.0, 1.0) if is_believed else (None, None))
    told = f"track 1: its samples last 1.000 s, its header says {claimed / 1000:.3f} s"
    assert found.remarks == (() if is_believed else (told,))


def test_two_counts_are_close_within_half_a_second_or_a_hundredth() -> None:
    assert close_to(1.0, 1.5) and close_to(1.5, 1.0) and close_to(0.0, 0.5)
    assert not close_to(1.0, 1.51) and not close_to(1.51, 1.0)
    assert close_to(99.0, 100.0) and close_to(100.0, 99.0) and close_to(1000.0, 990.0)
    assert not close_to(1000.0, 989.0) and not close_to(989.0, 1000.0)
    assert not close_to(40.0, 39.0)


def test_samples_that_last_nothing_are_as_long_as_the_header_says() -> None:
    assert film(trak(stts=[(25, 0)], claimed=1000)).seconds == 1.0
    assert film(trak(stts=[(25, 0)], claimed=0)).seconds is None


def test_a_header_without_a_sample_is_not_believed() -> None:
    found = film(trak(stts=[], claimed=1000, sizes=[], chunks=[]))
    assert (found.seconds, found.tracks[1].media_seconds, found.tracks[1].samples) == (None, None, 0)


def test_without_a_time_scale_nothing_is_known() -> None:
    track = the_track(trak(scale=0))
    assert (track.seconds, track.media_seconds, dict(track.usual)) == (None, None, {})


def test_without_a_media_header_nothing_is_known() -> None:
    track = the_track(trak().replace(b"mdhd", b"free"))
    assert (track.samples, track.seconds, track.media_seconds, dict(track.usual)) == (25, None, None, {})


def test_a_negative_duration_corrects_an_overlap_and_lasts_nothing() -> None:
    for negative in (2**31, 2**31 + 1, 2**32 - 40, 2**32 - 1):
        assert film(trak(stts=[(24, 40), (1, negative)], claimed=960)).seconds == pytest.approx(0.96)
    # The largest that is not negative lasts longer than any film here: it contradicts the header.
    assert film(trak(stts=[(24, 40), (1, 2**31 - 1)], claimed=960)).seconds is None


# --- How many pictures a second -------------------------------------------------------------------------------------


def rate(*stts: tuple[int, int]) -> float | None:
    count = sum(samples for samples, _ in stts)
    return the_track(trak(stts=stts, in_a_chunk=count, sizes=1)).frame_rate


def test_a_constant_rate_is_that_of_nearly_all() -> None:
    assert rate((25, 40)) == pytest.approx(25.0)
    assert rate((10, 40), (1, 400)) == pytest.approx(25.0), "only the last one is a guess"
    assert rate((1, 400), (10, 40)) == pytest.approx(25.0)
    assert rate((10, 40), (1, 20), (9, 40)) == pytest.approx(25.0)
    assert rate((9, 40), (2, 20)) == pytest.approx(25.0), "nine of the ten that count"
    assert rate((1, 40), (1, 20)) == pytest.approx(25.0)


def test_otherwise_it_is_the_average() -> None:
    assert rate((8, 40), (3, 20)) == pytest.approx(11 / 0.38)
    assert rate((2, 40), (2, 20)) == pytest.approx(4 / 0.12)
    assert rate((25, 0), (1, 1000)) == pytest.approx(26.0), "what lasts nothing has no rate"


def test_one_picture_has_none() -> None:
    assert rate((1, 40)) is None
    assert rate((2, 40)) == pytest.approx(25.0)
    assert Track(1, "video", samples=25).frame_rate is None
    assert Track(1, "video", samples=25, media_seconds=0.5).frame_rate == 50.0


def test_no_more_than_a_thousand_different_durations_are_counted() -> None:
    stts = [(1, delta) for delta in range(1, 1003)] + [(5, 1), (7, 1002)]
    usual = the_track(trak(stts=stts, in_a_chunk=1, sizes=1)).usual
    assert len(usual) == 1000
    assert usual[0.001] == 6 and usual[1.0] == 1 and 1.002 not in usual


# --- Edits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("long", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize(
    ("edits", "starts", "seconds"),
    [
        ([(600, 0)], 0.0, 1.0),
        ([(300, 0)], 0.0, 0.5),
        ([(300, 200)], 0.0, 0.5),
        ([(600, 200)], 0.0, 0.8),
        ([(6000, 0)], 0.0, 1.0),
        ([(0, 200)], 0.0, 0.8),
        ([(0, 2000)], 0.0, 0.0),
        ([(300, -1), (600, 0)], 0.5, 1.0),
        ([(300, -1), (150, -1), (600, 0)], 0.75, 1.0),
        ([(150, 0), (300, -1), (150, 500)], 0.0, 1.0),
        ([(150, 0), (150, 500)], 0.0, 0.5),
        ([(300, -1)], 0.5, 1.0),
        ([], 0.0, 1.0),
    ],
)
def test_edits_say_when_a_track_begins_and_how_long_it_plays(
    edits: list[Edit], starts: float, seconds: float, long: bool
) -> None:
    track = the_track(trak(edits=edits, long=long))
    assert (track.starts, track.seconds, track.ends) == pytest.approx((starts, seconds, starts + seconds))


@pytest.mark.parametrize(("long", "unknown"), [(False, UNKNOWN_32), (True, UNKNOWN_64)])
def test_an_edit_of_unknown_length_is_as_long_as_the_media(long: bool, unknown: int) -> None:
    track = the_track(trak(edits=[(unknown, -1), (300, -1), (unknown, 200)], long=long))
    assert (track.starts, track.seconds) == pytest.approx((0.5, 0.8))
    track = the_track(trak(edits=[(300, 0), (unknown, -1)], long=long))
    assert (track.starts, track.seconds) == pytest.approx((0.0, 0.5))
    track = the_track(trak(edits=[(unknown - 1, -1), (300, 0)], long=long))
    assert track.starts == pytest.approx((unknown - 1) / 600)


# --- Several tracks -------------------------------------------------------------------------------------------------


def test_a_film_lasts_from_the_first_sample_shown_to_the_last() -> None:
    late, early = trak(1, edits=[(1200, -1), (600, 0)]), trak(2, b"soun", edits=[(300, -1), (300, 0)])
    assert film(late, early).seconds == pytest.approx(3.0 - 0.5)
    long, short = trak(1), trak(2, b"soun", edits=[(300, 0)])
    assert film(long, short).seconds == pytest.approx(1.0)
    assert film(short, long).seconds == pytest.approx(1.0)


def test_what_is_neither_seen_nor_heard_does_not_count_beside_what_is() -> None:
    notes = trak(3, b"tmcd", stts=[(1, 9000)])
    assert film(trak(1), notes).seconds == 1.0
    assert film(trak(1, b"soun"), notes).seconds == 1.0
    assert film(notes).seconds == 9.0, "it is all there is"


def test_a_film_is_of_unknown_length_as_soon_as_one_of_its_tracks_is() -> None:
    assert film(trak(1), trak(2, b"soun", claimed=1)).seconds is None
    assert film(trak(2, b"soun", claimed=1), trak(1)).seconds is None
    assert film().seconds is None


def test_a_track_that_is_all_edited_away_neither_counts_nor_hides_the_others() -> None:
    assert film(trak(1), trak(2, b"soun", edits=[(0, 2000)])).seconds == 1.0
    assert film(trak(1, edits=[(0, 2000)])).seconds is None


@pytest.mark.parametrize(("years", "is_believed"), [(99, True), (100, True), (101, False)])
def test_nobody_has_filmed_for_a_hundred_years(years: int, is_believed: bool) -> None:
    seconds = years * 366 * 86_400
    found = film(trak(scale=1, stts=[(2, seconds // 2)], in_a_chunk=2))
    assert found.seconds == (seconds if is_believed else None)


def test_a_hundred_years_end_with_their_last_second() -> None:
    seconds = 100 * 366 * 86_400
    assert film(trak(scale=1, stts=[(2, seconds // 2 + 1)], in_a_chunk=2)).seconds is None


def test_two_recordings_one_behind_the_other_have_no_length_together() -> None:
    one = box(b"mdat", bytes(MEDIA)) + moov(trak())
    found = film_of(one + one)
    assert found is not None
    assert (found.seconds, found.runs, found.is_irregular) == (None, 2, False)
    assert found.remarks == ("the file holds 2 recordings, one behind the other",)


# --- Files that end too early, and files that lie -------------------------------------------------------------------


def is_cut(**told: object) -> bool:
    found = film(trak(**told))  # type: ignore[arg-type]
    assert found.remarks in ((), ("the file ends before its last samples",))
    assert (found.seconds is None) == bool(found.remarks)
    return bool(found.remarks)


END = len(box(b"mdat", bytes(MEDIA)) + moov(trak()))


@pytest.mark.parametrize("far", [False, True], ids=["stco", "co64"])
def test_a_chunk_behind_the_end_is_missing(far: bool) -> None:
    end = len(box(b"mdat", bytes(MEDIA)) + moov(trak(far=far, sizes=NO_BYTES, chunks=[0, 0])))
    assert not is_cut(far=far, sizes=NO_BYTES, chunks=[end - 1, 8])
    assert is_cut(far=far, sizes=NO_BYTES, chunks=[end, 8])
    assert is_cut(far=far, sizes=NO_BYTES, chunks=[8, end])
    assert is_cut(far=far, sizes=NO_BYTES, chunks=[end + 1, 8])


def test_the_last_chunk_ends_where_its_samples_do() -> None:
    assert not is_cut(chunks=[END - 25 * 16])
    assert is_cut(chunks=[END - 25 * 16 + 1])
    assert not is_cut(chunks=[END - 16], in_a_chunk=1), "the last chunk has one sample"
    assert is_cut(chunks=[END - 15], in_a_chunk=1)
    assert is_cut(chunks=[END - 25 * 16 + 1], in_a_chunk=100), "no more samples than there are"
    assert not is_cut(chunks=[8, END + 4 - 16], in_a_chunk=1), "the last of two"
    assert is_cut(chunks=[8, END + 4 - 15], in_a_chunk=1)
    assert not is_cut(chunks=[END + 4 - 15, 8], in_a_chunk=1)


def test_samples_of_different_sizes_are_summed_from_the_last() -> None:
    sizes = [1] * 22 + [10, 20, 30]
    end = END + 4 * 25
    assert not is_cut(chunks=[end - 60], in_a_chunk=3, sizes=sizes)
    assert is_cut(chunks=[end - 59], in_a_chunk=3, sizes=sizes)
    assert not is_cut(chunks=[end - 82], in_a_chunk=25, sizes=sizes)
    assert is_cut(chunks=[end - 81], in_a_chunk=25, sizes=sizes)


def test_without_sizes_only_the_beginning_of_a_chunk_is_checked() -> None:
    tables = table(b"stts", [(25, 40)], ">II") + table(b"stco", [(FIRST_BYTE,)])
    assert not is_cut(tables=tables)
    assert not is_cut(tables=tables + full(b"stsz", u32(9999)))
    assert not is_cut(tables=tables + full(b"stsz", u32(9999, 25)[:-1])), "a table that is cut before its number"


def test_a_table_of_sizes_may_be_shorter_than_its_box() -> None:
    def tables(padding: int) -> bytes:
        stsz = full(b"stsz", (u32(0, 25, *[1] * 25) + bytes(40))[: 108 + padding])
        return table(b"stts", [(25, 40)], ">II") + table(b"stsc", [(1, 25, 1)], ">III") + stsz + chunk

    chunk = table(b"stco", [(FIRST_BYTE,)])
    assert not is_cut(tables=tables(0)) and not is_cut(tables=tables(40))
    assert film_of(box(b"mdat", bytes(MEDIA)) + moov(trak(tables=tables(0).replace(u32(0, 25), u32(0, 26))))) is None
    assert film_of(box(b"mdat", bytes(MEDIA)) + moov(trak(tables=tables(-1)))) is None, "one byte is missing"


def test_without_a_table_of_chunks_no_sample_is_in_the_last_one() -> None:
    tables = table(b"stts", [(25, 40)], ">II") + full(b"stsz", u32(0, 25, *[9] * 25)) + table(b"stco", [(FIRST_BYTE,)])
    assert not is_cut(tables=tables)


def test_without_a_table_of_chunks_the_last_one_may_begin_with_the_last_byte() -> None:
    def tables(chunk: int) -> bytes:
        sizes = full(b"stsz", u32(0, 25, *[9] * 25))
        return table(b"stts", [(25, 40)], ">II") + sizes + table(b"stco", [(chunk,)])

    end = len(box(b"mdat", bytes(MEDIA)) + moov(trak(tables=tables(0))))
    assert not is_cut(tables=tables(end - 1))
    assert is_cut(tables=tables(end))


def test_without_offsets_there_are_no_more_bytes_of_samples_than_of_the_file() -> None:
    def tables(bytes_each: int) -> bytes:
        chunks = table(b"stsc", [(1, 1, 1)], ">III")
        return table(b"stts", [(25, 40)], ">II") + chunks + full(b"stsz", u32(bytes_each, 25))

    end = len(box(b"mdat", bytes(MEDIA)) + moov(trak(tables=tables(0))))
    assert not is_cut(tables=tables(end))
    assert is_cut(tables=tables(end + 1))


def test_a_long_table_of_chunks_is_read_in_pieces_and_its_last_row_counts() -> None:
    def tables(chunk: int) -> bytes:
        chunks = table(b"stsc", [(row, 25, 1) for row in range(1, 6_000)] + [(6_000, 2, 1)], ">III")
        return table(b"stts", [(25, 40)], ">II") + chunks + full(b"stsz", u32(16, 25)) + table(b"stco", [(chunk,)])

    end = len(box(b"mdat", bytes(MEDIA)) + moov(trak(tables=tables(0))))
    assert not is_cut(tables=tables(end - 2 * 16))
    assert is_cut(tables=tables(end - 2 * 16 + 1))


def large_film_of(data: bytes) -> Film | None:
    """Like ``film_of``, for what is read at once even if it is large: 8 MiB, and no more."""

    def read(offset: int, count: int) -> bytes:
        assert 0 <= count <= 8_388_608
        return data[offset : offset + count]

    return read_film(read, len(data))


def test_the_sizes_that_a_shrinking_file_still_has_are_summed() -> None:
    data = moov(trak(chunks=[0], sizes=[9] * 25))
    at = data.index(b"stsz") + 16

    def read(offset: int, count: int) -> bytes:
        return data[offset : offset + count - (1 if offset == at else 0)]

    found = read_film(read, len(data))
    assert found is not None and found.seconds == 1.0


class _Zeros:
    """A film of which all is zero but what is written; it may be larger than the memory."""

    def __init__(self, head: bytes, size: int) -> None:
        self.head, self.size = head, size

    def film(self) -> Film | None:
        return read_film(self.read, self.size)

    def read(self, offset: int, count: int) -> bytes:
        return self.head[offset : offset + count].ljust(min(count, self.size - offset), b"\0")


@pytest.mark.parametrize(("rows", "is_read"), [(5_592_405, True), (5_592_406, False)])
def test_a_table_has_at_most_64_mib(rows: int, is_read: bool) -> None:
    """Of chunks, with twelve bytes each, in an index that is the last box."""
    before = table(b"stts", [(25, 40)], ">II") + table(b"stco", [(0,)]) + full(b"stsz", u32(16, 25))
    inner = before + u32(16 + 12 * rows) + b"stsc" + u32(0, rows)
    data = moov(trak(tables=inner))
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = data.index(kind) - 4
        data = data[:at] + u32(int.from_bytes(data[at : at + 4], "big") + 12 * rows) + data[at + 4 :]
    assert (_Zeros(data, len(data) + 12 * rows).film() is not None) is is_read


@pytest.mark.parametrize(("more", "is_read"), [(9_997, True), (9_998, False)])
def test_an_index_has_less_than_10_000_boxes(more: int, is_read: bool) -> None:
    """Beside its header and its track."""
    data = moov(trak(chunks=[0], sizes=NO_BYTES), mvex=box(b"free", b"") * more)
    assert (film_of(data) is not None) is is_read


@pytest.mark.parametrize(("samples", "is_read"), [(2_097_152, True), (2_097_153, False)])
def test_the_sizes_of_one_chunk_have_at_most_8_mib(samples: int, is_read: bool) -> None:
    tables = table(b"stts", [(samples, 40)], ">II") + table(b"stsc", [(1, samples, 1)], ">III")
    tables += full(b"stsz", u32(0, samples) + u32(1) * samples) + table(b"stco", [(0,)])
    found = large_film_of(moov(trak(stts=[(samples, 40)], tables=tables)))
    assert (found is not None) == is_read
    assert found is None or found.seconds == pytest.approx(2_097_152 * 0.04)


def damaged(was: bytes, becomes: bytes) -> Film | None:
    data = box(b"mdat", bytes(MEDIA)) + moov(trak())
    assert data.count(was) == 1
    return film_of(data.replace(was, becomes))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"stts\0\0\0\0" + u32(1), b"stts\0\0\0\0" + u32(2)),
        (b"stco\0\0\0\0" + u32(1), b"stco\0\0\0\0" + u32(2)),
        (b"stsc\0\0\0\0" + u32(1), b"stsc\0\0\0\0" + u32(2**32 - 1)),
        (b"stsz\0\0\0\0" + u32(16, 25), b"stsz\0\0\0\0" + u32(0, 25)),
        (u32(len(stsd(1, 1))) + b"stsd", u32(1 << 20) + b"stsd"),
        (u32(len(stsd(1, 1))) + b"stsd", u32(7) + b"stsd"),
    ],
    ids=["stts", "stco", "stsc", "stsz", "a box that ends outside", "a box shorter than its header"],
)
def test_an_index_that_contradicts_itself_is_none(was: bytes, becomes: bytes) -> None:
    assert damaged(was, becomes) is None


def test_an_index_without_a_track_header_is_none() -> None:
    assert damaged(b"tkhd", b"free") is None


def test_a_file_without_an_index_is_no_film() -> None:
    assert film_of(b"") is None
    assert film_of(box(b"mdat", bytes(MEDIA))) is None
    assert film_of(box(b"ftyp", b"isom") + b"no box at all, for that matter") is None


def test_what_ends_in_the_middle_is_told() -> None:
    whole = moov(trak(chunks=[0], sizes=NO_BYTES))
    for rest in (b"\0", bytes(7), u32(100) + b"mdat", box(b"mdat", bytes(50))[:-1]):
        found = film_of(whole + rest)
        assert found is not None
        assert (found.seconds, found.remarks, found.is_irregular) == (
            1,
            ("the file ends in the middle of a box",),
            False,
        )


def test_eight_bytes_at_the_end_are_a_box_or_the_file_is_none() -> None:
    whole = moov(trak(chunks=[0], sizes=NO_BYTES))
    found = film_of(whole + u32(8) + b"free")
    assert found is not None and found.remarks == ()
    assert film_of(whole + u32(7) + b"free") is None
    assert film_of(whole + u32(7) + b"free" + bytes(1)) is None
    assert film_of(whole + u32(1) + b"free") is None, "its long size is missing"


def test_a_last_box_may_say_that_it_goes_on_to_the_end() -> None:
    found = film_of(moov(trak(chunks=[0], sizes=NO_BYTES)) + u32(0) + b"mdat" + bytes(50))
    assert found is not None
    assert (found.seconds, found.remarks) == (1.0, ())
    found = film_of(moov(trak(chunks=[0], sizes=NO_BYTES)) + u32(0) + b"mdat")
    assert found is not None
    assert (found.seconds, found.remarks) == (1.0, ())
    found = film_of(u32(0) + moov(trak(chunks=[0], sizes=NO_BYTES))[4:])
    assert found is not None
    assert (found.seconds, found.remarks) == (1.0, ())


def test_boxes_may_have_a_long_size() -> None:
    index = moov(trak(chunks=[16]))[8:]
    found = film_of(box(b"mdat", bytes(MEDIA), large=True) + box(b"moov", index, large=True))
    assert found is not None
    assert (found.seconds, found.remarks) == (1.0, ())


def test_a_list_of_boxes_may_end_with_a_few_zeros() -> None:
    for zeros in (4, 7):
        assert film(trak() + bytes(zeros)).seconds == 1.0
    assert film_of(moov(trak(chunks=[0], sizes=NO_BYTES) + u32(7) + b"free")) is None, "eight bytes are a box"


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (u32(0, 2, 24, 40, 1, 40) + bytes(5), 1.0),
        (u32(0, 2, 24, 40, 1, 40), 1.0),
        (u32(0, 2, 24, 40, 1, 40)[:-1], None),
    ],
)
def test_a_table_may_be_shorter_than_its_box_but_not_longer(content: bytes, seconds: float | None) -> None:
    found = film_of(moov(trak(tables=box(b"stts", content) + box(b"free", b""), claimed=1000)))
    assert (found.seconds if found else None) == seconds


@pytest.mark.parametrize("content", [b"", u32(0), u32(0, 9)[:-1]])
def test_a_table_that_is_cut_before_its_number_of_rows_has_none(content: bytes) -> None:
    assert the_track(trak(tables=box(b"stts", content))).samples == 0


def test_a_long_table_is_read_in_pieces() -> None:
    rows = [(1, 40)] * 20_000
    tables = table(b"stts", rows, ">II")
    track = the_track(trak(tables=tables, claimed=800_000))
    assert (track.samples, track.seconds) == (20_000, 800.0)


@pytest.mark.parametrize("lost", [1, 4])
def test_a_file_that_shrinks_while_its_table_is_read_is_none(lost: int) -> None:
    data = moov(trak(chunks=[0], sizes=NO_BYTES))
    at = data.index(b"stts") + 12

    def read(offset: int, count: int) -> bytes:
        return data[offset : offset + count - (lost if offset == at else 0)]

    assert read_film(read, len(data)) is None
    assert read_film(lambda offset, count: b"" if offset == at else data[offset : offset + count], len(data)) is None
    assert read_film(lambda offset, count: data[offset : offset + count], len(data)) is not None


# --- Fragments ------------------------------------------------------------------------------------------------------


def trex(*numbers: int, usual: int = 40) -> bytes:
    return box(b"mvex", b"".join(full(b"trex", u32(number, 1, usual, 0, 0)) for number in numbers))


def empty(number: int = 1, kind: bytes = b"vide", *, edits: Sequence[Edit] | None = None) -> bytes:
    return trak(number, kind, stts=[], sizes=[], chunks=[], claimed=0, edits=edits)


def traf(number: int, at: int, samples: int, duration: int = 40) -> bytes:
    """``duration`` is of each sample, in ticks; ``at`` when the first is decoded."""
    head = full(b"tfhd", u32(number, duration))[:8] + u32(0x8, number, duration)
    return box(b"traf", head + full(b"tfdt", u32(at)) + box(b"trun", u32(0, samples)))


def fragment(*trafs: bytes) -> bytes:
    return box(b"moof", b"".join(trafs)) + box(b"mdat", bytes(50))


def in_fragments(*pieces: bytes, tracks: Sequence[bytes] = (), index: bytes = b"") -> Film:
    found = film_of((index or moov(*(tracks or [empty()]), mvex=trex(1, 2))) + b"".join(pieces))
    assert found is not None
    return found


def test_fragments_are_summed() -> None:
    found = in_fragments(fragment(traf(1, 0, 25)), fragment(traf(1, 1000, 50)))
    assert (found.seconds, found.is_fragmented, found.runs, found.is_irregular, found.remarks) == (
        3,
        True,
        1,
        False,
        (),
    )
    track = found.tracks[1]
    assert (track.samples, track.starts, track.seconds, track.media_seconds, track.ends) == (75, 0, 3.0, 3.0, 3.0)
    assert dict(track.usual) == {0.04: 75}
    assert track.frame_rate == pytest.approx(25.0)
    assert (track.width, track.height) == (160, 120)


def test_a_film_in_fragments_is_as_long_as_its_longest_track() -> None:
    tracks = [empty(1), empty(2, b"soun")]
    assert in_fragments(fragment(traf(1, 0, 25), traf(2, 0, 50)), tracks=tracks).seconds == 2.0
    assert in_fragments(fragment(traf(1, 0, 50), traf(2, 0, 25)), tracks=tracks).seconds == 2.0


def test_a_track_that_no_fragment_has_stays_empty() -> None:
    found = in_fragments(fragment(traf(1, 0, 25)), tracks=[empty(1), empty(2, b"soun")])
    silent = found.tracks[2]
    assert (silent.samples, silent.seconds, silent.media_seconds, silent.ends) == (0, 0.0, 0.0, 0.0)
    assert (silent.starts, dict(silent.usual), silent.frame_rate) == (0.0, {}, None)
    assert found.seconds == 1.0


def test_samples_in_the_index_come_before_those_in_fragments() -> None:
    index = moov(trak(chunks=[0], sizes=NO_BYTES), mvex=trex(1))
    found = in_fragments(fragment(traf(1, 1000, 50)), index=index)
    track = found.tracks[1]
    assert (track.samples, track.media_seconds, dict(track.usual)) == (75, 3.0, {0.04: 75})
    assert found.seconds == track.seconds == 3.0


def test_a_clock_that_begins_late_is_no_film() -> None:
    track = in_fragments(fragment(traf(1, 400, 50))).tracks[1]
    assert (track.starts, track.seconds, track.media_seconds, track.ends) == pytest.approx((0.4, 2.0, 2.0, 2.4))


def test_the_first_fragment_says_when_a_track_starts() -> None:
    assert in_fragments(fragment(traf(1, 500, 25)), fragment(traf(1, 1500, 25))).tracks[1].starts == 0.5


@pytest.mark.parametrize(
    ("at", "jumps"),
    [(1000, False), (1500, False), (1520, True), (500, False), (400, True), (0, True), (90_000, True)],
)
def test_a_clock_that_jumps_between_two_fragments_is_told(at: int, jumps: bool) -> None:
    found = in_fragments(fragment(traf(1, 0, 25)), fragment(traf(1, at, 25)))
    assert found.seconds == 2.0
    assert found.is_irregular is jumps
    assert found.remarks == (("the clock jumps between two fragments",) if jumps else ())


def test_each_remark_is_made_once() -> None:
    found = in_fragments(*(fragment(traf(1, at, 25)) for at in (0, 9_000, 90_000)))
    assert found.remarks == ("the clock jumps between two fragments",)


def test_after_a_jump_the_clock_goes_on_from_there() -> None:
    found = in_fragments(*(fragment(traf(1, at, 25)) for at in (0, 90_000, 91_000)))
    assert found.tracks[1].ends == 92.0


def test_a_last_fragment_without_media_is_told_and_not_counted() -> None:
    found = in_fragments(fragment(traf(1, 0, 25)), box(b"moof", traf(1, 1000, 25)))
    assert (found.seconds, found.remarks, found.is_irregular) == (1, ("the last fragment has no media",), False)


@pytest.mark.parametrize("kind", [b"uuid", b"free"])
def test_only_media_makes_a_fragment_whole(kind: bytes) -> None:
    between = box(b"moof", traf(1, 1000, 25)) + box(kind, bytes(9))
    assert in_fragments(fragment(traf(1, 0, 25)), between).seconds == 1.0
    found = in_fragments(fragment(traf(1, 0, 25)), between, box(b"mdat", bytes(50)))
    assert (found.seconds, found.remarks) == (2.0, ())


def test_a_last_fragment_that_is_cut_is_irregular() -> None:
    found = in_fragments(fragment(traf(1, 0, 25)), fragment(traf(1, 1000, 25))[:-1])
    assert found.seconds == 1.0
    assert found.is_irregular
    assert found.remarks == ("the file ends in the middle of a box", "the last fragment has no media")


def test_media_without_a_fragment_before_it_is_passed_by() -> None:
    found = in_fragments(box(b"mdat", bytes(50)), fragment(traf(1, 0, 25)), box(b"mdat", bytes(50)))
    assert (found.seconds, found.remarks) == (1.0, ())


def test_a_fragment_before_any_index_is_no_film() -> None:
    assert film_of(fragment(traf(1, 0, 25)) + moov(empty(), mvex=trex(1))) is None


@pytest.mark.parametrize(
    ("samples", "duration", "makes_sense"),
    [(1, 3_600_000, True), (1, 3_600_040, False), (2, 3_600_000, True), (2, 3_600_040, False), (2, 40, True)],
)
def test_no_sample_lasts_for_longer_than_an_hour(samples: int, duration: int, makes_sense: bool) -> None:
    found = in_fragments(fragment(traf(1, 0, samples, duration)))
    seconds = samples * duration / 1000
    assert found.seconds == (seconds if makes_sense else None)
    told = f"track 1: a fragment claims {seconds:.0f} s for {samples} samples"
    assert found.remarks == (() if makes_sense else (told,))


def test_a_file_of_several_recordings_in_fragments_is_summed() -> None:
    index = moov(empty(), mvex=trex(1))
    found = in_fragments(fragment(traf(1, 0, 25)), index, fragment(traf(1, 0, 25)))
    assert (found.seconds, found.runs) == (2.0, 2)
    assert "the file holds 2 recordings, one behind the other" in found.remarks


def test_the_samples_of_two_indexes_are_summed_too() -> None:
    index = moov(trak(chunks=[0], sizes=NO_BYTES), mvex=trex(1))
    found = in_fragments(index, index=index)
    assert found.tracks[1].media_seconds == 2.0


@pytest.mark.parametrize("long", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize(
    ("begins", "delay"), [(0, 0.0), (1, 0.001), (80, 0.08), (999, 0.999), (1000, 0.0), (1001, 0.0), (-1, 0.0)]
)
def test_a_first_edit_that_is_an_encoders_delay_is_not_played(begins: int, delay: float, long: bool) -> None:
    tracks = [trak(chunks=[0], sizes=NO_BYTES, edits=[(600, begins)], long=long)]
    track = in_fragments(fragment(traf(1, 1000, 25)), tracks=tracks).tracks[1]
    assert (track.starts, track.seconds, track.media_seconds) == pytest.approx((1.0, 2.0 - delay, 2.0))


def test_an_edit_list_that_is_cut_has_no_delay() -> None:
    whole = box(b"elst", u32(0, 1, 600, 80, 0x10000))
    tracks = [empty(edits=[(600, 80)]).replace(whole, box(b"elst", whole[8:-1]) + b"\0")]
    assert in_fragments(fragment(traf(1, 0, 25)), tracks=tracks).tracks[1].seconds == 1.0


def test_a_delay_that_is_longer_than_the_film_leaves_nothing() -> None:
    tracks = [empty(edits=[(600, 900)])]
    assert in_fragments(fragment(traf(1, 0, 1)), tracks=tracks).tracks[1].seconds == 0.0


@pytest.mark.parametrize("trafs", [(traf(1, 0, 25), traf(9, 0, 2500)), (traf(9, 0, 2500), traf(1, 0, 25))])
def test_an_unknown_track_in_a_fragment_is_passed_by(trafs: tuple[bytes, ...]) -> None:
    found = in_fragments(fragment(*trafs))
    assert (found.seconds, set(found.tracks)) == (1.0, {1})


def runs(*durations: Sequence[int], decode_time: bytes = full(b"tfdt", u32(0))) -> bytes:
    """Track 1's share of a fragment, a run for each list of durations."""
    truns = b"".join(box(b"trun", u32(0x100, len(each), *each)) for each in durations)
    return box(b"traf", box(b"tfhd", u32(0, 1)) + decode_time + truns)


@pytest.mark.parametrize("order", [1, -1])
def test_the_usual_duration_in_a_fragment_is_that_of_the_run_where_most_samples_have_it(order: int) -> None:
    found = in_fragments(fragment(runs(*([400], [40] * 20 + [50] * 4)[::order])))
    assert found.seconds == pytest.approx(1.4)
    assert dict(found.tracks[1].usual) == {0.04: 20}


def test_a_share_without_a_run_or_with_an_empty_one_counts_no_sample() -> None:
    found = in_fragments(fragment(traf(1, 0, 25)), fragment(runs()), fragment(runs([])))
    track = found.tracks[1]
    assert (found.seconds, track.samples, dict(track.usual)) == (1.0, 25, {0.04: 25})


@pytest.mark.parametrize(
    ("decode_time", "starts"),
    [
        (full(b"tfdt", struct.pack(">Q", 2**33 * 1000), version=1), 2**33),
        (full(b"tfdt", struct.pack(">Q", 2**60), version=1), 2**60 / 1000),
        (full(b"tfdt", u32(2**32 - 1000)), 4_294_966.296),
        (full(b"tfdt", u32(2000, 9)), 2.0),
        (b"", 0.0),
    ],
)
def test_a_decode_time_has_32_or_64_bits_or_is_not_there(decode_time: bytes, starts: float) -> None:
    assert in_fragments(fragment(runs([40] * 25, decode_time=decode_time))).tracks[1].starts == starts


def test_no_more_than_a_thousand_different_durations_of_fragments_are_counted() -> None:
    durations = [*range(1, 1003), 1, 1002]
    usual = in_fragments(*(fragment(traf(1, 0, 5, duration)) for duration in durations)).tracks[1].usual
    assert len(usual) == 1000
    assert usual[0.001] == 10 and usual[1.0] == 5 and 1.001 not in usual and 1.002 not in usual


@pytest.mark.parametrize("kind", [b"moov", b"moof"])
@pytest.mark.parametrize(("more", "is_read"), [(b"", True), (box(b"free", b""), False)])
def test_what_describes_fragments_has_at_most_8_mib(kind: bytes, more: bytes, is_read: bool) -> None:
    described = {b"moov": moov(empty(), mvex=trex(1))[8:], b"moof": traf(1, 0, 25)}
    described[kind] += box(b"free", bytes(8_388_608 - len(described[kind]) - 8)) + more
    assert len(described[kind]) == 8_388_608 + len(more)
    found = large_film_of(b"".join(box(name, inside) for name, inside in described.items()) + box(b"mdat", bytes(50)))
    assert (found.seconds if found else None) == (1.0 if is_read else None)


# --- Real ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample", "sample_faststart", "sample_fragmented"])
def test_a_recording_of_ffmpeg_is_as_long_as_it_was_made(name: str) -> None:
    found = film_of((Path(__file__).parents[2] / "test_data" / f"{name}.mp4").read_bytes())
    assert found is not None
    assert found.seconds == pytest.approx(2.0, abs=0.1)
    assert (found.runs, found.is_irregular, found.remarks) == (1, False, ())
    picture, sound = found.tracks[1], found.tracks[2]
    assert (picture.kind, picture.width, picture.height, picture.samples) == ("video", 160, 120, 50)
    assert picture.frame_rate == pytest.approx(25.0)
    assert (sound.kind, sound.samples) == ("audio", 95)
