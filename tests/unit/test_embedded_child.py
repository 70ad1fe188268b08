"""A child process that is being stopped while its stop is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from src.embedded.child import ChildProcess


class _Process:
    """Ends when the test says so."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.pid = 1
        self.over = asyncio.Event()
        self.signals: list[int] = []

    async def wait(self) -> int:
        await self.over.wait()
        return 0

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_is_not_lost_when_the_child_ends_just_then(turns: int, tmp_path: Path) -> None:
    process = _Process()
    child = ChildProcess("redis", cast(Any, process), tmp_path / "log", 0)

    async def stop() -> None:
        await child.stop()
        await asyncio.Event().wait()  # only a cancellation that was lost leads here

    stopping = asyncio.create_task(stop())
    await asyncio.sleep(0.01)
    assert process.signals
    process.over.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping.cancel()
    done, _ = await asyncio.wait({stopping}, timeout=30)
    was_lost = not done
    stopping.cancel()
    await asyncio.wait({stopping})
    assert not was_lost
