"""One request to S3 or Redis: how long it took and how it failed. Each edge asks in one place, and tells it there.

A request that was cancelled is not told: nobody knows what would have become of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from ..domain import moments


class ErrorClass(StrEnum):
    """Why a request did not succeed, in the few words that a label may have."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    THROTTLED = "throttled"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    NO_BUCKET = "no_bucket"
    CONFLICT = "conflict"
    SERVER = "server"
    OTHER = "other"


#: With these the service has answered what it was asked: a key is free, somebody was faster.
ANSWERS = frozenset({ErrorClass.NOT_FOUND, ErrorClass.CONFLICT})


@contextmanager
def observed(
    emit: moments.Emit, service: str, operation: str, classify: Callable[[BaseException], ErrorClass]
) -> Iterator[None]:
    """Round one request. ``classify`` is given what the library raised, where the edge has translated it.

    ``service``: one that has its metrics in ``metrics.instruments``, and its kinds of trouble in ``metrics.trouble``.
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
