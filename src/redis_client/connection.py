"""Requests to Redis: several commands at once, with a timeout, and replies that are verified to belong to them.

A connection may still hold replies to another task's commands. So each request ends with a unique PING, and replies of
an unexpected shape are treated as belonging to other commands: the request is repeated.
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
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError

from ..domain import moments
from ..exceptions import RedisOperationError, RedisUnavailable
from ..retry import RetryPolicy, observed, until_it_works
from ..timeouts import timeout
from .errors import UNREADABLE_ANSWER, RedisRejected, error_class, said, translate
from .scripts import EPOCH, OWNER, Script
from .turns import RedisTurns

T = TypeVar("T")
Word = bytes | str | int
Command = tuple[Word, ...]

PING_SECONDS = 2.5  # shorter than the timeout of a readiness check, so that the cause is reported
COMMAND_SECONDS = 15.0  # for the whole request: waiting for a connection, connecting, sending, reading the reply
_NOT_OURS = "the replies belong to other commands"


class RedisConnection:
    """Connections to one Redis, limited by turns; an async context manager. Entering it makes no request."""

    def __init__(self, url: str, *, policy: RetryPolicy, emit: moments.Emit, connections: int) -> None:
        self._url = url
        self._policy = policy
        self._emit = emit
        self._connections = connections
        self._turns = RedisTurns(connections)
        self._client: Redis | None = None
        self._missed = False  # whether the last readiness check failed
        nonce = secrets.token_hex(8)
        self._questions = (f"{nonce}-{number}".encode() for number in count(1))

    async def __aenter__(self) -> Self:
        self._client = Redis.from_pool(self._pool())
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _pool(self) -> BlockingConnectionPool:
        """Sets every option that a version of redis-py might change; the URL may set the timeouts."""
        try:
            asked: dict[str, Any] = dict(parse_url(self._url))
        except ValueError:  # the exception text may quote the password
            raise RedisOperationError("REDIS_URL is not a redis://, rediss:// or unix:// URL") from None
        limits = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0, "health_check_interval": 15, "timeout": 5.0}
        fixed = {
            "max_connections": self._connections,
            "retry": Retry(NoBackoff(), 0),  # retries happen in one place only
            "retry_on_timeout": False,
            "decode_responses": False,
            "protocol": 2,  # with 3, redis-py no longer refuses a connection that has an unread reply
        }
        return BlockingConnectionPool(**{**limits, **asked, **fixed})

    async def ping(self) -> None:
        """Check once whether Redis is available. Raises ``RedisUnavailable``. If it is available again, wake all
        waiting retries."""
        try:
            await self.run("ping", [("PING",)], seconds=PING_SECONDS)
        except RedisUnavailable as exc:
            self._missed = True
            self._emit(moments.OperationFailed(operation="redis.ping", error=exc, attempt=1, wait_seconds=0.0))
            raise
        if self._missed:
            self._missed = False
            self._policy.bell.ring()

    async def run_if_allowed(self, operation: str, commands: Sequence[Command]) -> list[Any]:
        """Like ``run``, for commands that the daemon can do without. Raises ``RedisRejected`` if they are forbidden."""
        try:
            return await self.run(operation, commands)
        except RedisUnavailable as exc:
            if isinstance(exc.__cause__, NoPermissionError):  # the permission is not required: do not wait for it
                raise RedisRejected(str(exc), operation=operation, code="NOPERM") from exc
            raise

    async def retried(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Retry until Redis is available. Raises ``RedisRejected``, which no retry changes."""
        return await until_it_works(f"redis.{operation}", call, policy=self._policy, emit=self._emit)

    async def run(
        self,
        operation: str,
        commands: Iterable[Command],
        *,
        transaction: bool = False,
        wrong_type_is_none: bool = False,
        seconds: float | None = None,
    ) -> list[Any]:
        """One attempt at all commands, sent together. Raises ``RedisUnavailable`` or ``RedisRejected``.

        ``transaction``: no other client's command comes between them. ``wrong_type_is_none``: None in place of the
        answer about a key of another type.
        """
        with observed(self._emit, "redis", operation, error_class):
            question = next(self._questions)

            def ours(replies: list[Any]) -> list[Any]:
                *answers, answered = replies
                if answered != question:  # before any error is believed: it may belong to another command, too
                    raise ResponseError(_NOT_OURS)
                return [
                    _without_wrong_type(reply) if wrong_type_is_none else _without_error(reply) for reply in answers
                ]

            asked = (*commands, _echo(question))
            return await self._ask_once(operation, asked, ours, transaction=transaction, seconds=seconds)

    async def step(self, operation: str, script: Script, keys: Sequence[bytes], words: Sequence[Word]) -> list[Any]:
        """One attempt at a script. Returns its answer without the nonce; ``keys`` are all keys that it touches.

        A script that Redis does not know, as after a restart, is sent whole. Raises ``RedisUnavailable`` or
        ``RedisRejected``.
        """
        with observed(self._emit, "redis", operation, error_class):
            question = next(self._questions)

            def ours(replies: list[Any]) -> list[Any]:
                reply, echoed = replies
                if echoed != question:  # an error has no nonce: it may belong to another command, too
                    raise ResponseError(_NOT_OURS)
                answered, *told = _without_error(reply)
                if answered != question or not told:
                    raise ResponseError(_NOT_OURS)
                return list(told)

            asked, echo = (len(keys), *keys, question, OWNER, EPOCH, *words), _echo(question)
            try:
                return await self._ask_once(operation, [("EVALSHA", script.sha, *asked), echo], ours)
            except RedisUnavailable as exc:
                if not isinstance(exc.__cause__, NoScriptError):
                    raise
            return await self._ask_once(operation, [("EVAL", script.text, *asked), echo], ours)

    async def _ask_once(
        self,
        operation: str,
        commands: Iterable[Command],
        ours: Callable[[list[Any]], list[Any]],
        *,
        transaction: bool = False,
        seconds: float | None = None,
    ) -> list[Any]:
        """``ours`` returns the answer, or raises if the replies belong to other commands."""
        assert self._client is not None, "used outside of its async with"
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        # Always a pipeline: it returns its connection even if it is cancelled twice.
        pipe = self._client.pipeline(transaction=transaction)
        for command in commands:
            pipe.execute_command(*command)
        try:
            async with timeout(seconds or COMMAND_SECONDS) as limit, self._turns.taken(limit):
                replies = await pipe.execute(raise_on_error=False)  # ``ours`` raises what it believes
            answers = ours(replies)
        except (RedisError, OSError, *UNREADABLE_ANSWER) as exc:  # the built-in TimeoutError is an OSError
            if task and task.cancelling() > cancels:
                raise asyncio.CancelledError from exc  # swallowed as below: no caller is left to retry for
            error = ResponseError(f"unexpected reply: {exc}") if isinstance(exc, UNREADABLE_ANSWER) else exc
            if isinstance(error, ResponseError) and said(error)[0] in ("", "READONLY"):
                await self._connect_anew()
            raise translate(error, operation=f"redis.{operation}") from exc
        if task and task.cancelling() > cancels:
            # redis-py sends inside wait_for, and Python 3.11's wait_for can swallow a cancellation.
            raise asyncio.CancelledError
        return answers

    async def _connect_anew(self) -> None:
        """After a failover the host name in REDIS_URL leads to another server, which old connections would never
        notice. A connection with an unexpected reply may have more of them queued."""
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
    """Wraps the decoding of a reply: a reply of an unexpected shape raises an error that is retried."""
    try:
        yield
    except UNREADABLE_ANSWER as exc:
        unread = ResponseError(f"unexpected reply: {exc}")
        raise translate(unread, operation=f"redis.{operation}") from exc


def _echo(question: bytes) -> Command:
    """Echoed by Redis, so that replies to other commands are detected. One argument: redis-py accepts any reply to a
    PING that it recognises as one."""
    return (b"PING " + question,)


def _without_error(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _without_wrong_type(reply: Any) -> Any:
    """None in place of the error that the key has another type. Raises any other error."""
    if isinstance(reply, ResponseError):
        if said(reply)[0] != "WRONGTYPE":
            raise reply
        return None
    return reply
