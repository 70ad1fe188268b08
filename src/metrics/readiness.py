"""Whether everything that the daemon needs answers; if not: what is missing, since when, and what to look at.

The parts are asked side by side, and a crowd of askers costs each part one question in two seconds. What two
looks in a row find missing is told at once and then once a minute, and that it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ..domain import moments
from ..exceptions import Permanent, StreamProcessorError, Transient

Check = Callable[[], Awaitable[None]]

CHECK_SECONDS = 3.0
ANSWER_KEPT_SECONDS = 2.0
TOLD_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a part is as it should be, since when, and if not, why: a sentence that holds no secret."""

    ok: bool
    since: datetime
    reason: str = ""


class Readiness:
    """Runs the checks. Each raises when its part is missing, and has ``check_seconds`` to answer.

    Whoever asks while they run, or soon after, gets the same answer. ``now`` is monotonic seconds.
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
        self._told_at: dict[str, float] = {}  # what is missing and was told
        self._parts: dict[str, Condition] = {}

    async def answer(self, *, not_older_than: float = ANSWER_KEPT_SECONDS) -> Mapping[str, Condition]:
        """What is so now, or was less than so many seconds ago."""
        async with self._asking:
            if self._asked_at is None or self._now() - self._asked_at >= not_older_than:
                await self._ask()
            return dict(self._parts)

    async def _ask(self) -> None:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(self._trouble(check)) for name, check in self._checks.items()}
        self._asked_at = self._now()
        for name, task in asked.items():
            self._learn(name, task.result())
        self._emit(moments.ReadinessLooked({name: part.ok for name, part in self._parts.items()}))

    async def _trouble(self, check: Check) -> Exception | None:
        try:
            async with asyncio.timeout(self._check_seconds):
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
        """From the second bad look on; one is no news: a bucket is made at the first start, a request may get lost."""
        if name not in self._told_at or now - self._told_at[name] >= TOLD_AGAIN_SECONDS:
            self._told_at[name] = now
            self._emit(moments.NotReady(name, now - self._changed_at[name], reason, trouble))


def _reason(error: Exception) -> str:
    """An error's own text may hold an address with a password; its hint and the system's words never do."""
    if not isinstance(error, StreamProcessorError):
        return (isinstance(error, OSError) and error.strerror) or "no answer before the timeout"
    refused = isinstance(error, Permanent) or (isinstance(error, Transient) and error.misconfigured)
    return f"{'refused' if refused else 'no answer'}; {error.hint or 'see the log'}"
