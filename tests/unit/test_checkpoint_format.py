"""What is no record is refused: it is set aside then, and never guessed."""

from __future__ import annotations

import json
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from src.domain import Checkpoint, Identity, MediaStream, Part, PartSchedule, Probe, SendReason, Status
from src.redis_client.format import KINDS, UNREADABLE, decode_meta, decode_part, encode_meta, encode_part

PART = Part(7, 10, "etag", 2**64 - 1, datetime(2026, 1, 1, tzinfo=UTC), "md5", (SendReason.HEAD_PATCH,))
RECORD = Checkpoint(
    "s", Status.ACTIVE, "a.mp4", "b", "a.mp4", Identity(1, 2), PartSchedule(10), datetime(2026, 1, 1, tzinfo=UTC)
)


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


def test_a_part_is_written_in_the_words_of_the_first_documents_too() -> None:
    fields = json.loads(encode_part("s1", PART))
    assert (fields["part_number"], fields["size_bytes"]) == (7, 10)


def test_a_record_is_written_in_the_words_of_the_first_documents_too() -> None:
    parts = {n: replace(PART, number=n, uploaded_at=datetime(2026, 1, 1, 12, n, tzinfo=UTC)) for n in (3, 1, 2)}
    record = Checkpoint(
        stream_id="s1",
        status=Status.ACTIVE,
        path="cam/a.mp4",
        bucket="videos",
        key="rec/cam/a.mp4",
        identity=Identity(1, 2),
        schedule=PartSchedule(10),
        started_at=datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
        upload_id="upload",
        parts=parts,
    )
    fields = encode_meta(record)
    words = {
        "s3_bucket": b"videos",
        "s3_key_prefix": b"rec/cam/a.mp4",
        "s3_upload_id": b"upload",
        "started_at_utc": b"2026-01-01T12:00:00.000000Z",
        "last_activity_at_utc": b"2026-01-01T12:03:00.000000Z",
        "total_bytes_sent": b"30",
        "status": b"active",
    }
    assert words.items() <= fields.items()
    new = encode_meta(replace(record, upload_id=None, parts={}))
    assert "s3_upload_id" not in new
    assert (new["total_bytes_sent"], new["last_activity_at_utc"]) == (b"0", new["started_at_utc"])
    proved = replace(record, completed_at=datetime(2026, 1, 1, 12, 30, tzinfo=UTC))
    assert encode_meta(proved)["last_activity_at_utc"] == b"2026-01-01T12:30:00.000000Z"


@pytest.mark.parametrize(
    "raw",
    [
        *(b"no json", b"[]", b'{"duration_seconds": "2"}', b'{"streams": [{"kind": 7, "codec": null}]}'),
        *(b'{"new": 1}', b'{"duration_seconds": 1e999}', b'{"remarks": [1]}', b'{"streams": 5}', b"[" * 100_000),
    ],
)
def test_what_no_release_wrote_of_a_film_is_asked_again_and_makes_no_record_unreadable(raw: bytes) -> None:
    fields = encode_meta(replace(RECORD, probe=Probe(2.0)))
    assert decode_meta("s", fields).probe == Probe(2.0)
    assert decode_meta("s", {**fields, "probe": raw}) == RECORD


@pytest.mark.parametrize("raw", [b"no number", b"0", b"-1", b"+3", b"1_0", b" 2", b""])
def test_a_number_among_recordings_of_one_name_is_a_hint_and_makes_no_record_unreadable(raw: bytes) -> None:
    fields = encode_meta(replace(RECORD, number=3))
    assert decode_meta("s", fields).number == 3
    assert decode_meta("s", {**fields, "number": raw}) == RECORD


def test_every_field_of_a_film_has_a_type_that_a_record_keeps() -> None:
    """Else the answer of ffprobe would be asked for again after each start."""
    for noun in (Probe, MediaStream):
        lists = {"streams", "remarks"} if noun is Probe else set()
        types = {field.name: str(field.type) for field in fields_of(noun) if field.name not in lists}
        assert {name: kind for name, kind in types.items() if kind not in KINDS} == {}
