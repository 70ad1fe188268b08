"""The nouns: what they say when nothing was said, and when a file was born."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from src.domain import (
    Checkpoint,
    Identity,
    Marker,
    MediaStream,
    Part,
    PartSchedule,
    Probe,
    Snapshot,
    Status,
    StoredPart,
)
from src.domain.recording import Digest, Manifest, StoredObject

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("birth_ns", "born_at"),
    [
        (0, None),
        (1, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_999, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (1_700_000_000_123_456_789, datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)),
        (-1_000_000_000, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (2**63 * 1000, None),
    ],
)
def test_a_birth_time_is_utc_to_the_microsecond(birth_ns: int, born_at: datetime | None) -> None:
    assert Identity(7, birth_ns).born_at == born_at


def test_a_new_checkpoint_claims_nothing() -> None:
    """Every field that a record may lack says, without a word, that nothing of the kind has happened."""
    record = Checkpoint("s", Status.ACTIVE, "a.mp4", "b", "a.mp4", Identity(1, 2), PartSchedule(10), NOW)
    nothing = {
        *(("upload_id", None), ("replaces", None), ("replacements", 0), ("manifest", None), ("unanswered", False)),
        *(("etag", None), ("completed_at", None), ("processed_at", None), ("probe", None), ("still_open", False)),
        *(("without_checksums", False), ("failure", None), ("superseded", ()), ("number", None)),
    }
    assert {(name, getattr(record, name)) for name, _ in nothing} == nothing
    assert dict(record.parts) == {}


def test_a_marker_is_of_a_closed_file_that_was_never_replaced() -> None:
    snapshot = Snapshot(Identity(1, 2), 10, 3, 4)
    marker = Marker("s", "a.mp4", "b", "a.mp4", snapshot, 5, "etag", PartSchedule(10), NOW, NOW)
    assert (marker.replacements, marker.still_open) == (0, False)


def test_a_schedule_grows_unless_it_is_told_not_to() -> None:
    assert (PartSchedule(10).growing, PartSchedule(10).step) == (True, None)


def test_a_stream_is_a_picture_attached_to_sound_only_when_that_is_said() -> None:
    assert not MediaStream("video", None).attached_picture


def test_what_nobody_told_is_unknown() -> None:
    assert (Part(1, 10, "etag", None, NOW).md5, Part(1, 10, "etag", None, NOW).sent_again) == (None, ())
    assert StoredPart(1, 10, "etag", None).modified_at is None
    assert Digest(10, 5).md5 is None
    assert (Probe().duration_seconds, Probe().streams, Probe().error, Probe().remarks) == (None, (), None, ())
    assert dict(StoredObject(10, "etag", None).metadata) == {}
    manifest = Manifest(10, 5, 1, Snapshot(Identity(1, 2), 10, 3, 4))
    assert (manifest.replaces, manifest.etag_md5) == (None, None)
