"""``/metrics``, ``/-/healthy`` and ``/-/ready`` on one port.

Healthy: the process answers. Ready: what it depends on answers too; otherwise the page names what does not. The
pages never wait longer than a check's time limit, and never ask a service more often than every two seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from .exceptions import ConfigurationError, StreamProcessorError

Check = Callable[[], Awaitable[None]]

CHECK_SECONDS = 3.0
ANSWER_KEPT_SECONDS = 2.0
#: How long open connections may hold up a stop.
_FAREWELL_SECONDS = 1.0


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    *,
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    check_seconds: float = CHECK_SECONDS,
) -> AsyncIterator[int]:
    """Serve the pages until the block ends; gives the port (of its own choice for ``port`` 0).

    Raises ``ConfigurationError`` when the address cannot be used. Each of ``checks`` raises when its service does
    not answer, and has ``check_seconds`` to do so.
    """
    pages = _Pages(registry, Readiness(checks, check_seconds=check_seconds))
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=_FAREWELL_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except (OSError, OverflowError) as exc:
            raise ConfigurationError([_cannot_listen(host, port, exc)]) from exc
        yield site.port
    finally:
        await runner.cleanup()


def _cannot_listen(host: str, port: int, exc: Exception) -> str:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return f"PROM_PORT {port} on PROM_HOST {host} cannot be used: {reason}. Choose another, or stop what holds it."


@dataclass(frozen=True, slots=True)
class Answer:
    """Which services answered, and when they were asked (monotonic seconds). Why one did not is in the log."""

    services: Mapping[str, bool]
    at: float


class Readiness:
    """Runs the checks side by side. Whoever asks while they run, or soon after, gets the same answer."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        check_seconds: float = CHECK_SECONDS,
        kept_seconds: float = ANSWER_KEPT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._check_seconds = check_seconds
        self._kept_seconds = kept_seconds
        self._now = now
        self._asking = asyncio.Lock()
        self._last: Answer | None = None

    async def answer(self) -> Answer:
        """What is so now, or was at most ``kept_seconds`` ago."""
        async with self._asking:
            if self._last is None or self._now() - self._last.at >= self._kept_seconds:
                self._last = await self._ask()
            return self._last

    async def _ask(self) -> Answer:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(self._works(check)) for name, check in self._checks.items()}
        return Answer({name: task.result() for name, task in asked.items()}, self._now())

    async def _works(self, check: Check) -> bool:
        try:
            async with asyncio.timeout(self._check_seconds):
                await check()
        except (TimeoutError, StreamProcessorError, OSError):
            return False
        return True


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
        """In a thread, one at a time: with many streams the text takes longer than the event loop may be held up."""
        async with self._counting:
            text = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        services = (await self._readiness.answer()).services
        ready = all(services.values())
        told = {name: "ok" if answers else "no answer" for name, answers in services.items()}
        return web.json_response({"ready": ready, **told}, status=200 if ready else 503)


async def _unsigned(_: web.Request, response: web.StreamResponse) -> None:
    """Nobody needs to know which version of which server this is."""
    response.headers.popall("Server", None)
