"""The duration and the result of one request to S3 or Redis. Each client makes and reports its requests in one place.

A cancelled request is not reported: its result is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from ..domain import moments


class ErrorClass(StrEnum):
    """Why a request failed, in the few values that a label may have."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    THROTTLED = "throttled"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    NO_BUCKET = "no_bucket"
    CONFLICT = "conflict"
    SERVER = "server"
    OTHER = "other"


#: With these the service has answered the request: the key is free, or another writer was faster.
ANSWERS = frozenset({ErrorClass.NOT_FOUND, ErrorClass.CONFLICT})


@contextmanager
def observed(
    emit: moments.Emit, service: str, operation: str, classify: Callable[[BaseException], ErrorClass]
) -> Iterator[None]:
    """Wraps one request. ``classify`` is called with the library's exception, if the client has translated it.

    ``service``: it needs metrics in ``metrics.instruments``, and its kinds of failures in ``metrics.trouble``.
    """
    began = time.monotonic()

    def tell(error_class: ErrorClass | None) -> None:
        seconds = time.monotonic() - began
        answered = error_class is None or error_class in ANSWERS
        emit(moments.RequestEnded(service, operation, seconds, error_class, answered))

    try:
        yield
    except Exception as exc:
        tell(classify(exc.__cause__ or exc.__context__ or exc))
        raise
    tell(None)
