"""One request to S3 or Redis: how long it took and how it failed. Each edge asks in one place, and tells it there.

A request that was cancelled is not told: nobody knows what would have become of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from .policy import RetryObserver


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


class RequestObserver(Protocol):
    """Hears of each request. ``operation`` is one of few names, ``error_class`` None after a success."""

    def request_ended(
        self, *, service: str, operation: str, seconds: float, error_class: ErrorClass | None
    ) -> None: ...


class ServiceObserver(RetryObserver, RequestObserver, Protocol):
    """What the clients of S3 and Redis tell: single requests, and operations that are tried again."""


@contextmanager
def observed(
    observer: RequestObserver, service: str, operation: str, classify: Callable[[BaseException], ErrorClass]
) -> Iterator[None]:
    """Round one request. ``classify`` is given what the library raised, where the edge has translated it."""
    began = time.monotonic()

    def tell(error_class: ErrorClass | None) -> None:
        seconds = time.monotonic() - began
        observer.request_ended(service=service, operation=operation, seconds=seconds, error_class=error_class)

    try:
        yield
    except Exception as exc:
        tell(classify(exc.__cause__ or exc.__context__ or exc))
        raise
    tell(None)
