"""The pages over a real socket: what a scraper, an orchestrator and a stranger see."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from src.exceptions import ConfigurationError, RedisUnavailable, S3Unavailable
from src.http_server import Check, Readiness, serve


async def fine() -> None:
    """A service that answers."""


async def away() -> None:
    raise S3Unavailable("secret detail: nobody listens at 10.0.0.1")


async def silent() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def pages(
    checks: Mapping[str, Check], registry: CollectorRegistry | None = None, check_seconds: float = 0.2
) -> AsyncIterator[aiohttp.ClientSession]:
    served = serve("127.0.0.1", 0, registry=registry or CollectorRegistry(), checks=checks, check_seconds=check_seconds)
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


async def test_ready_means_that_every_service_answers() -> None:
    async with pages({"s3": fine, "redis": fine}) as session, session.get("/-/ready") as answer:
        assert answer.status == 200
        assert await answer.json() == {"ready": True, "s3": "ok", "redis": "ok"}


@pytest.mark.parametrize("trouble", [away, silent])
async def test_not_ready_names_the_service_that_does_not_answer(trouble: Check) -> None:
    async with pages({"s3": trouble, "redis": fine}) as session, session.get("/-/ready") as answer:
        assert answer.status == 503
        assert await answer.json() == {"ready": False, "s3": "no answer", "redis": "ok"}


async def test_services_are_asked_side_by_side() -> None:
    async with pages({str(n): silent for n in range(20)}, check_seconds=0.3) as session:
        began = time.monotonic()
        async with session.get("/-/ready") as answer:
            assert answer.status == 503
        assert time.monotonic() - began < 3


async def test_a_crowd_of_askers_is_one_question_to_the_service() -> None:
    asked = 0

    async def counted() -> None:
        nonlocal asked
        asked += 1

    clock = [100.0]
    readiness = Readiness({"s3": counted}, now=lambda: clock[0])
    await asyncio.gather(*(readiness.answer() for _ in range(50)))
    assert asked == 1
    clock[0] += 1.9
    await readiness.answer()
    assert asked == 1
    clock[0] += 0.1
    await readiness.answer()
    assert asked == 2


async def test_a_service_that_comes_back_is_ready_again() -> None:
    works = False

    async def check() -> None:
        if not works:
            raise RedisUnavailable("away")

    clock = [0.0]
    readiness = Readiness({"redis": check}, now=lambda: clock[0])
    assert (await readiness.answer()).services == {"redis": False}
    works = True
    clock[0] += 2
    assert (await readiness.answer()).services == {"redis": True}


async def test_a_bug_in_a_check_is_no_answer_of_the_service() -> None:
    async def broken() -> None:
        raise KeyError("bug")

    with pytest.raises(ExceptionGroup):
        await Readiness({"s3": broken}).answer()


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
            async with serve("127.0.0.1", port, registry=CollectorRegistry(), checks={}):
                raise AssertionError("it cannot listen there")
    (problem,) = caught.value.problems
    assert f"PROM_PORT {port} on PROM_HOST 127.0.0.1" in problem


async def test_an_address_of_another_machine_is_told_with_the_settings_name() -> None:
    with pytest.raises(ConfigurationError, match=r"PROM_HOST 192\.0\.2\.1"):
        async with serve("192.0.2.1", 0, registry=CollectorRegistry(), checks={}):
            raise AssertionError("it cannot listen there")


async def test_the_port_is_free_again_afterwards() -> None:
    async with serve("127.0.0.1", 0, registry=CollectorRegistry(), checks={}) as port:
        pass
    async with serve("127.0.0.1", port, registry=CollectorRegistry(), checks={}) as again:
        assert again == port


async def test_a_request_that_hangs_does_not_hold_up_the_stop() -> None:
    asked = asyncio.Event()

    async def hangs() -> None:
        asked.set()
        await asyncio.Event().wait()

    checks = {"s3": hangs}
    async with serve("127.0.0.1", 0, registry=CollectorRegistry(), checks=checks, check_seconds=60) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 10)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert await reader.read() == b""
    writer.close()
