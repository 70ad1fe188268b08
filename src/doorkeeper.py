"""The daemon's end of the socket for commands: who may come in, how many, and for how long.

Recordings never notice it. Users other than root and the daemon's own are sent away before they are read. A caller that
is slow, sends nonsense or never reads an answer holds one of a few places, for a limited time. If the socket cannot be
opened, the daemon goes on without.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .connections import Watched
from .domain import moments
from .door import MISSING_FOLDER, name_of, peer_of
from .exceptions import ChunkProcessingError, Stopped, StreamProcessorError
from .timeouts import timeout

#: Callers at the same time.
MOST_CALLERS = 16
#: After this a connection is closed, whatever it does.
CONNECTION_SECONDS = 45.0
#: How long giving up may wait for the store and Redis.
ACT_SECONDS = 30.0
#: How often the folder's identity is compared with the socket's name; it may be mounted later.
LOOK_SECONDS = 5.0
#: Callers that wait for a place.
_MOST_WAITING = 128
_LARGEST_REQUEST = 64 * 1024
_MOST_IDS = 1000
_PAUSE_AFTER_A_STRANGER_SECONDS = 0.05
#: What reading a body raises that was cut, is packed wrongly, or is no JSON of ours.
_NO_BODY = (
    *(ConnectionError, HttpProcessingError, web.RequestPayloadError),
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
)


class Desk(Protocol):
    """What commands may ask of the daemon. All answers are JSON."""

    def daemon(self) -> dict[str, Any]: ...
    async def status(self) -> dict[str, Any]: ...
    def scan(self) -> dict[str, Any]: ...
    async def waiting(self, scan: int) -> dict[str, Any]: ...
    async def retry(self, stream_id: str) -> dict[str, Any]: ...
    async def give_up(self, stream_id: str, *, apply: bool) -> dict[str, Any]: ...


class Doorkeeper:
    """Listens for commands until cancelled."""

    def __init__(self, folder: Path, group: str, desk: Desk, emit: moments.Emit) -> None:
        self._folder = folder.absolute()
        self._group = group
        self._emit = emit
        self._desk = desk
        self._places = asyncio.Semaphore(MOST_CALLERS)

    async def run(self) -> None:
        """Opens the socket, and opens another one when the folder has become another one."""
        async with _server(self._application()) as server:
            while True:
                name = await self._name()
                try:
                    listener, is_first = self._opened(name)
                except OSError:
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                accepting = asyncio.create_task(self._accept(listener, server), name="doorkeeper-accept")
                try:
                    while await self._name() == name and not accepting.done():
                        await asyncio.wait({accepting}, timeout=LOOK_SECONDS)
                        if not is_first and _is_free(name):
                            break
                finally:
                    accepting.cancel()
                    await asyncio.wait({accepting})
                    listener.close()

    def _opened(self, name: str) -> tuple[socket.socket, bool]:
        """The socket of this name, or, if another daemon has it, one by which ``doctor`` notices that there are two."""
        try:
            return _listener(name), True
        except OSError as error:
            self._emit(moments.DoorClosed(_why(error)))
            if error.errno != errno.EADDRINUSE:
                raise
            return _listener(f"{name}-{os.getpid()}"), False

    async def _name(self) -> str:
        """A folder on a dead file server keeps its name: the look at it never ends, and is not repeated meanwhile."""
        identity = await asyncio.to_thread(_identity, self._folder)
        return name_of(str(self._folder), identity, self._group)

    async def _accept(self, listener: socket.socket, server: Callable[[], asyncio.BaseProtocol]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # such as too many open files
                self._places.release()
                await asyncio.sleep(1.0)
                continue
            except BaseException:
                self._places.release()
                raise
            try:
                peer = peer_of(connection)
                if not peer.is_trusted:
                    self._places.release()
                    connection.close()
                    self._emit(moments.DoorRefused(peer.uid))
                    await asyncio.sleep(_PAUSE_AFTER_A_STRANGER_SECONDS)
                    continue
                connection.setblocking(False)
                transport, _ = await loop.connect_accepted_socket(
                    lambda: Watched(server(), ended=lambda _: self._places.release()), connection
                )
            except OSError:
                self._places.release()
                connection.close()
                continue
            loop.call_later(CONNECTION_SECONDS, transport.abort)

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_LARGEST_REQUEST, middlewares=[self._as_json])
        application.add_routes(
            [
                web.get("/v1/daemon", self._daemon),
                web.get("/v1/status", self._status),
                web.post("/v1/scan", self._scan),
                web.get("/v1/waiting", self._waiting),
                web.post("/v1/retry", self._retry),
                web.post("/v1/give-up", self._give_up),
            ]
        )
        return application

    @web.middleware
    async def _as_json(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Errors are JSON, too, and never have a traceback. One request a connection."""
        try:
            response = await handler(request)
        except web.HTTPException as exc:
            response = web.json_response({"error": exc.reason}, status=exc.status)
        except Exception as error:  # noqa: BLE001 - a bug costs one answer
            self._emit(moments.Unexpected(file_path="", error=error, retry_seconds=0.0))
            response = web.json_response({"error": "the daemon failed to answer; its log says why"}, status=500)
        response.force_close()
        return response

    async def _daemon(self, _: web.Request) -> web.Response:
        return web.json_response(self._desk.daemon())

    async def _status(self, _: web.Request) -> web.Response:
        told = await self._desk.status()
        return web.json_response(text=await asyncio.to_thread(json.dumps, told))

    async def _scan(self, _: web.Request) -> web.Response:
        return web.json_response(self._desk.scan())

    async def _waiting(self, request: web.Request) -> web.Response:
        try:
            scan = int(request.query.get("scan", ""))
        except ValueError:
            raise web.HTTPBadRequest from None
        return web.json_response(await self._desk.waiting(scan))

    async def _retry(self, request: web.Request) -> web.Response:
        ids, _ = await _asked(request)
        return await self._act(request, "retry", ids, self._desk.retry)

    async def _give_up(self, request: web.Request) -> web.Response:
        ids, apply = await _asked(request)
        name = "give-up" if apply else None
        return await self._act(request, name, ids, lambda one: self._desk.give_up(one, apply=apply))

    async def _act(
        self, request: web.Request, name: str | None, ids: list[str], act: Callable[[str], Awaitable[dict[str, Any]]]
    ) -> web.Response:
        uid = _uid(request)
        answers = []
        for one in ids:
            try:
                async with timeout(ACT_SECONDS):
                    answer = await act(one)
            except TimeoutError:
                answer = {"id": one, "result": "no_answer"}
            except Stopped:
                answer = {"id": one, "result": "stopping"}
            except ChunkProcessingError:
                answer = {"id": one, "result": "folder_away"}
            except StreamProcessorError as error:
                answer = {"id": one, "result": "refused", "hint": error.hint}
            answers.append(answer)
            if name is not None:
                self._emit(moments.OperatorAsked(name, one, uid, str(answer["result"])))
        return web.json_response({"answers": answers})


@asynccontextmanager
async def _server(application: web.Application) -> AsyncIterator[Callable[[], asyncio.BaseProtocol]]:
    runner = web.AppRunner(application, access_log=None, logger=_log(), shutdown_timeout=1.0)
    await runner.setup()
    try:
        assert runner.server is not None
        yield runner.server
    finally:
        await runner.cleanup()


def _log() -> logging.Logger:
    """Errors of the desk are logged; malformed requests are answered with 400 and are not."""
    logger = logging.getLogger(f"{__name__}.requests")
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger


async def _asked(request: web.Request) -> tuple[list[str], bool]:
    try:
        body = json.loads(await request.read())  # whatever encoding its header names
        ids, apply = body["ids"], body.get("apply", False)
    except _NO_BODY:
        raise web.HTTPBadRequest from None
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(ids) > _MOST_IDS:
        raise web.HTTPBadRequest
    if not isinstance(apply, bool):
        raise web.HTTPBadRequest
    return ids, apply


def _uid(request: web.Request) -> int:
    with suppress(OSError, AttributeError):
        return peer_of(request.transport.get_extra_info("socket")).uid  # type: ignore[union-attr]
    return -1


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return MISSING_FOLDER
    return found.st_dev, found.st_ino


def _listener(name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.bind(b"\0" + name.encode())
        listener.listen(_MOST_WAITING)
    except OSError:
        listener.close()
        raise
    return listener


def _is_free(name: str) -> bool:
    try:
        _listener(name).close()
    except OSError:
        return False
    return True


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another daemon watches this folder with the same REDIS_KEY_PREFIX"
    return error.strerror or type(error).__name__
