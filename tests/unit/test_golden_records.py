"""What release 0.1.0 wrote can be read, and what is written now 0.1.0 can read: fields are added, never changed.

The golden file holds records that 0.1.0 wrote of the same streams, byte for byte (as Latin-1, so that JSON can carry
them). A reader takes fields by their names: with every old field there and unchanged, an old reader finds what it
found before.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.domain import (
    Checkpoint,
    Identity,
    Manifest,
    Marker,
    MediaStream,
    Part,
    PartSchedule,
    Probe,
    SendReason,
    Snapshot,
    Status,
    Superseded,
)
from src.domain.whose import object_metadata
from src.metadata_generator import encode_document, metadata_document, read_document
from src.redis_client.format import decode_marker, decode_meta, decode_part, encode_marker, encode_meta, encode_part

STREAM = "a1b2"
NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
IDENTITY = Identity(inode=2**63 + 5, birth_ns=1_777_000_000_123_456_789)
SNAPSHOT = Snapshot(IDENTITY, size=25_000_000, mtime_ns=1_777_000_001_000_000_001, ctime_ns=1_777_000_002_000_000_002)
ODD_PATH = os.fsdecode(b"K\xc3\xbcche/50% off\n\xff.mp4")
PARTS = {
    1: Part(1, 10_485_760, "etag-1", 2**64 - 1, NOON, sent_again=(SendReason.HEAD_PATCH, SendReason.REWRITE)),
    2: Part(2, 10_485_761, "etag-2", None, NOON + timedelta(seconds=2)),
    3: Part(3, 4_028_479, "etag-3", 7, NOON + timedelta(seconds=3), md5="0" * 32),
}
#: A stream that has nothing yet, and one with everything that 0.1.0 knew.
NEW = Checkpoint(STREAM, Status.ACTIVE, "cam/1.mp4", "videos", "rec/1.mp4", IDENTITY, PartSchedule(10_485_760), NOON)
FULL = replace(
    NEW,
    status=Status.S3_COMPLETED,
    path=ODD_PATH,
    schedule=PartSchedule(5_242_880, growing=False),
    upload_id="2~upload/+=",
    replaces="old-etag-3",
    replacements=4,
    manifest=Manifest(25_000_000, 2**64 - 1, 3, SNAPSHOT, replaces="old-etag-3", etag_md5="0123-3"),
    unanswered=True,
    etag="new-etag-3",
    completed_at=NOON + timedelta(hours=1),
    processed_at=NOON + timedelta(hours=2),
    still_open=True,
    failure=f"gone: {ODD_PATH}",
    superseded=(Superseded("rec/ö.mp4", "up-1", "old-id", NOON), Superseded("rec/b.mp4", None, "older-id", NOON)),
    parts=PARTS,
)
MARKER = Marker(
    STREAM, ODD_PATH, "videos", "rec/1.mp4", SNAPSHOT, 3, "abc-3", PartSchedule(10_485_760), NOON, NOON, 2, True
)
PROBE = Probe(
    12.5,
    (MediaStream("video", "h264", 1920, 1080, 29.97), MediaStream("audio", "aac", sample_rate_hz=48_000, channels=2)),
)
DOCUMENT = encode_document(metadata_document(FULL, original_file_path=f"/srv/{ODD_PATH}", probe=PROBE))
#: The records as they are written now. The golden file has them as the tree of release 0.1.0 wrote them.
NOW: dict[str, Any] = {
    "meta": {name: value.decode("latin-1") for name, value in encode_meta(FULL).items()},
    "meta of a new stream": {name: value.decode("latin-1") for name, value in encode_meta(NEW).items()},
    "parts": {str(n): encode_part(STREAM, part).decode("latin-1") for n, part in PARTS.items()},
    "marker": encode_marker(MARKER).decode("latin-1"),
    "object": object_metadata(STREAM, "cam/1.mp4", IDENTITY, PartSchedule(10_485_760, growing=True)),
    "document": json.loads(DOCUMENT),
}
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "records-0.1.0.json").read_text())


def _opened(value: Any) -> Any:
    """JSON inside of a text is opened, so that its fields are compared, too."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


def _missing(old: Any, new: Any, at: str = "") -> list[str]:
    """Where ``new`` lacks or changes something that ``old`` has."""
    old, new = _opened(old), _opened(new)
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{at}.{name} is gone" for name in old if name not in new]
        return gone + [each for name in old if name in new for each in _missing(old[name], new[name], f"{at}.{name}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [each for i, pair in enumerate(zip(old, new, strict=True)) for each in _missing(*pair, f"{at}[{i}]")]
    return [] if type(old) is type(new) and old == new else [f"{at} was {old!r}, is {new!r}"]


@pytest.mark.parametrize("kind", GOLDEN)
def test_every_field_of_0_1_0_is_still_written_as_it_was(kind: str) -> None:
    assert _missing(GOLDEN[kind], NOW[kind], kind) == []


def test_a_changed_and_a_lost_field_would_be_seen() -> None:
    assert _missing({"a": '{"b": 1, "c": [true]}'}, {"a": '{"c": [1], "d": 2}'}) == [
        ".a.b is gone",
        ".a.c[0] was True, is 1",
    ]


def test_the_records_of_0_1_0_are_read_as_they_were_meant() -> None:
    fields = {name: text.encode("latin-1") for name, text in GOLDEN["meta"].items()}
    parts = {
        int(number): decode_part(STREAM, number.encode(), text.encode("latin-1"))
        for number, text in GOLDEN["parts"].items()
    }
    read = decode_meta(STREAM, fields)
    assert (read, parts) == (replace(FULL, parts=read.parts), PARTS)
    new = {name: text.encode("latin-1") for name, text in GOLDEN["meta of a new stream"].items()}
    assert decode_meta(STREAM, new) == NEW
    assert decode_marker(MARKER.snapshot.identity, GOLDEN["marker"].encode("latin-1")) == MARKER
    assert read_document(json.dumps(GOLDEN["document"]).encode()) == read_document(json.dumps(NOW["document"]).encode())


def test_versions_stay_so_that_0_1_0_does_not_refuse() -> None:
    versions = [
        NOW["meta"]["v"],
        *(json.loads(text)["v"] for text in NOW["parts"].values()),
        json.loads(NOW["marker"])["v"],
    ]
    assert {str(version) for version in versions} == {"1"}
    assert (NOW["document"]["schema_version"], NOW["object"]["cefmp4-format"]) == (1, "1")
