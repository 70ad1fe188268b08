"""A corpus of answers that no good S3 gives, and what the real client makes of each.

A server on this machine gives the bad answer, and good ones once the client has reported trouble. ``WAITS`` means:
it reported ``S3Unavailable`` and then gave the right value, so that it believed nothing of the bad answer. Anything
else is the value that the answer stands for, or one of the declared errors. The corpus is ``BAD``.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from src.domain import (
    Answer,
    Chunk,
    Identity,
    ListedObject,
    Manifest,
    OpenUpload,
    Snapshot,
    StoredObject,
    StoredPart,
    crc64_to_base64,
    moments,
)
from src.exceptions import (
    PartNotTaken,
    PartTooLarge,
    S3NotAble,
    S3Rejected,
    S3Unavailable,
    S3WrongContent,
    UploadGone,
)
from src.retry import ErrorClass, RetryPolicy
from src.s3_client import Choice, KeySettings, PatientStore, S3Client, StoreSettings
from src.s3_client.settings import Deadlines
from src.slots import FairSlots
from tests.harness.asked_again import open_asked_again
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.faulty_s3 import Request, error_xml, http_answer, request_from

#: One client for all, because making one takes longer than all answers together.
pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

WAITS = "reports S3Unavailable, then gives the right value"
KEY = "take.mp4"
BODY = FakeChunkBody(b"seven b")
CRC = BODY.digest.crc64
CRC_TEXT = crc64_to_base64(CRC)
_OTHER_CRC = crc64_to_base64(CRC ^ 1)
MOMENT = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
MANIFEST = Manifest(7, CRC, 1, Snapshot(Identity(1, 2), 7, 3, 4))
PART = StoredPart(1, 7, "made", CRC)
LATER = replace(PART, modified_at=datetime(2026, 11, 21, 14, 0, 2, tzinfo=UTC))
SECONDS = 20.0
POLICY = RetryPolicy(0.001, 0.01)


def _ok(body: bytes | str = b"", **headers: str) -> bytes:
    """A 200; underscores in names of headers stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http_answer(200, body.encode() if isinstance(body, str) else body, named)


def _refused(status: int, code: str) -> bytes:
    return http_answer(status, error_xml(code), {"Content-Type": "application/xml"})


def _page(status: int = 200) -> bytes:
    return http_answer(status, b"<html><body>Please sign in.</body></html>", {"Content-Type": "text/html"})


def _cut(answer: bytes) -> bytes:
    """Half of its body, with the length of the whole."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    return head + blank + body[: len(body) // 2]


def _chunked(answer: bytes) -> bytes:
    """The same without a Content-Length."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]) + blank + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _packed(answer: bytes) -> bytes:
    """Packed on the way, as some proxies do, unasked."""
    return _chunked(_ok(gzip.compress(answer.partition(b"\r\n\r\n")[2]), ETag='"made"', Content_Encoding="gzip"))


def _parts(*entries: str, more: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    return _ok(f"<ListPartsResult><UploadId>u1</UploadId>{more}{''.join(entries)}</ListPartsResult>")


def _part(number: object = 1, size: object = 7, etag: str = '"made"', crc: str = CRC_TEXT, more: str = "") -> str:
    inner = f"<PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>{etag}</ETag>{more}"
    return f"<Part>{inner}<ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME></Part>"


def _at(second: int) -> str:
    return f"<LastModified>2026-11-21T14:00:0{second}.000Z</LastModified>"


def _uploads(inner: str, truncated: str = "false") -> bytes:
    return _ok(f"<R><IsTruncated>{truncated}</IsTruncated>{inner}</R>")


def _listed(size: object = 7, modified: str = "2026-11-21T14:00:00.000Z", more: str = "") -> bytes:
    entry = f"<Contents><Key>{KEY}</Key><Size>{size}</Size><LastModified>{modified}</LastModified></Contents>"
    return _ok(f"<ListBucketResult>{more or '<IsTruncated>false</IsTruncated>'}{entry}</ListBucketResult>")


def _head(**headers: str) -> bytes:
    """What a HEAD is answered: the length of a body that does not follow."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\nConnection: close\r\n{lines}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Call:
    """One method of the client: which S3 operation it asks, what a store answers, and what that means."""

    operation: str
    run: Callable[[S3Client], Awaitable[object]]
    good: bytes
    right: object


CREATED = _ok("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
SENT = _ok(ETag='"made"')
COMPLETED = _ok('<CompleteMultipartUploadResult><ETag>"made"</ETag></CompleteMultipartUploadResult>')
COPIED = _ok(f'<CopyPartResult><ETag>"made"</ETag><ChecksumCRC64NVME>{CRC_TEXT}</ChecksumCRC64NVME></CopyPartResult>')
UPLOAD = f"<Upload><Key>{KEY}</Key><UploadId>u1</UploadId></Upload>"
STORED = _ok(ETag='"made"', x_amz_checksum_crc64nvme=CRC_TEXT, x_amz_checksum_type="FULL_OBJECT")
TOLD = StoredObject(7, "made", CRC, {"of": "this"})
DOCUMENT = _ok('{"stream_id": "1"}', ETag='"made"')
HEAD = _head(Content_Length="7", ETag='"made"', x_amz_checksum_crc64nvme=CRC_TEXT, x_amz_checksum_type="FULL_OBJECT")
FETCHED = _ok(b"seven b", ETag='"made"')

CALLS = {
    "create": Call("CreateMultipartUpload", lambda s: s.create_upload(KEY, {}), CREATED, "u1"),
    "send": Call("UploadPart", lambda s: s.upload_part(KEY, "u1", 1, BODY), SENT, PART),
    "parts": Call("ListParts", lambda s: s.list_parts(KEY, "u1"), _parts(_part()), {1: PART}),
    "complete": Call(
        "CompleteMultipartUpload", lambda s: s.complete_upload(KEY, "u1", MANIFEST, [PART]), COMPLETED, Answer.DONE
    ),
    "abort": Call("AbortMultipartUpload", lambda s: s.abort_upload(KEY, "u1"), http_answer(204, b"", {}), None),
    "copy": Call(
        "UploadPartCopy",
        lambda s: s.copy_part(KEY, "u1", Chunk(1, 0, 7), source_key=KEY, source_etag="old"),
        COPIED,
        PART,
    ),
    "uploads": Call(
        "ListMultipartUploads", lambda s: s.list_uploads(KEY), _uploads(UPLOAD), [OpenUpload(KEY, "u1", None)]
    ),
    "objects": Call(
        "ListObjectsV2", lambda s: s.list_objects("", lambda _: True), _listed(), [ListedObject(KEY, 7, MOMENT)]
    ),
    "head": Call("HeadObject", lambda s: s.head(KEY), HEAD, StoredObject(7, "made", CRC, {})),
    "crc": Call("GetObject", lambda s: s.object_crc64(KEY, "made"), FETCHED, CRC),
    "read": Call("GetObject", lambda s: s.get_document(KEY), DOCUMENT, (b'{"stream_id": "1"}', "made")),
    "put": Call("PutObject", lambda s: s.put_document(KEY, b"{}", replaces=None), SENT, True),
    "whole": Call("PutObject", lambda s: s.put_whole(KEY, TOLD.metadata, BODY), STORED, (Answer.DONE, TOLD)),
}

XML = b"<?xml version='1.0' encoding='UTF-8'?>"
BOMB = (
    b"<!DOCTYPE r [<!ENTITY a '" + b"x" * 1000 + b"'>"
    + b"".join(b"<!ENTITY %c '%b'>" % (97 + n, b"&%c;" % (96 + n) * 100) for n in range(1, 6))
    + b"]><r><UploadId>&f;</UploadId></r>"
)  # fmt: skip
FILE = b"<!DOCTYPE r [<!ENTITY f SYSTEM 'file:///etc/hostname'>]><r><UploadId>&f;</UploadId></r>"
SAYS_LESS = http_answer(200, b"", {"ETag": '"made"'}).replace(b"Content-Length: 0", b"Content-Length: 0\r\nX: \xff\xfe")
TOO_LONG = _ok(ETag='"made"', X="x" * 100_000)

#: The call, a name for the answer, the answer, and what the client makes of it.
BAD: list[tuple[str, str, bytes, object]] = [
    # What is no HTTP, or no whole answer
    ("send", "nothing at all", b"", WAITS),
    ("send", "no HTTP", b"220 mail.example.org ESMTP\r\n", WAITS),
    ("send", "a header of 100 KB", TOO_LONG, WAITS),
    ("send", "a header that is not UTF-8", SAYS_LESS, WAITS),
    ("send", "two lengths", SENT.replace(b"Content-Length: 0", b"Content-Length: 0\r\nContent-Length: 9"), WAITS),
    ("send", "the same ETag twice", SENT.replace(b"ETag:", b'ETag: "made"\r\nETag:'), PART),
    ("send", "100 Continue first, unasked", b"HTTP/1.1 100 Continue\r\n\r\n" + SENT, PART),
    ("create", "a body that is cut", _cut(CREATED), WAITS),
    ("create", "a length that is too short", CREATED.replace(b"Length: ", b"Length: 9\r\nX: "), WAITS),
    ("create", "no length", _chunked(CREATED), "u1"),
    ("read", "a document that is cut", _cut(DOCUMENT), WAITS),
    ("read", "a document without a length", _chunked(DOCUMENT), (b'{"stream_id": "1"}', "made")),
    ("crc", "an object that is cut", _cut(FETCHED), WAITS),
    ("head", "a length below zero", HEAD.replace(b"Length: 7", b"Length: -7"), WAITS),
    ("head", "no length", HEAD.replace(b"Content-Length: 7\r\n", b""), WAITS),
    # What is no XML, or another
    ("create", "an empty 200", _ok(), WAITS),
    ("create", "XML that is cut", _ok(b"<InitiateMultipartUploadResult><UploadId>u1</Upl"), WAITS),
    ("create", "no UTF-8", _ok(XML + b"<r><UploadId>\xff\xfe</UploadId></r>"), WAITS),
    ("create", "gzip", _ok(gzip.compress(b"<r><UploadId>u1</UploadId></r>"), Content_Encoding="gzip"), WAITS),
    ("create", "an entity bomb", _ok(BOMB), WAITS),
    ("create", "an entity that is a file", _ok(FILE), WAITS),
    ("create", "no upload id", _ok("<InitiateMultipartUploadResult/>"), WAITS),
    ("create", "an empty upload id", _ok("<r><UploadId/></r>"), WAITS),
    ("create", "two upload ids", _ok("<r><UploadId>a</UploadId><UploadId>b</UploadId></r>"), WAITS),
    ("create", "a thousand levels", _ok("<a>" * 20_000 + "</a>" * 20_000), WAITS),
    ("parts", "an empty 200", _ok(), WAITS),
    ("parts", "another upload's parts", _parts(_part()).replace(b"u1<", b"u2<"), WAITS),
    ("parts", "a part before its forerunner", _parts(_part(more=_at(2)), _part(etag='"old"', more=_at(1))), {1: LATER}),
    ("parts", "a part after its forerunner", _parts(_part(etag='"old"', more=_at(1)), _part(more=_at(2))), {1: LATER}),
    ("parts", "a part twice, the same", _parts(_part(), _part()), {1: PART}),
    ("parts", "a part without an ETag", _parts("<Part><PartNumber>1</PartNumber><Size>7</Size></Part>"), WAITS),
    ("parts", "a part without a number", _parts('<Part><Size>7</Size><ETag>"made"</ETag></Part>'), WAITS),
    ("parts", "part 0", _parts(_part(number=0)), WAITS),
    ("parts", "part 10,001", _parts(_part(number=10_001)), WAITS),
    ("parts", "a number that is none", _parts(_part(number="one")), WAITS),
    ("parts", "a size below zero", _parts(_part(size=-7)), WAITS),
    ("parts", "a size that is none", _parts(_part(size="NaN")), WAITS),
    ("parts", "a checksum that is none", _parts(_part(crc="AAAA")), WAITS),
    ("parts", "a time that is none", _parts(_part(more="<LastModified>soon</LastModified>")), WAITS),
    ("objects", "a size below zero", _listed(size=-1), WAITS),
    ("objects", "a size that is none", _listed(size="NaN"), WAITS),
    ("objects", "a time that is none", _listed(modified="yesterday"), WAITS),
    ("uploads", "an upload without an id", _uploads(f"<Upload><Key>{KEY}</Key></Upload>"), WAITS),
    ("uploads", "an upload without a key", _uploads("<Upload><UploadId>u1</UploadId></Upload>"), WAITS),
    ("copy", "an empty 200", _ok(), WAITS),
    ("copy", "no ETag", _ok("<CopyPartResult><LastModified/></CopyPartResult>"), WAITS),
    ("copy", "a checksum that is none", COPIED.replace(CRC_TEXT.encode(), b"=" * len(CRC_TEXT)), WAITS),
    # Listings that have no end
    ("parts", "more, but not where", _parts(_part(), more="<IsTruncated>true</IsTruncated>"), WAITS),
    (
        "parts",
        "more, again from the same part",
        _parts(_part(), more="<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>"),
        WAITS,
    ),
    ("objects", "more, but not where", _listed(more="<IsTruncated>true</IsTruncated>"), WAITS),
    (
        "objects",
        "more, again with the same token",
        _listed(more="<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
        WAITS,
    ),
    ("uploads", "more, but not where", _uploads(UPLOAD, truncated="true"), WAITS),
    (
        "uploads",
        "more, again from the same upload",
        _uploads(
            f"<NextKeyMarker>{KEY}</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>{UPLOAD}", truncated="true"
        ),
        WAITS,
    ),
    # ETags and checksums
    ("send", "no ETag", _ok(), WAITS),
    ("send", "an empty ETag", _ok(ETag='""'), WAITS),
    ("send", "an ETag without quotes", _ok(ETag="made"), PART),
    ("send", "a weak ETag", _ok(ETag='W/"made"'), PART),
    ("send", "another checksum", _ok(ETag='"made"', x_amz_checksum_crc64nvme=crc64_to_base64(CRC ^ 1)), WAITS),
    ("send", "a checksum that is none", _ok(ETag='"made"', x_amz_checksum_crc64nvme="nonsense"), WAITS),
    ("put", "no ETag", _ok(), WAITS),
    ("head", "no ETag", _head(Content_Length="7"), WAITS),
    ("head", "a checksum that is none", HEAD.replace(CRC_TEXT.encode(), b"nonsense"), WAITS),
    ("head", "an unknown type of checksum", HEAD.replace(b"FULL_OBJECT", b"PARTIAL"), StoredObject(7, "made", None)),
    ("head", "a checksum of checksums", HEAD.replace(b"FULL_OBJECT", b"COMPOSITE"), StoredObject(7, "made", None)),
    ("read", "no ETag", _ok("{}"), WAITS),
    ("crc", "no ETag", _ok(b"seven b"), WAITS),
    ("crc", "another object's ETag", _ok(b"seven b", ETag='"other"'), None),
    # Another program that answers in the store's place
    *[(call, "a login page", _page(), WAITS) for call in ("create", "send", "parts", "uploads", "objects", "read")],
    *[(call, "a login page", _page(), WAITS) for call in ("crc", "put", "copy", "head")],
    *[(call, "a page that says 404", _page(404), WAITS) for call in ("create", "send", "parts", "read", "crc", "put")],
    ("send", "a page that says 413", _page(413), PartTooLarge),
    ("create", "a page that says 405", _page(405), WAITS),
    ("create", "a page that says 502", _page(502), WAITS),
    ("create", "a redirect to a page", http_answer(302, b"", {"Location": "http://127.0.0.1:9/login"}), WAITS),
    ("send", "a redirect to another host", http_answer(307, b"", {"Location": "http://127.0.0.1:9/"}), WAITS),
    ("head", "a redirect to another host", http_answer(301, b"", {"Location": "http://127.0.0.1:9/"}), WAITS),
    ("read", "packed on the way", _packed(DOCUMENT), WAITS),
    ("crc", "packed on the way", _packed(FETCHED), WAITS),
    # Refusals
    ("send", "a code in lower case", _refused(503, "slowdown"), WAITS),
    ("send", "an unknown code", _refused(400, "SomethingNew"), WAITS),
    ("send", "this upload takes no such part", _refused(501, "NotImplemented"), PartNotTaken),
    ("send", "an unknown code with 500", _refused(500, "SomethingNew"), WAITS),
    ("send", "an error of 5 MB", http_answer(503, error_xml("SlowDown" + "x" * 5_000_000), {}), WAITS),
    ("send", "two codes", http_answer(500, b"<Error><Code>A</Code><Code>B</Code></Error>", {}), WAITS),
    ("send", "a deep error", http_answer(500, b"<Error>" + b"<a>" * 9000 + b"</a>" * 9000 + b"</Error>", {}), WAITS),
    ("send", "an empty error", http_answer(500, b"<Error/>", {}), WAITS),
    ("send", "the upload is gone", _refused(404, "NoSuchUpload"), UploadGone),
    ("parts", "the upload is gone", _refused(404, "NoSuchUpload"), UploadGone),
    ("create", "200 and an error", _ok(error_xml("InternalError")), WAITS),
    ("create", "200 and a refusal", _ok(error_xml("AccessDenied")), WAITS),
    ("parts", "200 and an error", _ok(error_xml("SlowDown")), WAITS),
    ("copy", "200 and an error", _ok(error_xml("InternalError")), WAITS),
    ("copy", "it cannot be done", _refused(501, "NotImplemented"), None),
    ("abort", "it is gone already", _refused(404, "NoSuchUpload"), None),
    ("abort", "it is not allowed", _refused(403, "AccessDenied"), None),
    ("read", "a document that is too large", DOCUMENT.replace(b"Length: ", b"Length: 99999999\r\nX: "), (b"", "made")),
    # Completions: they are never repeated, and what is not understood is no answer
    ("complete", "an empty 200", _ok(), Answer.NONE),
    ("complete", "a login page", _page(), Answer.NONE),
    ("complete", "a page that says 404", _page(404), Answer.NONE),
    ("complete", "an answer that is cut", _cut(COMPLETED), Answer.NONE),
    ("complete", "200 and an error", _ok(error_xml("InternalError")), Answer.NONE),
    ("complete", "200, white space and an error", _ok(XML + b"\n" * 500 + b"<Error/>"), Answer.NONE),
    ("complete", "white space before everything", _ok(b"\n\n" + XML + b"<r><ETag>e</ETag></r>"), Answer.NONE),
    ("complete", "200, white space and success", _ok(XML + b"\n" * 500 + b"<r><ETag>e</ETag></r>"), Answer.DONE),
    ("complete", "200 and the upload is gone", _ok(error_xml("NoSuchUpload")), Answer.UPLOAD_GONE),
    ("complete", "412 with a code in lower case", _refused(412, "preconditionfailed"), Answer.PRECONDITION_FAILED),
    ("complete", "409 without a body", http_answer(409, b"", {}), Answer.CONFLICT),
    ("complete", "an unknown code", _refused(400, "SomethingNew"), Answer.NONE),
    # Whole files: the same, and an answer proves the object only if it has the checksum of all bytes
    ("whole", "no checksum", SENT, (Answer.DONE, None)),
    ("whole", "another checksum", STORED.replace(CRC_TEXT.encode(), _OTHER_CRC.encode()), (Answer.DONE, None)),
    ("whole", "a checksum that is none", STORED.replace(CRC_TEXT.encode(), b"nonsense"), (Answer.DONE, None)),
    ("whole", "a checksum of checksums", STORED.replace(b"FULL_OBJECT", b"COMPOSITE"), (Answer.DONE, None)),
    ("whole", "no ETag", STORED.replace(b"ETag", b"X"), (Answer.NONE, None)),
    ("whole", "an empty 200", _ok(), (Answer.NONE, None)),
    ("whole", "a login page", _page(), (Answer.NONE, None)),
    ("whole", "a page that says 404", _page(404), (Answer.NONE, None)),
    ("whole", "a page that says 502", _page(502), (Answer.NONE, None)),
    ("whole", "an unknown code", _refused(400, "SomethingNew"), S3NotAble),
    ("whole", "the store is busy", _refused(503, "SlowDown"), (Answer.NONE, None)),
    ("whole", "other bytes have arrived", _refused(400, "BadDigest"), (Answer.WRONG_CONTENT, None)),
    ("whole", "412", _refused(412, "PreconditionFailed"), (Answer.PRECONDITION_FAILED, None)),
    ("whole", "409 without a body", http_answer(409, b"", {}), (Answer.CONFLICT, None)),
    ("whole", "it cannot be done", _refused(501, "NotImplemented"), S3NotAble),
    ("whole", "it is never done", _refused(400, "InvalidObjectState"), S3NotAble),
    ("whole", "a page that says 413", _page(413), S3NotAble),
    ("whole", "the body is too large", _refused(400, "EntityTooLarge"), S3NotAble),
]  # fmt: skip


class Store:
    """Answers one operation badly until the client has reported trouble, and everything else well."""

    def __init__(self) -> None:
        self.telemetry = FakeTelemetry()
        self.begin(CALLS["head"], HEAD)

    def begin(self, call: Call, bad: bytes, **others: bytes) -> None:
        """``others``: what is answered to operations beside the call's."""
        self._call, self._bad, self._others = call, bad, {"HeadObject": HEAD, **others}
        self.asked = 0
        self.telemetry.moments.clear()
        self.telemetry.requests.clear()

    @property
    def errors(self) -> list[BaseException]:
        """What the client reported."""
        return [moment.error for moment in self.telemetry.of(moments.OperationFailed)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = request_from(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(int(request.headers.get("content-length", "0")))
            writer.write(self._answer_to(request))
            await writer.drain()
        except (OSError, EOFError):
            pass  # the client has had enough
        finally:
            writer.close()

    def _answer_to(self, request: Request) -> bytes:
        if request.operation == self._call.operation:
            self.asked += 1
            return self._call.good if self.errors else self._bad
        return self._others.get(request.operation, http_answer(200, b"", {}))


@dataclass(frozen=True, slots=True)
class Pair:
    """The client, and the store that it talks to."""

    client: S3Client
    store: Store

    async def outcome(self, call: Call) -> object:
        """What the call gives, or the kind of error that it raises."""
        try:
            async with asyncio.timeout(SECONDS):
                return await call.run(self.client)
        except (PartNotTaken, PartTooLarge, S3NotAble, S3Rejected, UploadGone) as exc:
            return type(exc)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    store = Store()
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    async with (
        server,
        open_asked_again(
            StoreSettings(
                bucket="bucket",
                endpoint_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
                keys=KeySettings("key", "secret"),
                region="us-east-1",
                checksum=Choice.ON,
                conditional_writes=Choice.ON,
            ),
            policy=POLICY,
            emit=store.telemetry.emit,
            deadlines=Deadlines(call=SECONDS / 2, completion=SECONDS / 2),
        ) as client,
    ):
        yield Pair(client, store)


@pytest.mark.parametrize(("name", "bad", "gives"), [pytest.param(c, b, g, id=f"{c}: {what}") for c, what, b, g in BAD])
async def test_a_bad_answer_is_never_believed_and_ends_in_a_declared_outcome(
    pair: Pair, name: str, bad: bytes, gives: object
) -> None:
    """S7, S16, S20, S23, S31; and nothing raw leaves the client."""
    call, store = CALLS[name], pair.store
    store.begin(call, bad)
    assert await pair.outcome(call) == (call.right if gives is WAITS else gives)
    declared = S3Rejected if name == "complete" and gives is Answer.CONFLICT else S3Unavailable
    assert all(isinstance(error, declared) and len(str(error)) < 1000 for error in store.errors)
    assert (store.asked > 1 and store.errors) if gives is WAITS else store.asked == 1


@pytest.mark.parametrize("name", CALLS)
async def test_a_good_answer_is_believed_at_once(pair: Pair, name: str) -> None:
    call = CALLS[name]
    pair.store.begin(call, call.good)
    assert await pair.outcome(call) == call.right
    assert (pair.store.asked, pair.store.errors) == (1, [])


def _completed(**crc64: str) -> bytes:
    told = {"ETag": "&quot;made&quot;", **crc64}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in told.items())
    return _ok(f"<CompleteMultipartUploadResult>{inner}</CompleteMultipartUploadResult>")


@pytest.mark.parametrize(
    ("upload_id", "answer", "told"),
    [
        ("u1", _completed(ChecksumCRC64NVME=CRC_TEXT, ChecksumType="FULL_OBJECT"), TOLD),
        ("u1", _completed(ChecksumCRC64NVME=CRC_TEXT), TOLD),
        ("u1", _completed(ChecksumCRC64NVME=_OTHER_CRC), None),
        ("u1", _completed(ChecksumCRC64NVME=CRC_TEXT, ChecksumType="COMPOSITE"), None),
        ("u1", _completed(), None),
        ("another process's", _completed(ChecksumCRC64NVME=CRC_TEXT, ChecksumType="FULL_OBJECT"), None),
    ],
    ids=["whole", "no type", "another checksum", "a checksum of checksums", "no checksum", "another process"],
)
async def test_a_completion_proves_its_object_only_with_the_checksum_of_all_bytes_of_an_own_upload(
    pair: Pair, upload_id: str, answer: bytes, told: StoredObject | None
) -> None:
    call = CALLS["complete"]
    pair.store.begin(call, answer, CreateMultipartUpload=CREATED)
    assert await pair.client.create_upload(KEY, TOLD.metadata) == "u1"
    assert await pair.client.complete_upload(KEY, upload_id, MANIFEST, [PART]) is Answer.DONE
    assert pair.client.completed(upload_id) == told
    assert pair.client.completed(upload_id) is None, "it is handed out once"


@pytest.mark.parametrize("name", ["create", "send", "complete"])
async def test_after_a_request_without_an_answer_the_key_may_hold_uploads_that_nobody_knows(
    pair: Pair, name: str
) -> None:
    pair.store.begin(CALLS["uploads"], _uploads(UPLOAD))
    await pair.client.list_uploads(KEY)
    assert not pair.client.may_hold_more(KEY)
    for answer, may in ((CALLS[name].good, False), (_refused(500, "InternalError"), True)):
        pair.store.begin(CALLS[name], answer, ListMultipartUploads=_uploads(UPLOAD))
        await pair.outcome(CALLS[name])
        assert pair.client.may_hold_more(KEY) is may
    await pair.client.list_uploads(KEY)
    assert not pair.client.may_hold_more(KEY)


async def test_a_whole_file_whose_connection_ends_is_no_answer(pair: Pair) -> None:
    """The HTTP library may have sent it twice by then."""
    pair.store.begin(CALLS["whole"], b"")
    assert await pair.outcome(CALLS["whole"]) == (Answer.NONE, None)
    assert pair.store.errors != []


async def test_a_glance_believes_what_a_look_would_have_confirmed(pair: Pair) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    pair.store.begin(CALLS["head"], missing, GetObject=_refused(403, "AccessDenied"))
    assert await pair.client.glance(KEY) is None
    assert pair.store.errors == []
    assert await pair.outcome(CALLS["head"]) == CALLS["head"].right
    assert pair.store.errors != []


async def test_each_request_is_told_with_how_it_ended(pair: Pair) -> None:
    pair.store.begin(CALLS["send"], _refused(503, "SlowDown"), ListParts=_refused(404, "NoSuchUpload"))
    assert await pair.outcome(CALLS["send"]) is UploadGone
    asked = [request for request in pair.store.telemetry.requests if request[1] != "head_bucket"]
    assert asked == [("s3", "upload_part", ErrorClass.THROTTLED), ("s3", "list_parts", ErrorClass.NOT_FOUND)]
    pair.store.begin(CALLS["send"], _page(502))
    assert await pair.outcome(CALLS["send"]) == CALLS["send"].right
    asked = [request for request in pair.store.telemetry.requests if request[1] == "upload_part"]
    assert asked == [("s3", "upload_part", ErrorClass.SERVER), ("s3", "upload_part", None)]


@pytest.mark.parametrize("status", [500, 503])
async def test_nobody_but_us_asks_again(pair: Pair, status: int) -> None:
    """Each request that reaches the store is one that was told: botocore repeats none by itself."""
    pair.store.begin(CALLS["head"], _page(status))
    assert await pair.outcome(CALLS["head"]) == CALLS["head"].right
    told = [request for request in pair.store.telemetry.requests if request[1] == "head_object"]
    assert pair.store.asked == len(told) == 2
    assert len(pair.store.errors) == 1


async def test_a_look_that_finds_nobody_is_told_as_trouble(pair: Pair) -> None:
    pair.store.begin(CALLS["head"], HEAD, HeadBucket=http_answer(500, b"", {}))
    with pytest.raises(S3Unavailable):
        await pair.client.ping()
    assert pair.store.telemetry.of(moments.OperationFailed)[0].operation == "s3.ping"
    assert pair.store.telemetry.requests == [("s3", "head_bucket", ErrorClass.SERVER)]


async def test_a_look_that_finds_the_store_back_wakes_those_who_wait_for_it(pair: Pair) -> None:
    waiting = asyncio.create_task(replace(POLICY, first_wait=3600, longest_wait=3600).wait_out(3600))
    asked = PatientStore(pair.client, FairSlots(1), policy=POLICY, emit=pair.store.telemetry.emit)
    await asyncio.sleep(0)
    pair.store.begin(CALLS["head"], HEAD)
    await asked.ping()
    pair.store.begin(CALLS["head"], HEAD, HeadBucket=http_answer(500, b"", {}))
    with pytest.raises(S3Unavailable):
        await asked.ping()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    pair.store.begin(CALLS["head"], HEAD)
    await asked.ping()
    async with asyncio.timeout(SECONDS):
        await waiting


@pytest.mark.parametrize("name", ["crc", "read"])
async def test_an_object_that_is_stored_packed_is_read_as_it_is_stored(pair: Pair, name: str) -> None:
    packed = gzip.compress(b"a stranger's")
    answer = _ok(packed, ETag='"made"', Content_Encoding="gzip")
    pair.store.begin(CALLS[name], answer, HeadObject=answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    outcome = await pair.outcome(CALLS[name])
    assert outcome == ((packed, "made") if name == "read" else FakeChunkBody(packed).digest.crc64)
    assert pair.store.errors == []


async def test_a_part_whose_refusal_is_lost_with_the_line_finds_out_that_its_upload_is_gone(pair: Pair) -> None:
    """S6: a store may refuse a part in mid-body and cut the line, before it is heard and for ever."""
    pair.store.begin(CALLS["send"], b"", ListParts=_refused(404, "NoSuchUpload"))
    assert await pair.outcome(CALLS["send"]) is UploadGone
    assert pair.store.errors == []


async def test_a_part_that_the_store_calls_another_one_is_an_attempt_that_failed_with_advice(pair: Pair) -> None:
    """S33: their memory may have been changed after the checksum was made; the next attempt reads it anew."""
    pair.store.begin(CALLS["send"], _refused(400, "BadDigest"))
    assert isinstance(await pair.outcome(CALLS["send"]), StoredPart)
    (failure,) = pair.store.telemetry.of(moments.OperationFailed)
    assert isinstance(failure.error, S3WrongContent) and "memory" in failure.error.hint
    assert pair.store.asked == 2
