"""What the tests see in a bucket while a store still changes it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from tests.harness.e2e.bucket import Bucket
from tests.harness.servers import S3Server

pytestmark = [pytest.mark.versitygw]


@pytest.fixture
def bucket(versitygw: S3Server) -> Bucket:
    bucket = Bucket(versitygw, f"seen-{secrets.token_hex(4)}")
    bucket.client.create_bucket(Bucket=bucket.name)
    return bucket


def _upload(bucket: Bucket, key: str, parts: Sequence[bytes]) -> str:
    where = {"Bucket": bucket.name, "Key": key}
    upload_id: str = bucket.client.create_multipart_upload(**where)["UploadId"]
    for number, body in enumerate(parts, start=1):
        bucket.client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)
    return upload_id


def test_an_upload_that_ends_after_it_was_listed_is_not_open(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A completion that a killed daemon had sent may take effect between two requests of a test."""
    ended = _upload(bucket, "a.mp4", [b"1"])
    _upload(bucket, "b.mp4", [b"1", b"2"])
    listed: list[Any] = bucket.uploads_at("")
    bucket.client.abort_multipart_upload(Bucket=bucket.name, Key="a.mp4", UploadId=ended)
    monkeypatch.setattr(Bucket, "_uploads", lambda _: listed)
    assert bucket.parts_left_open() == {"b.mp4": 2}


def test_parts_of_all_uploads_of_a_key_count(bucket: Bucket) -> None:
    for parts in ([b"1"], [], [b"1", b"2"], []):
        _upload(bucket, "a.mp4", parts)
    assert bucket.parts_left_open() == {"a.mp4": 3}
