"""A host name that leads nowhere: the hint names the setting, and its value on either side of a container."""

from __future__ import annotations

import asyncio

import pytest

from src.exceptions import RedisUnavailable, S3Unavailable
from src.retry import RetryPolicy
from src.s3_client import KeySettings, StoreSettings
from tests.contract.test_checkpoints import opened_redis
from tests.harness.asked_again import open_asked_again
from tests.harness.fakes.telemetry import FakeTelemetry

UNKNOWN = "no-such-host.invalid"  # no resolver knows it (RFC 2606)
SECONDS = 60.0  # a resolver that answers nothing is asked for long


async def test_of_a_store_at_an_unknown_host_the_hint_names_both_addresses() -> None:
    settings = StoreSettings("videos", f"http://{UNKNOWN}:9000", KeySettings("key", "secret"))
    async with (
        asyncio.timeout(SECONDS),
        open_asked_again(settings, policy=RetryPolicy(0.05, 0.2), emit=FakeTelemetry().emit) as client,
    ):
        with pytest.raises(S3Unavailable) as raised:
            await client.ping()
    assert "S3_ENDPOINT_URL cannot be resolved" in raised.value.hint
    assert "http://minio:9000" in raised.value.hint
    assert "http://localhost:9000" in raised.value.hint
    assert not raised.value.misconfigured, "the resolver may be what is away"


async def test_of_a_redis_at_an_unknown_host_the_hint_names_both_addresses() -> None:
    async with asyncio.timeout(SECONDS), opened_redis(f"redis://{UNKNOWN}:6379/0") as checkpoints:
        with pytest.raises(RedisUnavailable) as raised:
            await checkpoints.ping()
    assert "REDIS_URL cannot be resolved" in raised.value.hint
    assert "redis://redis:6379/0" in raised.value.hint
    assert "redis://localhost:6379/0" in raised.value.hint
    assert not raised.value.misconfigured


async def test_of_a_port_where_nobody_listens_the_hint_is_another() -> None:
    async with asyncio.timeout(SECONDS), opened_redis("redis://127.0.0.1:1/0") as checkpoints:
        with pytest.raises(RedisUnavailable) as raised:
            await checkpoints.ping()
    assert raised.value.hint == "check that Redis is running and that REDIS_URL is correct"
