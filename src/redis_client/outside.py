"""Redis for commands that only look: one attempt each, and nothing is written, renamed or set aside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..domain import Marker, RedisFacts, moments
from ..exceptions import RedisOperationError
from ..retry import RetryPolicy
from .connection import RedisConnection, of_bytes, reading
from .format import UNREADABLE, decode_marker
from .names import KEPT_SETS, MARKERS, Names, identity_of_field
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
        try:
            await self._connection.run("ping", [("PING",)], transaction=False, seconds=_SECONDS)
            markers = await self.markers()
            failed = sum([await self._members(self._names.of(name)) for name in KEPT_SETS])
            info = await self._info()
            lasted = ((marker.completed_at - marker.started_at).total_seconds() for marker in markers)
            return RedisFacts(
                configuration=await self._configuration(),
                used=int(info.get("used_memory", 0)),
                limit=int(info.get("maxmemory", 0)),
                is_replica=info.get("role") == "slave",
                refused=await self._refused(),
                failed=failed,
                remembered=len(markers),
                sent_again=sum(marker.replacements > 0 for marker in markers),
                longest_seconds=max(lasted, default=0.0),
            )
        except RedisOperationError as exc:
            return RedisFacts(error=str(exc), hint=exc.hint)

    async def _configuration(self) -> dict[str, str]:
        """Empty if CONFIG is forbidden."""
        asked = [("CONFIG GET", name) for name in ("maxmemory-policy", "appendonly", "save")]
        with suppress(RedisOperationError):
            told = await self._connection.run_if_allowed("configuration", asked)
            return {str(name): str(value) for reply in told for name, value in reply.items()}
        return {}

    async def _info(self) -> dict[str, Any]:
        """Empty if INFO is forbidden."""
        with suppress(RedisOperationError):
            (info,) = await self._connection.run_if_allowed("configuration", [("INFO",)])
            return dict(info)
        return {}

    async def _refused(self) -> str:
        """Why the daemon's scripts cannot run; empty: they can."""
        try:
            await self._connection.step("load", NOTHING, (), ())
        except RedisOperationError as exc:
            return str(exc)
        return ""

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
