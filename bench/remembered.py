"""What Redis takes for a million finished recordings whose files are gone, before and after they are compared."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from src.domain import Identity, Marker, PartSchedule, Retention, Snapshot
from src.ownership import Pruning
from src.redis_client import RedisCheckpoints
from src.redis_client.format import encode_marker
from src.redis_client.names import marker_field
from src.retry import RetryPolicy
from tests.harness.servers import start_redis

from .report import Row

TARGET_MB = 100.0
_RECORDINGS = 1_000_000
_AT_ONCE = 10_000
_BUCKET = "video-streams"
_BEGAN = datetime(2026, 5, 4, 12, tzinfo=UTC)


def measure(_rounds: int) -> Iterator[Row]:
    """One comparison, with the defaults, on a Redis of its own."""
    with tempfile.TemporaryDirectory(prefix="cefmp4-bench-") as folder, start_redis(Path(folder)) as server:
        admin = redis.Redis.from_url(server.url)
        for first in range(0, _RECORDINGS, _AT_ONCE):
            _remember(admin, range(first, first + _AT_ONCE))
        before = _megabytes(admin)
        began = time.monotonic()
        asyncio.run(_compare(server.url))
        elapsed = time.monotonic() - began
        after, markers, members = _megabytes(admin), admin.hlen("streams:markers"), admin.scard("streams:completed")
    yield Row(
        f"Redis, {_RECORDINGS:,} recordings whose files are gone",
        after,
        "MB",
        TARGET_MB,
        remarks=f"{markers:,} markers and {members:,} members are left; {before:.0f} MB before, {elapsed:.0f} s",
    )


@dataclass(frozen=True, slots=True)
class _Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def utc_now(self) -> datetime:
        return datetime.now(UTC)


async def _compare(url: str) -> None:
    async def all_gone(files: Sequence[tuple[Identity, str]]) -> list[bool]:
        return [True] * len(files)

    async def census() -> object:
        return all_gone

    policy = RetryPolicy()
    async with RedisCheckpoints(url, key_prefix="", bucket=_BUCKET, policy=policy, emit=lambda _: None) as checkpoints:
        await Pruning(checkpoints, census, Retention(), _Clock(), lambda _: None).look()  # type: ignore[arg-type]


def _remember(admin: redis.Redis, numbers: range) -> None:
    """As ``finish`` leaves them."""
    pipe = admin.pipeline(transaction=False)
    for number in numbers:
        marker = _marker(number)
        pipe.hset("streams:markers", marker_field(marker.snapshot.identity), encode_marker(marker))
        pipe.sadd("streams:completed", marker.stream_id)
    pipe.execute()


def _marker(number: int) -> Marker:
    began = _BEGAN + timedelta(seconds=number, microseconds=123_456)
    birth_ns = 1_777_000_000_123_456_789 + number * 10**9
    return Marker(
        stream_id=f"{number:032x}",
        path=f"camera-07/2026-05-04/recording-{number:07}.mp4",
        bucket=_BUCKET,
        key=f"camera-07/2026-05-04/recording-{number:07}.mp4",
        snapshot=Snapshot(Identity(10_159_252 + number, birth_ns), 74_756_371, birth_ns + 10**9, birth_ns + 10**9),
        crc64=number * 7_919,
        etag=f"{number:032x}-8",
        schedule=PartSchedule(10_485_760, growing=True, step=1_000),
        started_at=began,
        completed_at=began + timedelta(minutes=1),
    )


def _megabytes(admin: redis.Redis) -> float:
    return float(admin.info("memory")["used_memory"]) / 1e6
