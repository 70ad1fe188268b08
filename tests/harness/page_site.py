"""The daemon's HTTP server with its status page, in a thread of its own; what it shows is set by the test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from src.metrics import Metrics, Readiness, serve
from src.page import Look, Rules, Sample, StatusPage, shown
from src.status import StatusView
from tests.harness import statuses


class PageSite:
    """``view`` and ``samples`` are what is shown next, ``is_broken``: looking raises. ``errors`` are those reported."""

    def __init__(self, rules: Rules) -> None:
        self.view: StatusView = statuses.usual()
        self.samples: list[Sample] = statuses.hour(time.monotonic())
        self.is_broken = False
        self.looks = 0
        self.errors: list[Exception] = []
        self.port = 0
        self._rules = rules
        self._clock = 0.0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def show(self, view: StatusView) -> None:
        """From the next request on."""
        self.view = view
        self._clock += 10.0

    def pass_time(self, seconds: float) -> None:
        self._clock += seconds

    def start(self) -> None:
        self._thread.start()
        assert self._listening.wait(60)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        page = StatusPage(self._look, self._rules, report=self.errors.append, now=lambda: self._clock)
        readiness = Readiness({}, emit=Metrics(version="test").emit)
        served = serve("127.0.0.1", 0, registry=CollectorRegistry(), readiness=readiness, routes=page.routes())
        async with served as self.port:
            self._listening.set()
            await self._stop.wait()

    async def _look(self) -> Callable[[], Look]:
        self.looks += 1
        if self.is_broken:
            raise RuntimeError("a bug in the page")
        return partial(_word, self.view, list(self.samples))


def _word(view: StatusView, samples: list[Sample]) -> Look:
    return Look(view, shown(view, samples, samples[-1].at))


@contextmanager
def page_site(rules: Rules | None = None) -> Iterator[PageSite]:
    site = PageSite(rules or Rules())
    site.start()
    try:
        yield site
    finally:
        site.end()
