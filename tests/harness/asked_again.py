"""The client of the store as the daemon's conduct sees it: what fails for the moment is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import Any

from src.domain import moments
from src.retry import RetryPolicy, until_it_works
from src.s3_client import S3Client, StoreSettings, open_store

#: Each method of the client that is asked again, and what its failures are told as.
_OPERATIONS = {
    "abilities": "probe",
    "hashes": "probe",
    "create_upload": "create_upload",
    "upload_part": "upload_part",
    "copy_part": "copy_part",
    "list_parts": "list_parts",
    "abort_upload": "abort_upload",
    "list_uploads": "list_uploads",
    "list_uploads_under": "list_uploads",
    "head": "head",
    "list_objects": "list_objects",
    "object_crc64": "get_object",
    "put_document": "put_document",
    "get_document": "get_document",
    "complete_upload": "probe",
}


def open_asked_again(
    settings: StoreSettings, *, policy: RetryPolicy, emit: moments.Emit, **more: Any
) -> AbstractAsyncContextManager[S3Client]:
    """``open_store``, whose client repeats each call until it works."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[S3Client]:
        async with open_store(settings, policy=policy, emit=emit, **more) as client:
            for method, operation in _OPERATIONS.items():
                setattr(client, method, _again(getattr(client, method), f"s3.{operation}", policy, emit))
            yield client

    return opened()


def _again(
    method: Callable[..., Awaitable[Any]], operation: str, policy: RetryPolicy, emit: moments.Emit
) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def until_done(*args: Any, **kwargs: Any) -> Any:
        return await until_it_works(operation, lambda: method(*args, **kwargs), policy=policy, emit=emit)

    return until_done
