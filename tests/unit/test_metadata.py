"""The description beside an object: complete, repeatable to the byte, and as good as a marker when read back."""

from __future__ import annotations

import base64
import copy
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

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
)
from src.metadata_generator import StoredDescription, document_key, encode_document, metadata_document, read_document

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "metadata.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)

BEGAN = datetime(2026, 11, 21, 13, 0, 0, 250_000, tzinfo=UTC)
SNAPSHOT = Snapshot(Identity(inode=2**63 + 1, birth_ns=1_763_730_000_123_456_789), 25, 1_763_730_060_000_000_001, 7)
PROBE = Probe(
    12.5,
    (
        MediaStream(
            *("video", "hevc", 1920, 1080, 29.97),
            rotation_degrees=90,
            sample_aspect_ratio="1:1",
            display_width=1080,
            display_height=1920,
            color_transfer="arib-std-b67",
            color_primaries="bt2020",
            color_space="bt2020nc",
        ),
        MediaStream("audio", "aac", sample_rate_hz=48_000, channels=2, language="deu"),
    ),
    remarks=("the clock begins at noon",),
)


def part(number: int, size: int, *, crc64: int | None = 7, sent_again: tuple[SendReason, ...] = ()) -> Part:
    return Part(number, size, f"etag-{number}", crc64, BEGAN + timedelta(seconds=number), sent_again=sent_again)


def proved(**changes: Any) -> Checkpoint:
    checkpoint = Checkpoint(
        stream_id="0123456789abcdef0123456789abcdef",
        status=Status.S3_COMPLETED,
        path="cam/rec 1.mp4",
        bucket="video-streams",
        key="cam/rec 1.mp4",
        identity=SNAPSHOT.identity,
        schedule=PartSchedule(10, growing=True),
        started_at=BEGAN,
        manifest=Manifest(size=25, crc64=2**64 - 1, part_count=3, snapshot=SNAPSHOT),
        etag="whole-3",
        completed_at=BEGAN + timedelta(minutes=1),
        processed_at=BEGAN + timedelta(minutes=1, seconds=1),
        replacements=2,
        parts={
            1: part(1, 10, sent_again=(SendReason.HEAD_PATCH, SendReason.LOST)),
            2: part(2, 10, crc64=None),
            3: part(3, 5),
            4: part(4, 10),  # left by a file that shrank
        },
    )
    return replace(checkpoint, **changes)


def written(checkpoint: Checkpoint | None = None, path: str = "/srv/rec 1.mp4", probe: Probe = PROBE) -> dict[str, Any]:
    body = encode_document(metadata_document(checkpoint or proved(), original_file_path=path, probe=probe))
    document: dict[str, Any] = json.loads(body)
    return document


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_the_document_has_every_field_and_satisfies_its_schema() -> None:
    document = written()
    VALIDATOR.validate(document)
    assert document == {
        "schema_version": 1,
        "stream_id": "0123456789abcdef0123456789abcdef",
        "original_file_path": "/srv/rec 1.mp4",
        "s3_bucket": "video-streams",
        "s3_key_prefix": "cam/rec 1.mp4",
        "total_size_bytes": 25,
        "duration_seconds": 12.5,
        "processed_at_utc": "2026-11-21T13:01:01.250000Z",
        "stream_started_at_utc": "2026-11-21T13:00:00.250000Z",
        "stream_completed_at_utc": "2026-11-21T13:01:00.250000Z",
        "file": {
            "size_bytes": 25,
            "mtime_ns": 1_763_730_060_000_000_001,
            "ctime_ns": 7,
            "inode": 2**63 + 1,
            "birth_ns": 1_763_730_000_123_456_789,
        },
        "object": {
            "etag": "whole-3",
            "checksum_crc64nvme": "//////////8=",
            "part_schedule": {"chunk_size_bytes": 10, "growing": True},
            "replacements": 2,
        },
        "media": {
            "streams": [
                {
                    "kind": "video",
                    "codec": "hevc",
                    "width": 1920,
                    "height": 1080,
                    "frame_rate": 29.97,
                    "sample_rate_hz": None,
                    "channels": None,
                    "attached_picture": False,
                    "rotation_degrees": 90,
                    "sample_aspect_ratio": "1:1",
                    "display_width": 1080,
                    "display_height": 1920,
                    "color_transfer": "arib-std-b67",
                    "color_primaries": "bt2020",
                    "color_space": "bt2020nc",
                    "language": None,
                },
                {
                    "kind": "audio",
                    "codec": "aac",
                    "width": None,
                    "height": None,
                    "frame_rate": None,
                    "sample_rate_hz": 48_000,
                    "channels": 2,
                    "attached_picture": False,
                    "rotation_degrees": None,
                    "sample_aspect_ratio": None,
                    "display_width": None,
                    "display_height": None,
                    "color_transfer": None,
                    "color_primaries": None,
                    "color_space": None,
                    "language": "deu",
                },
            ],
            "probe_error": None,
            "remarks": ["the clock begins at noon"],
        },
        "chunks": [
            {
                "part_number": 1,
                "size_bytes": 10,
                "etag": "etag-1",
                "uploaded_at_utc": "2026-11-21T13:00:01.250000Z",
                "offset_bytes": 0,
                "checksum_crc64nvme": "AAAAAAAAAAc=",
                "sent_again": ["head_patch", "lost"],
            },
            {
                "part_number": 2,
                "size_bytes": 10,
                "etag": "etag-2",
                "uploaded_at_utc": "2026-11-21T13:00:02.250000Z",
                "offset_bytes": 10,
                "checksum_crc64nvme": None,
                "sent_again": [],
            },
            {
                "part_number": 3,
                "size_bytes": 5,
                "etag": "etag-3",
                "uploaded_at_utc": "2026-11-21T13:00:03.250000Z",
                "offset_bytes": 20,
                "checksum_crc64nvme": "AAAAAAAAAAc=",
                "sent_again": [],
            },
        ],
    }


def test_a_second_writing_is_the_same_to_the_byte() -> None:
    one = encode_document(metadata_document(proved(), original_file_path="a.mp4", probe=PROBE))
    shuffled = proved(parts=dict(sorted(proved().parts.items(), reverse=True)))
    assert encode_document(metadata_document(shuffled, original_file_path="a.mp4", probe=PROBE)) == one
    assert one.startswith(b"{\n") and one.endswith(b"}\n")


def test_each_chunk_is_one_line_so_that_people_can_read_a_long_list() -> None:
    body = encode_document(metadata_document(proved(), original_file_path="é.mp4", probe=PROBE)).decode()
    assert sum('"part_number"' in line for line in body.splitlines()) == 3
    assert '"original_file_path": "é.mp4"' in body


def test_a_file_that_is_no_mp4_is_described_with_the_probes_error() -> None:
    document = written(probe=Probe(error="moov atom not found"))
    VALIDATOR.validate(document)
    assert document["duration_seconds"] is None
    assert document["media"] == {"streams": [], "probe_error": "moov atom not found", "remarks": []}


def test_what_json_cannot_carry_is_never_written() -> None:
    with pytest.raises(ValueError):
        encode_document({"duration_seconds": float("nan")})


def test_an_empty_list_is_still_json() -> None:
    assert json.loads(encode_document({"chunks": []})) == {"chunks": []}


def test_times_in_another_zone_are_written_in_utc() -> None:
    early = BEGAN.astimezone(timezone(timedelta(hours=-5)))
    assert written(proved(started_at=early))["stream_started_at_utc"] == "2026-11-21T13:00:00.250000Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        written(proved(started_at=BEGAN.replace(tzinfo=None)))


@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=3).map(b"/".join).filter(lambda p: b"\0" not in p)
)
def test_every_path_can_be_had_back_from_the_document(raw: bytes) -> None:
    document = written(path=os.fsdecode(raw))
    VALIDATOR.validate(document)
    exact = document.get("original_file_path_bytes_base64")
    assert (base64.b64decode(exact) if exact else document["original_file_path"].encode()) == raw


def test_a_path_that_is_not_utf8_is_readable_and_exact() -> None:
    document = written(path=os.fsdecode(b"caf\xe9.mp4"))
    assert document["original_file_path"] == "caf\ufffd.mp4"
    assert base64.b64decode(document["original_file_path_bytes_base64"]) == b"caf\xe9.mp4"
    assert "original_file_path_bytes_base64" not in written(path="caf\ufffd.mp4")


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": None},
        {"etag": None},
        {"completed_at": None},
        {"processed_at": None},
        {"parts": {}},
        {"parts": {1: part(1, 10), 2: part(2, 10)}},
        {"parts": {1: part(1, 10), 2: part(2, 10), 3: part(3, 6)}},
        {"manifest": Manifest(size=0, crc64=0, part_count=0, snapshot=SNAPSHOT)},
    ],
)
def test_a_checkpoint_that_lacks_a_fact_is_not_described(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        metadata_document(proved(**changes), original_file_path="a.mp4", probe=PROBE)


def test_the_description_lies_beside_its_object() -> None:
    assert document_key("cam/rec.mp4") == "cam/rec.mp4.metadata.json"


def read(document: object) -> StoredDescription | None:
    return read_document(json.dumps(document).encode())


def test_after_a_loss_of_redis_the_document_is_as_good_as_a_marker() -> None:
    checkpoint = proved()
    found = read(written(checkpoint))
    assert found is not None
    assert found.marker("moved/rec.mp4") == Marker(
        stream_id=checkpoint.stream_id,
        path="moved/rec.mp4",
        bucket=checkpoint.bucket,
        key=checkpoint.key,
        snapshot=SNAPSHOT,
        crc64=2**64 - 1,
        etag="whole-3",
        schedule=checkpoint.schedule,
        started_at=BEGAN,
        completed_at=BEGAN + timedelta(minutes=1),
        replacements=2,
    )
    assert found.processed_at == checkpoint.processed_at


def test_a_replacement_learns_each_chunk_and_its_checksum() -> None:
    found = read(written())
    assert found is not None
    assert [(c.number, c.offset, c.size, c.crc64) for c in found.chunks] == [
        (1, 0, 10, 7),
        (2, 10, 10, None),
        (3, 20, 5, 7),
    ]


@given(
    st.lists(st.tuples(st.integers(1, 2**40), st.none() | st.integers(0, 2**64 - 1)), min_size=1, max_size=20),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
)
def test_whatever_is_written_is_read_back_and_satisfies_the_schema(
    sizes: list[tuple[int, int | None]], number: int, moment: int
) -> None:
    total = sum(size for size, _ in sizes)
    snapshot = Snapshot(Identity(number, moment), total, moment, moment)
    document = written(
        proved(
            identity=snapshot.identity,
            manifest=Manifest(total, number, len(sizes), snapshot),
            parts={n: part(n, size, crc64=crc64) for n, (size, crc64) in enumerate(sizes, 1)},
        )
    )
    VALIDATOR.validate(document)
    found = read(document)
    assert found is not None and found.snapshot == snapshot and found.crc64 == number
    assert [(chunk.size, chunk.crc64) for chunk in found.chunks] == sizes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"stream_id": "x"}',
        b'{"schema_version": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5_000,
        encode_document(metadata_document(proved(), original_file_path="a", probe=PROBE))[:-20],
    ],
)
def test_a_strangers_or_damaged_document_is_none_of_ours(body: bytes) -> None:
    assert read_document(body) is None


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        target: Any = document
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("schema_version", to=3),
        _set("schema_version", to=True),
        _set("stream_id", to=""),
        _set("stream_id", to=7),
        _set("stream_id", to="\ud800"),
        _set("s3_key_prefix", to=None),
        _set("total_size_bytes", to=24),
        _set("total_size_bytes", to=25.0),
        _set("total_size_bytes", to="25"),
        _set("file", to=[]),
        _set("file", "size_bytes", to=24),
        _set("file", "inode", to=-1),
        _set("file", "inode", to=2**64),
        _set("object", "checksum_crc64nvme", to=None),
        _set("object", "checksum_crc64nvme", to="AAAA"),
        _set("object", "part_schedule", "chunk_size_bytes", to=0),
        _set("object", "part_schedule", "growing", to=1),
        _set("object", "replacements", to=-1),
        _set("stream_started_at_utc", to="2026-11-21 13:00:00"),
        _set("stream_started_at_utc", to="2026-13-21T13:00:00.000000Z"),
        _set("stream_completed_at_utc", to="2026-11-21T13:00:00.000000+01:00"),
        _set("chunks", to={}),
        _set("chunks", to=[]),
        _set("chunks", 0, to=None),
        _set("chunks", 0, "part_number", to=2),
        _set("chunks", 1, "offset_bytes", to=11),
        _set("chunks", 2, "size_bytes", to=6),
        _set("chunks", 2, "checksum_crc64nvme", to="?"),
    ],
)
def test_a_document_with_one_wrong_field_is_none_of_ours(change: Callable[[dict[str, Any]], None]) -> None:
    document = copy.deepcopy(written())
    change(document)
    assert read(document) is None
