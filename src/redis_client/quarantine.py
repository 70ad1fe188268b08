"""Sets invalid values aside under another name for inspection, and never guesses.

A key with one of our names and another type is moved; an invalid checkpoint is moved as a whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ..domain import moments
from .connection import RedisConnection, of_bytes, reading
from .errors import RedisRejected
from .names import ALL_SETS, MARKERS, Names, shown

T = TypeVar("T")


class Quarantine:
    """Moves invalid values of our keys aside and reports them."""

    def __init__(self, connection: RedisConnection, names: Names, emit: moments.Emit) -> None:
        self._connection = connection
        self._names = names
        self._emit = emit

    async def making_way(self, operation: str, call: Callable[[], Awaitable[T]], hashes: Iterable[bytes]) -> T:
        """Return the result of the call. If a key of another type than a set or these hashes is in its way, set that
        aside and call again."""
        try:
            return await call()
        except RedisRejected as exc:
            if exc.code != "WRONGTYPE":
                raise
        await self.set_aside_wrong_types(operation, hashes)
        return await call()

    async def set_aside_stream(self, stream_id: bytes, reason: str) -> None:
        """All keys of a stream whose checkpoint is invalid. Repeated until Redis is available."""

        async def move() -> None:
            for key in self._names.of_stream(stream_id):
                await self._move_aside("load", key)
            # Last: while it is a member, the next start finds it again if this one is killed here.
            await self._connection.run("load", [("SREM", self._names.of(name), stream_id) for name in ALL_SETS])

        await self._connection.retried("load", move)
        self.report(self._names.of_stream(stream_id)[0], f"{reason}; kept under {shown(self._names.of(b'bad:'))}…")

    async def set_aside_wrong_types(self, operation: str, hashes: Iterable[bytes] = ()) -> None:
        """Set aside keys that have another type than our sets, the markers and these hashes."""
        wanted = {self._names.of(name): b"set" for name in ALL_SETS}
        wanted |= dict.fromkeys((self._names.of(MARKERS), *hashes), b"hash")
        told = await self._connection.run(operation, [("TYPE", key) for key in wanted])
        with reading(operation):
            kinds = of_bytes(told)
        for (key, kind), found in zip(wanted.items(), kinds, strict=True):
            if found not in (kind, b"none"):
                await self.set_aside(operation, key, f"it is a {shown(found)}, not a {shown(kind)}")

    async def set_aside(self, operation: str, key: bytes, reason: str) -> None:
        """One key. One attempt; reported if the key existed."""
        if name := await self._move_aside(operation, key):
            self.report(key, f"{reason}; moved to {shown(name)}")

    async def _move_aside(self, operation: str, key: bytes) -> bytes | None:
        """Rename to the first free ``bad:`` name, which is returned. A key that no longer exists was set aside
        before."""
        for name in self._names.aside(key):
            try:
                (renamed,) = await self._connection.run(operation, [("RENAMENX", key, name)])
            except RedisRejected as exc:
                if "no such key" not in str(exc):
                    raise
                return None
            if renamed:
                return name
        raise AssertionError("unreachable: there is always another name")

    async def set_aside_marker(self, field: bytes, raw: bytes, reason: str) -> None:
        """One field of the markers, whose value becomes a key of its own. Repeated until Redis is available."""
        key = self._names.of(MARKERS)

        async def move() -> None:
            for name in self._names.aside(key + b":" + field):
                (stored,) = await self._connection.run("marker", [("SET", name, raw, "NX")])
                if stored:
                    await self._connection.run("marker", [("HDEL", key, field)])
                    return

        await self._connection.retried("marker", move)
        self.report(key + b"[" + field + b"]", reason)

    def report(self, key: bytes, reason: str) -> None:
        """Report a value that stays in place: an ignored part, or a stream of another bucket."""
        self._emit(moments.RecordSetAside(key=shown(key), reason=reason))
