"""A proxy before an S3 store that does harm to chosen operations, and remembers what it did.

    with FaultyS3(store.port) as proxy:
        rule = proxy.on("UploadPart", lose_answer(), key="take.mp4", times=2)
        ...
        assert rule.happened == 2

It serves one request a connection, so that every harm reaches the client: nothing is repeated in silence because a
kept connection broke. The Host header is passed on as it came, since it is signed. Requests need a Content-Length.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.harness import asked_for

# -- what a request is -------------------------------------------------------------------------------------------------

#: Method, whether a key is named, a query parameter that must be there, a header that must be there: the operation.
_OPERATIONS = (
    ("POST", True, "uploads", "", "CreateMultipartUpload"),
    ("POST", True, "uploadId", "", "CompleteMultipartUpload"),
    ("PUT", True, "partNumber", "x-amz-copy-source", "UploadPartCopy"),
    ("PUT", True, "partNumber", "", "UploadPart"),
    ("GET", True, "uploadId", "", "ListParts"),
    ("DELETE", True, "uploadId", "", "AbortMultipartUpload"),
    ("PUT", True, "", "x-amz-copy-source", "CopyObject"),
    ("PUT", True, "", "", "PutObject"),
    ("HEAD", True, "", "", "HeadObject"),
    ("GET", True, "", "", "GetObject"),
    ("DELETE", True, "", "", "DeleteObject"),
    ("HEAD", False, "", "", "HeadBucket"),
    ("PUT", False, "", "", "CreateBucket"),
    ("DELETE", False, "", "", "DeleteBucket"),
    ("GET", False, "uploads", "", "ListMultipartUploads"),
    ("GET", False, "list-type", "", "ListObjectsV2"),
    ("GET", False, "lifecycle", "", "GetBucketLifecycleConfiguration"),
    ("GET", False, "versioning", "", "GetBucketVersioning"),
    ("GET", False, "", "", "ListObjects"),
)
OTHER = "Other"
LISTINGS = ("ListMultipartUploads", "ListObjectsV2", "ListObjects")


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. Names of headers are in lower case; the bucket is the first segment of the path."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def bucket(self) -> str:
        return unquote(urlsplit(self.target).path).strip("/").partition("/")[0]

    @property
    def key(self) -> str:
        """The key, for listings the prefix that is asked for."""
        if self.operation in LISTINGS:
            return "".join(self._query.get("prefix", ""))
        return unquote(urlsplit(self.target).path).lstrip("/").partition("/")[2]

    @property
    def part_number(self) -> int:
        """Of an UploadPart or UploadPartCopy."""
        return int("".join(self._query["partNumber"]))

    @property
    def operation(self) -> str:
        """S3's name for what is asked; ``OTHER`` for what is no object storage."""
        has_key = bool(urlsplit(self.target).path.lstrip("/").partition("/")[2])
        for method, of_key, parameter, header, name in _OPERATIONS:
            fits = (method, of_key) == (self.method, has_key) and bool(self.bucket)
            if fits and (not parameter or parameter in self._query) and (not header or header in self.headers):
                return name
        return OTHER

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def encoded(self) -> bytes:
        """As it goes to the store: all that was signed is as it came, and the connection is for this request alone."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name != "connection"]
        return "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1")


def request_from(head: bytes) -> Request:
    """The request that begins so. Raises ``ValueError`` for what is none."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})


# -- what is done to it ------------------------------------------------------------------------------------------------


class Exchange:
    """One request and the ways to serve it ill. ``noted`` counts the harm; it is counted at the end at the latest."""

    def __init__(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int, rule: Rule
    ) -> None:
        self.request = request
        self._reader = reader
        self._writer = writer
        self._target = target
        self._rule = rule
        self._body: bytes | None = None
        self._noted = False

    def noted(self) -> None:
        """The harm is done."""
        if not self._noted:
            self._noted = True
            self._rule.happened += 1

    async def body(self, *, rate: float | None = None) -> bytes:
        """The request's body, read from the client at so many bytes a second."""
        if self._body is None:
            left = int(self.request.headers.get("content-length", "0"))
            pieces = []
            while left:
                piece = await self._reader.readexactly(min(left, 64 * 1024))
                pieces.append(piece)
                left -= len(piece)
                await asyncio.sleep(len(piece) / rate if rate else 0)
            self._body = b"".join(pieces)
        return self._body

    async def forward(self, *, cut_after: int | None = None) -> bytes:
        """The store's whole answer. ``cut_after``: the store gets only so much of the body, and nothing is answered.

        It reads while it writes, and on sockets of its own: a store may refuse a body half-way and cut the line.
        """
        request, loop = self.request.encoded() + (await self.body())[:cut_after], asyncio.get_running_loop()
        answer = b""
        with socket.socket() as store:
            store.setblocking(False)
            await loop.sock_connect(store, ("127.0.0.1", self._target))
            writing = loop.create_task(loop.sock_sendall(store, request))
            with suppress(OSError):
                if cut_after is not None:
                    await writing
                while cut_after is None and (piece := await loop.sock_recv(store, 64 * 1024)):
                    answer += piece
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return answer

    async def answer(self, raw: bytes, *, rate: float | None = None) -> None:
        """Give these bytes to the client."""
        step = 16 * 1024 if rate else len(raw) or 1
        for start in range(0, len(raw), step):
            piece = raw[start : start + step]
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(len(piece) / rate if rate else 0)

    def hang_up(self) -> None:
        """End the connection."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with an RST."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Fault:
    """A harm and its name. Connections are closed when it has happened."""

    name: str
    happen: Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class Rule:
    """Which requests meet which fault: after ``skip`` that pass, the next ``times`` (None: all)."""

    operation: str | None
    fault: Fault
    key: str | None
    times: int | None
    skip: int = 0
    happened: int = 0
    bucket: str | None = None
    _met: int = field(default=0, repr=False)

    def takes(self, request: Request) -> bool:
        """Whether this request is its; counts those that pass."""
        fits = self.operation in (None, request.operation) and self.key in (None, request.key)
        if not fits or self.bucket not in (None, request.bucket) or self.is_over:
            return False
        self._met += 1
        return self._met > self.skip

    @property
    def is_over(self) -> bool:
        return self.times is not None and self._met >= self.skip + self.times


async def _pass_on(exchange: Exchange) -> None:
    await exchange.answer(await exchange.forward())


def drop() -> Fault:
    """The connection is closed; the store hears nothing."""

    async def happen(_: Exchange) -> None:
        return

    return Fault("dropped", happen)


def reset() -> Fault:
    """The connection is reset; the store hears nothing."""

    async def happen(exchange: Exchange) -> None:
        exchange.reset()

    return Fault("reset", happen)


def lose_answer() -> Fault:
    """The store does it, and nobody hears."""

    async def happen(exchange: Exchange) -> None:
        await exchange.forward()

    return Fault("answer lost", happen)


def do_later(seconds: float) -> Fault:
    """The connection is closed at once; the store does it later, and nobody hears."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        exchange.hang_up()
        exchange.noted()
        await asyncio.sleep(seconds)
        await exchange.forward()

    return Fault(f"done {seconds:g} s later", happen)


def edited(pattern: bytes, by: bytes = b"", *, name: str) -> Fault:
    """The store's answer, in its head or its body, with all that fits the pattern replaced."""

    async def happen(exchange: Exchange) -> None:
        raw = await exchange.forward()
        await exchange.answer(_with_length(re.sub(pattern, by, raw, flags=re.DOTALL), 0))

    return Fault(name, happen)


def twice() -> Fault:
    """The store does it twice; the second answer counts."""

    async def happen(exchange: Exchange) -> None:
        await exchange.forward()
        await exchange.answer(await exchange.forward())

    return Fault("done twice", happen)


def cut_request(after: int) -> Fault:
    """The store gets so many bytes of the body, then both connections end."""

    async def happen(exchange: Exchange) -> None:
        await exchange.forward(cut_after=after)

    return Fault(f"cut after {after} bytes", happen)


def cut_answer(after: int | None = None) -> Fault:
    """The client gets so many bytes of the answer, or half of it."""

    async def happen(exchange: Exchange) -> None:
        raw = await exchange.forward()
        await exchange.answer(raw[: len(raw) // 2 if after is None else after])

    return Fault("answer cut", happen)


def status(status: int, code: str = "", *, name: str = "", **headers: str) -> Fault:
    """The store is not asked; the proxy answers with this status and S3 error code."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        body = b"" if exchange.request.method == "HEAD" or not code else error_xml(code)
        await exchange.answer(http_answer(status, body, headers))

    return Fault(name or f"{status} {code}".strip(), happen)


def says(body: bytes, *, status: int = 200, content_type: str = "application/xml", name: str) -> Fault:
    """The store is not asked; the proxy answers so."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        headers = {"Content-Type": content_type}
        shown = b"" if exchange.request.method == "HEAD" else body
        await exchange.answer(http_answer(status, shown, headers))

    return Fault(name, happen)


def garbage() -> Fault:
    return says(b"<?xml version='1.0'?><Res\xff\x00ult", name="garbage")


def login_page(status: int = 200) -> Fault:
    """What a captive portal or a company's proxy says to everybody."""
    body = b"<html><head><title>Sign in</title></head><body><p>Please sign in.</p></body></html>"
    return says(body, status=status, content_type="text/html", name=f"login page {status}")


def error_in_200(code: str, *, spaces: int = 0) -> Fault:
    """The answer begins as a success, keeps the connection alive with white space, and ends as an error."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        await _begin_slow_answer(exchange, spaces)
        await exchange.answer(_chunk(error_xml(code).partition(b"?>")[2]) + _chunk(b""))

    return Fault(f"200 with {code} after {spaces} spaces", happen)


def slow_success(*, spaces: int) -> Fault:
    """The store does it at once; its answer is stretched with white space, one a tenth of a second. A refusal comes as
    it is: the store gives those before it begins."""

    async def happen(exchange: Exchange) -> None:
        raw = await exchange.forward()
        if raw[9:12] != b"200":
            await exchange.answer(raw)
            return
        await _begin_slow_answer(exchange, spaces)
        await exchange.answer(_chunk(b"<" + raw.rpartition(b"?>")[2].partition(b"<")[2]) + _chunk(b""))

    return Fault("slow success", happen)


def wrong_length(by: int) -> Fault:
    """The answer's Content-Length is more, or less, than its body."""

    async def happen(exchange: Exchange) -> None:
        await exchange.answer(_with_length(await exchange.forward(), by))

    return Fault(f"length {by:+d}", happen)


def delay(seconds: float) -> Fault:
    """It is done, later."""

    async def happen(exchange: Exchange) -> None:
        exchange.noted()
        await asyncio.sleep(seconds)
        await _pass_on(exchange)

    return Fault(f"delayed {seconds:g} s", happen)


def delay_answer(seconds: float) -> Fault:
    """It is done at once, and said later."""

    async def happen(exchange: Exchange) -> None:
        raw = await exchange.forward()
        exchange.noted()
        await asyncio.sleep(seconds)
        await exchange.answer(raw)

    return Fault(f"answer delayed {seconds:g} s", happen)


def throttle(rate: float) -> Fault:
    """Both bodies flow at so many bytes a second."""

    async def happen(exchange: Exchange) -> None:
        exchange.noted()
        await exchange.body(rate=rate)
        await exchange.answer(await exchange.forward(), rate=rate)

    return Fault(f"{rate:.0f} bytes a second", happen)


def stall() -> Fault:
    """The body is not read, nothing is answered, and the connection stays."""

    async def happen(exchange: Exchange) -> None:
        exchange.noted()
        await asyncio.Event().wait()

    return Fault("stalled", happen)


def hold_answer() -> Fault:
    """The store has done it; the connection stays and nothing is answered."""

    async def happen(exchange: Exchange) -> None:
        await exchange.forward()
        exchange.noted()
        await asyncio.Event().wait()

    return Fault("answer held", happen)


def redirect(status: int, to: str) -> Fault:
    """Another host is to be asked, at the same path."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        headers = {"Location": to + exchange.request.target}
        await exchange.answer(http_answer(status, b"", headers))

    return Fault(f"{status} elsewhere", happen)


# -- bytes of answers --------------------------------------------------------------------------------------------------


def error_xml(code: str) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>injected</Message><RequestId>0</RequestId></Error>"
    return b"<?xml version='1.0' encoding='UTF-8'?>" + text.encode()


def http_answer(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Injected", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _with_length(raw: bytes, more: int) -> bytes:
    """The same answer with a Content-Length that is so many bytes more than its body."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"content-length", b"transfer-"))]
    lines.append(b"Content-Length: %d" % max(0, len(body) + more))
    return b"\r\n".join(lines) + blank + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _begin_slow_answer(exchange: Exchange, spaces: int) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    await exchange.answer(head + _chunk(b"<?xml version='1.0' encoding='UTF-8'?>"))
    exchange.noted()
    for _ in range(spaces):
        await asyncio.sleep(0.1)
        await exchange.answer(_chunk(b"\n"))


# -- the proxy ---------------------------------------------------------------------------------------------------------


class FaultyS3:
    """A proxy on a free port, in a thread of its own, before the store at ``port`` on this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        # Small, so that a throttled client notices at once.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        self._rules: list[Rule] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="faulty-s3", daemon=True)
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def on(
        self,
        operation: str | None,
        fault: Fault,
        *,
        key: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        bucket: str | None = None,
    ) -> Rule:
        """From now on the fault meets such requests; ``operation`` None: all. The first rule that fits takes a
        request. Gives the rule, which counts what happened."""
        known = {name for *_, name in _OPERATIONS}
        assert operation is None or operation in known, operation
        rule = Rule(operation, fault, key, times, skip, bucket=bucket)
        self._rules.append(rule)
        return rule

    def lift(self, *rules: Rule) -> None:
        """These rules hold no more; what they do at the moment they go on doing."""
        for rule in rules:
            self._rules.remove(rule)

    def cut(self) -> None:
        """Lift every rule, and end every connection in the middle of whatever it does."""
        self._rules.clear()
        self._loop.call_soon_threadsafe(self._cancel_all)

    def seen(self, operation: str, key: str | None = None) -> list[Request]:
        """The requests of this kind so far."""
        return [each for each in self.requests if each.operation == operation and key in (None, each.key)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._listener.close()

    # -- in its thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve_until_stopped())
        self._loop.close()

    async def _serve_until_stopped(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener)
        await self._stopping.wait()
        server.close()
        self._cancel_all()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _cancel_all(self) -> None:
        for task in self._connections:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def _met(self, request: Request) -> None:
        asked_for.note(request.method, request.target, request.headers)
        self.requests.append(request)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = request_from(await reader.readuntil(b"\r\n\r\n"))
            self._met(request)
            rule = next((rule for rule in self._rules if rule.takes(request)), None) or _harmless()
            exchange = Exchange(request, reader, writer, self._target, rule)
            await rule.fault.happen(exchange)
            exchange.noted()
        except (OSError, EOFError):  # one of the two is gone
            pass
        finally:
            with suppress(OSError):
                writer.close()


def _harmless() -> Rule:
    return Rule(None, Fault("passed on", _pass_on), None, None)
