"""The real client against servers that are no good S3: they lack things, are something else, or cut connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from src.domain import PROBE_KEY, moments
from src.exceptions import S3OperationError, S3Unavailable
from src.metrics import Metrics, Readiness
from src.retry import RetryPolicy
from src.s3_client import Choice, KeySettings, S3Client, StoreSettings
from src.s3_client.settings import Deadlines
from tests.harness.asked_again import open_asked_again
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.telemetry import FakeTelemetry

pytestmark = pytest.mark.timeout(60)

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
KEY = "cam/take 1.mp4"
SECONDS = 10.0
MIB = 1024 * 1024


def _xml(name: str, inner: str, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'
    return web.Response(status=status, text=text, content_type="application/xml")


def _error(code: str, status: int) -> web.Response:
    return _xml("Error", f"<Code>{code}</Code><Message>no</Message>", status)


class Plain:
    """The oldest S3 there could be: uploads of parts, and objects; ``requests`` as they came."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.stored: dict[str, bytes] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        body = b"".join([piece async for piece in request.content.iter_any()])
        path, query = request.path.rstrip("/"), request.query
        match request.method:
            case "HEAD" | "GET":
                return self._there(path)
            case "POST" if "uploads" in query:
                return _xml("InitiateMultipartUploadResult", "<UploadId>u1</UploadId>")
            case "POST":
                return _xml("CompleteMultipartUploadResult", '<ETag>"made"</ETag>')
            case "PUT":
                if "partNumber" not in query:
                    self.stored[path] = body
                return web.Response(headers={"ETag": '"sent"'})
        return web.Response(status=204)

    def _there(self, path: str) -> web.Response:
        if path.count("/") == 1:
            return web.Response()  # the bucket
        if path not in self.stored:
            return _error("NoSuchKey", 404)
        return web.Response(body=self.stored[path], headers={"ETag": '"stored"'})

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)


class WithoutChecksums(Plain):
    """Answers 501 to what it does not know, as a store should."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if "x-amz-checksum-algorithm" in request.headers:
            self.requests.append(request)
            return _error("NotImplemented", 501)
        return await super().__call__(request)


class CutsUntilHeard(Plain):
    """Breaks the connection in the middle of a part, by a reset (``rude``) or an end, until the client says so.

    Once is not enough: aiohttp sends an idempotent request again by itself when a kept connection breaks.
    """

    def __init__(self, telemetry: FakeTelemetry, *, rude: bool) -> None:
        super().__init__()
        self.telemetry = telemetry
        self.rude = rude

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if "partNumber" in request.query and not _errors(self.telemetry):
            await request.content.readexactly(1000)
            assert request.transport is not None
            request.transport.abort() if self.rude else request.transport.close()
            return web.Response(status=500)
        if "uploadId" in request.query and request.method == "GET":
            return _error("AccessDenied", 403)  # the upload is there, whatever else is to be said of it
        return await super().__call__(request)


class ForgetsConnections(Plain):
    """Closes a kept connection when the next request comes on it, as a balancer that forgot it."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[object] = set()
        self.forgotten = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport in self.known:
            self.forgotten += 1
            assert request.transport is not None
            request.transport.close()
            return web.Response(status=500)
        self.known.add(request.transport)
        return await super().__call__(request)


class InPages(Plain):
    """Lists seven parts, three a page."""

    PARTS, A_PAGE = 7, 3

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "GET" or "uploadId" not in request.query:
            return await super().__call__(request)
        self.requests.append(request)
        first = int(request.query.get("part-number-marker", "0")) + 1
        last = min(self.PARTS, first + self.A_PAGE - 1)
        parts = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"etag {number}"</ETag><Size>{number * 100}</Size></Part>'
            for number in range(first, last + 1)
        )
        more = f"<IsTruncated>{str(last < self.PARTS).lower()}</IsTruncated>"
        return _xml("ListPartsResult", f"{more}<NextPartNumberMarker>{last}</NextPartNumberMarker>{parts}")


class WithForgottenProbes(Plain):
    """Two daemons have left an upload at the probe's key, long ago and just now, and another program one beside it."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "GET" or "uploads" not in request.query:
            return await super().__call__(request)
        now = datetime.now(UTC)
        uploads = [
            (PROBE_KEY, "left long ago", now - timedelta(days=1)),
            (PROBE_KEY, "at work", now - timedelta(seconds=20)),
            (f"{PROBE_KEY}.mp4", "somebody's", now - timedelta(days=1)),
        ]
        inner = "".join(
            f"<Upload><Key>{key}</Key><UploadId>{name}</UploadId><Initiated>{at.isoformat()}</Initiated></Upload>"
            for key, name, at in uploads
        )
        return _xml("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{inner}")


class ForgetsTheProbe(Plain):
    """Somebody tidies up while the first probe is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST" and "uploadId" in request.query and not self.forgotten:
            self.forgotten += 1
            return _error("NoSuchUpload", 404)
        return await super().__call__(request)


async def _web_server(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404 if request.method in ("HEAD", "GET") else 405, text="<html>no such page</html>")


@asynccontextmanager
async def _served(answering: Answering, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The endpoint of a server on a free port."""
    runner = web.ServerRunner(web.Server(answering), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _client(
    answering: Answering,
    telemetry: FakeTelemetry | None = None,
    *,
    probes: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[S3Client]:
    """A client that knows what the store can do (nothing), unless it is to probe."""
    choice = Choice.AUTO if probes else Choice.OFF
    async with (
        _served(answering, tls) as endpoint,
        asyncio.timeout(SECONDS),
        open_asked_again(
            StoreSettings(
                bucket="bucket",
                endpoint_url=endpoint,
                keys=KeySettings("key", "secret"),
                region="us-east-1",
                checksum=choice,
                conditional_writes=choice,
            ),
            policy=RetryPolicy(0.01, 0.05),
            emit=(telemetry or FakeTelemetry()).emit,
            deadlines=Deadlines(call=5, completion=5),
        ) as client,
    ):
        yield client


def _errors(telemetry: FakeTelemetry) -> list[BaseException]:
    return [moment.error for moment in telemetry.of(moments.OperationFailed)]


async def test_a_store_that_answers_501_to_checksums_is_used_without_them() -> None:
    store, telemetry = WithoutChecksums(), FakeTelemetry()
    async with _client(store, telemetry, probes=True) as client:
        assert not (await client.abilities()).checksum
        requests = len(store.requests)
        assert requests <= 60
        assert await client.create_upload(KEY, {}) == "u1"
        assert len(store.requests) == requests + 1
    assert _errors(telemetry) == []


async def test_a_web_server_that_is_no_store_is_tried_again_and_the_setting_is_named() -> None:
    telemetry = FakeTelemetry()
    async with _client(_web_server, telemetry, probes=True) as client:
        learning = asyncio.create_task(client.abilities())
        try:
            while len(_errors(telemetry)) < 3:
                assert not learning.done(), learning
                await asyncio.sleep(0.01)
            with pytest.raises(S3OperationError):
                await client.ping()
            readiness = Readiness({"s3": client.ping}, emit=Metrics(version="test").emit)
            assert (await readiness.answer())["s3"].reason.startswith("refused")
        finally:
            learning.cancel()
            await asyncio.gather(learning, return_exceptions=True)
    for error in _errors(telemetry):
        assert isinstance(error, S3Unavailable)
        assert error.misconfigured
        assert "S3_ENDPOINT_URL" in error.hint


def _untrusted(folder: Path) -> ssl.SSLContext:
    """TLS with a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context


async def test_a_certificate_that_cannot_be_trusted_is_named_and_nothing_is_sent_to_its_owner(tmp_path: Path) -> None:
    store = Plain()
    async with _client(store, tls=_untrusted(tmp_path)) as client:
        with pytest.raises(S3Unavailable, match=r"(?i)certificate"):
            await client.ping()
    assert store.requests == []


@pytest.mark.parametrize("rude", [True, False], ids=["reset", "closed"])
async def test_a_connection_that_breaks_in_the_middle_of_a_part_is_called_cut_and_the_part_sent_again(
    rude: bool,
) -> None:
    telemetry = FakeTelemetry()
    async with _client(CutsUntilHeard(telemetry, rude=rude), telemetry) as client:
        stored = await client.upload_part(KEY, "u1", 1, FakeChunkBody(bytes(8 * MIB), piece=256 * 1024))
    assert stored.size == 8 * MIB
    (error,) = _errors(telemetry)
    assert isinstance(error, S3Unavailable)
    assert "the connection was cut" in str(error)
    assert "S3_" not in error.hint, "the settings are right"


async def test_a_connection_that_was_closed_while_idle_costs_one_more_try_at_once() -> None:
    store, telemetry = ForgetsConnections(), FakeTelemetry()
    async with _client(store, telemetry) as client:
        for _ in range(3):
            assert await client.create_upload(KEY, {}) == "u1"
    assert store.forgotten >= 2
    assert _errors(telemetry) == [], "nobody waited"


async def test_a_listing_in_several_pages_gives_all_parts_and_asks_for_small_pages() -> None:
    store = InPages()
    async with _client(store) as client:
        listed = await client.list_parts(KEY, "u1")
    assert {number: (part.size, part.etag) for number, part in listed.items()} == {
        number: (number * 100, f"etag {number}") for number in range(1, 8)
    }
    assert [request.query.get("part-number-marker") for request in store.requests] == [None, "3", "6"]
    assert {request.query["max-parts"] for request in store.requests} == {"200"}


async def test_only_probes_that_a_killed_process_left_long_ago_are_aborted() -> None:
    store = WithForgottenProbes()
    async with _client(store) as client:
        await client.abort_forgotten_probes()
    aborted = [(request.path, request.query["uploadId"]) for request in store.requests if request.method == "DELETE"]
    assert aborted == [(f"/bucket/{PROBE_KEY}", "left long ago")]


async def test_a_probe_that_somebody_tidies_away_is_no_answer_and_is_repeated() -> None:
    store, telemetry = ForgetsTheProbe(), FakeTelemetry()
    async with _client(store, telemetry, probes=True) as client:
        abilities = await client.abilities()
    assert store.forgotten == 1
    assert not (abilities.checksum or abilities.object_size or abilities.if_none_match or abilities.if_match)
    assert _errors(telemetry) == [], "no recording was in trouble"


async def test_without_conditions_a_document_is_put_only_where_none_is() -> None:
    store = Plain()
    async with _client(store) as client:
        assert await client.put_document("doc.json", b"ours", replaces=None)
        assert await client.put_document("doc.json", b"ours", replaces=None), "our own, whose answer was lost"
        assert store.count("PUT") == 1
        store.stored["/bucket/doc.json"] = b"theirs"
        assert not await client.put_document("doc.json", b"ours", replaces=None)
        assert store.stored["/bucket/doc.json"] == b"theirs"
        assert await client.put_document("doc.json", b"ours", replaces="stored"), "what was seen may be replaced"
    assert store.stored["/bucket/doc.json"] == b"ours"
