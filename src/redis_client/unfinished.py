"""The unfinished streams of one bucket, for a command that only looks: nothing is written, renamed or set aside."""

from __future__ import annotations

from ..domain import Checkpoint, moments
from ..exceptions import RedisUnavailable
from ..retry import RetryPolicy
from ..timeouts import timeout
from .connection import RedisConnection
from .names import Names
from .reader import Loaded, RedisReader, Unreadable

_SECONDS = 30.0


async def read_unfinished(url: str, *, key_prefix: str, bucket: str) -> tuple[list[Checkpoint], int]:
    """The valid checkpoints, and the number of those that cannot be read.

    Raises ``RedisUnavailable`` after one attempt to connect, and ``RedisRejected``.
    """

    def emit(_: moments.Moment) -> None:
        """The caller reports failures."""

    async with RedisConnection(url, policy=RetryPolicy(), emit=emit, connections=2) as connection:
        await connection.ping()
        reader = RedisReader(connection, Names(key_prefix), bucket)
        try:
            async with timeout(_SECONDS):
                found = [await reader.stream(stream_id) for stream_id in sorted(await reader.members())]
        except TimeoutError:
            raise RedisUnavailable("no answer", hint="Redis stopped answering.") from None
    return [each.checkpoint for each in found if isinstance(each, Loaded)], sum(
        isinstance(each, Unreadable) for each in found
    )
