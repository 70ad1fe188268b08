"""The unfinished streams of one bucket, for a command that only looks: nothing is written, renamed or set aside."""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Checkpoint, moments
from ..exceptions import RedisUnavailable
from ..retry import RetryPolicy
from ..timeouts import timeout
from .connection import RedisConnection
from .names import READ_SETS, Names, shown
from .reader import Loaded, RedisReader, Unreadable

_SECONDS = 30.0


async def read_unfinished(url: str, *, key_prefix: str, bucket: str) -> tuple[list[Checkpoint], Mapping[str, str]]:
    """The valid checkpoints; and the keys that cannot be read, each with the reason.

    Raises ``RedisUnavailable`` after one attempt to connect, and ``RedisRejected``.
    """

    def emit(_: moments.Moment) -> None:
        """The caller reports failures."""

    async with RedisConnection(url, policy=RetryPolicy(), emit=emit, connections=2) as connection:
        await connection.ping()
        names = Names(key_prefix)
        try:
            async with timeout(_SECONDS):
                return await _read(RedisReader(connection, names, bucket), names)
        except TimeoutError:
            raise RedisUnavailable("no answer", hint="Redis stopped answering.") from None


async def _read(reader: RedisReader, names: Names) -> tuple[list[Checkpoint], Mapping[str, str]]:
    unreadable: dict[str, str] = {}
    ids: set[bytes] = set()
    for name in READ_SETS:
        members = await reader.members_of(name, wrong_type_is_none=True)
        if members is None:
            unreadable[shown(names.of(name))] = "it is not a set"
        else:
            ids |= members
    checkpoints = []
    for stream_id in sorted(ids):
        match await reader.stream(stream_id):
            case Loaded(checkpoint=checkpoint):
                checkpoints.append(checkpoint)
            case Unreadable(reason=reason):
                unreadable[shown(names.of_stream(stream_id)[0])] = reason
    return checkpoints, unreadable
