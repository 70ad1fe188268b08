"""The bucket itself: creates it if it is missing, checks its availability, and reads its lifecycle rules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..domain import moments
from ..exceptions import S3NotAble, S3Rejected, S3Unavailable
from .errors import reading
from .requests import Requests, is_no_bucket
from .settings import StoreSettings

PING_SECONDS = 2.5  # shorter than the timeout of a readiness check, so that the cause is reported


class Bucket:
    """The configured bucket."""

    def __init__(self, requests: Requests, settings: StoreSettings, emit: moments.Emit) -> None:
        self._requests = requests
        self._call = requests.call
        self._settings = settings
        self._emit = emit
        self._is_there = False
        self._preparing = asyncio.Lock()

    async def ping(self) -> None:
        """Raise ``S3Unavailable`` unless the bucket is available now."""
        try:
            await self._call("head_bucket", deadline=PING_SECONDS)
        except S3Unavailable as exc:
            # Before the bucket was seen once, the error of its creation is more useful.
            if self._is_there or not is_no_bucket(exc):
                self._emit(moments.OperationFailed(operation="s3.ping", error=exc, attempt=1, wait_seconds=0.0))
            raise

    async def prepare(self) -> None:
        """Make sure once that the bucket exists; a single attempt, so that callers retry as a whole."""
        if not self._is_there:
            async with self._preparing:
                if not self._is_there:
                    await self._ensure()
                    self._is_there = True

    async def _ensure(self) -> None:
        try:
            await self._call("head_bucket")
            return
        except S3Unavailable as exc:
            if not is_no_bucket(exc):
                raise
        try:
            await self._create()
        except S3Rejected as exc:
            if exc.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                hint = "create the bucket, or check S3_ENDPOINT_URL, S3_BUCKET_NAME and S3_REGION_NAME"
                raise S3Unavailable(str(exc), operation="create_bucket", hint=hint, misconfigured=True) from exc

    async def _create(self) -> None:
        region = self._requests.region
        if region == "us-east-1":
            await self._call("create_bucket")
            return
        try:
            await self._call("create_bucket", CreateBucketConfiguration={"LocationConstraint": region})
        except (S3Rejected, S3NotAble) as exc:
            if exc.code not in ("InvalidLocationConstraint", "MalformedXML", "NotImplemented", "501"):
                raise
            await self._call("create_bucket")  # a store with a single region that knows no others

    async def days_of_an_upload(self) -> int | None:
        """After how many days a lifecycle rule aborts unfinished uploads; None: there is no rule, or it is unknown."""
        try:
            answer = await self._call("get_bucket_lifecycle_configuration")
        except (S3Rejected, S3NotAble):
            return None  # no rules, or not supported
        except S3Unavailable as exc:
            if not exc.misconfigured:
                raise
            return None  # no permission to read them: nothing depends on it
        with reading("get_bucket_lifecycle_configuration"):
            rules = [rule for rule in answer.get("Rules", []) if self._concerns_recordings(rule)]
            days = [rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation") for rule in rules]
            return min((int(each) for each in days if each is not None), default=None)

    def _concerns_recordings(self, rule: Mapping[str, Any]) -> bool:
        """Whether an enabled rule can affect uploads under our prefix. S3 allows no tag or size filter with this
        action."""
        scope = rule.get("Filter", {})
        prefix = scope.get("Prefix", scope.get("And", {}).get("Prefix", rule.get("Prefix", "")))
        ours = self._settings.key_prefix
        return rule.get("Status") == "Enabled" and (ours.startswith(prefix) or prefix.startswith(ours))
