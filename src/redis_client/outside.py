"""Redis for commands that only look: one attempt each, and nothing is written, renamed or set aside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..domain import Marker, moments
from ..retry import RetryPolicy
from .connection import RedisConnection, of_bytes, reading
from .format import UNREADABLE, decode_marker
from .names import MARKERS, Names, identity_of_field

_MARKERS_AT_ONCE = 500


class RedisOutside:
    """What a daemon has stored for one bucket. Raises ``RedisUnavailable`` or ``RedisRejected``."""

    def __init__(self, connection: RedisConnection, names: Names, bucket: str) -> None:
        self._connection = connection
        self._names = names
        self._bucket = bucket

    async def markers(self) -> list[Marker]:
        """Those of this bucket that can be read."""
        found: dict[bytes, bytes] = {}
        cursor = None
        while cursor != 0:
            command = ("HSCAN", self._names.of(MARKERS), cursor or 0, "COUNT", _MARKERS_AT_ONCE)
            (page,) = await self._connection.run("markers", [command], transaction=False)
            with reading("markers"):
                cursor, values = int(page[0]), dict(page[1])
                found |= zip(of_bytes(values), of_bytes(values.values()), strict=True)
        return [marker for field, raw in found.items() if (marker := self._decoded(field, raw)) is not None]

    def _decoded(self, field: bytes, raw: bytes) -> Marker | None:
        try:
            marker = decode_marker(identity_of_field(field), raw)
        except UNREADABLE:
            return None
        return marker if marker.bucket == self._bucket else None


@asynccontextmanager
async def open_outside(url: str, *, key_prefix: str, bucket: str) -> AsyncIterator[RedisOutside]:
    """Makes no request yet."""

    def emit(_: moments.Moment) -> None:
        """Nobody listens: each failure is the caller's to report."""

    async with RedisConnection(url, policy=RetryPolicy(), emit=emit, connections=2) as connection:
        yield RedisOutside(connection, Names(key_prefix), bucket)
