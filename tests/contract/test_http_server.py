"""The pages over a real socket: what a scraper, an orchestrator and a stranger see."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from src.exceptions import ConfigurationError, S3Unavailable
from src.metrics import Metrics, Readiness, serve
from src.metrics.readiness import Check


async def fine() -> None:
    """A service that answers."""


async def away() -> None:
    raise S3Unavailable("secret detail: nobody listens at 10.0.0.1", hint="check the cable")


async def silent() -> None:
    await asyncio.Event().wait()


def ready_if(checks: Mapping[str, Check], check_seconds: float = 0.2) -> Readiness:
    return Readiness(checks, emit=Metrics(version="test").emit, check_seconds=check_seconds)


@asynccontextmanager
async def pages(
    checks: Mapping[str, Check], registry: CollectorRegistry | None = None, check_seconds: float = 0.2
) -> AsyncIterator[aiohttp.ClientSession]:
    readiness = ready_if(checks, check_seconds)
    served = serve("127.0.0.1", 0, registry=registry or CollectorRegistry(), readiness=readiness)
    async with served as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


async def test_metrics_are_prometheus_text() -> None:
    registry = CollectorRegistry()
    Counter("cefmp4_test", "A test.", ["name"], registry=registry).labels('a"b').inc(3)
    async with pages({}, registry) as session, session.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=1.0.0; charset=utf-8")
        assert 'cefmp4_test_total{name="a\\"b"} 3.0' in await answer.text()


async def test_the_process_is_healthy_also_when_nothing_else_is() -> None:
    async with pages({"s3": away, "redis": away}) as session, session.get("/-/healthy") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_ready_means_that_every_part_answers_and_tells_since_when() -> None:
    async with pages({"s3": fine, "redis": fine}) as session, session.get("/-/ready") as answer:
        assert answer.status == 200
        told = await answer.json()
    assert told.pop("ready") is True
    assert told.keys() == {"s3", "redis"}
    for part in told.values():
        assert part.keys() == {"ok", "since"} and part["ok"] is True
        since = datetime.strptime(part["since"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert abs((datetime.now(UTC) - since).total_seconds()) < 60


@pytest.mark.parametrize(
    ("trouble", "reason"), [(away, "no answer; check the cable"), (silent, "no answer before the timeout")]
)
async def test_not_ready_names_the_part_that_is_missing_and_why_but_no_secret(trouble: Check, reason: str) -> None:
    async with pages({"s3": trouble, "redis": fine}) as session, session.get("/-/ready") as answer:
        assert answer.status == 503
        told = await answer.json()
    assert (told["ready"], told["s3"]["ok"], told["redis"]["ok"]) == (False, False, True)
    assert told["s3"]["reason"] == reason
    assert "10.0.0.1" not in str(told)


async def test_services_are_asked_side_by_side() -> None:
    async with pages({str(n): silent for n in range(20)}, check_seconds=0.3) as session:
        began = time.monotonic()
        async with session.get("/-/ready") as answer:
            assert answer.status == 503
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/-/", "/favicon.ico", "/../etc/passwd"])
async def test_anything_else_is_not_found(path: str) -> None:
    async with pages({}) as session, session.get(path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/-/ready", "/none"])
async def test_no_answer_tells_which_server_this_is(path: str) -> None:
    async with pages({}) as session, session.get(path) as answer:
        assert "Server" not in answer.headers
        assert "aiohttp" not in (await answer.text()).lower()


async def test_only_reading_is_possible() -> None:
    async with pages({}) as session, session.post("/metrics", data=b"x") as answer:
        assert answer.status == 405


async def test_a_port_in_use_is_told_with_the_settings_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            async with serve("127.0.0.1", port, registry=CollectorRegistry(), readiness=ready_if({})):
                raise AssertionError("it cannot listen there")
    (problem,) = caught.value.problems
    assert f"PROM_PORT {port} on PROM_HOST 127.0.0.1" in problem


async def test_an_address_of_another_machine_is_told_with_the_settings_name() -> None:
    with pytest.raises(ConfigurationError, match=r"PROM_HOST 192\.0\.2\.1"):
        async with serve("192.0.2.1", 0, registry=CollectorRegistry(), readiness=ready_if({})):
            raise AssertionError("it cannot listen there")


async def test_the_port_is_free_again_afterwards() -> None:
    async with serve("127.0.0.1", 0, registry=CollectorRegistry(), readiness=ready_if({})) as port:
        pass
    async with serve("127.0.0.1", port, registry=CollectorRegistry(), readiness=ready_if({})) as again:
        assert again == port


async def test_a_request_that_hangs_does_not_hold_up_the_stop() -> None:
    asked = asyncio.Event()

    async def hangs() -> None:
        asked.set()
        await asyncio.Event().wait()

    checks = {"s3": hangs}
    async with serve("127.0.0.1", 0, registry=CollectorRegistry(), readiness=ready_if(checks, 60)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 10)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert await reader.read() == b""
    writer.close()
