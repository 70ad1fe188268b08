"""A connection of a server that tells when it begins and when it ends, so that its server can count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Watched(asyncio.Protocol):
    """Hands everything to another protocol, such as one of aiohttp's; ``begun`` is called first, ``ended`` last."""

    def __init__(
        self,
        inner: asyncio.BaseProtocol,
        *,
        begun: Callable[[asyncio.Transport], None] | None = None,
        ended: Callable[[asyncio.Transport], None],
    ) -> None:
        self._inner: Any = inner
        self._begun = begun
        self._ended = ended
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._begun is not None:
            self._begun(transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        kept: bool | None = self._inner.eof_received()
        return kept

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._inner.connection_lost(exc)
        finally:
            if self._transport is not None:
                self._ended(self._transport)
