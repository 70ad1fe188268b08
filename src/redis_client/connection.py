"""One exchange with Redis: all commands together, in a given time, with answers that are known to belong to them.

A connection may still hold answers to what another task had asked. So each exchange ends with a question of its own,
and answers of another shape than expected are an answer to something else: they are asked for again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Self, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ..domain import moments
from ..exceptions import RedisOperationError, RedisUnavailable
from ..retry import RetryPolicy, observed, until_it_works
from .errors import UNREADABLE_ANSWER, RedisRejected, error_class, said, translate
from .turns import RedisTurns

T = TypeVar("T")
Command = tuple[bytes | str | int, ...]

PING_SECONDS = 2.5  # less than whoever asks for readiness waits, so that the silence is told
COMMAND_SECONDS = 15.0  # around everything: waiting for a connection, connecting, asking, reading the answer


class RedisConnection:
    """Connections to one Redis, and turns at them; an async context manager. Entering it asks Redis for nothing."""

    def __init__(self, url: str, *, policy: RetryPolicy, emit: moments.Emit, connections: int) -> None:
        self._url = url
        self._policy = policy
        self._emit = emit
        self._connections = connections
        self._turns = RedisTurns(connections)
        self._client: Redis | None = None
        self._missed = False  # by the last look whether it is there
        nonce = secrets.token_hex(8)
        self._questions = (f"{nonce}-{number}" for number in count(1))

    async def __aenter__(self) -> Self:
        self._client = Redis.from_pool(self._pool())
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _pool(self) -> BlockingConnectionPool:
        """Explicit about everything that a version of redis-py might change; the URL may set the time limits."""
        try:
            asked: dict[str, Any] = dict(parse_url(self._url))
        except ValueError:  # its text may quote the password
            raise RedisOperationError("REDIS_URL is not a redis://, rediss:// or unix:// URL") from None
        limits = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0, "health_check_interval": 15, "timeout": 5.0}
        fixed = {
            "max_connections": self._connections,
            "retry": Retry(NoBackoff(), 0),  # repeated in one place only
            "retry_on_timeout": False,
            "decode_responses": False,
            "protocol": 2,  # with 3, redis-py no longer refuses a connection that has an unread reply in it
        }
        return BlockingConnectionPool(**{**limits, **asked, **fixed})

    async def ping(self) -> None:
        """Ask Redis once whether it is there. Raises ``RedisUnavailable``. Once it is again, nobody sleeps on."""
        try:
            await self.run("ping", [("PING",)], transaction=False, seconds=PING_SECONDS)
        except RedisUnavailable as exc:
            self._missed = True
            self._emit(moments.OperationFailed(operation="redis.ping", error=exc, attempt=1, wait_seconds=0.0))
            raise
        if self._missed:
            self._missed = False
            self._policy.bell.ring()

    async def run_if_allowed(self, operation: str, commands: Sequence[Command]) -> list[Any]:
        """As ``run``, for what this daemon can do without. Raises ``RedisRejected`` where it is forbidden."""
        try:
            return await self.run(operation, commands, transaction=False)
        except RedisUnavailable as exc:
            if isinstance(exc.__cause__, NoPermissionError):  # the right is not needed: do not wait for it
                raise RedisRejected(str(exc), operation=operation, code="NOPERM") from exc
            raise

    async def retried(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Again and again, until Redis is there. Raises ``RedisRejected``, which waiting does not change."""
        return await until_it_works(f"redis.{operation}", call, policy=self._policy, emit=self._emit)

    async def run(
        self,
        operation: str,
        commands: Iterable[Command],
        *,
        transaction: bool = True,
        wrong_type_is_none: bool = False,
        seconds: float | None = None,
    ) -> list[Any]:
        """One attempt at all commands together. Raises ``RedisUnavailable`` or ``RedisRejected``."""
        with observed(self._emit, "redis", operation, error_class):
            return await self._ask_once(
                operation, commands, transaction, wrong_type_is_none, seconds or COMMAND_SECONDS
            )

    async def _ask_once(
        self,
        operation: str,
        commands: Iterable[Command],
        transaction: bool,
        wrong_type_is_none: bool,
        seconds: float,
    ) -> list[Any]:
        assert self._client is not None, "used outside of its async with"
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        # Always a pipeline: cancelled, it gives its connection back even when it is cancelled twice.
        pipe = self._client.pipeline(transaction=transaction)
        question = next(self._questions)
        # Answered with the same word, so that answers to other questions are told from ours. One argument: redis-py
        # takes any answer to a PING that it knows as such for PONG or not.
        for command in (*commands, (f"PING {question}",)):
            pipe.execute_command(*command)
        try:
            async with asyncio.timeout(seconds) as limit, self._turns.taken(limit):
                replies = await pipe.execute(raise_on_error=not wrong_type_is_none)
            *answers, answered = [_without_wrong_type(reply) for reply in replies]
            if answered != question.encode():
                raise ResponseError("the replies belong to other commands")
        except (RedisError, OSError, *UNREADABLE_ANSWER) as exc:  # the built-in TimeoutError is an OSError
            if task and task.cancelling() > cancels:
                raise asyncio.CancelledError from exc  # swallowed as below: nobody is there to ask again for
            error = ResponseError(f"unexpected reply: {exc}") if isinstance(exc, UNREADABLE_ANSWER) else exc
            if isinstance(error, ResponseError) and said(error)[0] in ("", "READONLY"):
                await self._connect_anew()
            raise translate(error, operation=f"redis.{operation}") from exc
        if task and task.cancelling() > cancels:
            # redis-py sends inside wait_for, and Python 3.11's wait_for can swallow a cancellation.
            raise asyncio.CancelledError
        return answers

    async def _connect_anew(self) -> None:
        """After a failover the name in REDIS_URL leads to another server: old connections would never see it. One whose
        answers were not understood may have more of them to come."""
        assert self._client is not None
        with suppress(RedisError, OSError):
            await self._client.connection_pool.disconnect(inuse_connections=False)


def of_bytes(items: Iterable[object]) -> list[bytes]:
    """Raises ``TypeError`` for anything else."""
    found = [item for item in items if isinstance(item, bytes)]
    if len(found) != len(list(items)):
        raise TypeError("some of it is not text")
    return found


def bytes_or_none(answer: object) -> bytes | None:
    """Raises ``TypeError`` for anything else."""
    if answer is None or isinstance(answer, bytes):
        return answer
    raise TypeError("it is not text")


@contextmanager
def reading(operation: str) -> Iterator[None]:
    """Round the reading of an answer: one of another shape than its question's is asked for again."""
    try:
        yield
    except UNREADABLE_ANSWER as exc:
        unread = ResponseError(f"unexpected reply: {exc}")
        raise translate(unread, operation=f"redis.{operation}") from exc


def _without_wrong_type(reply: Any) -> Any:
    """None in place of the error that the key holds another type. Raises any other error."""
    if isinstance(reply, ResponseError):
        if said(reply)[0] != "WRONGTYPE":
            raise reply
        return None
    return reply
