"""Tries what the daemon needs of a store, for ``doctor``: with real requests, under the probe's key alone.

The trial's upload is aborted at the end; if the right to abort is missing it stays, empty but for two bytes, and a
daemon that has the right aborts it later, like any that the probe has left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..domain import Right, Rule, StoreFacts
from ..exceptions import S3NotAble, S3OperationError, S3Rejected, S3Unavailable
from ..timeouts import timeout
from .requests import Requests, is_no_bucket
from .settings import Abilities, StoreSettings

_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
#: Codes of refusals that a right changes; those of wrong credentials are others.
_NO_RIGHT = frozenset({"AccessDenied", "AccessForbidden", "XAdminAccessDenied", "Forbidden", "403"})
#: Seconds for the trials of optional features, and for one request.
_FEATURES_SECONDS = 6.0
_SECONDS = 4.0


@dataclass(slots=True)
class _Found:
    """``StoreFacts`` on their way."""

    error: str = ""
    hint: str = ""
    answers: bool = False
    seconds: float | None = None
    clock_ahead: float | None = None
    product: str = ""
    rights: dict[Right, bool | None] = field(default_factory=dict)
    rules: tuple[Rule, ...] | None = None
    versioning: str | None = None
    checksum: bool | None = None
    if_none_match: bool | None = None
    if_match: bool | None = None

    def facts(self) -> StoreFacts:
        return StoreFacts(**{each.name: getattr(self, each.name) for each in fields(self)})


class Checkup:
    """One examination of a store. ``learn``: determines its features, as at the daemon's start."""

    def __init__(self, requests: Requests, settings: StoreSettings, learn: Callable[[], Awaitable[Abilities]]) -> None:
        self._requests = requests
        self._settings = settings
        self._learn = learn

    async def facts(self) -> StoreFacts:
        """What was found. Never raises for what a store answers."""
        found = _Found()
        if not await self._reach(found):
            return found.facts()
        await asyncio.gather(self._try_uploads(found), self._try_reading(found), self._read_rules(found))
        if all(found.rights.get(right) for right in (Right.PUT, Right.GET, Right.ABORT)):
            await self._find_features(found)
        return found.facts()

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await self._requests.call(operation, deadline=_SECONDS, **arguments)

    async def _reach(self, found: _Found) -> bool:
        """The first request: whether the store answers, and its clock. A listing, since its refusal has a body."""
        began = time.monotonic()
        try:
            answer = await self._call("list_objects_v2", Prefix=self._settings.probe_key, MaxKeys=1)
        except S3OperationError as exc:
            found.seconds = time.monotonic() - began
            self._read_head(found, getattr(exc.__cause__, "response", {}))
            code = getattr(exc, "code", "")
            found.answers = bool(code)
            if code in _NO_RIGHT:
                found.rights[Right.LIST] = False
                return True
            found.error, found.hint = str(exc), exc.hint
            if isinstance(exc, S3Unavailable) and is_no_bucket(exc):
                found.error = f"the bucket {self._settings.bucket} does not exist"
            return False
        found.seconds = time.monotonic() - began
        found.answers, found.rights[Right.LIST] = True, True
        self._read_head(found, answer)
        return True

    @staticmethod
    def _read_head(found: _Found, answer: Mapping[str, Any]) -> None:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        found.product = str(headers.get("server", ""))
        with suppress(TypeError, ValueError):
            told = parsedate_to_datetime(headers["date"]) if "date" in headers else None
            if told is not None:
                found.clock_ahead = (told - datetime.now(told.tzinfo)).total_seconds()

    async def _granted(self, operation: str, **arguments: Any) -> tuple[bool | None, dict[str, Any]]:
        """Whether the store lets us do this; None: it answered neither yes nor no."""
        try:
            return True, await self._call(operation, **arguments)
        except (S3Rejected, S3NotAble):
            return True, {}  # it is not allowed to exist, or not supported: not a question of rights
        except S3OperationError as exc:
            return (False if getattr(exc, "code", "") in _NO_RIGHT else None), {}

    async def _try_reading(self, found: _Found) -> None:
        key = self._settings.probe_key
        found.rights[Right.LIST_UPLOADS], _ = await self._granted("list_multipart_uploads", Prefix=key)
        found.rights[Right.GET], answer = await self._granted("get_object", Key=key)
        if "Body" in answer:
            answer["Body"].close()

    async def _try_uploads(self, found: _Found) -> None:
        rights, key = found.rights, self._settings.probe_key
        rights[Right.PUT], created = await self._granted("create_multipart_upload", Key=key)
        upload_id = created.get("UploadId")
        if not upload_id:
            return
        sent, _ = await self._granted("upload_part", Key=key, UploadId=upload_id, PartNumber=1, Body=b"\0\1")
        rights[Right.PUT] = sent
        rights[Right.LIST_PARTS], _ = await self._granted("list_parts", Key=key, UploadId=upload_id)
        rights[Right.ABORT], _ = await self._granted("abort_multipart_upload", Key=key, UploadId=upload_id)

    async def _find_features(self, found: _Found) -> None:
        with suppress(S3OperationError, TimeoutError):
            async with timeout(_FEATURES_SECONDS):
                features = await self._learn()
            found.checksum = features.checksum
            found.if_none_match, found.if_match = features.if_none_match, features.if_match

    async def _read_rules(self, found: _Found) -> None:
        """Rules and versioning: the daemon needs neither, so a refusal leaves them unknown."""
        try:
            answer = await self._call("get_bucket_lifecycle_configuration")
            rules = [_rule(rule) for rule in answer.get("Rules", []) if concerns(rule, self._settings.key_prefix)]
            found.rules = tuple(rules)
        except (S3Rejected, S3NotAble):
            found.rules = ()  # there are none, or the store has no rules
        except (S3OperationError, LookupError, TypeError, ValueError, AttributeError):
            found.rules = None
        try:
            answer = await self._call("get_bucket_versioning")
            found.versioning = str(answer.get("Status", "off"))
        except (S3Rejected, S3NotAble):
            found.versioning = "not available here"
        except S3OperationError:
            found.versioning = None


def concerns(rule: Mapping[str, Any], ours: str) -> bool:
    """Whether an enabled rule can affect objects or uploads under our prefix. Recordings have no tags."""
    scope = rule.get("Filter", {})
    both = scope.get("And", {})
    if "Tag" in scope or both.get("Tags"):
        return False
    prefix = scope.get("Prefix", both.get("Prefix", rule.get("Prefix", "")))
    return rule.get("Status") == "Enabled" and (ours.startswith(prefix) or prefix.startswith(ours))


def _rule(rule: Mapping[str, Any]) -> Rule:
    moved = [one for one in rule.get("Transitions", []) if one.get("StorageClass") in _ARCHIVES]
    first: Mapping[str, Any] = min(moved, key=lambda one: int(one.get("Days", 0)), default={})
    return Rule(
        name=str(rule.get("ID", "")),
        aborts_after=_days(rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")),
        deletes_after=_days(rule.get("Expiration", {}).get("Days")),
        archives_after=_days(first.get("Days")),
        archive=str(first.get("StorageClass", "")),
        removes_versions="NoncurrentVersionExpiration" in rule,
    )


def _days(value: Any) -> int | None:
    return None if value is None else int(value)
