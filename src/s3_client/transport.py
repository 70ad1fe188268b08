"""Our changes to aiobotocore and aiohttp: how a chunk is written, signed and sent, and no redirects."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp.payload
import botocore.auth
import botocore.utils
from aiobotocore.httpsession import AIOHTTPSession

from ..domain import ChunkBody, current_errand
from ..exceptions import ChunkProcessingError, FileChanged
from ..timeouts import timeout


def heard() -> None:
    """Record progress of the current recording: the store is responding."""
    current_errand().heard(asyncio.get_running_loop().time())


class BodyFile:
    """The interface that botocore requires of a body, besides its bytes, which only ``_BodyPayload`` reads."""

    def __init__(self, body: ChunkBody) -> None:
        self.body = body
        self.broken: FileChanged | ChunkProcessingError | None = None
        self.has_stalled = False
        self.when_accepted: Callable[[int], None] = lambda _: None
        self._position = 0

    def __len__(self) -> int:
        return self.body.size

    def __bool__(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.body.size}[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """botocore rejects a body without ``read``; calling it would copy the chunk."""
        raise io.UnsupportedOperation("a chunk is written piece by piece")


class _BodyPayload(aiohttp.payload.Payload):
    """Writes a chunk piece by piece, so that neither a large copy nor a long write blocks the event loop."""

    _value: BodyFile

    def __init__(self, value: BodyFile, *args: Any, **kwargs: Any) -> None:
        super().__init__(value, *args, **kwargs)
        self._size = value.body.size

    async def write(self, writer: Any) -> None:
        try:
            async for piece in self._value.body.pieces():
                await writer.write(piece)
                self._value.when_accepted(len(piece))
        except (FileChanged, ChunkProcessingError) as exc:
            self._value.broken = exc
            raise

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a chunk of a recording is not text")


@asynccontextmanager
async def moving(body: object, seconds: float) -> AsyncIterator[Callable[[], bool]]:
    """Raises ``TimeoutError`` if no byte of a chunk is accepted for ``seconds``. After the last byte only the answer is
    awaited, without a limit here. Yields a function that tells whether this was the cause."""
    if not isinstance(body, BodyFile):
        yield lambda: False
        return
    loop, left, errand = asyncio.get_running_loop(), body.body.size, current_errand()
    async with timeout(seconds) as limit:

        def accepted(size: int) -> None:
            nonlocal left
            left -= size
            errand.heard(loop.time())
            if not limit.expired():
                limit.reschedule(loop.time() + seconds if left > 0 else None)

        body.when_accepted = accepted
        try:
            yield lambda: body.has_stalled
        finally:
            body.when_accepted = lambda _: None
            body.has_stalled = limit.expired()


aiohttp.payload.PAYLOAD_REGISTRY.register(_BodyPayload, BodyFile)


class _PresummedSigV4(botocore.auth.S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signature version 4 with the SHA-256 that came with the body instead of another pass over it."""

    def payload(self, request: Any) -> str:
        body = request.body
        if isinstance(body, BodyFile) and body.body.sha256 and self._should_sha256_sign_payload(request):
            return body.body.sha256
        return str(super().payload(request))


class NeverElsewhere(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """Follows no redirects: aiohttp would send a request with its contents to any host that an answer names."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        return SimpleNamespace(request=partial(session.request, allow_redirects=False))


#: Given to S3's rules for endpoints, and asked for by none of them (a test looks): each request has others.
OF_NO_RULE = frozenset({"Key", "Prefix", "CopySource"})


def find_endpoints_once(client: Any) -> None:
    """Botocore keeps an endpoint by all that the rules are given. With the key among it they are evaluated for each
    object, which takes a sixth of a small request."""
    resolver = client._ruleset_resolver
    known = resolver._param_definitions
    resolver._param_definitions = {name: found for name, found in known.items() if name not in OF_NO_RULE}


SIGNER = "s3v4-presummed"
botocore.auth.AUTH_TYPE_MAPS[SIGNER] = _PresummedSigV4


def timestamp(text: Any) -> datetime:
    """botocore's own parser takes most of the time of a listing, on the event loop; this one handles the usual form."""
    with suppress(TypeError, ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    parsed: datetime = botocore.utils.parse_timestamp(text)
    return parsed
