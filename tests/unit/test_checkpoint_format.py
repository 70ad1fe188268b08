"""What is no record is refused: it is set aside then, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from src.checkpoint_format import UNREADABLE, decode_part, encode_part
from src.recording import Part, SendReason

PART = Part(7, 10, "etag", 2**64 - 1, datetime(2026, 1, 1, tzinfo=UTC), "md5", (SendReason.HEAD_PATCH,))


def test_a_part_comes_back_as_it_was() -> None:
    assert decode_part("s1", b"7", encode_part("s1", PART)) == PART


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (b'"etag": "etag"', b'"etag": 7'),
        (b'"size": 10', b'"size": "10"'),
        (b'"size": 10', b'"size": -1'),
        (b'"stream_id": "s1"', b'"stream_id": "s2"'),
        (b'"head_patch"', b'"no reason"'),
        (b"2026-01-01", b"yesterday"),
    ],
)
def test_a_part_with_a_wrong_value_is_unreadable(was: bytes, is_now: bytes) -> None:
    raw = encode_part("s1", PART)
    assert was in raw
    with pytest.raises(UNREADABLE):
        decode_part("s1", b"7", raw.replace(was, is_now))
