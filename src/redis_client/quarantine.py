"""What cannot be used is kept under another name for a human being, and never guessed at.

Whatever holds one of our names and is of another type makes way; a record that cannot be read goes as a whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from ..domain import moments
from .connection import Command, RedisConnection
from .errors import RedisRejected
from .names import ALL_SETS, MARKERS, Names, shown

T = TypeVar("T")


class Quarantine:
    """Moves aside what lies behind our names and cannot be used, and reports it."""

    def __init__(self, connection: RedisConnection, names: Names, emit: moments.Emit) -> None:
        self._connection = connection
        self._names = names
        self._emit = emit

    async def commit(self, operation: str, commands: Sequence[Command]) -> list[Any]:
        """Run the transaction; where something of another type is in its way, set that aside and run it again."""
        hashes = [command[1] for command in commands if command[0] in ("HGET", "HLEN", "HSET")]
        return await self.making_way(operation, lambda: self._connection.run(operation, commands), hashes)

    async def making_way(self, operation: str, call: Callable[[], Awaitable[T]], hashes: Iterable[object]) -> T:
        """What the call returns; where something of another type than a set or these hashes is in its way, that is
        set aside, and it is called again."""
        try:
            return await call()
        except RedisRejected as exc:
            if exc.code != "WRONGTYPE":
                raise
        await self.set_aside_wrong_types(operation)
        for key in dict.fromkeys(hashes):
            assert isinstance(key, bytes)
            (kind,) = await self._connection.run(operation, [("TYPE", key)])
            if kind not in (b"hash", b"none"):
                await self.set_aside(operation, key, f"it is a {shown(kind)}, not a hash")
        return await call()

    async def set_aside_stream(self, stream_id: bytes, reason: str) -> None:
        """All keys of a stream whose record cannot be read. Repeated until Redis is there."""

        async def move() -> None:
            for key in self._names.of_stream(stream_id):
                await self._move_aside("load", key)
            # Last: as long as it is a member, a start that was killed here finds it again.
            await self.commit("load", [("SREM", self._names.of(name), stream_id) for name in ALL_SETS])

        await self._connection.retried("load", move)
        self.report(self._names.of_stream(stream_id)[0], f"{reason}; kept under {shown(self._names.of(b'bad:'))}…")

    async def set_aside_wrong_types(self, operation: str) -> None:
        """Make way for our sets and hashes where something else has their name."""
        wanted = {self._names.of(name): b"set" for name in ALL_SETS} | {self._names.of(MARKERS): b"hash"}
        kinds = await self._connection.run(operation, [("TYPE", key) for key in wanted])
        for (key, kind), found in zip(wanted.items(), kinds, strict=True):
            if found not in (kind, b"none"):
                await self.set_aside(operation, key, f"it is a {shown(found)}, not a {shown(kind)}")

    async def set_aside(self, operation: str, key: bytes, reason: str) -> None:
        """One key. One attempt; it is reported where something was there."""
        if name := await self._move_aside(operation, key):
            self.report(key, f"{reason}; moved to {shown(name)}")

    async def _move_aside(self, operation: str, key: bytes) -> bytes | None:
        """Rename to the first free ``bad:`` name, which is returned. What is gone already is set aside already."""
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
        """One field of the markers, whose value becomes a key of its own. Repeated until Redis is there."""
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
        """Tell of what stays where it is: a part that is left out, a stream of another bucket."""
        self._emit(moments.RecordSetAside(key=shown(key), reason=reason))
