"""The proxy that gives a real store the personality of another one.

What a store takes no notice of must not reach the real one, and is signed: so such requests are signed anew, with the
keys of the real store.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from contextlib import suppress
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.harness.faulty_s3 import Exchange, FaultyS3, Request, Rule, http_answer, request_from, slow_success
from tests.harness.servers import S3Server
from tests.harness.stores.personalities import Personality, Refusal

_COMPLETION = "CompleteMultipartUpload"
_WRITING = (_COMPLETION, "PutObject")


class PersonalS3(FaultyS3):
    """``FaultyS3`` before ``server``, with this personality. Rules of ``on`` come first."""

    def __init__(self, server: S3Server, personality: Personality) -> None:
        super().__init__(server.port)
        self._server = server
        self._personality = personality
        self._sizes: dict[str, dict[int, int]] = {}
        self._md5s: dict[tuple[str, int], bytes] = {}  # of stored parts, by upload and number
        self._replaced: dict[str, bytes] = {}  # as ListParts would tell them, by upload
        #: Refusals so far, by operation and code.
        self.refused: list[tuple[str, str]] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, EOFError, TimeoutError):  # one of the two is gone, or the client was silent for too long
            pass
        finally:
            with suppress(OSError):
                writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays."""
        async with asyncio.timeout(self._personality.idle_seconds):
            head = await reader.readuntil(b"\r\n\r\n")
        request = request_from(head)
        self._met(request)
        rule = next((rule for rule in self._rules if rule.takes(request)), None)
        if rule is not None:
            exchange = Exchange(request, reader, writer, self._target, rule)
            await rule.fault.happen(exchange)
            exchange.noted()
            return False
        return await self._answer(
            Exchange(request, reader, writer, self._target, Rule(None, slow_success(spaces=0), None, None))
        )

    async def _answer(self, exchange: Exchange) -> bool:
        asked, personality = exchange.request, self._personality
        body = await exchange.body()
        if (refusal := self._refusal(asked, body)) is not None:
            self.refused.append((asked.operation, refusal.code or str(refusal.status)))
            raw = refusal_answer(asked, refusal)
        else:
            exchange.request, exchange._body = self._understood(asked, body)
            if personality.slow_completion and asked.operation == _COMPLETION:
                await slow_success(spaces=3).happen(exchange)
                return False
            raw = await exchange.forward()
            self._remember(asked, body, raw)
            if personality.no_etag and asked.operation == _COMPLETION:
                raw = _with(raw, rb"<ETag>[^<]*</ETag>", b"<ETag></ETag>")
            if personality.lists_replaced and asked.operation == "ListParts":
                raw = _with(raw, rb"</ListPartsResult>", self._replaced.get(_query(asked, "uploadId"), b"") + rb"\g<0>")
            if personality.gone_as and asked.operation == "ListParts":
                raw = _with(raw, rb"<Code>NoSuchUpload</Code>", f"<Code>{personality.gone_as}</Code>".encode())
        if personality.no_length and asked.method == "HEAD":
            raw = re.sub(rb"(?i)\r\ncontent-length: *\d+", b"", raw)
        elif personality.chunked:
            raw = _in_pieces(raw)
        if personality.idle_seconds is None:
            await exchange.answer(raw)
            return False
        await exchange.answer(re.sub(rb"(?i)\r\nconnection: *close", b"", raw, count=1))
        return not (personality.closes_without_body and _has_no_body(asked, raw))

    # -- what it refuses --------------------------------------------------------------------------------------

    def _refusal(self, request: Request, body: bytes) -> Refusal | None:
        for refusal in self._personality.refusals:
            if (header := _why_refused(request, refusal, len(body))) is not None:
                return replace(refusal, message=refusal.message.replace("{header}", header))
        if self._personality.equal_parts and request.operation == _COMPLETION and self._unequal(request, body):
            return Refusal(400, "InvalidPart", "All non-trailing parts must have the same length.")
        if self._personality.keeps_parts and request.operation == "UploadPart" and self._would_replace(request, body):
            return Refusal(501, "NotImplemented", "the part has already been streamed and cannot be replaced")
        return None

    def _remember(self, request: Request, body: bytes, raw: bytes) -> None:
        if request.operation in ("UploadPart", "UploadPartCopy") and raw[9:12] == b"200":
            upload, number = _query(request, "uploadId"), request.part_number
            if self._would_replace(request, body):
                self._replaced[upload] = self._replaced.get(upload, b"") + _listed(
                    number, self._sizes[upload][number], self._md5s[upload, number]
                )
            self._sizes.setdefault(upload, {})[number] = _part_size(request)
            self._md5s[upload, number] = hashlib.md5(body).digest()

    def _would_replace(self, request: Request, body: bytes) -> bool:
        md5 = hashlib.md5(body).digest()
        return self._md5s.get((_query(request, "uploadId"), request.part_number), md5) != md5

    def _unequal(self, request: Request, body: bytes) -> bool:
        sizes = self._sizes.get(_query(request, "uploadId"), {})
        numbers = sorted(int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body))
        named = [sizes.get(number, 0) for number in numbers]
        return len(set(named[:-1])) > 1 or (len(named) > 1 and named[-1] > named[0])

    # -- what it takes no notice of ------------------------------------------------------------------------------

    def _understood(self, request: Request, body: bytes) -> tuple[Request, bytes]:
        """The request without what the store does not know, signed anew, and its body."""
        personality, understood = self._personality, body
        pattern = "|".join(
            part
            for part in (
                personality.ignores,
                personality.ignores_writing * (request.operation in _WRITING),
                personality.ignores_completing * (request.operation == _COMPLETION),
            )
            if part
        )
        dropped = [name for name in request.headers if pattern and re.fullmatch(pattern, name)]
        if personality.ignores and request.operation == _COMPLETION:
            understood = re.sub(rb"<Checksum\w+>[^<]*</Checksum\w+>", b"", body)
        if dropped or understood != body:
            request = _signed_anew(_without(request, dropped, understood), self._server)
        body = understood
        return request, body


def refusal_answer(request: Request, refusal: Refusal) -> bytes:
    """What the client is told."""
    if refusal.page:
        body = f"<html><head><title>{refusal.message}</title></head><body><hr>nginx</body></html>".encode()
        kind = "text/html"
    else:
        inner = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message><RequestId>0</RequestId>"
        body, kind = f"<?xml version='1.0' encoding='UTF-8'?><Error>{inner}</Error>".encode(), "application/xml"
    if request.method == "HEAD":
        body = b""
    return http_answer(refusal.status, body, {"Content-Type": kind})


def _why_refused(request: Request, refusal: Refusal, size: int) -> str | None:
    """The header that is refused, or an empty text for another reason; None: it is not refused."""
    if refusal.operations and request.operation not in refusal.operations:
        return None
    if refusal.header:
        return next((name for name in request.headers if re.fullmatch(refusal.header, name)), None)
    if refusal.lacks:
        return None if any(re.fullmatch(refusal.lacks, name) for name in request.headers) else ""
    if refusal.body_over is not None:
        return "" if size > refusal.body_over else None
    assert refusal.part_over is not None, "a refusal without a reason"
    return "" if request.part_number > refusal.part_over else None


def _in_pieces(raw: bytes) -> bytes:
    """The same answer without its length."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not body or b"transfer-encoding" in head.lower():
        return raw
    head = re.sub(rb"(?i)\r\ncontent-length: *\d+", b"\r\nTransfer-Encoding: chunked", head)
    half = len(body) // 2
    pieces = [piece for piece in (body[:half], body[half:]) if piece]
    return head + blank + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _listed(number: int, size: int, md5: bytes) -> bytes:
    """An older part as ListParts tells it."""
    inner = f"<PartNumber>{number}</PartNumber><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{size}</Size>"
    return f'<Part>{inner}<ETag>"{md5.hex()}"</ETag></Part>'.encode()


def _with(raw: bytes, pattern: bytes, other: bytes) -> bytes:
    """The same answer with something else in its body."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    body = re.sub(pattern, other, body)
    return re.sub(rb"(?i)(?<=\r\ncontent-length: )\d+", b"%d" % len(body), head) + blank + body


def _has_no_body(request: Request, raw: bytes) -> bool:
    return request.method == "HEAD" or not raw.partition(b"\r\n\r\n")[2]


def _query(request: Request, name: str) -> str:
    return parse_qs(urlsplit(request.target).query).get(name, [""])[0]


def _part_size(request: Request) -> int:
    if copied := re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("x-amz-copy-source-range", "")):
        return int(copied[2]) - int(copied[1]) + 1
    return int(request.headers.get("content-length", "0"))


# -- signing (Signature Version 4) -------------------------------------------------------------------------------------


def _without(request: Request, dropped: list[str], body: bytes) -> Request:
    headers = {name: value for name, value in request.headers.items() if name not in dropped}
    if "content-length" in headers:
        headers["content-length"] = str(len(body))
    if "content-md5" in headers:
        headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    if re.fullmatch(r"[0-9a-f]{64}", headers.get("x-amz-content-sha256", "")):
        headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    return replace(request, headers=headers)


def _signed_anew(request: Request, server: S3Server) -> Request:
    found = re.fullmatch(
        r"(AWS4-HMAC-SHA256) Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=\w+",
        request.headers["authorization"],
    )
    assert found is not None, request.headers["authorization"]
    algorithm, credential, names = found.groups()
    signed = [name for name in names.split(";") if name in request.headers]
    key, scope = credential.split("/", 1)
    assert key == server.access_key
    text = "\n".join(
        [algorithm, request.headers["x-amz-date"], scope, hashlib.sha256(_canonical(request, signed)).hexdigest()]
    )
    signature = hmac.new(_signing_key(server.secret_key, scope), text.encode(), hashlib.sha256).hexdigest()
    value = f"{algorithm} Credential={credential}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    return replace(request, headers={**request.headers, "authorization": value})


def _canonical(request: Request, signed: list[str]) -> bytes:
    address = urlsplit(request.target)
    pairs = sorted(pair if "=" in pair else f"{pair}=" for pair in address.query.split("&") if pair)
    lines = [f"{name}:{' '.join(request.headers[name].split())}" for name in signed]
    payload = request.headers["x-amz-content-sha256"]
    return "\n".join([request.method, address.path, "&".join(pairs), *lines, "", ";".join(signed), payload]).encode()


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key
