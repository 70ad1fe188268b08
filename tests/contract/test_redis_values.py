"""D12, D13, D19: a corpus of values that Redis may hold and no release of ours wrote.

What cannot be read is set aside under another key, whole, and told; nothing is raised and other streams load. What
can be read but is odd is kept as it is: file and store decide what it is worth. Adds to the corpus of
``test_checkpoints.py``, which has the plain ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from src.domain import Identity, Status, moments
from src.redis_client.format import encode_marker, encode_part
from src.redis_client.names import ALL_SETS
from tests.contract.test_checkpoints import (
    IDENTITY,
    META,
    PARTS,
    Admin,
    client,
    field,
    full_record,
    marker,
    opened_redis,
    part,
    parts,
    record,
)
from tests.harness.fakes.telemetry import FakeTelemetry

pytestmark = pytest.mark.redis

Spoil = Callable[[Admin, str], object]
LAST_DAY, FIRST_DAY = "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"
SURROGATE = "\\ud800"


@pytest.fixture
def admin(redis_server: str) -> Iterator[Admin]:
    with closing(client(redis_server)) as beside:
        yield beside


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid4().hex}:"


def typed(kind: str) -> Callable[[Admin, str], object]:
    """Puts a value of this type under a name."""
    makers: Mapping[str, Callable[[Admin, str], object]] = {
        "string": lambda admin, key: admin.set(key, "hello"),
        "list": lambda admin, key: admin.rpush(key, "hello"),
        "set": lambda admin, key: admin.sadd(key, "hello"),
        "hash": lambda admin, key: admin.hset(key, "hello", "you"),
        "sorted set": lambda admin, key: admin.zadd(key, {"hello": 1}),
        "stream": lambda admin, key: admin.xadd(key, {"hello": "you"}),
        "bits": lambda admin, key: admin.setbit(key, 70_000, 1),
        "counters": lambda admin, key: admin.pfadd(key, "hello"),
    }

    def put(admin: Admin, key: str) -> None:
        admin.delete(key)
        makers[kind](admin, key)

    return put


def manifest(**changes: object) -> str:
    values: dict[str, Any] = {
        "size": 5,
        "crc64": "AAAAAAAAAAA=",
        "part_count": 1,
        "snapshot": {"inode": 1, "birth_ns": 1, "size": 5, "mtime_ns": 1, "ctime_ns": 1},
    }
    return json.dumps({**values, **changes})


def superseded(**changes: object) -> str:
    values = {"key": "k", "upload_id": "u", "stream_id": "s", "since": "2026-05-04T12:00:00+00:00"}
    return json.dumps([{**values, **changes}])


RECORDS: Mapping[str, Spoil] = {
    "a sorted set": lambda admin, prefix: typed("sorted set")(admin, prefix + META),
    "a stream of Redis's own": lambda admin, prefix: typed("stream")(admin, prefix + META),
    "50 MB in its place": lambda admin, prefix: admin.set(prefix + META, b"x" * 50_000_000),
    "50 MB in a field": field("path", b"../" + b"x" * 50_000_000),
    "half a JSON of 5 MB": field("manifest", '{"size": [' + "1," * 2_500_000),
    "format 99": field("v", "99"),
    "a format with a plus": field("v", "+1"),
    "a format in other digits": field("v", "١"),
    "a format of a blank": field("v", " 1"),
    "a status in capitals": field("status", "ACTIVE"),
    "a status that is completed twice": field("status", "completed completed"),
    "a path to the password file": field("path", "cam/../../../etc/passwd"),
    "a path that ends above": field("path", "cam/.."),
    "a path with a zero": field("path", b"cam/a\x00.mp4"),
    "a key of nothing": field("key", ""),
    "a key with a zero": field("key", b"a\x00.mp4"),
    "a key above 1,024 bytes": field("key", "x" * 1025),
    "an upload id of nothing": field("upload_id", ""),
    "an upload id with a new line": field("upload_id", "id\r\nX-Evil: 1"),
    "an upload id that is not UTF-8": field("upload_id", b"\xff\xfe"),
    "an inode that is NaN": field("inode", "NaN"),
    "an inode with a fraction": field("inode", "12.0"),
    "an inode of 2^64": field("inode", str(1 << 64)),
    "a birth before all time": field("birth_ns", str(-(1 << 64))),
    "replacements below none": field("replacements", "-1"),
    "a time after all time": field("started_at", LAST_DAY),
    "a time before all time": field("started_at", FIRST_DAY),
    "a completion after all time": field("completed_at", LAST_DAY),
    "a time with a zone of its own": field("processed_at", "2026-05-04T12:00:00+25:00"),
    "a manifest of NaN": field("manifest", manifest(size=float("nan"))),
    "a manifest below nothing": field("manifest", manifest(size=-5)),
    "a manifest with a fraction": field("manifest", manifest(part_count=1.0)),
    "a manifest of truth": field("manifest", manifest(size=True)),
    "a manifest without a snapshot": field("manifest", manifest(snapshot=None)),
    "a manifest with a list for a snapshot": field("manifest", manifest(snapshot=[1, 2, 3])),
    "a manifest with an impossible character": field("manifest", manifest(replaces="?").replace("?", SURROGATE)),
    "a manifest of one string": field("manifest", '"manifest"'),
    "a schedule below nothing": field("schedule", '{"chunk_size": -5242880, "growing": true}'),
    "a schedule of infinity": field("schedule", '{"chunk_size": Infinity, "growing": true}'),
    "superseded by null": field("superseded", "null"),
    "superseded by an object": field("superseded", "{}[]"),
    "superseded after all time": field("superseded", superseded(since=LAST_DAY)),
    "superseded with a key of nothing": field("superseded", superseded(key="")),
    "superseded with a new line in the upload": field("superseded", superseded(upload_id="a\nb")),
    "superseded with an impossible character": field("superseded", superseded(key="?").replace("?", SURROGATE)),
    "an etag with a new line": field("etag", "a\r\nb"),
}


@pytest.mark.parametrize("name", RECORDS)
async def test_a_record_that_nobody_wrote_is_set_aside_whole(
    redis_server: str, admin: Admin, prefix: str, name: str
) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix) as before:
        await before.save(full_record("good"))
        await before.save(full_record("bad1"))
    RECORDS[name](admin, prefix)
    kept = {key: admin.dump(prefix + key) for key in (META, PARTS)}
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as after:
        assert await after.load() == [full_record("good")]
    told = telemetry.of(moments.RecordSetAside)
    assert told and all("bad1" in moment.key and len(moment.reason) < 1000 for moment in told)
    assert {key: admin.dump(f"{prefix}bad:{key}") for key in kept} == kept
    admin.delete(f"{prefix}bad:{META}")


SETS = [key.decode() for key in ALL_SETS]
WRONG = [(key, kind) for key in SETS for kind in ("string", "list", "hash", "sorted set", "stream", "bits")]
WRONG += [("streams:markers", kind) for kind in ("string", "list", "set", "sorted set", "stream", "counters")]


@pytest.mark.parametrize(("key", "kind"), WRONG)
async def test_each_key_of_another_type_makes_way_and_is_kept(
    redis_server: str, admin: Admin, prefix: str, key: str, kind: str
) -> None:
    """D12."""
    telemetry = FakeTelemetry()
    typed(kind)(admin, prefix + key)
    value = admin.dump(prefix + key)
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as checkpoints:
        assert await checkpoints.load() == []
        await checkpoints.save(record(parts=parts(1)))
        await checkpoints.save(record(status=Status.FAILED, parts=parts(1)))
        await checkpoints.finish(record("done"), marker())
        assert await checkpoints.marker(IDENTITY) == marker()
    async with opened_redis(redis_server, prefix=prefix) as after:
        assert await after.load() == [record(status=Status.FAILED, parts=parts(1))]
    assert admin.dump(f"{prefix}bad:{key}") == value
    assert [moment.key for moment in telemetry.of(moments.RecordSetAside)] == [prefix + key]


ENCODED = encode_part("bad1", part(2))
BAD_PARTS: Mapping[str, tuple[str | bytes, bytes]] = {
    "part number 0": ("0", ENCODED),
    "part number -1": ("-1", ENCODED),
    "part number 10,001": ("10001", ENCODED),
    "a part number beyond all": (str(1 << 63), ENCODED),
    "a part number in other digits": ("٢", ENCODED),
    "a size below nothing": ("2", ENCODED.replace(b'"size": ', b'"size": -')),
    "a size of NaN": ("2", b'{"v": 1, "stream_id": "bad1", "size": NaN}'),
    "a size in words": ("2", ENCODED.replace(b'"size": ', b'"size": "many", "old": ')),
    "a time after all time": ("2", ENCODED.replace(b"2026-05-04T12:00:02.123456+00:00", LAST_DAY.encode())),
    "an etag with an impossible character": ("2", ENCODED.replace(b"etag-2", SURROGATE.encode())),
    "an etag with a new line": ("2", ENCODED.replace(b"etag-2", rb"a\nb")),
    "a checksum of another alphabet": ("2", ENCODED.replace(b'"crc64": "', b'"crc64": "%$')),
    "reasons without end": ("2", ENCODED.replace(b'"sent_again": []', b'"sent_again": ' + b"[" * 100_000)),
    "20 MB": ("2", b'{"v": 1, "stream_id": "' + b"x" * 20_000_000),
    "nothing": ("2", b""),
}


@pytest.mark.parametrize("name", BAD_PARTS)
async def test_a_part_that_nobody_wrote_is_left_out_and_told(
    redis_server: str, admin: Admin, prefix: str, name: str
) -> None:
    number, value = BAD_PARTS[name]
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix) as before:
        await before.save(record("bad1", parts=parts(1, 3)))
    admin.hset(prefix + PARTS, number, value)
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as after:
        assert await after.load() == [record("bad1", parts=parts(1, 3))]
    assert len(telemetry.of(moments.RecordSetAside)) == 1
    assert len(telemetry.of(moments.RecordSetAside)[0].reason) < 1000


WRITTEN = encode_marker(marker())
BAD_MARKERS: Mapping[str, bytes] = {
    "half a JSON": WRITTEN[: len(WRITTEN) // 2],
    "format 99": WRITTEN.replace(b'"v": 1', b'"v": 99'),
    "another file's": encode_marker(marker(Identity(1, 2))),
    "a path out of the folder": WRITTEN.replace(b'"path": "', b'"path": "../../etc/passwd'),
    "an absolute path": WRITTEN.replace(b'"path": "', b'"path": "/'),
    "a key of nothing": WRITTEN.replace(b"rec/cam/1.mp4", b""),
    "a key with an impossible character": WRITTEN.replace(b"rec/cam/1.mp4", SURROGATE.encode()),
    "a size of NaN": WRITTEN.replace(b'"size": ', b'"size": NaN, "old": '),
    "a size below nothing": WRITTEN.replace(b'"size": ', b'"size": -'),
    "a time after all time": WRITTEN.replace(b"2026-05-04T13:00:00.123456+00:00", LAST_DAY.encode()),
    "a key twice, the last of them a number": WRITTEN.replace(b'"replacements": 2', b'"replacements": 2, "key": 7'),
    "no etag": WRITTEN.replace(b'"etag"', b'"gate"'),
    "20 MB": b'"' + b"x" * 20_000_000 + b'"',
}


@pytest.mark.parametrize("name", BAD_MARKERS)
async def test_a_marker_that_nobody_wrote_is_set_aside_whole(
    redis_server: str, admin: Admin, prefix: str, name: str
) -> None:
    telemetry = FakeTelemetry()
    raw, member = BAD_MARKERS[name], f"{IDENTITY.inode}:{IDENTITY.birth_ns}"
    assert raw != WRITTEN
    admin.hset(f"{prefix}streams:markers", member, raw)
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as checkpoints:
        assert await checkpoints.marker(IDENTITY) is None
        await checkpoints.put_marker(marker())
        assert await checkpoints.marker(IDENTITY) == marker()
    assert len(telemetry.of(moments.RecordSetAside)) == 1
    assert admin.get(f"{prefix}bad:streams:markers:{member}") == raw


MEMBERS: Mapping[str, bytes] = {
    "that is not UTF-8": b"\xff\xfe\x00",
    "of nothing": b"",
    "with a path in it": b"../../etc/passwd",
    "with a new line": b"a\r\nDEL x",
    "of 1 MB": b"m" * 1_000_000,
}


@pytest.mark.parametrize("name", MEMBERS)
async def test_a_stream_id_that_nobody_gave_stops_nobody(
    redis_server: str, admin: Admin, prefix: str, name: str
) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as checkpoints:
        await checkpoints.save(full_record("good"))
        admin.sadd(f"{prefix}streams:active", MEMBERS[name])
        assert await checkpoints.load() == [full_record("good")]
        assert await checkpoints.load() == [full_record("good")]
    assert len(telemetry.of(moments.RecordSetAside)) == 1
    assert admin.smembers(f"{prefix}streams:active") == set()
