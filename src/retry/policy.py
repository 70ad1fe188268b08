"""The one retry policy: transient trouble is waited out with capped, jittered back-off, without a last attempt.

A recording is never given up because a count of retries ran out: it is safe on the local disk, and the store or
Redis will be back. Only ``patience`` uses this for the store, and the client of Redis around each of its methods, so
that no call is ever repeated by two loops inside each other. Whoever waits gives back before what others may need.
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

T = TypeVar("T")

#: How long somebody who was woken still waits, at most.
WOKEN_SECONDS = 2.0


class Bell:
    """Wakes those who wait for a service, when somebody has seen that it is there again."""

    def __init__(self) -> None:
        self._asleep: set[asyncio.Timeout] = set()

    def ring(self) -> None:
        """Who waits now waits no longer. Later ones are not meant."""
        asleep, self._asleep = self._asleep, set()
        for sleeper in asleep:
            sleeper.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Raises ``TimeoutError`` out of what is done meanwhile, when the bell rings."""
        async with asyncio.timeout(None) as sleeper:
            self._asleep.add(sleeper)
            try:
                yield
            finally:
                self._asleep.discard(sleeper)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits in seconds: the first is up to ``first_wait``, each further up to twice that, none above ``longest_wait``.

    The jitter is full (anything between nothing and the bound), so that fifty streams do not come back at once;
    there is none after a refusal that only somebody's change can lift (wrong credentials). Once ``stopping`` is set
    nothing is waited for any more: ``Stopped`` is raised. When the ``bell`` rings nobody waits for longer than
    ``WOKEN_SECONDS``.
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
        """Seconds after so many failures, without jitter: for one who asks for all."""
        return min(self.longest_wait, self.first_wait * 2.0 ** min(max(failures - 1, 0), 32))

    async def wait_out(self, seconds: float) -> None:
        """Wait so long, or until the bell rings; then a moment of one's own, so that not all come back at once."""
        try:
            async with self.bell.heard():
                await self.rest(seconds)
        except TimeoutError:
            await self.rest(random.uniform(0, min(seconds, WOKEN_SECONDS)))  # noqa: S311 - no secret

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until the daemon stops."""
        if self.stopping is None:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        if self.stopping.is_set():
            raise Stopped


def _is_ours_to_wait_out(error: BaseException) -> bool:
    """A file that cannot be read is for the one who reads it, not for the call that would have sent it."""
    return isinstance(error, Transient) and not isinstance(error, ChunkProcessingError)


async def until_it_works(
    operation: str, call: Callable[[], Awaitable[T]], *, policy: RetryPolicy, emit: moments.Emit
) -> T:
    """The result of ``call``, however long it takes. Raises what is not transient at once; cancellation passes."""
    began = asyncio.get_running_loop().time()
    try:
        return await call()  # nearly always all there is to do: what repeats is built for the other times only
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
    """As ``until_it_works``, after a first attempt that began at ``began`` (loop time) and ended with ``failed``.

    The failure is taken out of its list: it holds on to the frames that it came through, and to what they hold.
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
