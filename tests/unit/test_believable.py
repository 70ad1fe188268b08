"""Which records a start goes on with, and which proved object it believes in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from src.domain import (
    Checkpoint,
    Identity,
    Manifest,
    Part,
    PartSchedule,
    Probe,
    Snapshot,
    Status,
    StoredObject,
    Superseded,
    believable,
)
from src.domain.resuming import is_still_described

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FILE, OTHER = Identity(1, 1), Identity(2, 2)
MANIFEST = Manifest(20, 5, 2, Snapshot(FILE, 20, 1, 1))
STORED = StoredObject(size=20, etag="etag", crc64=5, metadata={})


def record(stream_id: str, parts: int = 0, **more: Any) -> Checkpoint:
    values: dict[str, Any] = {
        "stream_id": stream_id,
        "status": Status.ACTIVE,
        "path": "a.mp4",
        "bucket": "b",
        "key": "a.mp4",
        "identity": FILE,
        "schedule": PartSchedule(10),
        "started_at": NOON,
        "upload_id": f"upload-{stream_id}",
        "parts": {n: Part(n, 10, f"etag-{n}", n, NOON) for n in range(1, parts + 1)},
    }
    return Checkpoint(**{**values, **more})


def left(stream_id: str) -> Superseded:
    return Superseded("a.mp4", f"upload-{stream_id}", stream_id, NOON)


def test_records_that_have_nothing_in_common_are_believed() -> None:
    records = [record("one", 1), record("two", key="b.mp4", identity=OTHER)]
    assert believable(records) == records


def test_of_one_file_the_record_with_the_most_parts_goes_on_and_cleans_up_after_the_others() -> None:
    earlier = Superseded("a.mp4", "upload-0", "zero", NOON)
    found = believable([record("one", 1), record("two", 3), record("three", superseded=(earlier,))])
    assert found == [record("two", 3, superseded=(left("one"), left("three"), earlier))]


def test_a_record_whose_object_is_proved_goes_before_one_with_more_parts() -> None:
    (found,) = believable([record("one", 3), record("two", 1, status=Status.S3_COMPLETED)])
    assert found.stream_id == "two"


def test_two_files_at_one_key_begin_anew() -> None:
    found = believable([record("one", 2), record("two", 2, identity=OTHER, status=Status.PENDING_COMPLETION)])
    assert [(each.upload_id, dict(each.parts), each.status) for each in found] == [(None, {}, Status.ACTIVE)] * 2
    assert [each.superseded for each in found] == [(left("one"),), (left("two"),)]


def test_what_begins_anew_keeps_its_file_and_key_and_nothing_of_its_upload_or_object() -> None:
    everything: dict[str, Any] = {
        "status": Status.S3_COMPLETED,
        "replaces": "old",
        "manifest": MANIFEST,
        "unanswered": True,
        "without_checksums": True,
        "etag": "etag",
        "completed_at": NOON,
        "processed_at": NOON,
        "probe": Probe(),
    }
    one, _ = believable([record("one", 2, **everything), record("two", identity=OTHER)])
    assert one == record("one", upload_id=None, superseded=(left("one"),))


@pytest.mark.parametrize(
    ("stored", "changes", "believed"),
    [
        (STORED, {}, True),
        (replace(STORED, crc64=None), {}, True),
        (None, {}, False),
        (replace(STORED, etag="other"), {}, False),
        (replace(STORED, size=21), {}, False),
        (replace(STORED, crc64=6), {}, False),
        (STORED, {"manifest": None}, False),
        (STORED, {"identity": OTHER}, False),
    ],
)
def test_a_proved_object_is_believed_in_while_it_fits_the_record(
    stored: StoredObject | None, changes: dict[str, Any], believed: bool
) -> None:
    proved = record("one", 2, status=Status.S3_COMPLETED, etag="etag", manifest=MANIFEST)
    assert is_still_described(stored, replace(proved, **changes)) is believed
