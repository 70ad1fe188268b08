"""``/metrics``, ``/-/healthy`` and ``/-/ready`` on one port, and whatever else is served there.

Healthy: the process responds. Ready: its dependencies respond, too; otherwise the page lists those that do not, since
when and why. No page waits longer than the timeout of a check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from ..connections import Watched
from ..exceptions import ConfigurationError
from .readiness import Condition, Readiness

#: How long open connections may delay a stop.
_FAREWELL_SECONDS = 1.0
#: Maximum number of open connections: each takes a file descriptor, which recordings need.
MOST_CONNECTIONS = 128


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    registry: CollectorRegistry,
    readiness: Readiness,
    routes: Sequence[web.RouteDef] = (),
) -> AsyncIterator[int]:
    """Serve the pages until the block ends; yields the port (any free one for ``port`` 0). ``routes``: other pages.

    Raises ``ConfigurationError`` if the address is not available.
    """
    application = _Pages(registry, readiness).application()
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, logger=_log(), shutdown_timeout=_FAREWELL_SECONDS)
    await runner.setup()
    assert runner.server is not None
    try:
        try:
            listening = await asyncio.get_running_loop().create_server(_Door(runner.server), host, port, backlog=128)
        except (OSError, OverflowError) as exc:
            raise ConfigurationError([_cannot_listen(host, port, exc)]) from exc
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            listening.close()
    finally:
        await runner.cleanup()


def _log() -> logging.Logger:
    """Errors of our own pages are logged. Malformed requests are answered with 400 and not logged: whoever can connect
    could fill the log with them."""
    logger = logging.getLogger(f"{__name__}.requests")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class _Door:
    """Makes the protocol of a new connection. If there are too many, the oldest is closed: perhaps it never finishes
    its request, or never reads, and a probe must always get through.

    Counted when a connection begins: a burst makes many protocols before the first of them does.
    """

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._open: dict[asyncio.Transport, None] = {}  # in the order in which they began

    def __call__(self) -> asyncio.Protocol:
        return Watched(self._server(), begun=self._begun, ended=self._ended)

    def _begun(self, transport: asyncio.Transport) -> None:
        self._open[transport] = None
        while len(self._open) > MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.abort()

    def _ended(self, transport: asyncio.Transport) -> None:
        self._open.pop(transport, None)


def _cannot_listen(host: str, port: int, exc: Exception) -> str:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return f"PROM_PORT {port} on PROM_HOST {host} is not available: {reason}. Choose another port or free this one."


class _Pages:
    def __init__(self, registry: CollectorRegistry, readiness: Readiness) -> None:
        self._registry = registry
        self._readiness = readiness
        self._counting = asyncio.Lock()

    def application(self) -> web.Application:
        application = web.Application()
        application.on_response_prepare.append(_unsigned)
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/-/healthy", self._healthy),
                web.get("/-/ready", self._ready),
            ]
        )
        return application

    async def _metrics(self, _: web.Request) -> web.Response:
        """In a thread, one at a time: with many streams the text takes too long for the event loop."""
        async with self._counting:
            text = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        parts = await self._readiness.answer()
        ready = all(part.ok for part in parts.values())
        told = {name: _told(part) for name, part in parts.items()}
        return web.json_response({"ready": ready, **told}, status=200 if ready else 503)


def _told(part: Condition) -> dict[str, object]:
    told: dict[str, object] = {"ok": part.ok, "since": part.since.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return told if part.ok else {**told, "reason": part.reason}


async def _unsigned(_: web.Request, response: web.StreamResponse) -> None:
    """Hides the name and version of the server."""
    response.headers.popall("Server", None)
