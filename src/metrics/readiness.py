"""Whether all dependencies of the daemon are available; if not: which one, since when, and what to check.

The checks run concurrently, and any number of callers cause one check of each dependency in two seconds. A dependency
that fails two checks in a row is logged at once and then once a minute, and so is its recovery.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ..domain import moments
from ..exceptions import Permanent, StreamProcessorError, Transient
from ..timeouts import TaskGroup, timeout

Check = Callable[[], Awaitable[None]]

CHECK_SECONDS = 3.0
ANSWER_KEPT_SECONDS = 2.0
TOLD_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a dependency is available, since when, and if not, why: a sentence without secrets."""

    ok: bool
    since: datetime
    reason: str = ""


class Readiness:
    """Runs the checks. Each raises if its dependency is missing, and has ``check_seconds`` to answer.

    Callers during a check, or shortly after it, get the same answer. ``now`` is in monotonic seconds.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        emit: moments.Emit,
        check_seconds: float = CHECK_SECONDS,
        now: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._checks = checks
        self._emit = emit
        self._check_seconds = check_seconds
        self._now = now
        self._utc_now = utc_now
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._changed_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}  # missing dependencies that were logged
        self._parts: dict[str, Condition] = {}

    @property
    def newest(self) -> Mapping[str, Condition]:
        """The newest results, without a check; empty before the first."""
        return self._parts

    async def answer(self, *, not_older_than: float = ANSWER_KEPT_SECONDS) -> Mapping[str, Condition]:
        """The current result, or one that is less than ``not_older_than`` seconds old."""
        async with self._asking:
            if self._asked_at is None or self._now() - self._asked_at >= not_older_than:
                await self._ask()
            return dict(self._parts)

    async def _ask(self) -> None:
        async with TaskGroup() as group:
            asked = {name: group.create_task(self._trouble(check)) for name, check in self._checks.items()}
        self._asked_at = self._now()
        for name, task in asked.items():
            self._learn(name, task.result())
        self._emit(moments.ReadinessLooked({name: part.ok for name, part in self._parts.items()}))

    async def _trouble(self, check: Check) -> Exception | None:
        try:
            async with timeout(self._check_seconds):
                await check()
        except (TimeoutError, StreamProcessorError, OSError) as error:
            return error
        return None

    def _learn(self, name: str, trouble: Exception | None) -> None:
        before, now = self._parts.get(name), self._now()
        reason = _reason(trouble) if trouble else ""
        if before is not None and before.ok == (trouble is None):
            self._parts[name] = replace(before, reason=reason)
            if trouble is not None:
                self._tell(name, now, reason, trouble)
            return
        if trouble is None and self._told_at.pop(name, None) is not None:
            self._emit(moments.ReadyAgain(name, now - self._changed_at[name]))
        self._changed_at[name] = now
        self._parts[name] = Condition(trouble is None, self._utc_now(), reason)

    def _tell(self, name: str, now: float, reason: str, trouble: Exception) -> None:
        """From the second failed check on; a single one is normal: the bucket is created at the first start, a request
        may get lost."""
        if name not in self._told_at or now - self._told_at[name] >= TOLD_AGAIN_SECONDS:
            self._told_at[name] = now
            self._emit(moments.NotReady(name, now - self._changed_at[name], reason, trouble))


def _reason(error: Exception) -> str:
    """An error's own text may contain a URL with a password; its hint and the system's messages never do."""
    if not isinstance(error, StreamProcessorError):
        return (isinstance(error, OSError) and error.strerror) or "no answer before the timeout"
    refused = isinstance(error, Permanent) or (isinstance(error, Transient) and error.misconfigured)
    return f"{'refused' if refused else 'no answer'}; {error.hint or 'see the log'}"
