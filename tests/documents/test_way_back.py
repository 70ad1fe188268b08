"""0.1.0 can be put back: its own readers are given whatever this release writes.

Version 2 is written only where 0.1.0 would misread, and there its readers must say that they cannot read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from src.domain import (
    Checkpoint,
    Identity,
    Manifest,
    Marker,
    Part,
    PartSchedule,
    Probe,
    SendReason,
    Snapshot,
    Status,
    Superseded,
    origin_of,
)
from src.domain.whose import object_metadata
from src.metadata_generator import encode_document, metadata_document, read_document
from src.redis_client.format import (
    UNREADABLE,
    decode_marker,
    decode_meta,
    decode_part,
    encode_marker,
    encode_meta,
    encode_part,
)
from src.redis_client.scripts import EPOCH, OWNER
from tests.harness.release_0_1_0 import checkpoint_format as old_format
from tests.harness.release_0_1_0 import metadata_generator as old_documents
from tests.harness.release_0_1_0 import reconcile as old_reconcile
from tests.harness.release_0_1_0 import recording as old_nouns

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
FILE = Identity(7, 8)
SNAPSHOT = Snapshot(FILE, 25, 3, 4)
USUAL = (PartSchedule(10), PartSchedule(10, growing=False))
WITH_STEP = (PartSchedule(10, step=100), PartSchedule(10, growing=True, step=1))
PARTS = {
    number: Part(number, size, f"etag {number}", 40 + number, NOW, f"{number:032x}", (SendReason.HEAD_PATCH,))
    for number, size in ((1, 10), (2, 10), (3, 5))
}


def _record(schedule: PartSchedule, status: Status = Status.S3_COMPLETED) -> Checkpoint:
    return Checkpoint(
        stream_id="s1",
        status=status,
        path="cam/take 1.mp4",
        bucket="b",
        key="cam/take 1.mp4",
        identity=FILE,
        schedule=schedule,
        started_at=NOW,
        upload_id="u1",
        replaces="before",
        replacements=2,
        manifest=Manifest(25, 99, 3, SNAPSHOT, replaces="before", etag_md5="abc-3"),
        unanswered=True,
        etag="made",
        completed_at=NOW,
        processed_at=NOW,
        still_open=True,
        without_checksums=True,
        failure="odd",
        superseded=(Superseded("k", "u0", "s0", NOW),),
        parts=PARTS,
    )


def _records() -> Iterator[Checkpoint]:
    for schedule in USUAL:
        for status in (Status.ACTIVE, Status.PENDING_COMPLETION, Status.S3_COMPLETED, Status.FAILED):
            yield _record(schedule, status)
            yield Checkpoint("s2", status, "a.mp4", "b", "a.mp4", FILE, schedule, NOW)


def _marker(schedule: PartSchedule) -> Marker:
    return Marker("s1", "a.mp4", "b", "a.mp4", SNAPSHOT, 99, "made", schedule, NOW, NOW, 2, still_open=True)


def _document(schedule: PartSchedule) -> bytes:
    return encode_document(metadata_document(_record(schedule), original_file_path="/in/a.mp4", probe=Probe(None)))


def _plain(value: Any) -> Any:
    """Without the classes, which each release has of its own."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name != "parts"}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _same(new: Any, old: Any) -> None:
    """As far as the old release knows it; there may be more."""
    mine, known = _plain(new), _plain(old)
    mine["schedule"].pop("step", None)
    assert {name: mine[name] for name in known} == known


@pytest.mark.parametrize("record", list(_records()), ids=lambda record: f"{record.stream_id} {record.status}")
def test_the_old_release_reads_a_record(record: Checkpoint) -> None:
    beside = {"owner": OWNER, "epoch": EPOCH, "revision": b"0a-1"}
    _same(record, old_format.decode_meta(record.stream_id, {**encode_meta(record), **beside}))
    for part in record.parts.values():
        assert asdict(old_format.decode_part("s1", b"%d" % part.number, encode_part("s1", part))) == asdict(part)


@pytest.mark.parametrize("schedule", USUAL)
def test_the_old_release_reads_a_marker_an_object_and_a_document(schedule: PartSchedule) -> None:
    old_file = old_nouns.Identity(FILE.inode, FILE.birth_ns)
    _same(_marker(schedule), old_format.decode_marker(old_file, encode_marker(_marker(schedule))))
    origin = old_reconcile.origin_of(object_metadata("s1", "a.mp4", FILE, schedule, started_at=NOW))
    assert origin is not None
    assert (origin.stream_id, origin.path, asdict(origin.identity)) == ("s1", "a.mp4", asdict(FILE))
    described = old_documents.read_document(_document(schedule))
    assert described is not None
    assert (described.stream_id, described.etag, described.crc64) == ("s1", "made", 99)
    assert [(chunk.number, chunk.size) for chunk in described.chunks] == [(1, 10), (2, 10), (3, 5)]


@pytest.mark.parametrize("schedule", WITH_STEP)
def test_what_the_old_release_would_cut_elsewhere_it_does_not_read(schedule: PartSchedule) -> None:
    old_file = old_nouns.Identity(FILE.inode, FILE.birth_ns)
    for read in (
        lambda: old_format.decode_meta("s1", encode_meta(_record(schedule))),
        lambda: old_format.decode_marker(old_file, encode_marker(_marker(schedule))),
    ):
        with pytest.raises(old_format.UNREADABLE, match="newer release"):
            read()
    assert old_reconcile.origin_of(object_metadata("s1", "a.mp4", FILE, schedule)) is None
    assert old_documents.read_document(_document(schedule)) is None


@pytest.mark.parametrize("schedule", [*USUAL, *WITH_STEP])
def test_this_release_reads_what_it_writes(schedule: PartSchedule) -> None:
    record = _record(schedule)
    assert decode_meta("s1", encode_meta(record)) == replace(record, parts={})
    assert decode_part("s1", b"1", encode_part("s1", PARTS[1])) == PARTS[1]
    assert decode_marker(FILE, encode_marker(_marker(schedule))) == _marker(schedule)
    assert origin_of(object_metadata("s1", "a.mp4", FILE, schedule)) is not None
    described = read_document(_document(schedule))
    assert described is not None
    assert described.schedule == schedule


def test_a_step_that_no_upload_has_is_refused() -> None:
    record = encode_meta(_record(PartSchedule(10, step=100)))
    for step in (b"0", b"10001", b"true", b'"9"'):
        broken = {**record, "schedule": record["schedule"].replace(b"100", step)}
        with pytest.raises(UNREADABLE):
            decode_meta("s1", broken)
