"""``asyncio.timeout`` and ``asyncio.TaskGroup`` as later Python releases have them, for those that we support.

A task counts how often it was asked to cancel itself. Two faults in that count end a stream without a word, and a third
lets one go on that was to end:

* Up to 3.12 a ``TaskGroup`` that waits for its tasks when one fails leaves its own request in the count.
* Up to 3.12 a request of others is lost if it meets a failure of the ``TaskGroup``, whose error is raised instead.
* Up to 3.11.2, Debian 12's Python, a timeout becomes a ``TimeoutError`` only where the count is 0. With a request left
  over, or in the cleanup of a task that was cancelled, each later timeout cancels the task instead.

``asyncio.wait_for`` has one of its own: up to 3.11 it swallows a cancellation that arrives when its work has just
ended.

Everything under ``src`` uses these instead of those of ``asyncio``.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import TYPE_CHECKING

__all__ = ["TaskGroup", "Timeout", "timeout", "timeout_at"]

Timeout = asyncio.Timeout

_TIMEOUTS_NEED_A_COUNT_OF_ZERO = sys.version_info < (3, 11, 3)
_GROUPS_LEAVE_THEIR_REQUEST = sys.version_info < (3, 13)


class _Timeout(asyncio.Timeout):  # type: ignore[misc]  # final for type checkers, and complete but for one condition
    """A timeout that also expires in a task that was asked to cancel itself before."""

    async def __aenter__(self) -> _Timeout:
        task = asyncio.current_task()
        self._requests_before = task.cancelling() if task else 0
        await super().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)  # takes its own request back
        if self.expired() and isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task.cancelling() <= self._requests_before:
                raise TimeoutError from error


class _TaskGroup(asyncio.TaskGroup):
    """A group that takes its own request to cancel back, whenever it made it, and loses none of others.

    Later releases raise the failure and cancel the task's next wait; here a timeout around it could not take that back.
    So the request comes first.
    """

    _parent_cancel_requested: bool

    async def __aenter__(self) -> _TaskGroup:
        task = asyncio.current_task()
        self._requests_before = task.cancelling() if task else 0
        await super().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        had_asked = self._parent_cancel_requested  # during the body: that request the group takes back by itself
        task, failure = asyncio.current_task(), None
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            failure = group
            raise
        finally:
            if task and not had_asked and self._parent_cancel_requested:
                task.uncancel()
            if task and failure and task.cancelling() > self._requests_before:
                raise asyncio.CancelledError from failure


if TYPE_CHECKING:
    from asyncio import TaskGroup
else:
    TaskGroup = _TaskGroup if _GROUPS_LEAVE_THEIR_REQUEST else asyncio.TaskGroup


def timeout(seconds: float | None) -> Timeout:
    """As ``asyncio.timeout``. Raises ``TimeoutError`` after ``seconds``; with None it waits for ``reschedule``."""
    return timeout_at(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def timeout_at(when: float | None) -> Timeout:
    """As ``asyncio.timeout_at``: ``when`` is a time of the running loop, in seconds."""
    return _Timeout(when) if _TIMEOUTS_NEED_A_COUNT_OF_ZERO else asyncio.Timeout(when)
