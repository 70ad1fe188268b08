"""Telemetry that remembers: every moment, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import TypeVar

from src.domain import moments

M = TypeVar("M", bound=moments.Moment)


class _Remembering:
    def __init__(self) -> None:
        self.moments: list[moments.Moment] = []
        self.times: list[float] = []  # of each moment, in the time of the running loop

    def emit(self, moment: moments.Moment) -> None:
        self.moments.append(moment)
        loop = asyncio._get_running_loop()
        self.times.append(loop.time() if loop else 0.0)

    def of(self, kind: type[M]) -> list[M]:
        """Each moment of this kind."""
        return [moment for moment in self.moments if isinstance(moment, kind)]


class FakeStreamTelemetry(_Remembering):
    """The twin of ``ports.StreamTelemetry``."""

    def __init__(self, stream_id: str, path: str) -> None:
        super().__init__()
        self.stream_id = stream_id
        self.path = path

    def bind(self) -> AbstractContextManager[None]:
        return nullcontext()


class FakeTelemetry(_Remembering):
    """The twin of ``ports.Telemetry``. Single requests are no moments here: they are listed apart."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, StrEnum | None]] = []
        self.streams: list[FakeStreamTelemetry] = []

    def emit(self, moment: moments.Moment) -> None:
        if isinstance(moment, moments.RequestEnded):
            assert moment.seconds >= 0
            self.requests.append((moment.service, moment.operation, moment.error_class))
        else:
            super().emit(moment)

    def stream(self, stream_id: str, path: str) -> FakeStreamTelemetry:
        self.streams.append(FakeStreamTelemetry(stream_id, path))
        return self.streams[-1]

    def everything(self) -> Iterable[moments.Moment]:
        """The daemon's moments, then those of each stream."""
        yield from self.moments
        for stream in self.streams:
            yield from stream.moments
