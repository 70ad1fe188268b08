"""Daemons as ``doctor`` finds them on this machine: real sockets, whose answers a test has written."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.domain import moments
from src.doorkeeper import Doorkeeper
from src.status import StatusView, status_json
from tests.harness import statuses


@dataclass
class Desk:
    """Says what it was given; it does nothing that a command asks for."""

    folder: Path
    group: str
    keys: str = ""
    redis: str = ""
    view: StatusView = field(default_factory=statuses.idle)

    def daemon(self) -> dict[str, Any]:
        known = {"folder": str(self.folder), "group": self.group, "version": "0.2.0", "pid": os.getpid()}
        return {**known, "keys": self.keys, "redis": self.redis}

    async def status(self) -> dict[str, Any]:
        return status_json(self.view)

    def scan(self) -> dict[str, Any]:
        return {"scan": 1, "pid": os.getpid()}

    async def waiting(self, scan: int) -> dict[str, Any]:
        counts = {"unfinished": 0, "at_risk_bytes": 0, "catch_up_seconds": 0.0, "unreadable": 0}
        state = {"scanned": True, "nothing_is_left": True, "failed": [], "away": {}}
        return {"pid": os.getpid(), **counts, **state}

    async def retry(self, stream_id: str) -> dict[str, Any]:
        return {"id": stream_id, "result": "begun"}

    async def give_up(self, stream_id: str, *, apply: bool) -> dict[str, Any]:
        return {"id": stream_id, "result": "refused", "hint": "not now"}


@contextmanager
def doors_of(desks: Sequence[Desk]) -> Iterator[None]:
    """All of them are open, one after the other, until the end."""
    loop, opened, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def keep() -> None:
        running = []
        for desk in desks:
            told: list[moments.DaemonMoment] = []
            running.append(asyncio.create_task(Doorkeeper(desk.folder, desk.group, desk, told.append).run()))
            before = _sockets()
            async with asyncio.timeout(60):
                while _sockets() == before:  # noqa: ASYNC110 - a socket has no event
                    await asyncio.sleep(0.01)
        opened.set()
        await stop.wait()
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    thread = threading.Thread(target=loop.run_until_complete, args=(keep(),), daemon=True)
    thread.start()
    try:
        assert opened.wait(60)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)


def _sockets() -> int:
    """How many sockets this process has."""
    found = 0
    for each in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{each}").startswith("socket:")
        except OSError:
            continue
    return found
