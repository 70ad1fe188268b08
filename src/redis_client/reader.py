"""What Redis has, read and judged, and nothing changed: what becomes of what cannot be read is for others to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ..domain import Checkpoint, Identity, Marker, Part
from .connection import Command, RedisConnection, bytes_or_none, of_bytes, reading
from .format import PARTS_AT_ONCE, UNREADABLE, decode_highest, decode_marker, decode_meta, decode_part
from .names import MARKERS, NUMBERS, READ_SETS, Names, marker_field

_Page = tuple[int, Mapping[bytes, bytes]]  # where to go on (0: nowhere), and what was found


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that says nothing that can be used; ``raw`` is the value where it is a single one."""

    reason: str
    raw: Any = None


@dataclass(frozen=True, slots=True)
class OfAnotherBucket:
    """A stream that this daemon has nothing to do with."""

    bucket: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stream with the parts that could be read.

    ``revision`` is what Redis calls this state of it. ``left_out`` are the numbers in Redis, and the reasons, of
    parts that cannot be read: the store lists them. ``parts_are_a_hash`` is False where their name has something else.
    """

    checkpoint: Checkpoint
    revision: bytes
    left_out: Mapping[bytes, str]
    parts_are_a_hash: bool


class RedisReader:
    """Reads the streams and markers of one bucket. Where it repeats, it waits until Redis is back.

    Raises ``RedisRejected`` where a value of another type has one of our names; ``RedisCheckpoints.load`` makes way.
    """

    def __init__(self, connection: RedisConnection, names: Names, bucket: str) -> None:
        self._connection = connection
        self._names = names
        self._bucket = bucket

    async def members(self) -> set[bytes]:
        """The ids in all sets that hold streams with something left to do."""
        return await self._connection.retried("load", self._members)

    async def stream(self, stream_id: bytes) -> Loaded | OfAnotherBucket | Unreadable:
        """One stream, with its parts in their order."""
        meta, parts = self._names.of_stream(stream_id)
        commands = [("HGETALL", meta), ("HSCAN", parts, 0, "COUNT", PARTS_AT_ONCE)]
        fields, page = await self._connection.retried(
            "load", lambda: self._connection.run("load", commands, wrong_type_is_none=True)
        )
        try:
            if fields is None:
                raise ValueError("it is not a hash")
            if not fields:
                raise ValueError("the stream's meta hash is missing")
            name = stream_id.decode()
            texts = {field.decode(): value for field, value in fields.items()}
            checkpoint = decode_meta(name, texts)
        except UNREADABLE as exc:
            return Unreadable(_why(exc))
        if checkpoint.bucket != self._bucket:
            return OfAnotherBucket(checkpoint.bucket)
        held, left_out = await self._parts(name, (0, {}) if page is None else page)
        checkpoint = replace(checkpoint, parts=MappingProxyType(held))
        return Loaded(checkpoint, texts.get("revision", b""), left_out, page is not None)

    async def marker(self, identity: Identity) -> Marker | Unreadable | None:
        """One attempt. None too when what a completed stream of this file left was for another bucket."""
        (raw,) = await self._connection.run("marker", [self._marker_command(identity)])
        return self._decoded(identity, raw)

    async def remembered(self, identity: Identity, name: str) -> tuple[Marker | Unreadable | None, int | None]:
        """One attempt. The marker, and the highest number of the name; what is no number is none."""
        marker = self._marker_command(identity)
        # Twice, so that answers that have changed places are noticed: the two would not be the same.
        commands = [marker, ("HGET", self._names.of(NUMBERS), name.encode()), marker]
        raw, number, again = await self._connection.run("marker", commands)
        with reading("marker"):
            if raw != again:
                raise TypeError("the replies are in the wrong order")
            told, number = bytes_or_none(raw), bytes_or_none(number)
        return self._decoded(identity, told), decode_highest(self._bucket, number)

    def _marker_command(self, identity: Identity) -> Command:
        return ("HGET", self._names.of(MARKERS), marker_field(identity))

    def _decoded(self, identity: Identity, raw: Any) -> Marker | Unreadable | None:
        if raw is None:
            return None
        try:
            marker = decode_marker(identity, raw)
        except UNREADABLE as exc:
            return Unreadable(_why(exc), raw)
        return marker if marker.bucket == self._bucket else None

    async def _members(self) -> set[bytes]:
        found: set[bytes] = set()
        for name in READ_SETS:
            cursor = None
            while cursor != 0:
                command = ("SSCAN", self._names.of(name), cursor or 0, "COUNT", 500)
                (page,) = await self._connection.run("load", [command], transaction=False)
                with reading("load"):
                    cursor, ids = page
                    found.update(of_bytes(ids))
                    cursor = int(cursor)
        return found

    async def _parts(self, stream_id: str, page: _Page) -> tuple[dict[int, Part], dict[bytes, str]]:
        """The parts in their order, and those left out; page by page, so that other tasks get their turn."""
        held: dict[int, Part] = {}
        left_out: dict[bytes, str] = {}
        cursor, stored = page
        while True:
            for number, raw in stored.items():
                try:
                    found = decode_part(stream_id, number, raw)
                except UNREADABLE as exc:
                    left_out[number] = _why(exc)
                else:
                    held[found.number] = found
            if cursor == 0:
                return dict(sorted(held.items())), left_out
            cursor, stored = await self._connection.retried("load", partial(self._next_parts, stream_id, cursor))

    async def _next_parts(self, stream_id: str, cursor: int) -> _Page:
        _, key = self._names.of_stream(stream_id.encode())
        (page,) = await self._connection.run(
            "load", [("HSCAN", key, cursor, "COUNT", PARTS_AT_ONCE)], transaction=False
        )
        with reading("load"):
            following, stored = page
            return int(following), dict(zip(of_bytes(stored), of_bytes(stored.values()), strict=True))


def _why(exc: Exception) -> str:
    return f"{exc} is missing" if isinstance(exc, KeyError) else str(exc) or type(exc).__name__
