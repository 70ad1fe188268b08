"""An event loop whose time passes only when nothing else is left to do: days of waiting in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
_BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


#: What each loop listens to for itself: the pipe by which another thread wakes it.
_OWN_PIPE = 1


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: moves the loop's time to the next timer instead. Asks the system only about the files of others."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will never happen")
        if timeout > 0:
            self.loop.now += timeout
        return super().select(0) if len(self._fd_to_key) > _OWN_PIPE else []  # type: ignore[attr-defined]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``now``: seconds since the loop began."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As the loop's own without what it does for debugging: thousands of lives take most of their time here."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """At once and in this thread: virtual time does not wait for real threads."""
        done = self.create_future()
        done.set_result(func(*args))
        return done


class VirtualClock:
    """The port ``Clock`` on the running virtual loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def utc_now(self) -> datetime:
        return _BEGIN + timedelta(seconds=self.monotonic())


def seconds_of(moment: datetime) -> float:
    """The time of the loop at which ``utc_now`` says so."""
    return (moment - _BEGIN).total_seconds()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
