"""Where a value in Redis stops being one: each limit at its border, read from records that are whole otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from src.domain import Checkpoint, Identity, Manifest, Marker, Part, PartSchedule, Snapshot, Status, Superseded
from src.redis_client.format import (
    UNREADABLE,
    decode_highest,
    decode_marker,
    decode_meta,
    decode_part,
    decode_remembered,
    encode_highest,
    encode_marker,
    encode_meta,
    encode_part,
    escape_path,
    unescape_path,
    with_unseen,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SNAPSHOT = Snapshot(Identity(7, 5), 100, 3, 4)
PART = Part(7, 10, "etag", 5, NOW)
RECORD = Checkpoint(
    stream_id="s",
    status=Status.PENDING_COMPLETION,
    path="a.mp4",
    bucket="b",
    key="a.mp4",
    identity=SNAPSHOT.identity,
    schedule=PartSchedule(10),
    started_at=NOW,
    upload_id="u",
    replaces="old",
    manifest=Manifest(100, 5, 1, SNAPSHOT, "old", "md5"),
    superseded=(Superseded("k", "u0", "s0", NOW), Superseded("k", None, "s1", NOW)),
)
MARKER = Marker("s", "a.mp4", "b", "a.mp4", SNAPSHOT, 5, "etag", PartSchedule(10), NOW, NOW)
#: The largest and the smallest numbers that are kept.
MOST, LEAST_TIME = 2**64 - 1, -(2**63)


def _part(**other: Any) -> Part:
    return decode_part("s", b"7", json.dumps(json.loads(encode_part("s", PART)) | other).encode())


def _meta(**other: bytes) -> Checkpoint:
    return decode_meta("s", encode_meta(RECORD) | other)


def _schedule(**other: Any) -> PartSchedule:
    return _meta(schedule=json.dumps({"chunk_size": 10, "growing": True} | other).encode()).schedule


def _manifest(**other: Any) -> Manifest | None:
    return _meta(manifest=json.dumps(json.loads(encode_meta(RECORD)["manifest"]) | other).encode()).manifest


def _superseded(**other: Any) -> tuple[Superseded, ...]:
    first, second = json.loads(encode_meta(RECORD)["superseded"])
    return _meta(superseded=json.dumps([first | other, second]).encode()).superseded


def _marker(identity: Identity = SNAPSHOT.identity, **other: Any) -> Marker:
    return decode_marker(identity, json.dumps(json.loads(encode_marker(MARKER)) | other).encode())


def _snapshot(**other: Any) -> Snapshot:
    fields = json.loads(encode_marker(MARKER))["snapshot"] | other
    return _marker(Identity(fields["inode"], fields["birth_ns"]), snapshot=fields).snapshot


def test_unchanged_they_are_read() -> None:
    assert (_part(), _marker()) == (PART, MARKER)
    assert _meta() == RECORD
    assert (_schedule(), _snapshot()) == (PartSchedule(10), SNAPSHOT)


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_a_size_is_a_whole_number_of_64_bits(size: int) -> None:
    assert _part(size=size).size == size
    assert _snapshot(size=size).size == size
    manifest = _manifest(size=size, part_count=size)
    assert manifest is not None and (manifest.size, manifest.part_count) == (size, size)
    assert _marker(replacements=size).replacements == size


@pytest.mark.parametrize("size", [-1, MOST + 1, MOST + 2, True, 1.0, "1", None])
def test_anything_else_is_no_size(size: object) -> None:
    for read in (
        lambda: _part(size=size),
        lambda: _snapshot(size=size),
        lambda: _manifest(size=size),
        lambda: _manifest(part_count=size),
        lambda: _marker(replacements=size),
    ):
        with pytest.raises(UNREADABLE):
            read()


def test_a_clock_may_have_been_wrong() -> None:
    for time in (LEAST_TIME, -1, 0, MOST):
        assert _snapshot(mtime_ns=time).mtime_ns == time
        assert _snapshot(ctime_ns=time).ctime_ns == time
        assert _snapshot(birth_ns=time).identity.birth_ns == time
    assert _meta(birth_ns=b"%d" % LEAST_TIME).identity.birth_ns == LEAST_TIME
    for name in ("mtime_ns", "ctime_ns", "birth_ns"):
        for time in (LEAST_TIME - 1, MOST + 1):
            with pytest.raises(UNREADABLE):
                _snapshot(**{name: time})
    with pytest.raises(UNREADABLE):
        _snapshot(inode=-1)


@pytest.mark.parametrize("digits", [b"0", b"1", b"%d" % MOST])
def test_a_number_in_a_record_is_written_in_one_way(digits: bytes) -> None:
    assert _meta(inode=digits).identity.inode == int(digits)
    assert _meta(replacements=digits).replacements == int(digits)


@pytest.mark.parametrize("digits", [b"00", b"01", b"-0", b"+1", b"1_0", b" 1", b"1 ", b"", b"-1", b"%d" % (MOST + 1)])
def test_a_number_that_is_written_in_another_way_is_none(digits: bytes) -> None:
    for name in ("inode", "replacements"):
        with pytest.raises(UNREADABLE):
            _meta(**{name: digits})


@pytest.mark.parametrize("version", [1, 2])
def test_two_formats_are_read(version: int) -> None:
    assert _part(v=version) == PART
    assert _marker(v=version) == MARKER
    assert _meta(v=b"%d" % version) == RECORD


@pytest.mark.parametrize("version", [0, 3])
def test_other_formats_are_not(version: int) -> None:
    for read in (lambda: _part(v=version), lambda: _marker(v=version), lambda: _meta(v=b"%d" % version)):
        with pytest.raises(UNREADABLE, match=f"format {version}"):
            read()


def test_a_format_says_2_as_soon_as_its_steps_are_not_the_usual_ones() -> None:
    stepped = PartSchedule(10, True, 250)
    assert (encode_meta(RECORD)["v"], encode_meta(replace(RECORD, schedule=stepped))["v"]) == (b"1", b"2")
    written = [json.loads(encode_marker(replace(MARKER, schedule=schedule))) for schedule in (MARKER.schedule, stepped)]
    assert [fields["v"] for fields in written] == [1, 2]
    assert [fields["schedule"].get("step") for fields in written] == [None, 250]


def test_a_schedule_has_bytes_and_steps_that_can_be() -> None:
    assert _schedule(chunk_size=1).chunk_size == 1
    assert [_schedule(step=step).step for step in (1, 10_000, None)] == [1, 10_000, None]
    for wrong in ({"chunk_size": 0}, {"step": 0}, {"step": 10_001}, {"growing": 1}, {"growing": None}):
        with pytest.raises(UNREADABLE):
            _schedule(**wrong)


def test_a_part_has_a_number_that_s3_has() -> None:
    raw = encode_part("s", PART)
    assert [decode_part("s", number, raw).number for number in (b"1", b"10000")] == [1, 10_000]
    for number in (b"0", b"10001", b"-1", b"x"):
        with pytest.raises(UNREADABLE):
            decode_part("s", number, raw)


@pytest.mark.parametrize("name", ["k", "k" * 1024, "ä" * 512])
def test_a_key_has_up_to_1024_bytes(name: str) -> None:
    assert _meta(key=name.encode()).key == _marker(key=name).key == _superseded(key=name)[0].key == name


@pytest.mark.parametrize("name", ["", "k" * 1025, "ä" * 512 + "k", "a\nb", "a\x1f", "a\x7f"])
def test_what_is_longer_or_has_control_characters_is_no_key(name: str) -> None:
    for read in (lambda: _meta(key=name.encode()), lambda: _marker(key=name), lambda: _superseded(key=name)):
        with pytest.raises(UNREADABLE):
            read()


def test_a_word_of_the_store_is_any_text_without_control_characters() -> None:
    assert [_part(etag=word).etag for word in ("", " ", '"é~', "\x80")] == ["", " ", '"é~', "\x80"]
    for word in ("\x00", "a\x1f", "\x7f", "\ud800", 7, None):
        with pytest.raises(UNREADABLE):
            _part(etag=word)


def test_an_upload_has_a_name() -> None:
    assert (_meta(upload_id=b"0").upload_id, _superseded(upload_id="0")[0].upload_id) == ("0", "0")
    assert _superseded(upload_id=None)[0].upload_id is None
    for read in (lambda: _meta(upload_id=b""), lambda: _superseded(upload_id=""), lambda: _superseded(upload_id=0)):
        with pytest.raises(UNREADABLE):
            read()


@pytest.mark.parametrize("flag", [0, 1, "true", None])
def test_a_flag_is_true_or_false(flag: object) -> None:
    assert [_marker(still_open=known).still_open for known in (True, False)] == [True, False]
    with pytest.raises(UNREADABLE):
        _marker(still_open=flag)


def test_what_a_marker_lacks_is_no() -> None:
    assert "still_open" not in json.loads(encode_marker(MARKER))
    assert json.loads(encode_marker(replace(MARKER, still_open=True)))["still_open"] is True
    assert not _marker().still_open


@pytest.mark.parametrize("unanswered", [b"", b"2", b"true", b"00"])
def test_an_answer_was_understood_or_not(unanswered: bytes) -> None:
    assert (_meta(unanswered=b"1").unanswered, _meta(unanswered=b"0").unanswered) == (True, False)
    with pytest.raises(UNREADABLE):
        _meta(unanswered=unanswered)


def test_flags_are_fields_that_are_there_or_not() -> None:
    fields = encode_meta(RECORD)
    assert not {"still_open", "without_checksums"} & fields.keys()
    both = encode_meta(replace(RECORD, still_open=True, without_checksums=True))
    assert (both["still_open"], both["without_checksums"]) == (b"1", b"1")
    assert decode_meta("s", both) == replace(RECORD, still_open=True, without_checksums=True)


def test_a_time_has_a_zone_and_is_read_as_utc() -> None:
    later = NOW.astimezone(timezone(timedelta(hours=2))).isoformat()
    assert _part(uploaded_at=later).uploaded_at == NOW
    assert _part(uploaded_at=later).uploaded_at.utcoffset() == timedelta(0)
    for wrong in ("2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", 0, None):
        with pytest.raises(UNREADABLE):
            _part(uploaded_at=wrong)


def test_nothing_is_read_for_somebody_else() -> None:
    """The other names are smaller and larger: an order is no equality."""
    for other in ("r", "t"):
        with pytest.raises(UNREADABLE):
            decode_part(other, b"7", encode_part("s", PART))
        with pytest.raises(UNREADABLE):
            decode_meta(other, encode_meta(RECORD))
    for identity in (Identity(6, 5), Identity(8, 5), Identity(7, 4), Identity(7, 6)):
        with pytest.raises(UNREADABLE):
            decode_marker(identity, encode_marker(MARKER))
    assert [decode_highest(other, encode_highest("b", 7)) for other in ("a", "b", "c")] == [None, 7, None]


def test_the_highest_number_of_a_name_is_a_second_one_at_least() -> None:
    assert [decode_highest("b", encode_highest("b", number)) for number in (1, 2, 3)] == [None, 2, 3]
    assert decode_highest("b", None) is None
    assert decode_highest("b", encode_highest("b", 7).replace(b'"v": 1', b'"v": 3')) is None


def test_a_number_of_a_recording_is_a_first_one_at_least() -> None:
    assert [_meta(number=b"%d" % number).number for number in (0, 1, 2)] == [None, 1, 2]
    assert "number" not in encode_meta(RECORD)
    assert encode_meta(replace(RECORD, number=0))["number"] == b"0"


@pytest.mark.parametrize("path", ["/a", "", "..", "a/../b", "../a", "a/..", "a\0b"])
def test_a_path_stays_inside(path: str) -> None:
    with pytest.raises(UNREADABLE):
        _meta(path=path.encode())
    with pytest.raises(UNREADABLE):
        _marker(path=path)


PATHS: Mapping[str, str] = {
    "a%b": "a%25b",
    "ä/\U0001f3a5.mp4": "ä/\U0001f3a5.mp4",
    "\udc80\udcff": "%80%FF",
    "..a/b..": "..a/b..",
    "~": "~",
    'a b!"#$&': 'a b!"#$&',
    "\ue000": "\ue000",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_keeps_every_byte_and_stays_readable(path: str) -> None:
    assert escape_path(path) == PATHS[path]
    assert unescape_path(PATHS[path]) == path


@pytest.mark.parametrize("text", ["%", "%2", "%24", "%26", "%7F", "%79", "%G0", "%8", "%8G", "%ff", "%255%"])
def test_an_escape_that_is_never_written_is_none(text: str) -> None:
    with pytest.raises(UNREADABLE):
        unescape_path(text)


@pytest.mark.parametrize("bucket", ["a", "b", "c"])
def test_what_pruning_needs_is_of_one_bucket(bucket: str) -> None:
    raw = encode_marker(replace(MARKER, unseen=3))
    found = decode_remembered(bucket, MARKER.snapshot.identity, raw)
    if bucket != "b":
        assert found is None
        return
    assert found is not None
    assert (found.identity, found.path, found.stream_id) == (MARKER.snapshot.identity, "a.mp4", "s")
    assert (found.completed_at, found.unseen, found.state) == (NOW, 3, raw)


@pytest.mark.parametrize("identity", [Identity(6, 5), Identity(8, 5), Identity(7, 4), Identity(7, 6)])
def test_what_pruning_needs_is_of_one_file(identity: Identity) -> None:
    with pytest.raises(UNREADABLE):
        decode_remembered("b", identity, encode_marker(MARKER))


def test_what_was_always_seen_is_not_written() -> None:
    seen = encode_marker(MARKER)
    assert "unseen" not in json.loads(seen)
    remembered = decode_remembered("b", MARKER.snapshot.identity, seen)
    assert remembered is not None and remembered.unseen == _marker().unseen == 0
    more = b'{"later": 1, ' + seen[1:]
    assert json.loads(with_unseen(more, 2)) == {**json.loads(seen), "later": 1, "unseen": 2}
    assert json.loads(with_unseen(with_unseen(more, 2), 0)) == {**json.loads(seen), "later": 1}


def test_names_stay_readable_for_whoever_looks_into_redis() -> None:
    assert "ä.mp4".encode() in encode_marker(replace(MARKER, path="ä.mp4", key="ä.mp4"))
    assert "ä".encode() in encode_meta(replace(RECORD, superseded=(Superseded("ä", "u", "s", NOW),)))["superseded"]
