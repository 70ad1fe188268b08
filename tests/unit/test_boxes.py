"""Whether an MP4 file is structurally complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.containers.boxes import has_index_first, header, is_whole

SAMPLES = sorted((Path(__file__).parents[2] / "test_data").glob("*.mp4"))
BOXES = st.lists(st.tuples(st.sampled_from([b"ftyp", b"free", b"mdat", b"uuid"]), st.integers(0, 40)), max_size=6)


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    if large:
        return b"\0\0\0\1" + kind + (len(content) + 16).to_bytes(8, "big") + content
    return (len(content) + 8).to_bytes(4, "big") + kind + content


MOVIE = box(b"mvhd", bytes(4))
FRAGMENTED = box(b"moov", MOVIE + box(b"mvex", b""))
FRAGMENT = box(b"moof", bytes(8)) + box(b"mdat", bytes(30))


def whole(data: bytes) -> bool:
    return is_whole(lambda offset, count: data[offset : offset + count], len(data))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_closed_recording_of_any_shape_is_whole(sample: Path) -> None:
    assert whole(sample.read_bytes())


def boundaries(data: bytes) -> set[int]:
    found, offset = set(), 0
    while offset < len(data):
        offset += int.from_bytes(data[offset : offset + 4], "big")
        found.add(offset)
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_recording_that_was_cut_inside_a_box_is_not_whole(sample: Path) -> None:
    data = sample.read_bytes()
    ends = boundaries(data)
    cuts = [cut for end in ends for cut in (end - 1, end + 1, end + 7) if cut not in ends and cut < len(data)]
    assert cuts
    assert not any(whole(data[:cut]) for cut in cuts)


def test_ffmpegs_file_under_way_is_not_whole() -> None:
    assert not whole(box(b"ftyp", b"isom") + box(b"free", b"") + b"\0\0\0\0mdat" + bytes(100))


def test_without_an_index_it_is_no_film() -> None:
    assert not whole(box(b"ftyp", b"isom") + box(b"mdat", bytes(100)))
    assert not whole(b"")


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_box_that_says_less_than_its_own_header_ends_the_walk(size: int) -> None:
    assert not whole(box(b"moov", b"") + size.to_bytes(4, "big") + b"mdat")


def test_a_large_box_needs_its_long_size() -> None:
    assert whole(box(b"moov", MOVIE) + box(b"mdat", bytes(50), large=True))
    assert not whole(box(b"moov", MOVIE) + b"\0\0\0\1mdat" + (15).to_bytes(8, "big"))
    assert not whole(box(b"moov", MOVIE) + b"\0\0\0\1mdat" + bytes(3))


def test_what_is_no_type_is_no_box() -> None:
    assert not whole(box(b"moov", b"") + box(b"\0\xff\x01\x02", b""))
    assert whole(box(b"moov", b"") + box(b"cv  ", b"x")), "a space is part of some types"


def test_a_file_of_more_boxes_than_any_recording_ends_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.boxes._MOST_BOXES", 3)
    assert whole(box(b"moov", b"") + box(b"free", b""))
    assert not whole(box(b"moov", b"") + 3 * box(b"free", b""))


@given(BOXES, BOXES)
def test_any_boxes_around_an_index_are_whole_and_with_more_or_less_of_the_last_are_not(
    before: list[tuple[bytes, int]], after: list[tuple[bytes, int]]
) -> None:
    parts = [box(kind, bytes(size)) for kind, size in before]
    parts += [box(b"moov", MOVIE)] + [box(kind, bytes(size)) for kind, size in after]
    data = b"".join(parts)
    assert whole(data)
    assert not whole(data[:-1])
    assert not whole(data + b"\0")


def index_first(data: bytes) -> bool:
    return has_index_first(lambda offset, count: data[offset : offset + count], len(data))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_the_index_stands_first_where_the_recorder_put_it_there(sample: Path) -> None:
    data = sample.read_bytes()
    assert index_first(data) == (data.index(b"moov") < data.index(b"mdat"))


@pytest.mark.parametrize("between", [b"", box(b"free", bytes(9)), box(b"uuid", bytes(70), large=True)])
def test_what_else_stands_in_front_does_not_matter(between: bytes) -> None:
    head, index, media = box(b"ftyp", b"isom") + between, box(b"moov", bytes(20)), box(b"mdat", bytes(20))
    assert index_first(head + index + media)
    assert not index_first(head + media + index)
    assert not index_first(head + b"\0\0\0\0mdat" + bytes(20) + index)  # its size was never filled in


def test_no_index_is_looked_for_behind_more_boxes_than_any_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.boxes._MOST_BOXES", 3)
    assert index_first(2 * box(b"free", b"") + box(b"moov", b""))
    assert not index_first(3 * box(b"free", b"") + box(b"moov", b""))


@pytest.mark.parametrize("data", [b"", b"moov", bytes(100), box(b"ftyp", b"isom"), bytes(range(256))])
def test_what_is_no_film_has_no_index_in_front(data: bytes) -> None:
    assert not index_first(data)


def test_a_fragmented_film_proves_its_end_by_an_index_that_comes_last() -> None:
    assert whole(FRAGMENTED + FRAGMENT + FRAGMENT + box(b"mfra", bytes(9)))
    assert not whole(FRAGMENTED + FRAGMENT + FRAGMENT)
    assert not whole(FRAGMENTED + FRAGMENT + box(b"mfra", bytes(9)) + FRAGMENT), "the recorder went on"
    assert not whole(FRAGMENTED), "no fragment was written yet"
    assert not whole(box(b"moov", MOVIE) + FRAGMENT), "fragments that the index does not announce"


def test_an_index_that_cannot_be_walked_proves_nothing() -> None:
    assert not whole(box(b"moov", b"index"))
    assert not whole(box(b"moov", MOVIE + (90).to_bytes(4, "big") + b"trak"))
    assert whole(box(b"moov", box(b"free", b"") * 9_999))
    assert not whole(box(b"moov", box(b"free", b"") * 10_000)), "more boxes than any index has"


def test_an_index_with_a_long_size_is_walked_like_any_other() -> None:
    assert whole(box(b"moov", MOVIE, large=True))
    assert not whole(box(b"moov", MOVIE + box(b"mvex", b""), large=True) + FRAGMENT)


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"\0\0\0\x08mdat", 8),
        (b"\0\0\0\x07mdat", None),
        (b"\0\0\0\0mdat", None),
        (b"\0\0\0\0mdat" + bytes(7) + b"\x10", None),
        (b"\0\0\0\x08mda", None),
        (b"\0\0\0\x08    ", None),
        (b"\0\0\0\x08url ", 8),
        (b"\0\0\0\x08m\0at", None),
        (b"\0\0\0\1mdat" + bytes(7) + b"\x10", 16),
        (b"\0\0\0\1mdat" + bytes(7) + b"\x0f", None),
        (b"\0\0\0\1mdat" + bytes(6) + b"\x10", None),
        (b"\0\0\0\1mdat" + bytes(3) + b"\x20", None),
        (b"\0\0\0\x02mdat" + bytes(7) + b"\x10", None),
    ],
)
def test_a_header_has_a_length_when_all_of_it_is_there(data: bytes, length: int | None) -> None:
    assert header(data) == (length, data[4:8])


def test_a_long_size_has_eight_bytes_and_the_first_of_them_counts() -> None:
    assert header(b"\0\0\0\1mdat" + (2**56 + 16).to_bytes(8, "big")) == (2**56 + 16, b"mdat")
