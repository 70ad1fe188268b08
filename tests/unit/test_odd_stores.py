"""What the probe makes of stores that refuse in ways of their own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from src.exceptions import S3NotAble, S3OperationError, S3Rejected
from src.retry import RetryPolicy
from src.s3_abilities import Ability, Learner, Said, said
from src.s3_errors import translate
from src.s3_outcomes import most_parts
from src.s3_probe import NoNotes, Probe
from src.s3_settings import StoreSettings
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
    probe = Probe(store, "k", NoNotes())
    assert await probe.ask(Ability.IF_NONE_MATCH) is False
    assert await probe.ask(Ability.IF_MATCH) is False
    assert len(store.open) <= 4


async def test_a_refusal_of_a_condition_that_names_no_header_teaches_no_ability() -> None:
    text = "Conditional requests are not supported for this operation"
    refusal = _refused("complete_multipart_upload", "InvalidRequest", 400, text)
    found = await Probe(_WithoutConditions(refusal, may_abort=True), "k", NoNotes()).ask(Ability.IF_NONE_MATCH)
    assert found is not True


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
    learner = Learner(settings, ready=ready, ask=ask, policy=policy, observer=FakeTelemetry(), now=lambda: now)
    learner.suspect()
    await until(lambda: asked[Ability.IF_NONE_MATCH] >= 1)
    able[Ability.IF_NONE_MATCH] = False  # the store was changed
    now = 24 * 3600.0
    learner.suspect()
    await until(lambda: not learner.current().if_none_match)
    await learner.close()
