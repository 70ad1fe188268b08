"""The one retry policy: transient failures are retried with capped, jittered exponential back-off, without a limit.

A recording is never given up because a number of retries was exceeded: it is safe on the local disk, and the service
will recover. Only ``patience`` uses this for the store, and the Redis client around each of its methods, so that no
call is ever retried by two nested loops. A caller releases everything that others may need before it waits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential, wait_random_exponential

from ..domain import current_errand, moments
from ..exceptions import ChunkProcessingError, Stopped, Transient
from ..timeouts import Timeout, timeout

T = TypeVar("T")

#: Maximum remaining wait of a caller that was woken.
WOKEN_SECONDS = 2.0


class Bell:
    """Wakes the callers that wait for a service when it is available again."""

    def __init__(self) -> None:
        self._asleep: set[Timeout] = set()

    def ring(self) -> None:
        """Wakes current waiters; later ones are unaffected."""
        asleep, self._asleep = self._asleep, set()
        for sleeper in asleep:
            sleeper.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Interrupts the body with ``TimeoutError`` when the bell rings."""
        async with timeout(None) as sleeper:
            self._asleep.add(sleeper)
            try:
                yield
            finally:
                self._asleep.discard(sleeper)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits in seconds: the first is up to ``first_wait``, each further one up to twice that, at most ``longest_wait``.

    The jitter is full (anything between zero and the bound), so that fifty streams do not retry simultaneously;
    refusals that require a change (wrong credentials) have none. Once ``stopping`` is set every wait raises
    ``Stopped``. When the ``bell`` rings no caller waits longer than ``WOKEN_SECONDS``.
    """

    first_wait: float = 0.5
    longest_wait: float = 60.0
    stopping: asyncio.Event | None = None
    bell: Bell = field(default_factory=Bell)

    def wait_after(self, state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Transient) and error.misconfigured:
            return wait_exponential(multiplier=self.first_wait, max=self.longest_wait)(state)
        return wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait)(state)

    def wait_in_a_row(self, failures: int) -> float:
        """Seconds after this number of failures, without jitter: for a caller that stands for all."""
        return min(self.longest_wait, self.first_wait * 2.0 ** min(max(failures - 1, 0), 32))

    async def wait_out(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the bell rings; then for a random moment, so that not all retry
        simultaneously."""
        try:
            async with self.bell.heard():
                await self.rest(seconds)
        except TimeoutError:
            await self.rest(random.uniform(0, min(seconds, WOKEN_SECONDS)))  # noqa: S311 - no secret

    async def rest(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the daemon stops."""
        if self.stopping is None:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with timeout(seconds):
                await self.stopping.wait()
        if self.stopping.is_set():
            raise Stopped


def _is_ours_to_wait_out(error: BaseException) -> bool:
    """Errors of reading a file are handled by the reader, not by the call that would have sent it."""
    return isinstance(error, Transient) and not isinstance(error, ChunkProcessingError)


async def until_it_works(
    operation: str, call: Callable[[], Awaitable[T]], *, policy: RetryPolicy, emit: moments.Emit
) -> T:
    """The result of ``call``, however long it takes. Raises errors that are not transient at once, and lets
    cancellation pass."""
    began = asyncio.get_running_loop().time()
    try:
        return await call()  # nearly always sufficient: the retry machinery is built only if needed
    except Transient as exc:
        if not _is_ours_to_wait_out(exc):
            raise
        failed = [exc]
    return await _again(operation, call, failed, began, policy=policy, emit=emit)


async def _again(
    operation: str,
    call: Callable[[], Awaitable[T]],
    failed: list[Transient],
    began: float,
    *,
    policy: RetryPolicy,
    emit: moments.Emit,
) -> T:
    """Like ``until_it_works``, after a first attempt that began at ``began`` (loop time) and ended with ``failed``.

    The failure is removed from its list, because it references the frames that it passed, and their contents.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert error is not None and state.next_action is not None
        emit(
            moments.OperationFailed(
                operation=operation, error=error, attempt=state.attempt_number, wait_seconds=state.next_action.sleep
            )
        )
        current_errand().make_room()

    attempts = AsyncRetrying(
        retry=retry_if_exception(_is_ours_to_wait_out),
        wait=policy.wait_after,
        sleep=policy.wait_out,
        before_sleep=report,
        reraise=True,
    )
    try:
        async for attempt in attempts:
            with attempt:
                failures = attempt.retry_state.attempt_number - 1
                if failures == 0:
                    raise failed.pop()
                result = await call()
                seconds = asyncio.get_running_loop().time() - began
                emit(moments.OperationRecovered(operation=operation, failures=failures, seconds=seconds))
                return result
    except BaseException:
        emit(moments.OperationGivenUp(operation=operation))
        raise
    raise AssertionError("unreachable: attempts never end without a result")
