"""Redis for commands that only look: one attempt each, and nothing is written, renamed or set aside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..domain import Marker, RedisFacts, Status, moments
from ..exceptions import RedisOperationError
from ..retry import RetryPolicy
from .connection import RedisConnection, of_bytes, reading
from .format import UNREADABLE, decode_marker
from .names import MARKERS, SETS, Names, identity_of_field
from .scripts import NOTHING

_MARKERS_AT_ONCE = 500
_SECONDS = 4.0


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

    async def facts(self) -> RedisFacts:
        """What ``doctor`` judges. Never raises for what Redis answers."""
        found = RedisFacts()
        try:
            await self._connection.run("ping", [("PING",)], transaction=False, seconds=_SECONDS)
            await self._read(found)
        except RedisOperationError as exc:
            found.error, found.hint = str(exc), exc.hint
        return found

    async def _read(self, found: RedisFacts) -> None:
        names = ("maxmemory-policy", "appendonly", "save")
        with suppress(RedisOperationError):  # CONFIG and INFO may be forbidden: then these stay unknown
            asked = [("CONFIG GET", name) for name in names]
            told = await self._connection.run_if_allowed("configuration", asked)
            found.configuration = {str(name): str(value) for reply in told for name, value in reply.items()}
        with suppress(RedisOperationError):
            (info,) = await self._connection.run_if_allowed("configuration", [("INFO",)])
            found.used, found.limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
            found.is_replica = info.get("role") == "slave"
        try:
            await self._connection.step("load", NOTHING, (), ())
        except RedisOperationError as exc:
            found.refused = str(exc)
        found.failed = await self._members(self._names.of(SETS[Status.FAILED]))
        markers = await self.markers()
        found.remembered = len(markers)
        found.sent_again = sum(marker.replacements > 0 for marker in markers)
        lasted = ((marker.completed_at - marker.started_at).total_seconds() for marker in markers)
        found.longest_seconds = max(lasted, default=0.0)

    async def _members(self, key: bytes) -> int:
        """How many a set has; SCARD is not among the commands that the daemon needs."""
        number, cursor = 0, None
        while cursor != 0:
            command = ("SSCAN", key, cursor or 0, "COUNT", _MARKERS_AT_ONCE)
            (page,) = await self._connection.run("load", [command], transaction=False)
            with reading("load"):
                cursor, number = int(page[0]), number + len(page[1])
        return number

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
