"""The status page over a real socket: headers, who may look, one rendering for all, and strange requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import jsonschema
import pytest
from prometheus_client import CollectorRegistry

from src.metrics import Metrics, Readiness, serve
from src.metrics.http_server import MOST_CONNECTIONS
from src.page import NOT_SERVED, Look, Rules, StatusPage, no_page, shown
from src.status import StatusView, status_json
from tests.harness import statuses
from tests.harness.strange_requests import strange_requests

ROOT = Path(__file__).parents[2]
OPEN_PATHS = ("/metrics", "/-/healthy", "/-/ready")


class Looked:
    """What the page shows, and how often it was asked for."""

    def __init__(self) -> None:
        self.view: StatusView = statuses.usual()
        self.times = 0
        self.clock = 0.0
        self.errors: list[Exception] = []

    async def __call__(self) -> Callable[[], Look]:
        self.times += 1
        await asyncio.sleep(0)
        return partial(_word, self.view)


def _word(view: StatusView) -> Look:
    return Look(view, shown(view, statuses.hour(0.0), 0.0))


@asynccontextmanager
async def page(rules: Rules | None = None, looked: Looked | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    looked = looked or Looked()
    made = StatusPage(looked, rules or Rules(), report=looked.errors.append, now=lambda: looked.clock)
    readiness = Readiness({}, emit=Metrics(version="test").emit)
    served = serve("127.0.0.1", 0, registry=CollectorRegistry(), readiness=readiness, routes=made.routes())
    async with served as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as session:
        yield session


async def test_the_first_load_is_at_most_100_kb_packed_with_200_recordings() -> None:
    looked = Looked()
    looked.view = statuses.crowd(200)
    async with page(looked=looked) as session:
        async with session.get("/", headers={"Accept-Encoding": "gzip"}) as answer:
            packed = await answer.read()
        text = gzip.decompress(packed).decode()
        total = len(packed)
        files = re.findall(r'(?:href|src)="([\w.]+)"', text)
        assert len(files) == 3
        for name in files:
            async with session.get(f"/{name}", headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.status == 200 and "immutable" in answer.headers["Cache-Control"]
                total += len(await answer.read())
    assert text.count("<tr role=") == 201
    assert total <= 100_000


async def test_the_same_is_there_as_json_by_its_schema_and_with_an_etag() -> None:
    looked = Looked()
    looked.view = statuses.troubled()
    schema = json.loads((ROOT / "docs" / "status.schema.json").read_text(encoding="utf-8"))
    async with page(looked=looked) as session:
        async with session.get("/api/v1/status", headers={"Accept-Encoding": "identity"}) as answer:
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            body, tag = await answer.json(), answer.headers["ETag"]
        jsonschema.validate(body, schema)
        assert body == status_json(looked.view)
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            async with session.get("/api/v1/status", headers={"If-None-Match": known}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
                assert (answer.headers["ETag"], answer.headers["Vary"]) == (tag, "Accept-Encoding")
        async with session.head("/api/v1/status") as answer:
            assert (answer.status, answer.headers["ETag"], await answer.read()) == (200, tag, b"")
        looked.view, looked.clock = statuses.usual(), looked.clock + 10
        async with session.get("/api/v1/status", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 200 and answer.headers["ETag"] != tag


@pytest.mark.parametrize("path", ["/", "/fragment"])
async def test_a_page_may_load_nothing_from_elsewhere_and_is_kept_by_nobody(path: str) -> None:
    async with page() as session, session.get(path) as answer:
        headers = answer.headers
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
        assert policy.pop("default-src") == "'none'"
        assert {policy.pop(f"{kind}-src") for kind in ("script", "style", "img", "connect")} == {"'self'"}
        assert policy == dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'")
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in headers


async def test_it_is_packed_only_for_whoever_takes_it() -> None:
    async with page() as session:
        for offer in ("identity", "gzip;q=0", "gzip; q=0.000", "br"):
            async with session.get("/", headers={"Accept-Encoding": offer}) as answer:
                assert "Content-Encoding" not in answer.headers
                assert (await answer.read()).startswith(b"<!doctype html>")


async def test_everybody_who_looks_within_two_seconds_gets_one_rendering() -> None:
    looked = Looked()
    async with page(looked=looked) as session:

        async def fetch(path: str) -> bytes:
            async with session.get(path) as answer:
                return await answer.read()

        bodies = await asyncio.gather(*(fetch("/fragment") for _ in range(40)), *(fetch("/") for _ in range(40)))
        assert (looked.times, len(set(bodies))) == (1, 2)
        looked.clock += 1.9
        await fetch("/")
        assert looked.times == 1
        looked.clock += 0.2
        await fetch("/")
        assert looked.times == 2


@pytest.mark.parametrize("path", ["/", "/fragment", "/api/v1/status"])
async def test_only_reading_is_possible(path: str) -> None:
    async with page() as session:
        async with session.head(path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            async with session.request(method, path, data=b"x") as answer:
                assert answer.status == 405


@pytest.mark.parametrize("path", ["/", "/fragment", "/api/v1/status"])
async def test_a_name_that_is_not_ours_is_refused_and_the_answer_says_what_to_set(path: str) -> None:
    async with page(Rules(names=("recorder.example.com",))) as session:
        async with session.get(path, headers={"Host": "evil.example:8000"}) as answer:
            assert answer.status == 421
            assert "STATUS_HOSTS" in await answer.text()
        for host in ("recorder.example.com", "localhost:8000", "192.0.2.7"):
            async with session.get(path, headers={"Host": host}) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("path", OPEN_PATHS)
async def test_probes_and_scrapes_need_neither_a_name_nor_a_password(path: str) -> None:
    async with page(Rules(password="geheim")) as session, session.get(path, headers={"Host": "10.1.2.3.pod"}) as answer:
        assert answer.status == 200


async def test_the_password_opens_the_page_and_nothing_else_does() -> None:
    async with page(Rules(password="geheim")) as session:
        for path in ("/", "/fragment", "/api/v1/status"):
            async with session.get(path) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
                assert b"cam1" not in await answer.read()
            async with session.get(path, headers=_login("geheim")) as answer:
                assert answer.status == 200
        began = time.monotonic()
        async with session.get("/", headers=_login("Geheim")) as answer:
            assert answer.status == 401
        assert time.monotonic() - began >= 0.9, "guessing is slow"


def _login(password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth("anybody", password)}


async def test_where_it_is_not_served_one_sentence_names_the_two_settings() -> None:
    readiness = Readiness({}, emit=Metrics(version="test").emit)
    served = serve("127.0.0.1", 0, registry=CollectorRegistry(), readiness=readiness, routes=no_page(NOT_SERVED))
    async with served as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, session.get("/") as answer:
        text = await answer.text()
        assert answer.status == 404
        assert "STATUS_PASSWORD_FILE" in text and "STATUS_PAGE=open" in text


async def test_a_bug_in_the_page_costs_its_answer_and_is_reported() -> None:
    looked = Looked()
    looked.view = None  # type: ignore[assignment]
    async with page(looked=looked) as session:
        async with session.get("/") as answer:
            assert (answer.status, await answer.text()) == (500, "The page could not be made; the log says why.\n")
        async with session.get("/-/healthy") as answer:
            assert answer.status == 200
    assert len(looked.errors) == 1


# -- strange requests ------------------------------------------------------------------------------------------------


class _Log(logging.Handler):
    """Warnings and errors, of whatever library."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def test_strange_requests_end_no_server_and_fill_no_log() -> None:
    """None of them is answered with the page's own failure, and each may stay open for as long as it likes."""
    looked, log = Looked(), _Log()
    logging.getLogger().addHandler(log)
    async with page(Rules(password="geheim"), looked) as session:
        port = session._base_url.port if session._base_url else 0
        open_ones = []
        for request in strange_requests(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            open_ones.append((reader, writer))
        async with session.get("/-/healthy") as answer:
            assert answer.status == 200
        for _, writer in open_ones:
            writer.close()
    logging.getLogger().removeHandler(log)
    assert (looked.errors, log.lines) == ([], [])


async def test_connections_that_are_kept_open_leave_room_for_probes() -> None:
    """The oldest makes room: whoever never finishes a request, or never reads, takes no file descriptor from others."""
    async with page() as session:
        port = session._base_url.port if session._base_url else 0
        kept = []
        for _ in range(2 * MOST_CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port or 0))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            kept.append(connection)
            await asyncio.sleep(0)
        async with session.get("/-/healthy") as answer:
            assert answer.status == 200
        kept[0].settimeout(30)
        assert await asyncio.to_thread(_is_over, kept[0])
        for connection in kept:
            connection.close()


async def test_a_burst_of_connections_does_not_exceed_the_limit_until_the_next_one_comes() -> None:
    """Many that arrive in one turn of the loop are counted like those that come one by one."""
    async with page() as session:
        port = session._base_url.port if session._base_url else 0
        burst = MOST_CONNECTIONS - 28  # what the kernel's queue holds while the loop does not run
        kept: list[socket.socket] = []
        for _ in range(3):
            kept += [socket.create_connection(("127.0.0.1", port or 0)) for _ in range(burst)]
            await asyncio.sleep(0.2)
        async with asyncio.timeout(30):
            while (still_open := sum(map(_is_open, kept))) > MOST_CONNECTIONS:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert still_open == MOST_CONNECTIONS
        assert not _is_open(kept[0]) and _is_open(kept[-1])
        for connection in kept:
            connection.close()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
