"""What pruning needs of checkpoints, held by the fake and by a real Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from src.domain import Checkpoints, Identity, Marker, MarkerPage, Remembered, Status
from tests.contract.test_checkpoints import (
    BUCKET,
    NOON,
    Opened,
    client,
    full_record,
    marker,
    opened,
    opened_redis,
    prefix,
    record,
)

__all__ = ["opened", "prefix"]

MANY = 700  # more than a page


def numbered(number: int, **more: Any) -> Marker:
    return marker(Identity(number, number - 300), stream_id=f"id{number}", **more)


async def all_markers(checkpoints: Checkpoints) -> dict[Identity, Remembered]:
    return {each.identity: each async for page in _pages(checkpoints) for each in page.markers}


async def _pages(checkpoints: Checkpoints) -> AsyncIterator[MarkerPage]:
    cursor, page = await checkpoints.markers(0)
    yield page
    while cursor:
        cursor, page = await checkpoints.markers(cursor)
        yield page


async def all_completed(checkpoints: Checkpoints) -> set[str]:
    cursor, page = await checkpoints.completed(0)
    found = set(page)
    while cursor:
        cursor, page = await checkpoints.completed(cursor)
        found.update(page)
    return found


async def test_every_marker_is_given_with_what_pruning_needs(opened: Opened) -> None:
    async with opened() as checkpoints:
        assert await all_markers(checkpoints) == {}
        for number in range(MANY):
            await checkpoints.put_marker(numbered(number, completed_at=NOON + timedelta(seconds=number)))
        await checkpoints.put_marker(numbered(MANY, unseen=7))
    async with opened() as checkpoints:
        found = await all_markers(checkpoints)
        assert len(found) == MANY + 1
        one, last = found[Identity(5, -295)], found[Identity(MANY, MANY - 300)]
        expected = (numbered(5).path, "id5", NOON + timedelta(seconds=5), 0)
        assert (one.path, one.stream_id, one.completed_at, one.unseen) == expected
        assert last.unseen == 7


async def test_a_marker_gets_another_unseen_and_keeps_the_rest(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.put_marker(marker(still_open=True))
        for unseen in (1, 2, 0):
            (found,) = (await all_markers(checkpoints)).values()
            assert await checkpoints.revise_markers([(found, unseen)]) == 1
            assert await checkpoints.marker(found.identity) == marker(still_open=True, unseen=unseen)


async def test_a_marker_that_goes_takes_its_completed_stream_along(opened: Opened) -> None:
    async with opened() as checkpoints:
        for number in range(MANY):
            await checkpoints.put_marker(numbered(number))
        found = await all_markers(checkpoints)
        gone = [(each, None) for each in found.values() if each.identity.inode % 3]
        assert await checkpoints.revise_markers(gone) == len(gone)
        assert set(await all_markers(checkpoints)) == set(found) - {each.identity for each, _ in gone}
        assert await all_completed(checkpoints) == {f"id{number}" for number in range(0, MANY, 3)}
        assert await checkpoints.revise_markers(gone) == 0, "a second time"


@pytest.mark.parametrize("unseen", [None, 5])
async def test_a_marker_that_was_written_meanwhile_stays_as_it_is(opened: Opened, unseen: int | None) -> None:
    async with opened() as checkpoints:
        await checkpoints.put_marker(marker(unseen=3))
        (found,) = (await all_markers(checkpoints)).values()
        await checkpoints.finish(record(), marker(etag="newer"))
        assert await checkpoints.revise_markers([(found, unseen)]) == 0
        assert await checkpoints.marker(found.identity) == marker(etag="newer")
        assert await all_completed(checkpoints) == {"a1b2"}


async def test_members_without_a_marker_can_be_taken_out(opened: Opened) -> None:
    async with opened() as checkpoints:
        for number in range(MANY):
            await checkpoints.put_marker(numbered(number))
        await checkpoints.leave_completed([f"id{number}" for number in range(1, MANY)])
        assert await all_completed(checkpoints) == {"id0"}
        await checkpoints.leave_completed([])
        assert len(await all_markers(checkpoints)) == MANY


async def test_the_running_time_is_carried_to_the_next_process(opened: Opened) -> None:
    async with opened() as checkpoints:
        assert await checkpoints.ran() is None
        await checkpoints.set_ran(0)
        assert await checkpoints.ran() == 0
        await checkpoints.set_ran(86_400)
    async with opened() as checkpoints:
        assert await checkpoints.ran() == 86_400


@pytest.mark.redis
async def test_what_cannot_be_read_or_is_of_another_bucket_is_left_alone(redis_server: str, prefix: str) -> None:
    admin = client(redis_server)
    async with (
        opened_redis(redis_server, prefix=prefix) as checkpoints,
        opened_redis(redis_server, prefix=prefix, bucket="another") as others,
    ):
        await others.put_marker(numbered(1, bucket="another"))
        await checkpoints.put_marker(numbered(2))
        newer = {**json.loads(admin.hget(f"{prefix}streams:markers", "2:-298")), "v": 9}
        for field, value in (("3:-297", json.dumps(newer)), ("4:4", "no JSON"), ("odd", "{}"), ("5:5", b"\xff")):
            admin.hset(f"{prefix}streams:markers", field, value)
        assert set(await all_markers(checkpoints)) == {Identity(2, -298)}
        assert set(await all_markers(others)) == {Identity(1, -299)}
        assert admin.hlen(f"{prefix}streams:markers") == 6
        _, page = await checkpoints.markers(0)
        assert page.skipped == {"id1", "id2", None}, "they name their streams where they can"


@pytest.mark.redis
async def test_what_a_newer_release_has_written_beside_stays(redis_server: str, prefix: str) -> None:
    admin, key = client(redis_server), f"{prefix}streams:markers"
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        await checkpoints.put_marker(numbered(1))
        admin.hset(key, "1:-299", json.dumps({**json.loads(admin.hget(key, "1:-299")), "lens": "35 mm"}))
        (found,) = (await all_markers(checkpoints)).values()
        await checkpoints.revise_markers([(found, 4)])
        written = json.loads(admin.hget(key, "1:-299"))
        assert (written["lens"], written["unseen"]) == ("35 mm", 4)


@pytest.mark.redis
@pytest.mark.parametrize("name", ["streams:markers", "streams:completed", "streams:census"])
async def test_another_type_behind_a_name_makes_way(redis_server: str, prefix: str, name: str) -> None:
    admin = client(redis_server)
    admin.set(prefix + name, "a text")
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        assert await checkpoints.ran() is None
        assert await all_markers(checkpoints) == {}
        assert await all_completed(checkpoints) == set()
        await checkpoints.set_ran(5)
        assert await checkpoints.ran() == 5
    assert admin.get(f"{prefix}bad:{name}") == b"a text"


@pytest.mark.redis
@pytest.mark.parametrize("value", ["-1", "a day", "1.5", ""])
async def test_a_running_time_that_is_no_number_counts_as_none(redis_server: str, prefix: str, value: str) -> None:
    client(redis_server).hset(f"{prefix}streams:census", "ran_seconds", value)
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        assert await checkpoints.ran() is None


async def test_living_streams_are_none_of_it(opened: Opened) -> None:
    async with opened() as checkpoints:
        await checkpoints.save(full_record("living"))
        await checkpoints.put_marker(replace(numbered(1), bucket=BUCKET))
        found = await all_markers(checkpoints)
        await checkpoints.revise_markers([(each, None) for each in found.values()])
        assert [(each.stream_id, each.status) for each in await checkpoints.load()] == [
            ("living", Status.PENDING_COMPLETION)
        ]
