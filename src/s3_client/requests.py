"""One request to the store: its deadline, its translated errors, and the validation of its answer.

No retries here. Neither botocore nor aiohttp has a timeout for writing a body, so each request has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from ..domain import moments
from ..exceptions import S3NotUnderstood, S3OperationError, S3Rejected, S3Unavailable, UploadGone
from ..retry import observed
from ..timeouts import timeout
from .answers import SAID, is_said
from .credentials import RenewableCredentials
from .errors import (
    NONSENSE,
    NotUnderstood,
    error_class,
    is_silent_about_missing,
    no_sense,
    refuses_credentials,
    translate,
)
from .outcomes import SILENT
from .settings import Deadlines, StoreSettings
from .transport import heard, moving
from .uploads import KnownUploads


class Requests:
    """Requests about one bucket. ``uploads`` hears about uploads that no longer exist."""

    def __init__(
        self,
        client: Any,
        settings: StoreSettings,
        *,
        emit: moments.Emit,
        credentials: RenewableCredentials,
        deadlines: Deadlines,
        uploads: KnownUploads,
    ) -> None:
        self._client = client
        self._settings = settings
        self._emit = emit
        self._credentials = credentials
        self._deadlines = deadlines
        self._uploads = uploads
        self._not_understood = NotUnderstood()
        self._speed: float | None = None  # of bodies, in bytes per second

    @property
    def region(self) -> str:
        """The region of the bucket, from the settings and the AWS profiles."""
        return str(self._client.meta.region_name)

    def deadline_for(self, size: int, patience: float = 1.0) -> float:
        """The deadline in seconds of a request with a body of ``size`` bytes, at the speed measured so far;
        ``patience``: see ``Deadlines.for_body``."""
        return self._deadlines.for_body(size, self._speed, patience)

    def body_sent(self, size: int, seconds: float) -> None:
        """A body was sent and answered in this time."""
        speed = size / max(seconds, 1e-6)
        self._speed = speed if self._speed is None else 0.8 * self._speed + 0.2 * speed

    async def call(self, operation: str, *, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        """The answer to one attempt. Raises the errors of ``errors.translate``."""
        try:
            return await self.call_once(operation, deadline=deadline, **arguments)
        except S3OperationError as exc:
            if not self._settings.is_aws and is_silent_about_missing(exc.__cause__):
                await self._confirm_missing(operation, arguments, deadline)
            raise

    async def call_once(self, operation: str, *, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Like ``call``, but believes a 404 without a body."""
        try:
            with observed(self._emit, "s3", operation, error_class):
                answer = await self._ask(operation, deadline=deadline, **arguments)
        except S3NotUnderstood as exc:
            self._not_understood.met(exc)
            raise
        except S3OperationError as exc:
            self._not_understood.answered(operation)
            if isinstance(exc, UploadGone) and "UploadId" in arguments:
                self._uploads.ended(arguments["UploadId"])
            raise
        self._not_understood.answered(operation)
        return answer

    async def _confirm_missing(self, operation: str, arguments: Mapping[str, Any], deadline: float | None) -> None:
        """Raise the actual error if a HEAD's bare 404 does not mean that the object is missing.

        VersityGW sends it for an unknown access key ID, and an object without read permission is not missing. A request
        whose refusal has a body shows the cause.
        """
        try:
            if operation == "head_bucket":
                await self.call("list_objects_v2", MaxKeys=1, deadline=deadline)
            else:
                answer = await self.call("get_object", Key=arguments["Key"], Range="bytes=0-0", deadline=deadline)
                answer["Body"].close()
        except S3Rejected:
            return
        except S3Unavailable as exc:
            if is_no_bucket(exc) and operation == "head_bucket":
                return
            raise
        raise S3Unavailable(f"{operation}: it is there now", operation=operation)

    async def _ask(self, operation: str, *, deadline: float | None, **arguments: Any) -> dict[str, Any]:
        """Additions to each request of a kind belong here, by ``operation``: objects are created by
        ``create_multipart_upload`` and by ``put_object``. A setting for them is a field of ``StoreSettings``.

        If the store encrypts with keys of its own, as with SSE-KMS, no ETag is an MD5. Four places take one for an MD5
        if the store reports no CRC64NVME: ``part_plan.matches``, ``completion.equals_manifest``,
        ``stream_processor.cleanup`` (with ``checksums.is_md5``), and the probe's ``Probe._copied``. Rights for such
        keys (``kms:GenerateDataKey``, ``kms:Decrypt``) belong in ``doctor.policy``.
        """
        seconds = deadline or self._deadlines.call
        try:
            async with timeout(seconds), moving(arguments.get("Body"), self._deadlines.call) as stalled:
                answer: dict[str, Any] = await getattr(self._client, operation)(
                    Bucket=self._settings.bucket, **arguments
                )
            heard()
        except TimeoutError:
            message = f"{operation}: no answer within {seconds:g} s"
            if stalled():
                message = f"{operation}: no byte was accepted for {self._deadlines.call:g} s"
            raise S3Unavailable(message, operation=operation, hint=SILENT) from None
        except (ClientError, BotoCoreError, OSError, aiohttp.ClientError) as exc:
            # A trial of the probe may be refused like this because of its contents (GCS: a checksum), which says
            # nothing about the credentials.
            if refuses_credentials(exc) and arguments.get("Key") != self._settings.probe_key:
                self._credentials.refused()
            raise translate(exc, operation=operation) from exc
        except NONSENSE as exc:
            raise no_sense(operation, repr(exc)) from exc
        if operation in SAID and not any(is_said(answer.get(name)) for name in SAID[operation]):
            if "Body" in answer:
                answer["Body"].close()
            raise no_sense(operation, f"it has no {SAID[operation][0]}")
        return answer


def is_no_bucket(exc: S3Unavailable) -> bool:
    """Whether the bucket itself is missing."""
    return "NoSuchBucket" in str(exc)
