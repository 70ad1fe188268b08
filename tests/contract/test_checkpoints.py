"""One contract for checkpoints, held by the fake and by a real Redis; then what only a real Redis can do to us."""

from __future__ import annotations

import asyncio
import os
import random
import re
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st
from redis.exceptions import BusyLoadingError, ResponseError

from src.domain import (
    Checkpoint,
    Checkpoints,
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
    moments,
)
from src.exceptions import Permanent, RedisOperationError, RedisUnavailable
from src.redis_client import RedisCheckpoints
from src.redis_client import checkpoints as redis_client
from src.redis_client import connection as redis_connection
from src.redis_client import format as checkpoint_format
from src.redis_client.errors import RedisRejected, translate
from src.redis_client.format import escape_path, unescape_path
from src.redis_client.names import ALL_SETS
from src.retry import ErrorClass, RetryPolicy
from tests.harness import servers
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.telemetry import FakeTelemetry

Admin = Any  # redis-py's synchronous client, whose answers are typed for both worlds
Opened = Callable[[], AbstractAsyncContextManager[Checkpoints]]

BUCKET = "videos"
NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
IDENTITY = Identity(inode=2**63 + 5, birth_ns=1_777_000_000_123_456_789)
SNAPSHOT = Snapshot(IDENTITY, size=25_000_000, mtime_ns=1_777_000_001_000_000_001, ctime_ns=1_777_000_002_000_000_002)
ODD_PATH = os.fsdecode("Küche/50% off\n\xff.mp4".encode("latin-1")) + "/ß~2.mp4"
QUICK = RetryPolicy(first_wait=0.01, longest_wait=0.05)


def part(number: int, *, etag: str | None = None, again: tuple[SendReason, ...] = ()) -> Part:
    return Part(
        number=number,
        size=10_485_760 + number,
        etag=etag or f"etag-{number}",
        crc64=2**64 - number,
        uploaded_at=NOON + timedelta(seconds=number),
        sent_again=again,
    )


def parts(*numbers: int) -> dict[int, Part]:
    return {number: part(number) for number in numbers}


def record(stream_id: str = "a1b2", **more: Any) -> Checkpoint:
    values: dict[str, Any] = {
        "stream_id": stream_id,
        "status": Status.ACTIVE,
        "path": "cam/1.mp4",
        "bucket": BUCKET,
        "key": "rec/cam/1.mp4",
        "identity": IDENTITY,
        "schedule": PartSchedule(10_485_760),
        "started_at": NOON,
    }
    return Checkpoint(**{**values, **more})


def full_record(stream_id: str = "a1b2", **more: Any) -> Checkpoint:
    """Every field has a value that is not its default."""
    manifest = Manifest(25_000_000, 2**64 - 1, 3, SNAPSHOT, replaces="old-etag-3", etag_md5="0123-3")
    values: dict[str, Any] = {
        "status": Status.PENDING_COMPLETION,
        "path": ODD_PATH,
        "key": "rec/Küche/50%25 off%0A%FF.mp4",
        "identity": Identity(7, -1),
        "schedule": PartSchedule(5_242_880, growing=False),
        "upload_id": "2~upload/+=",
        "replaces": "old-etag-3",
        "replacements": 4,
        "manifest": manifest,
        "unanswered": True,
        "etag": "new-etag-3",
        "completed_at": NOON + timedelta(hours=1),
        "processed_at": NOON + timedelta(hours=2),
        "probe": Probe(
            2.5,
            (MediaStream("video", "h264", 160, 120, 29.97, attached_picture=True), MediaStream("audio", None)),
            remarks=("the samples last 2.500 s",),
        ),
        "still_open": True,
        "failure": f"gone: {ODD_PATH}",
        "number": 3,
        "without_checksums": True,
        "superseded": (
            Superseded("rec/ö.mp4", "up-1", "old-id", NOON),
            Superseded("rec/b.mp4", "up-2", "older-id", NOON),
        ),
        "parts": {
            1: part(1, again=(SendReason.HEAD_PATCH, SendReason.REWRITE)),
            2: replace(part(2), crc64=None),
            3: replace(part(3), md5="0" * 32),
        },
    }
    return record(stream_id, **{**values, **more})


def marker(identity: Identity = IDENTITY, **more: Any) -> Marker:
    values: dict[str, Any] = {
        "stream_id": "a1b2",
        "path": ODD_PATH,
        "bucket": BUCKET,
        "key": "rec/cam/1.mp4",
        "snapshot": replace(SNAPSHOT, identity=identity),
        "crc64": 3,
        "etag": "abc-3",
        "schedule": PartSchedule(10_485_760),
        "started_at": NOON,
        "completed_at": NOON + timedelta(hours=1),
        "replacements": 2,
    }
    return Marker(**{**values, **more})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something outside of this event loop. Raises ``TimeoutError`` after 20 seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - no event can tell of it
            await asyncio.sleep(0.01)


def by_id(records: list[Checkpoint]) -> dict[str, Checkpoint]:
    assert len({found.stream_id for found in records}) == len(records), "a record came twice"
    return {found.stream_id: found for found in records}


def test_the_full_record_has_a_value_of_its_own_in_every_field() -> None:
    whole, bare = full_record(), record()
    left_out = [field.name for field in fields(Checkpoint) if getattr(whole, field.name) == getattr(bare, field.name)]
    assert left_out == ["stream_id", "bucket", "started_at"]


# -- the contract -------------------------------------------------------------------------------------------------


def client(url: str) -> Admin:
    """A connection beside the daemon's."""
    return redis.Redis.from_url(url)


@asynccontextmanager
async def opened_redis(
    url: str, *, prefix: str = "", bucket: str = BUCKET, telemetry: FakeTelemetry | None = None, connections: int = 16
) -> AsyncIterator[RedisCheckpoints]:
    """Checkpoints as a new process of the daemon would have them."""
    telemetry = telemetry or FakeTelemetry()
    async with RedisCheckpoints(
        url,
        key_prefix=prefix,
        bucket=bucket,
        policy=QUICK,
        emit=telemetry.emit,
        connections=connections,
    ) as checkpoints:
        yield checkpoints


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid4().hex}:"


@pytest.fixture(params=["fake", pytest.param("redis", marks=pytest.mark.redis)])
def opened(request: pytest.FixtureRequest, prefix: str) -> Opened:
    """Opens the checkpoints; opened again they are another process's, on the same data."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_server")
        return lambda: opened_redis(url, prefix=prefix)
    fake = FakeCheckpoints(bucket=BUCKET)

    @asynccontextmanager
    async def the_same() -> AsyncIterator[Checkpoints]:
        yield fake

    return the_same


async def test_a_record_comes_back_whole_in_the_next_process(opened: Opened) -> None:
    async with opened() as before:
        await before.save(full_record())
        await before.save(record("c3d4"))
    async with opened() as after:
        assert by_id(await after.load()) == {"a1b2": full_record(), "c3d4": record("c3d4")}


async def test_saving_twice_changes_nothing(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(full_record())
        await checkpoints.save(full_record())
        assert await checkpoints.load() == [full_record()]


async def test_what_a_stream_no_longer_has_is_gone_from_its_record(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(full_record())
        await checkpoints.save(record(parts=parts(2)))
        assert await checkpoints.load() == [record(parts=parts(2))]


async def test_all_that_is_not_completed_is_loaded_whatever_its_status(opened: Opened) -> None:
    unfinished = [Status.ACTIVE, Status.PENDING_COMPLETION, Status.S3_COMPLETED, Status.FAILED]
    async with opened() as checkpoints:
        for status in unfinished:
            await checkpoints.save(record(status.value, status=status))
        assert {found.status for found in await checkpoints.load()} == set(unfinished)


async def test_a_stream_that_changes_its_status_is_loaded_once(opened: Opened) -> None:
    async with opened() as checkpoints:
        for status in (Status.ACTIVE, Status.PENDING_COMPLETION, Status.FAILED, Status.ACTIVE, Status.S3_COMPLETED):
            await checkpoints.save(record(status=status))
            assert await checkpoints.load() == [record(status=status)]


async def test_parts_are_added_to_those_that_are_there(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(record())
        await checkpoints.save_part(record(upload_id="up"), [part(1)])
        await checkpoints.save_part(record(upload_id="up"), [part(3), part(2)])
        await checkpoints.save_part(record(upload_id="up"), [part(3), part(2)])
        assert await checkpoints.load() == [record(upload_id="up", parts=parts(1, 2, 3))]


async def test_a_part_that_was_sent_again_takes_the_place_of_the_first(opened: Opened) -> None:
    patched = part(1, etag="other", again=(SendReason.HEAD_PATCH,))
    async with opened() as checkpoints:
        await checkpoints.save(record(parts=parts(1, 2)))
        await checkpoints.save_part(record(), [patched])
        assert await checkpoints.load() == [record(parts={1: patched, 2: part(2)})]


async def test_the_next_process_adds_parts_to_what_it_loaded(opened: Opened) -> None:
    async with opened() as before:
        await before.save(record(parts=parts(1, 2)))
    async with opened() as after:
        (found,) = await after.load()
        await after.save_part(replace(found, parts={}), [part(3)])
    async with opened() as third:
        assert await third.load() == [record(parts=parts(1, 2, 3))]


async def test_parts_that_are_stored_at_the_same_time_are_all_kept(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(record())
        await asyncio.gather(*(checkpoints.save_part(record(), [part(number)]) for number in range(1, 21)))
        assert await checkpoints.load() == [record(parts=parts(*range(1, 21)))]


async def test_a_finished_stream_leaves_nothing_but_its_marker(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(full_record())
        await checkpoints.finish(full_record(), marker())
        await checkpoints.finish(full_record(), marker())
        assert await checkpoints.load() == []
    async with opened() as after:
        assert await after.marker(IDENTITY) == marker()


async def test_a_finished_stream_that_goes_on_is_loaded_again(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.finish(record(), marker())
        await checkpoints.save(record(replacements=1))
        assert await checkpoints.load() == [record(replacements=1)]
        assert await checkpoints.marker(IDENTITY) == marker()


async def test_markers_are_found_by_file_and_the_last_one_counts(opened: Opened) -> None:
    other = Identity(IDENTITY.inode, 0)
    async with opened() as checkpoints:
        assert await checkpoints.marker(IDENTITY) is None
        await checkpoints.put_marker(marker(etag="first"))
        await checkpoints.put_marker(marker(etag="second"))
        await checkpoints.put_marker(marker(other, etag="third"))
        assert await checkpoints.marker(IDENTITY) == marker(etag="second")
        assert await checkpoints.marker(other) == marker(other, etag="third")


async def test_many_files_and_their_names_are_asked_for_at_once(opened: Opened) -> None:
    files = [(replace(IDENTITY, inode=1000 + number), f"rec/{number}.mp4") for number in range(300)]
    async with opened() as checkpoints:
        assert await checkpoints.remembered_of(files) == [(None, None)] * 300
        for number in (0, 7, 299):
            await checkpoints.put_marker(marker(files[number][0], etag=f"e{number}"))
        await checkpoints.finish(
            record("b", key="rec/8~4.mp4", number=4), marker(IDENTITY, stream_id="b", key="rec/8~4.mp4")
        )
        found = await checkpoints.remembered_of(files)
        assert {place: told for place, told in enumerate(found) if told != (None, None)} == {
            **{number: (marker(files[number][0], etag=f"e{number}"), None) for number in (0, 7, 299)},
            8: (None, 4),
        }
        assert await checkpoints.remembered_of([]) == []


@pytest.mark.redis
async def test_of_many_files_one_with_an_invalid_marker_is_asked_for_alone(redis_server: str, prefix: str) -> None:
    client(redis_server).hset(f"{prefix}streams:markers", "7:7", "no JSON")
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.put_marker(marker())
        files = [(Identity(7, 7), "a.mp4"), (IDENTITY, "b.mp4")]
        assert await checkpoints.remembered_of(files) == [None, (marker(), None)]
        assert await checkpoints.remembered(*files[0]) == (None, None)
        assert await checkpoints.remembered_of(files) == [(None, None), (marker(), None)]


async def test_the_number_of_the_last_recording_of_a_name_is_remembered_with_its_end(opened: Opened) -> None:
    name = "rec/Küche/cam.mp4"
    async with opened() as checkpoints:
        assert await checkpoints.remembered(IDENTITY, name) == (None, None)
        first = record(key=name, number=1)
        await checkpoints.save(first)
        await checkpoints.finish(first, marker(key=name))
        assert await checkpoints.remembered(IDENTITY, name) == (marker(key=name), None), "one name, one recording"
        for number in (2, 12):
            again = record(key=f"rec/Küche/cam~{number}.mp4", number=number)
            await checkpoints.save(again)
            await checkpoints.finish(again, marker())
        unknown = record("c3d4", key="rec/Küche/cam~99.mp4")
        await checkpoints.finish(unknown, marker())
        assert await checkpoints.remembered(IDENTITY, name) == (marker(), 12)
        assert await checkpoints.remembered(IDENTITY, "rec/Küche/cam~12.mp4") == (marker(), None)
    async with opened() as after:
        assert await after.remembered(replace(IDENTITY, inode=99), name) == (None, 12)


async def test_a_forgotten_stream_is_gone_and_forgetting_it_again_is_no_error(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(full_record(status=Status.FAILED))
        await checkpoints.save(record("c3d4"))
        await checkpoints.forget("a1b2")
        await checkpoints.forget("a1b2")
        assert await checkpoints.load() == [record("c3d4")]


async def test_records_and_markers_of_another_bucket_are_left_alone(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(record("theirs", bucket="theirs"))
        await checkpoints.put_marker(marker(bucket="theirs"))
        assert await checkpoints.load() == []
        assert await checkpoints.marker(IDENTITY) is None


async def test_a_record_given_to_a_save_may_change_afterwards(opened: Opened) -> None:
    mine = parts(1)
    async with opened() as checkpoints:
        await checkpoints.save(record(parts=mine))
        mine[2] = part(2)
        assert await checkpoints.load() == [record(parts=parts(1))]
        await checkpoints.save(record(parts=mine))
        assert await checkpoints.load() == [record(parts=parts(1, 2))]


# -- the fake alone -----------------------------------------------------------------------------------------------


async def test_the_fuse_blows_before_or_after_an_effect() -> None:
    class Blown(Exception):
        pass

    def at(name: str, when: str) -> Callable[[str, str], None]:
        def fuse(effect: str, moment: str) -> None:
            if (effect, moment) == (name, when):
                raise Blown

        return fuse

    for when, kept in (("before", 0), ("after", 1)):
        fake = FakeCheckpoints(fuse=at("redis.save", when))
        with pytest.raises(Blown):
            await fake.save(record())
        assert len(await fake.load()) == kept


async def test_the_fake_forgets_as_redis_does() -> None:
    fake = FakeCheckpoints()
    await fake.save(record())
    await fake.save_part(record(), [part(1)])
    await fake.finish(record(), marker())
    assert fake.members(Status.COMPLETED) == {"a1b2"}
    fake.roll_back(1)
    assert fake.members(Status.ACTIVE) == {"a1b2"}
    assert await fake.load() == [record(parts=parts(1))]
    fake.wipe()
    assert await fake.load() == []
    assert fake.writes == 5


async def test_while_the_fake_is_away_parts_are_refused_and_all_else_waits() -> None:
    fake = FakeCheckpoints()
    fake.go_away()
    with pytest.raises(RedisUnavailable):
        await fake.save_part(record(), [part(1)])
    saving = asyncio.create_task(fake.save(record()))
    await asyncio.sleep(0)
    assert not saving.done()
    fake.come_back()
    await saving
    assert fake.state.records == {"a1b2": record()}


# -- Redis: what people see in it -----------------------------------------------------------------------------------


@pytest.fixture
def admin(redis_server: str) -> Iterator[Admin]:
    with closing(client(redis_server)) as beside:
        yield beside


def keys_behind(admin: Admin, prefix: str) -> dict[str, bytes]:
    """All keys behind a prefix, without it, and their types."""
    return {key.decode().removeprefix(prefix): admin.type(key) for key in admin.scan_iter(f"{prefix}*", count=1000)}


@pytest.mark.redis
async def test_the_bytes_sent_are_those_of_all_parts_however_few_were_written_last(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    def told() -> tuple[bytes, bytes]:
        sent, last = admin.hmget(f"{prefix}stream:a1b2:meta", "total_bytes_sent", "last_activity_at_utc")
        return sent, last

    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.save(record(parts=parts(1, 2)))
        for number in (4, 3):
            await checkpoints.save_part(record(), [part(number)])
    total = sum(part(number).size for number in (1, 2, 3, 4))
    assert told() == (b"%d" % total, b"2026-05-04T12:00:04.123456Z")
    async with opened_redis(redis_server, prefix=prefix) as after:
        (loaded,) = await after.load()
        await after.save_part(loaded, [part(4, etag="sent again")])
        assert told()[0] == b"%d" % total
        await after.save(record())
        assert told() == (b"0", b"2026-05-04T12:00:00.123456Z")


async def test_the_keys_are_those_that_people_know_and_readable(redis_server: str, admin: Admin, prefix: str) -> None:
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.save(full_record(path="Küche/1.mp4"))
        await checkpoints.put_marker(marker())
        assert keys_behind(admin, prefix) == {
            "stream:a1b2:meta": b"hash",
            "stream:a1b2:parts": b"hash",
            "streams:pending_completion": b"set",
            "streams:completed": b"set",
            "streams:markers": b"hash",
        }
        meta = admin.hgetall(f"{prefix}stream:a1b2:meta")
        assert meta[b"v"] == b"1"
        assert meta[b"status"] == b"pending_completion"
        assert meta[b"path"].decode() == "Küche/1.mp4"
        assert b'"part_count": 3' in meta[b"manifest"]
        assert b'"crc64": "//////////8="' in admin.hget(f"{prefix}stream:a1b2:parts", 1)
        await checkpoints.save(record())
        gone = {b"manifest", b"upload_id", b"s3_upload_id", b"etag", b"failure", b"superseded", b"completed_at"}
        assert not gone & admin.hgetall(f"{prefix}stream:a1b2:meta").keys()
        await checkpoints.finish(record(), marker())
        assert keys_behind(admin, prefix) == {"streams:completed": b"set", "streams:markers": b"hash"}
        assert admin.smembers(f"{prefix}streams:completed") == {b"a1b2"}


@pytest.mark.redis
async def test_what_redis_knows_of_a_name_is_believed_only_when_it_can_be_read(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    key, name = f"{prefix}streams:numbers", "rec/cam.mp4"
    odd = (b"12", b"{}", b'{"v": 1, "bucket": "theirs", "number": 3}', b'{"v": 9, "bucket": "b", "number": 3}', b"\xff")
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        again = record(key="rec/cam~3.mp4", number=3)
        await checkpoints.finish(again, marker())
        assert await checkpoints.remembered(IDENTITY, name) == (marker(), 3)
        for value in odd:
            admin.hset(key, name, value)
            assert await checkpoints.remembered(IDENTITY, name) == (marker(), None), value
        admin.delete(key)
        admin.lpush(key, "a list")
        assert await checkpoints.remembered(IDENTITY, name) == (marker(), None)
        await checkpoints.finish(again, marker())
        assert await checkpoints.remembered(IDENTITY, name) == (marker(), 3)
    assert keys_behind(admin, prefix)["bad:streams:numbers"] == b"list"


@pytest.mark.redis
async def test_the_documented_acl_is_enough(own_redis: servers.RedisServer) -> None:
    operations = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"ACL SETUSER cefmp4 (.+)", operations)
    with closing(client(own_redis.url)) as admin:
        admin.execute_command("ACL", "SETUSER", "cefmp4", *rule.replace("~cam7:*", "~t:*").split())
    url = own_redis.url.replace("redis://", "redis://cefmp4:secret@")
    async with opened_redis(url, prefix="t:") as checkpoints, asyncio.timeout(60):
        again = record(key="rec/cam~3.mp4", number=3, parts=parts(1))
        await checkpoints.save(again)
        await checkpoints.save_part(again, [part(2)])
        await checkpoints.save(record("c3d4"))
        assert len(await checkpoints.load()) == 2
        await checkpoints.forget("c3d4")
        await checkpoints.finish(again, marker())
        await checkpoints.put_marker(marker(etag="second"))
        assert await checkpoints.remembered(IDENTITY, "rec/cam.mp4") == (marker(etag="second"), 3)
        await checkpoints.ping()


@pytest.mark.redis
async def test_what_redis_knows_of_names_does_not_grow_without_end(
    redis_server: str, admin: Admin, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "MOST_NAMES", 10)
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        for camera in range(25):
            again = record(key=f"rec/cam {camera}~2.mp4", number=2)
            await checkpoints.finish(again, marker())
            assert admin.hlen(f"{prefix}streams:numbers") <= 10


@pytest.mark.redis
async def test_a_finished_stream_is_a_member_of_the_completed_ones(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.save(full_record())
        await checkpoints.finish(full_record(), marker())
    assert keys_behind(admin, prefix) == {"streams:completed": b"set", "streams:markers": b"hash"}
    assert admin.smembers(f"{prefix}streams:completed") == {b"a1b2"}


@pytest.mark.redis
async def test_nothing_of_ours_expires_by_itself(redis_server: str, admin: Admin, prefix: str) -> None:
    """So neither Redis's clock nor a policy that evicts what has a time to live can take it."""
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.save(full_record("done"))
        await checkpoints.finish(full_record("done"), marker())
        await checkpoints.put_marker(marker(Identity(8, 9)))
        await checkpoints.save_part(full_record("live"), [part(4)])
        await checkpoints.save(record("failed", status=Status.FAILED))
    lives = {key: admin.ttl(key) for key in admin.scan_iter(match=f"{prefix}*")}
    assert len(lives) >= 7
    assert set(lives.values()) == {-1}


@given(st.text(min_size=1).map(lambda text: text.encode("utf-8", "ignore")) | st.binary(min_size=1))
@example(b"100%")
@example(b"%FF")
@example(b"\xff\xc3")
@example("ä\ud7ff\U0001f600".encode())
def test_any_name_survives_the_way_into_json_and_back(raw: bytes) -> None:
    path = f"cam/{os.fsdecode(raw.replace(bytes(1), b'').replace(b'/', b'-').replace(b'..', b'--'))}"
    escaped = escape_path(path)
    escaped.encode("utf-8", "strict")
    assert unescape_path(escaped) == path


@pytest.mark.parametrize("text", ["", "/etc/passwd", "a/../../etc", "a\0b", "50%", "%4", "%41", "%zz", "%ff"])
def test_a_path_that_we_never_write_is_not_believed(text: str) -> None:
    with pytest.raises(ValueError, match=r"path|escape"):
        unescape_path(text)


@pytest.mark.redis
async def test_an_unchanged_record_of_ten_thousand_parts_costs_little(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    many = parts(*range(1, 10_001))
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.save(record(parts=many))
        assert await checkpoints.load() == [record(parts=many)]
        before = admin.info("stats")["total_net_input_bytes"]
        await checkpoints.save(record(parts=many, unanswered=True))
        await checkpoints.save_part(record(unanswered=True), [part(1, etag="other")])
        assert admin.info("stats")["total_net_input_bytes"] - before < 10_000
        assert await checkpoints.load() == [record(parts={**many, 1: part(1, etag="other")}, unanswered=True)]
        await checkpoints.save(record(parts=parts(1)))
    async with opened_redis(redis_server, prefix=prefix) as after:
        assert await after.load() == [record(parts=parts(1))]


# -- Redis forgets -------------------------------------------------------------------------------------------------


def wipe(admin: Admin, prefix: str) -> None:
    admin.delete(*admin.scan_iter(f"{prefix}*"))


def forget_the_parts(admin: Admin, prefix: str) -> None:
    admin.delete(f"{prefix}stream:a1b2:parts")


def forget_the_meta(admin: Admin, prefix: str) -> None:
    admin.delete(f"{prefix}stream:a1b2:meta")


def forget_one_part(admin: Admin, prefix: str) -> None:
    admin.hdel(f"{prefix}stream:a1b2:parts", 1)


def put_a_string_in_the_way(admin: Admin, prefix: str) -> None:
    for key in ("stream:a1b2:parts", "stream:a1b2:meta", "streams:active"):
        admin.set(prefix + key, "x")


@pytest.mark.redis
@pytest.mark.parametrize("loss", [wipe, forget_the_parts, forget_the_meta, forget_one_part, put_a_string_in_the_way])
@pytest.mark.parametrize("write", ["save", "save_part"])
async def test_a_living_daemon_whose_redis_forgot_writes_its_record_anew(
    redis_server: str, admin: Admin, prefix: str, loss: Callable[[Admin, str], None], write: str
) -> None:
    async with opened_redis(redis_server, prefix=prefix) as alive:
        await alive.save(record(parts=parts(1, 2)))
        loss(admin, prefix)
        if write == "save":
            await alive.save(record(parts=parts(1, 2, 3)))
        else:
            await alive.save_part(record(), [part(3)])
    async with opened_redis(redis_server, prefix=prefix) as after:
        assert await after.load() == [record(parts=parts(1, 2, 3))]


@pytest.mark.redis
async def test_a_redis_that_was_rolled_back_gets_the_newest_record(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    names = [f"{prefix}stream:a1b2:{end}" for end in ("meta", "parts")]
    newer = part(1, etag="newer", again=(SendReason.HEAD_PATCH,))
    async with opened_redis(redis_server, prefix=prefix) as alive:
        await alive.save(record(parts=parts(1, 2)))
        older = {name: admin.dump(name) for name in names}
        await alive.save_part(record(), [newer])
        for name, value in older.items():
            admin.restore(name, 0, value, replace=True)
        await alive.save(record(parts={1: newer, 2: part(2)}, unanswered=True))
    async with opened_redis(redis_server, prefix=prefix) as after:
        assert await after.load() == [record(parts={1: newer, 2: part(2)}, unanswered=True)]


@pytest.mark.redis
async def test_a_redis_that_is_killed_and_restarted_in_mid_use_loses_nothing(tmp_path: Path) -> None:
    telemetry = FakeTelemetry()
    saved: dict[str, Checkpoint] = {}

    with servers.start_redis(tmp_path, persistent=True) as server:
        async with opened_redis(server.url, telemetry=telemetry) as checkpoints:
            killed_twice = asyncio.Event()

            async def write_on(stream_id: str) -> None:
                number = 0
                while not (killed_twice.is_set() and number > 20):
                    number += 1
                    newest = record(stream_id, parts=parts(*range(1, number + 1)))
                    await checkpoints.save(newest)
                    saved[stream_id] = newest

            def once_more(kind: type[moments.DaemonMoment]) -> Callable[[], bool]:
                before = len(telemetry.of(kind))
                return lambda: len(telemetry.of(kind)) > before

            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                for stream_id in ("s1", "s2", "s3"):
                    group.create_task(write_on(stream_id))
                for _ in range(2):
                    await until(lambda: len(saved) == 3)
                    failed, recovered = once_more(moments.OperationFailed), once_more(moments.OperationRecovered)
                    server.kill()
                    await until(failed)
                    server.start()
                    await until(recovered)
                killed_twice.set()
        async with opened_redis(server.url) as after:
            assert by_id(await after.load()) == saved


# -- garbage -------------------------------------------------------------------------------------------------------

META = "stream:bad1:meta"
PARTS = "stream:bad1:parts"


def field(name: str, value: str | bytes | None) -> Callable[[Admin, str], None]:
    def spoil(admin: Admin, prefix: str) -> None:
        if value is None:
            admin.hdel(prefix + META, name)
        else:
            admin.hset(prefix + META, name, value)

    return spoil


def instead(value: Callable[[Admin, str], None]) -> Callable[[Admin, str], None]:
    """Something that is no hash in the place of the meta."""

    def spoil(admin: Admin, prefix: str) -> None:
        admin.delete(prefix + META)
        value(admin, prefix + META)

    return spoil


def another_stream(admin: Admin, prefix: str) -> None:
    admin.copy(prefix + "stream:good:meta", prefix + META, replace=True)


def only_rubbish(admin: Admin, prefix: str) -> None:
    admin.delete(prefix + META)
    admin.hset(prefix + META, mapping={b"\xff\xfe": b"\x00", "x": "y"})


RECORDS: Mapping[str, Callable[[Admin, str], None]] = {
    "a string": instead(lambda admin, key: admin.set(key, "hello")),
    "a list": instead(lambda admin, key: admin.rpush(key, "hello")),
    "a set": instead(lambda admin, key: admin.sadd(key, "hello")),
    "missing": instead(lambda admin, key: None),
    "rubbish fields": only_rubbish,
    "another stream's record": another_stream,
    "a newer format": field("v", "99"),
    "format 0": field("v", "0"),
    "no format": field("v", None),
    "a format that is no number": field("v", "one"),
    "no stream id": field("stream_id", None),
    "another stream id": field("stream_id", "good"),
    "no status": field("status", None),
    "an unknown status": field("status", "pondering"),
    "no path": field("path", None),
    "an empty path": field("path", ""),
    "a path out of the folder": field("path", "../../etc/passwd"),
    "an absolute path": field("path", "/etc/passwd"),
    "a key that is not UTF-8": field("key", b"\xff\xfe"),
    "no key": field("key", None),
    "a bucket that is not UTF-8": field("bucket", b"\x80"),
    "an inode that is no number": field("inode", "12 monkeys"),
    "a negative inode": field("inode", "-5"),
    "an inode of 5,000 digits": field("inode", "9" * 5000),
    "a schedule cut in half": field("schedule", '{"chunk_size": 10485'),
    "a schedule of nothing": field("schedule", '{"chunk_size": 0, "growing": true}'),
    "a schedule that is a list": field("schedule", "[1, 2]"),
    "a schedule of text": field("schedule", '{"chunk_size": "10", "growing": true}'),
    "a schedule that grows a little": field("schedule", '{"chunk_size": 10, "growing": 1}'),
    "an absurd size": field("manifest", '{"size": 1e400}'),
    "a manifest without end": field("manifest", "[" * 100_000),
    "a manifest that is half there": field("manifest", '{"size": 5, "crc64": "AAAAAAAAAAA="}'),
    "a short checksum": field("manifest", '{"size": 5, "crc64": "AAAA"}'),
    "a time without zone": field("started_at", "2026-05-04T12:00:00"),
    "no time at all": field("started_at", "yesterday"),
    "answered perhaps": field("unanswered", "maybe"),
    "superseded by a number": field("superseded", "[7]"),
}


@pytest.mark.redis
@pytest.mark.parametrize("name", RECORDS)
async def test_a_record_that_cannot_be_read_is_set_aside_and_stops_nobody(
    redis_server: str, admin: Admin, prefix: str, name: str
) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix) as before:
        await before.save(full_record("good"))
        await before.save(full_record("bad1"))
    RECORDS[name](admin, prefix)
    kept = {key: admin.dump(prefix + key) for key in (META, PARTS) if admin.exists(prefix + key)}
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as after:
        assert await after.load() == [full_record("good")]
        told = telemetry.of(moments.RecordSetAside)
        assert told and all("bad1" in moment.key and moment.reason for moment in told)
        assert {key: admin.dump(f"{prefix}bad:{key}") for key in kept} == kept
        assert not admin.exists(prefix + META) and not admin.exists(prefix + PARTS)
        assert not any(admin.sismember(prefix + key.decode(), "bad1") for key in ALL_SETS)
        telemetry.moments.clear()
        assert await after.load() == [full_record("good")]
        assert telemetry.moments == []


BAD_PARTS: Mapping[str, tuple[str | bytes, str | bytes]] = {
    "half a JSON": ("2", '{"v": 1, "stream_id": "bad1", "si'),
    "no JSON": ("2", b"\xff\xfe\x00"),
    "a number for all": ("2", "7"),
    "another stream's part": ("2", checkpoint_format.encode_part("good", part(2))),
    "a newer part": ("2", checkpoint_format.encode_part("bad1", part(2)).replace(b'"v": 1', b'"v": 3')),
    "no etag": ("2", checkpoint_format.encode_part("bad1", part(2)).replace(b'"etag"', b'"gate"')),
    "a reason of its own": ("2", checkpoint_format.encode_part("bad1", part(2)).replace(b"[]", b'["whim"]')),
    "a part number 0": ("0", checkpoint_format.encode_part("bad1", part(2))),
    "a part number in words": ("two", checkpoint_format.encode_part("bad1", part(2))),
    "a part number twice": ("01", checkpoint_format.encode_part("bad1", part(9))),
    "a part number of bytes": (b"\xff", checkpoint_format.encode_part("bad1", part(2))),
}


@pytest.mark.redis
@pytest.mark.parametrize("name", BAD_PARTS)
async def test_a_part_that_cannot_be_read_is_left_out_and_heals_with_the_next_write(
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
        await after.save_part(record("bad1"), [part(4)])
    telemetry.moments.clear()
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as third:
        assert await third.load() == [record("bad1", parts=parts(1, 3, 4))]
        assert telemetry.moments == []


@pytest.mark.redis
async def test_parts_of_the_wrong_type_cost_the_record_nothing_but_its_parts(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix) as before:
        await before.save(record("bad1", parts=parts(1)))
    admin.set(prefix + PARTS, "hello")
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as after:
        assert await after.load() == [record("bad1")]
        assert admin.get(f"{prefix}bad:{PARTS}") == b"hello"
        await after.save(record("bad1", parts=parts(1)))
        assert await after.load() == [record("bad1", parts=parts(1))]


@pytest.mark.redis
async def test_what_was_set_aside_earlier_is_never_overwritten(redis_server: str, admin: Admin, prefix: str) -> None:
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        for attempt in ("first", "second", "third"):
            admin.set(prefix + META, attempt)
            admin.sadd(f"{prefix}streams:active", "bad1")
            assert await checkpoints.load() == []
    kept = {admin.get(f"{prefix}bad:{META}{end}") for end in ("", "~2", "~3")}
    assert kept == {b"first", b"second", b"third"}


@pytest.mark.redis
async def test_sets_of_the_wrong_type_make_way(redis_server: str, admin: Admin, prefix: str) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as checkpoints:
        await checkpoints.save(record())
        for name in ("streams:pending_completion", "streams:failed", "streams:completed", "streams:markers"):
            admin.set(prefix + name, name)
        assert await checkpoints.load() == [record()]
        assert len(telemetry.of(moments.RecordSetAside)) == 4
        admin.delete(f"{prefix}streams:completed")
        admin.set(f"{prefix}streams:completed", "again")
        await checkpoints.finish(record(), marker())
        assert await checkpoints.marker(IDENTITY) == marker()
        assert admin.get(f"{prefix}bad:streams:completed~2") == b"again"
        admin.delete(f"{prefix}streams:markers")
        admin.set(f"{prefix}streams:markers", "again")
        assert await checkpoints.marker(IDENTITY) is None


@pytest.mark.redis
@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"\xff", b'{"v": 9}', checkpoint_format.encode_marker(marker(Identity(1, 2))), b"null"]
)
async def test_a_marker_that_cannot_be_read_is_set_aside(
    redis_server: str, admin: Admin, prefix: str, raw: bytes
) -> None:
    telemetry = FakeTelemetry()
    name = f"{IDENTITY.inode}:{IDENTITY.birth_ns}"
    admin.set(f"{prefix}bad:streams:markers:{name}", "an earlier one")
    admin.hset(f"{prefix}streams:markers", name, raw)
    async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as checkpoints:
        assert await checkpoints.marker(IDENTITY) is None
        assert len(telemetry.of(moments.RecordSetAside)) == 1
        assert admin.get(f"{prefix}bad:streams:markers:{name}~2") == raw
        assert not admin.hexists(f"{prefix}streams:markers", name)


@pytest.mark.redis
async def test_a_record_of_another_bucket_stays_where_it_is_and_is_reported(
    redis_server: str, admin: Admin, prefix: str
) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(redis_server, prefix=prefix, bucket="theirs") as other:
        await other.save(record(bucket="theirs"))
        async with opened_redis(redis_server, prefix=prefix, telemetry=telemetry) as ours:
            assert await ours.load() == []
        assert await other.load() == [record(bucket="theirs")]
    assert "theirs" in telemetry.of(moments.RecordSetAside)[0].reason
    assert not list(admin.scan_iter(f"{prefix}bad:*"))


# -- refusals and silence --------------------------------------------------------------------------------------------


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[servers.RedisServer]:
    """A server that a test may put into any state."""
    with servers.start_redis(tmp_path) as server:
        yield server


@asynccontextmanager
async def refusing(url: str) -> AsyncIterator[tuple[RedisCheckpoints, Callable[[], Any]]]:
    """Checkpoints, and what one attempt at writing raises."""
    async with opened_redis(url) as checkpoints:

        async def refusal() -> RedisUnavailable:
            with pytest.raises(RedisUnavailable) as raised:
                await checkpoints.save_part(record(), [part(1)])
            return raised.value

        yield checkpoints, refusal


@pytest.mark.redis
@pytest.mark.parametrize("user", [":gehe1m@", "root:gehe1m@", ""])
async def test_a_wrong_password_gives_a_hint_and_no_secret(tmp_path: Path, user: str) -> None:
    with servers.start_redis(tmp_path, password="r1chtig") as server:
        async with opened_redis(f"redis://{user}127.0.0.1:{server.port}/0") as checkpoints:
            with pytest.raises(RedisUnavailable) as raised:
                await checkpoints.ping()
        async with opened_redis(server.url) as checkpoints:
            await checkpoints.ping()
    assert raised.value.misconfigured
    assert "REDIS_URL" in raised.value.hint
    assert "gehe1m" not in "".join(traceback.format_exception(raised.value)) + raised.value.hint


@pytest.mark.redis
async def test_a_password_where_none_is_set_is_named_too(own_redis: servers.RedisServer) -> None:
    async with opened_redis(f"redis://:gehe1m@127.0.0.1:{own_redis.port}/0") as checkpoints:
        with pytest.raises(RedisUnavailable) as raised:
            await checkpoints.ping()
    assert raised.value.misconfigured
    assert "gehe1m" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.redis
async def test_a_user_without_rights_is_told_which_are_missing(own_redis: servers.RedisServer) -> None:
    with closing(client(own_redis.url)) as admin:
        admin.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "~other:*", "+@all")
    async with refusing(f"redis://guest:pw@127.0.0.1:{own_redis.port}/0") as (_, refusal):
        error = await refusal()
    assert error.misconfigured
    assert "REDIS_KEY_PREFIX" in error.hint


@pytest.mark.redis
@pytest.mark.parametrize("without", ["-@scripting", "-evalsha", "-eval"])
async def test_a_user_who_may_run_no_scripts_is_told_which_right_is_missing(
    own_redis: servers.RedisServer, without: str
) -> None:
    """As soon as the daemon starts, not with the first recording."""
    with closing(client(own_redis.url)) as admin:
        admin.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", without)
        telemetry, url = FakeTelemetry(), f"redis://guest:pw@127.0.0.1:{own_redis.port}/0"
        async with opened_redis(url, telemetry=telemetry) as checkpoints, asyncio.timeout(60):
            starting = asyncio.create_task(checkpoints.load())
            await until(lambda: bool(telemetry.of(moments.OperationFailed)))
            assert not starting.done()
            admin.execute_command("ACL", "SETUSER", "guest", "+@all")
            assert await starting == []
    (told, *_) = telemetry.of(moments.OperationFailed)
    assert isinstance(told.error, RedisUnavailable) and told.error.misconfigured
    assert "+@scripting" in told.error.hint


@pytest.mark.redis
async def test_a_user_who_may_not_run_what_is_in_a_script_is_told_so(own_redis: servers.RedisServer) -> None:
    with closing(client(own_redis.url)) as admin:
        admin.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", "-hset")
    async with refusing(f"redis://guest:pw@127.0.0.1:{own_redis.port}/0") as (_, refusal):
        error = await refusal()
    assert error.misconfigured
    assert "rights" in error.hint


@pytest.mark.parametrize("url", ["http://:gehe1m@host/", "redis://:gehe1m@host:gehe1m/0", "gehe1m"])
async def test_an_address_that_is_none_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(RedisOperationError) as raised:
        async with opened_redis(url):
            pass
    assert "gehe1m" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.redis
async def test_nobody_listening_is_waited_out(tmp_path: Path) -> None:
    telemetry = FakeTelemetry()
    with servers.start_redis(tmp_path) as server:
        server.stop()
        async with opened_redis(server.url, telemetry=telemetry) as checkpoints:
            with pytest.raises(RedisUnavailable, match="connecting") as raised:
                await checkpoints.ping()
            assert not raised.value.misconfigured
            saving = asyncio.create_task(checkpoints.save(record()))
            await until(lambda: len(telemetry.of(moments.OperationFailed)) >= 3)
            server.start()
            await asyncio.wait_for(saving, 10)
            assert await checkpoints.load() == [record()]
    assert telemetry.of(moments.OperationRecovered)[0].operation == "redis.save"


async def test_something_else_at_the_address_is_named_as_such() -> None:
    async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(web_server, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened_redis(f"redis://127.0.0.1:{port}/0") as checkpoints:
            with pytest.raises(RedisUnavailable) as raised:
                await checkpoints.ping()
    assert raised.value.misconfigured
    assert "not a Redis" in raised.value.hint


@pytest.mark.redis
async def test_a_database_that_does_not_exist_is_named(redis_server: str) -> None:
    async with opened_redis(redis_server.removesuffix("/0") + "/999") as checkpoints:
        with pytest.raises(RedisUnavailable) as raised:
            await checkpoints.ping()
    assert raised.value.misconfigured


@pytest.mark.redis
async def test_a_read_only_replica_is_waited_out_until_it_is_promoted(own_redis: servers.RedisServer) -> None:
    with closing(client(own_redis.url)) as admin:
        async with refusing(own_redis.url) as (checkpoints, refusal):
            await checkpoints.save(record())
            admin.execute_command("REPLICAOF", "127.0.0.1", "1")
            error = await refusal()
            assert "read-only replica" in error.hint
            await checkpoints.ping()
            admin.execute_command("REPLICAOF", "NO", "ONE")
            await checkpoints.save_part(record(), [part(1)])
            assert await checkpoints.load() == [record(parts=parts(1))]


@pytest.mark.redis
async def test_a_full_redis_is_waited_out(own_redis: servers.RedisServer) -> None:
    with closing(client(own_redis.url)) as admin:
        async with refusing(own_redis.url) as (checkpoints, refusal):
            admin.config_set("maxmemory", "1mb")
            error = await refusal()
            assert "maxmemory" in error.hint
            admin.config_set("maxmemory", "0")
            await checkpoints.save_part(record(), [part(1)])


@pytest.mark.redis
async def test_a_redis_that_cannot_write_to_its_disk_is_waited_out(
    own_redis: servers.RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "dump.rdb").mkdir()  # so that the snapshot cannot be renamed to it
    with closing(client(own_redis.url)) as admin:
        admin.config_set("save", "3600 1000000")
        admin.bgsave()
        await until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
        async with refusing(own_redis.url) as (_, refusal):
            error = await refusal()
    own_redis.kill()  # in good order it would not end without a snapshot
    assert "MISCONF" in str(error)
    assert "disk" in error.hint


@pytest.mark.redis
async def test_a_redis_that_is_busy_with_a_script_is_waited_out(own_redis: servers.RedisServer) -> None:
    with closing(client(own_redis.url)) as admin:
        admin.config_set("lua-time-limit", "1")
        script = asyncio.create_task(asyncio.to_thread(admin.eval, "while true do end", 0))
        with closing(client(own_redis.url)) as other:
            await until(lambda: is_busy(other))
            async with opened_redis(own_redis.url) as checkpoints:
                with pytest.raises(RedisUnavailable, match="BUSY") as raised:
                    await checkpoints.ping()
                other.script_kill()
                with pytest.raises(redis.RedisError):
                    await script
                await checkpoints.ping()
    assert "SCRIPT KILL" in raised.value.hint


def is_busy(admin: Admin) -> bool:
    try:
        return not admin.ping()
    except redis.RedisError as exc:
        return "BUSY" in str(exc)


@pytest.mark.redis
async def test_a_redis_that_does_not_answer_is_given_up_in_time(
    own_redis: servers.RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(client(own_redis.url)) as admin:
        async with refusing(f"{own_redis.url}?socket_timeout=0.1") as (checkpoints, refusal):
            await checkpoints.ping()
            admin.client_pause(600, all=True)
            assert not (await refusal()).misconfigured
        async with refusing(own_redis.url) as (checkpoints, refusal):
            monkeypatch.setattr(redis_connection, "COMMAND_SECONDS", 0.1)
            admin.client_pause(600, all=True)
            assert "TimeoutError" in str(await refusal())
            monkeypatch.undo()
            await checkpoints.save_part(record(), [part(1)])
            assert await checkpoints.load() == [record(parts=parts(1))]


LOADING = BusyLoadingError("Redis is loading the dataset in memory", status_code="LOADING")


@pytest.mark.parametrize(
    ("error", "misconfigured", "hint"),
    [
        (LOADING, False, "loading its data"),
        (ResponseError("MASTERDOWN Link with MASTER is down"), False, "replica"),
        (ResponseError("Command # 2 (HSET k f v) of pipeline caused error: ('BUSY Redis is busy',)"), False, "SCRIPT"),
        (ResponseError("MOVED 866 10.0.0.1:6379"), True, "Cluster"),
        (OSError("no route"), False, "REDIS_URL"),
        (ResponseError("ERR unknown command 'EVALSHA', with args beginning with: "), True, "+@scripting"),
        (
            ResponseError("ERR ACL failure in script: User a has no permissions to run the 'hset' command"),
            True,
            "rights",
        ),
        (
            ResponseError("ERR Error running script (call to f_0a): @user_script:9: @user_script: 9: -OOM command not"),
            False,
            "maxmemory",
        ),
    ],
)
def test_each_trouble_is_sorted_by_what_to_do(error: Exception, misconfigured: bool, hint: str) -> None:
    found = translate(error, operation="redis.save")
    assert isinstance(found, RedisUnavailable)
    assert (found.misconfigured, found.operation) == (misconfigured, "redis.save")
    assert hint in found.hint
    assert "HSET" not in str(found)


def test_a_command_that_redis_does_not_know_is_not_tried_again() -> None:
    found = translate(ResponseError("ERR unknown command 'HSET'"), operation="redis.save")
    assert isinstance(found, Permanent) and isinstance(found, RedisRejected)
    assert found.code == "ERR"


@pytest.mark.redis
async def test_a_command_that_redis_refuses_for_good_is_raised(tmp_path: Path) -> None:
    with servers.start_redis(tmp_path, "--rename-command", "HSET", "") as server:
        async with opened_redis(server.url) as checkpoints:
            with pytest.raises(RedisRejected, match="Unknown Redis command"):
                await checkpoints.save(record())


@pytest.mark.redis
async def test_a_set_that_cannot_be_moved_away_is_raised(tmp_path: Path) -> None:
    with servers.start_redis(tmp_path, "--rename-command", "RENAMENX", "") as server:
        async with opened_redis(server.url) as checkpoints:
            with closing(client(server.url)) as admin:
                admin.set("streams:active", "x")
            with pytest.raises(RedisRejected, match="unknown command"):
                await checkpoints.load()


# -- cancellation ---------------------------------------------------------------------------------------------------


@pytest.mark.redis
async def test_a_cancelled_command_leaves_no_reply_for_the_next(own_redis: servers.RedisServer) -> None:
    identities = [Identity(inode, 1) for inode in range(1, 41)]
    chance = random.Random(4)
    telemetry = FakeTelemetry()
    async with opened_redis(own_redis.url, connections=2, telemetry=telemetry) as checkpoints:
        for identity in identities:
            await checkpoints.put_marker(marker(identity, etag=f"etag-{identity.inode}"))
        for _ in range(30):
            asking = [asyncio.create_task(checkpoints.marker(identity)) for identity in identities]
            for _ in range(chance.randrange(0, 12)):
                await asyncio.sleep(0)
            cancelled = []
            for task in chance.sample(asking, 20):
                if task.cancel():
                    cancelled.append(task)
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
                    task.cancel()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            for task, identity, answer in zip(asking, identities, answers, strict=True):
                if task in cancelled:
                    assert isinstance(answer, asyncio.CancelledError), "a cancellation was swallowed"
                else:
                    assert answer == marker(identity, etag=f"etag-{identity.inode}")
        # No connection was lost, and nobody waited in vain for one: there are only two.
        async with asyncio.timeout(4):
            for identity in identities:
                assert await checkpoints.marker(identity) == marker(identity, etag=f"etag-{identity.inode}")
    assert telemetry.moments == []


@pytest.mark.redis
async def test_a_write_that_is_cancelled_while_redis_is_silent_can_be_repeated(own_redis: servers.RedisServer) -> None:
    with closing(client(own_redis.url)) as admin:
        async with opened_redis(own_redis.url, connections=2) as checkpoints:
            await checkpoints.save(record(parts=parts(1)))
            admin.client_pause(300, all=True)
            saving = asyncio.create_task(checkpoints.save(record(parts=parts(1, 2), unanswered=True)))
            await asyncio.sleep(0.05)
            saving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saving
            await checkpoints.save_part(record(), [part(3)])
            (found,) = await checkpoints.load()
            assert found.parts.keys() >= {1, 3}
            await checkpoints.save(record(parts=parts(1, 2, 3)))
            assert await checkpoints.load() == [record(parts=parts(1, 2, 3))]


# -- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.redis
async def test_a_redis_that_may_lose_records_is_warned_of(own_redis: servers.RedisServer) -> None:
    telemetry = FakeTelemetry()
    with closing(client(own_redis.url)) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        async with opened_redis(own_redis.url, telemetry=telemetry) as checkpoints:
            await checkpoints.warn_about_configuration()
            reasons = [moment.reason for moment in telemetry.of(moments.RedisDurabilityRisk)]
            assert len(reasons) == 2
            assert "allkeys-lru" in reasons[0] and "appendonly" in reasons[1]
            telemetry.moments.clear()
            admin.config_set("maxmemory-policy", "noeviction")
            admin.config_set("save", "3600 1")
            await checkpoints.warn_about_configuration()
            assert telemetry.moments == []


@pytest.mark.redis
@pytest.mark.parametrize("how", ["no right", "renamed"])
async def test_a_redis_that_hides_its_configuration_is_no_trouble(tmp_path: Path, how: str) -> None:
    telemetry = FakeTelemetry()
    options = ("--rename-command", "CONFIG", "") if how == "renamed" else ()
    with servers.start_redis(tmp_path, *options) as server, closing(client(server.url)) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-config")
        async with opened_redis(f"redis://app:pw@127.0.0.1:{server.port}/0", telemetry=telemetry) as checkpoints:
            await checkpoints.warn_about_configuration()
            await checkpoints.save(record())
    assert telemetry.moments == []


@pytest.mark.redis
async def test_the_configuration_is_asked_for_until_redis_is_there(own_redis: servers.RedisServer) -> None:
    telemetry = FakeTelemetry()
    own_redis.stop()
    async with opened_redis(own_redis.url, telemetry=telemetry) as checkpoints:
        asking = asyncio.create_task(checkpoints.warn_about_configuration())
        await until(lambda: bool(telemetry.of(moments.OperationFailed)))
        own_redis.start()
        await asyncio.wait_for(asking, 10)
    assert telemetry.of(moments.RedisDurabilityRisk)


@pytest.mark.redis
async def test_a_look_that_finds_redis_back_wakes_those_who_wait_for_it(own_redis: servers.RedisServer) -> None:
    async with opened_redis(own_redis.url) as checkpoints:
        waiting = asyncio.create_task(replace(QUICK, first_wait=3600, longest_wait=3600).wait_out(3600))
        await checkpoints.ping()
        own_redis.stop()
        with pytest.raises(RedisUnavailable):
            await checkpoints.ping()
        assert not waiting.done()
        own_redis.start()
        await checkpoints.ping()
        await asyncio.wait_for(waiting, 30)


@pytest.mark.redis
async def test_each_exchange_is_told_with_how_it_ended(own_redis: servers.RedisServer) -> None:
    telemetry = FakeTelemetry()
    async with opened_redis(own_redis.url, telemetry=telemetry) as checkpoints:
        await checkpoints.save(record())
        own_redis.stop()
        with pytest.raises(RedisUnavailable):
            await checkpoints.ping()
    assert telemetry.requests == [("redis", "save", None), ("redis", "ping", ErrorClass.CONNECTION)]
    assert [failure.operation for failure in telemetry.of(moments.OperationFailed)] == ["redis.ping"]
