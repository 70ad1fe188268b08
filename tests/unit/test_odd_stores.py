"""What the probe makes of stores that refuse in ways of their own."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from awscrt import checksums
from botocore.exceptions import ClientError

from src.domain import crc64_to_base64
from src.exceptions import S3NotAble, S3OperationError, S3Rejected
from src.retry import RetryPolicy
from src.s3_client import StoreSettings
from src.s3_client.abilities import Ability, Learner, Said, said
from src.s3_client.errors import translate
from src.s3_client.outcomes import most_parts
from src.s3_client.probe import NoNotes, Probe
from tests.harness.fakes.telemetry import FakeTelemetry

_NAMES = {
    "abort_multipart_upload": "AbortMultipartUpload",
    "complete_multipart_upload": "CompleteMultipartUpload",
    "put_object": "PutObject",
    "upload_part_copy": "UploadPartCopy",
}


def _refused(operation: str, code: str, status: int, message: str = "") -> S3OperationError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {}}
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return translate(ClientError(answer, _NAMES[operation]), operation=operation)


class _WithoutConditions:
    """A store that does not know conditions; ``may_abort``: whether the key has that right."""

    def __init__(self, refusal: S3OperationError, *, may_abort: bool) -> None:
        self._refusal = refusal
        self._may_abort = may_abort
        self._begun = 0
        self.open: set[str] = set()

    async def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation == "create_multipart_upload":
            self._begun += 1
            self.open.add(str(self._begun))
            return {"UploadId": str(self._begun)}
        if operation == "abort_multipart_upload" and not self._may_abort:
            raise _refused(operation, "AccessDenied", 403)
        if operation == "complete_multipart_upload" and not arguments.keys().isdisjoint({"IfMatch", "IfNoneMatch"}):
            raise self._refusal
        self.open.discard(arguments.get("UploadId", ""))
        return {"ETag": '"x"'}


async def test_a_key_that_may_not_abort_learns_once_and_leaves_no_more_than_it_began() -> None:
    refusal = _refused("complete_multipart_upload", "NotImplemented", 501)
    store = _WithoutConditions(refusal, may_abort=False)
    probe = Probe(store, "b", "k", NoNotes())
    assert await probe.ask(Ability.IF_NONE_MATCH) is False
    assert await probe.ask(Ability.IF_MATCH) is False
    assert len(store.open) <= 4


async def test_a_refusal_of_a_condition_that_names_no_header_teaches_no_ability() -> None:
    text = "Conditional requests are not supported for this operation"
    refusal = _refused("complete_multipart_upload", "InvalidRequest", 400, text)
    found = await Probe(_WithoutConditions(refusal, may_abort=True), "b", "k", NoNotes()).ask(Ability.IF_NONE_MATCH)
    assert found is not True


class _Copying:
    """A store that copies ranges. ``checksum``: what it tells of one in an upload with checksums (None: it refuses);
    ``etag``: what it tells of one in an upload without (None: it refuses). ``unlike``: what it does otherwise at the
    copy of this number, once."""

    def __init__(self, *, checksum: str | None, etag: str | None, unlike: dict[int, S3OperationError]) -> None:
        self._checksum, self._etag, self._unlike = checksum, etag, unlike
        self._copies = 0
        self._with_checksums: dict[str, bool] = {}
        self.open: set[str] = set()

    async def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        upload_id = arguments.get("UploadId", "")
        match operation:
            case "create_multipart_upload":
                upload_id = str(len(self._with_checksums))
                self._with_checksums[upload_id] = "ChecksumAlgorithm" in arguments
                self.open.add(upload_id)
                return {"UploadId": upload_id}
            case "head_object":
                return {"ETag": '"source"', "ContentLength": 2}
            case "upload_part_copy":
                return {"CopyPartResult": self._copied(upload_id)}
            case "complete_multipart_upload" | "abort_multipart_upload":
                self.open.remove(upload_id)
        return {"ETag": '"x"'}

    def _copied(self, upload_id: str) -> dict[str, str]:
        self._copies += 1
        if self._copies in self._unlike:
            raise self._unlike[self._copies]
        told = self._checksum if self._with_checksums[upload_id] else self._etag
        if told is None:
            raise _refused("upload_part_copy", "InvalidArgument", 400, "checksum missing")
        return {"ETag": f'"{told}"', "ChecksumCRC64NVME": told}


_MD5 = hashlib.md5(b"\0").hexdigest()
_CRC = crc64_to_base64(checksums.crc64nvme(b"\0"))
_WHOLE_CRC = crc64_to_base64(checksums.crc64nvme(b"\0\1"))
_RACE = _refused("upload_part_copy", "PreconditionFailed", 412)
_TROUBLE = _refused("upload_part_copy", "SlowDown", 503)
_NOT_ABLE = _refused("upload_part_copy", "NotImplemented", 501)


@pytest.mark.parametrize(
    ("checksum", "etag", "copies", "keeps"),
    [
        (_CRC, _MD5, True, True),
        (None, _MD5, True, False),  # MinIO
        (_WHOLE_CRC, _MD5, True, False),  # VersityGW
        (_WHOLE_CRC, "opaque", False, False),
        (None, None, False, False),
    ],
)
async def test_whether_a_copied_range_proves_itself(checksum: str, etag: str, copies: bool, keeps: bool) -> None:
    store = _Copying(checksum=checksum, etag=etag, unlike={})
    probe = Probe(store, "b", "k", NoNotes(), checksums=True)
    assert await probe.ask(Ability.PART_COPY) is copies
    assert await probe.ask(Ability.COPY_CHECKSUM) is keeps
    assert store.open == set()


@pytest.mark.parametrize("ability", [Ability.PART_COPY, Ability.COPY_CHECKSUM])
@pytest.mark.parametrize("odd", [_RACE, _TROUBLE, _NOT_ABLE])
@pytest.mark.parametrize("at", [1, 2])
async def test_no_single_odd_answer_to_a_copy_teaches_that_the_store_cannot(
    ability: Ability, odd: S3OperationError, at: int
) -> None:
    store = _Copying(checksum=_CRC, etag=_MD5, unlike={at: odd})
    assert await Probe(store, "b", "k", NoNotes(), checksums=True).ask(ability) is not False
    assert store.open == set()


async def test_a_lasting_race_for_the_source_of_a_copy_teaches_nothing() -> None:
    store = _Copying(checksum=_CRC, etag=_MD5, unlike={1: _RACE, 2: _RACE})
    assert await Probe(store, "b", "k", NoNotes(), checksums=True).ask(Ability.PART_COPY) is None


async def test_where_checksums_are_not_known_yet_nothing_is_said_of_those_of_copies() -> None:
    store = _Copying(checksum=_CRC, etag=_MD5, unlike={})
    assert await Probe(store, "b", "k", NoNotes()).ask(Ability.COPY_CHECKSUM) is None
    assert await Probe(store, "b", "k", NoNotes(), checksums=False).ask(Ability.COPY_CHECKSUM) is False


@pytest.mark.parametrize("code", ["FileAlreadyExists", "Conflict", "ObjectAlreadyExists", "EditConflict"])
@pytest.mark.parametrize("operation", ["complete_multipart_upload", "put_object"])
def test_a_conflict_of_any_name_is_never_inability(operation: str, code: str) -> None:
    assert said(_refused(operation, code, 409)) is not Said.NOT_KNOWN


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("Part number must be an integer between 1 and 1000, inclusive", 1000),
        ("Part number must be an integer between 1 and 10,000, inclusive", 10_000),
        ("Part number must be positive", None),
    ],
)
def test_how_many_parts_a_store_takes_is_read_with_its_separators(text: str, most: int | None) -> None:
    assert most_parts(text) == most


def test_a_copy_that_is_too_large_is_sent_instead() -> None:
    assert isinstance(_refused("upload_part_copy", "EntityTooLarge", 400), S3Rejected | S3NotAble)


async def test_an_ability_that_cannot_be_learnt_keeps_no_other_from_being_asked_again() -> None:
    able: dict[Ability, bool | None] = dict.fromkeys(Ability, True)
    able[Ability.OBJECT_SIZE] = None
    asked: Counter[Ability] = Counter()
    now = 0.0

    async def ready() -> None: ...

    async def ask(ability: Ability) -> bool | None:
        asked[ability] += 1
        return able[ability]

    async def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    settings = StoreSettings("b", endpoint_url="http://127.0.0.1:9")
    policy = RetryPolicy(0.001, 0.002)
    learner = Learner(settings, ready=ready, ask=ask, policy=policy, emit=FakeTelemetry().emit, now=lambda: now)
    learner.suspect()
    await until(lambda: asked[Ability.IF_NONE_MATCH] >= 1)
    able[Ability.IF_NONE_MATCH] = False  # the store was changed
    now = 24 * 3600.0
    learner.suspect()
    await until(lambda: not learner.current().if_none_match)
    await learner.close()


class _PutsAndRefuses:
    """An object is there. A PutObject with a condition gets this answer (None: it is done), and one without is done."""

    def __init__(self, refusal: S3OperationError | None) -> None:
        self._refusal = refusal

    async def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation == "put_object" and "IfNoneMatch" in arguments and self._refusal is not None:
            raise self._refusal
        return {"ETag": '"x"', "ContentLength": 2}


@pytest.mark.parametrize(
    ("code", "status", "able"),
    [
        ("PreconditionFailed", 412, True),
        ("ConditionalRequestConflict", 409, True),
        ("InvalidRequest", 400, None),
        ("InvalidObjectState", 403, False),
        ("NotImplemented", 501, False),
        ("AccessDenied", 403, None),
        ("", 0, False),
    ],
)
async def test_only_a_failed_condition_shows_that_a_put_object_refuses_one(
    code: str, status: int, able: bool | None
) -> None:
    refusal = _refused("put_object", code, status) if code else None
    found = await Probe(_PutsAndRefuses(refusal), "b", "k", NoNotes()).ask(Ability.PUT_IF_NONE_MATCH)
    assert found is able if able is not None else found is not True
