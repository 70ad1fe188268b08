"""The page over HTTP: ``/``, ``/fragment`` with what changes, and the files of both; the same as JSON at
``/api/v1/status``. It only shows.

Everybody who looks gets the same rendering, which is at most two seconds old; it is made in a thread, and only on
request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import hdrs, web

from ..status import StatusView, status_json
from .access import is_same, may_be_asked_as, password_in
from .rendering import Body, Drawer
from .shown import Shown

Route = web.RouteDef
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RENDERING_KEPT_SECONDS = 2.0
#: What a wrong password costs whoever tries it.
_WRONG_PASSWORD_SECONDS = 1.0
_HTML = "text/html"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_UNCHANGING = "private, max-age=31536000, immutable"
#: The weight of an encoding that is refused.
_NEVER = re.compile(r"q=0(\.0{0,3})?")
NOT_SERVED = (
    "The status page is not served on an address that other machines can reach without a password: name a file with "
    "one in STATUS_PASSWORD_FILE, or set STATUS_PAGE=open to serve it without.\n"
)
SWITCHED_OFF = "The status page is switched off by STATUS_PAGE=off.\n"


@dataclass(frozen=True, slots=True)
class Rules:
    """``names`` may be in the Host header, beside loopback's and addresses; ``password`` None: there is none."""

    names: Sequence[str] = ()
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One status, and how the page words it."""

    view: StatusView
    shown: Shown


class _Rendering:
    """One state of the page. The whole document and the JSON are made at the first request for each."""

    def __init__(self, drawer: Drawer, look: Look) -> None:
        self._drawer, self._look = drawer, look
        self._text = drawer.fragment(look.shown)
        self._page: Body | None = None
        self._json: Body | None = None
        self.fragment = Body.of(self._text, _HTML)

    def json(self) -> Body:
        if self._json is None:
            self._json = Body.of(json.dumps(status_json(self._look.view)), "application/json")
        return self._json

    def page(self) -> Body:
        if self._page is None:
            self._page = Body.of(self._drawer.page(self._look.shown, self._text), _HTML)
        return self._page


class StatusPage:
    """``look`` gathers on the event loop what is to be shown, and returns how to word it; that is done in a thread.

    ``report`` receives an exception: a bug in the page costs one answer. ``now`` is in monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Callable[[], Look]]],
        rules: Rules,
        *,
        report: Callable[[Exception], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._rules = rules
        self._report = report
        self._now = now
        self._drawer = Drawer()
        self._making = asyncio.Lock()
        self._made: _Rendering | None = None
        self._made_at = 0.0

    def routes(self) -> list[Route]:
        files = [web.get(f"/{name}", self._guarded(self._file)) for name in self._drawer.assets]
        return [
            web.get("/", self._guarded(self._whole)),
            web.get("/fragment", self._guarded(self._changing)),
            web.get("/api/v1/status", self._guarded(self._as_json)),
            *files,
        ]

    # -- what is served ---------------------------------------------------------------------------------------

    async def _whole(self, request: web.Request) -> web.Response:
        rendering = await self._rendering()
        return _answer(request, await asyncio.to_thread(rendering.page))

    async def _changing(self, request: web.Request) -> web.Response:
        return _answer(request, (await self._rendering()).fragment)

    async def _as_json(self, request: web.Request) -> web.Response:
        rendering = await self._rendering()
        body = await asyncio.to_thread(rendering.json)
        tag = f'"{hashlib.sha256(body.plain).hexdigest()[:32]}"'
        weak = f"W/{tag}"  # packed or not, it is the same status
        known = request.headers.get(hdrs.IF_NONE_MATCH, "").strip()
        if tag in known or known == "*":
            headers: dict[str, str] = {**_HEADERS, hdrs.ETAG: weak, hdrs.VARY: hdrs.ACCEPT_ENCODING}
            return web.Response(status=304, headers=headers)
        answer = _answer(request, body)
        answer.headers[hdrs.ETAG] = weak
        return answer

    async def _file(self, request: web.Request) -> web.Response:
        return _answer(request, self._drawer.assets[request.path.removeprefix("/")], _UNCHANGING)

    async def _rendering(self) -> _Rendering:
        async with self._making:
            began = self._now()
            if self._made is None or began - self._made_at >= RENDERING_KEPT_SECONDS:
                word = await self._look()
                self._made = await asyncio.to_thread(lambda: _Rendering(self._drawer, word()))
                self._made_at = began
            return self._made

    # -- who may look -----------------------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not may_be_asked_as(request.headers.getall(hdrs.HOST, []), self._rules.names):
                return _refusal(421, "This name is not in STATUS_HOSTS: add it, or ask by address.\n")
            if not await self._knows_password(request):
                login: dict[str, str] = {hdrs.WWW_AUTHENTICATE: 'Basic realm="cefmp4", charset="UTF-8"'}
                return _refusal(
                    401, "The page asks for the password in STATUS_PASSWORD_FILE, with any user name.\n", login
                )
            try:
                return await handler(request)
            except Exception as error:  # noqa: BLE001 - a page is never worth more than its answer
                self._report(error)
                return _refusal(500, "The page could not be made; the log says why.\n")

        return guarded

    async def _knows_password(self, request: web.Request) -> bool:
        if self._rules.password is None:
            return True
        given = password_in(request.headers.get(hdrs.AUTHORIZATION))
        if given is not None and is_same(given, self._rules.password):
            return True
        if given is not None:
            await asyncio.sleep(_WRONG_PASSWORD_SECONDS)
        return False


def no_page(sentence: str) -> list[Route]:
    """In place of the page: why it is not there."""

    async def refuse(_: web.Request) -> web.Response:
        return _refusal(404, sentence)

    return [web.get("/", refuse)]


def _answer(request: web.Request, body: Body, cached: str = "no-store") -> web.Response:
    headers = {**_HEADERS, hdrs.CACHE_CONTROL: cached, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    packed = _takes_gzip(request)
    if packed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(
        body=body.packed if packed else body.plain, headers=headers, content_type=body.content_type, charset="utf-8"
    )


def _takes_gzip(request: web.Request) -> bool:
    offers = (each.partition(";") for each in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(","))
    return any(name.strip() == "gzip" and not _NEVER.fullmatch(weight.replace(" ", "")) for name, _, weight in offers)


def _refusal(status: int, sentence: str, more: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=sentence, headers={**_HEADERS, **(more or {})})
