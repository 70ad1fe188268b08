"""Reads and validates the contents of Redis and changes nothing: callers decide about invalid values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ..domain import Checkpoint, Identity, Marker, Part
from .connection import RedisConnection, bytes_or_none, of_bytes, reading
from .format import PARTS_AT_ONCE, UNREADABLE, decode_highest, decode_marker, decode_meta, decode_part
from .names import MARKERS, NUMBERS, READ_SETS, Names, marker_field
from .scripts import NOTHING, RECALL

_Page = tuple[int, Mapping[bytes, bytes]]  # cursor (0: the end), and the fields found


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An invalid value; ``raw`` is the value if it is a single one."""

    reason: str
    raw: Any = None


@dataclass(frozen=True, slots=True)
class OfAnotherBucket:
    """A stream that belongs to another bucket, which this daemon ignores."""

    bucket: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stream with its valid parts.

    ``revision`` identifies this state in Redis. ``left_out`` maps the numbers in Redis of invalid parts to the reasons;
    the store lists those parts. ``parts_are_a_hash`` is False if their key has another type.
    """

    checkpoint: Checkpoint
    revision: bytes
    left_out: Mapping[bytes, str]
    parts_are_a_hash: bool


class RedisReader:
    """Reads the streams and markers of one bucket. Methods with retries wait until Redis is available.

    Raises ``RedisRejected`` if one of our keys has another type; ``RedisCheckpoints.load`` sets such keys aside.
    """

    def __init__(self, connection: RedisConnection, names: Names, bucket: str) -> None:
        self._connection = connection
        self._names = names
        self._bucket = bucket

    async def members(self) -> set[bytes]:
        """The IDs in all sets of unfinished streams."""
        return await self._connection.retried("load", self._members)

    async def stream(self, stream_id: bytes) -> Loaded | OfAnotherBucket | Unreadable:
        """One stream, with its parts in order."""
        meta, parts = self._names.of_stream(stream_id)
        commands = [("HGETALL", meta), ("HSCAN", parts, 0, "COUNT", PARTS_AT_ONCE)]
        fields, page = await self._connection.retried(
            "load", lambda: self._connection.run("load", commands, transaction=True, wrong_type_is_none=True)
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

    async def may_run_scripts(self) -> None:
        """One attempt. Raises ``RedisUnavailable``, with a hint, if this user has no permission to."""
        await self._connection.step("load", NOTHING, (), ())

    async def remembered(
        self, files: Sequence[tuple[Identity, str]]
    ) -> list[tuple[Marker | Unreadable | None, int | None]]:
        """One attempt. For each file and name the marker, None also if it belongs to another bucket; and the highest
        number of the name, None for a value that is not a number."""
        keys = (self._names.of(MARKERS), self._names.of(NUMBERS))
        words = [word for identity, name in files for word in (marker_field(identity), name.encode())]
        _, *told = await self._connection.step("marker", RECALL, keys, words)
        with reading("marker"):
            found = [bytes_or_none(each) for each in told]
            pairs = list(zip(files, found[::2], found[1::2], strict=True))
        return [
            (self._decoded(identity, raw), decode_highest(self._bucket, number)) for (identity, _), raw, number in pairs
        ]

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
            found |= await self.members_of(name) or set()
        return found

    async def members_of(self, name: bytes, *, wrong_type_is_none: bool = False) -> set[bytes] | None:
        """One attempt. The IDs in one set; None for a key of another type, if that is not to raise."""
        found: set[bytes] = set()
        cursor = None
        while cursor != 0:
            command = ("SSCAN", self._names.of(name), cursor or 0, "COUNT", 500)
            (page,) = await self._connection.run("load", [command], wrong_type_is_none=wrong_type_is_none)
            if page is None and wrong_type_is_none:
                return None
            with reading("load"):
                cursor, ids = page
                found.update(of_bytes(ids))
                cursor = int(cursor)
        return found

    async def _parts(self, stream_id: str, page: _Page) -> tuple[dict[int, Part], dict[bytes, str]]:
        """The parts in order, and the ignored ones; page by page, so that other tasks can run."""
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
        (page,) = await self._connection.run("load", [("HSCAN", key, cursor, "COUNT", PARTS_AT_ONCE)])
        with reading("load"):
            following, stored = page
            return int(following), dict(zip(of_bytes(stored), of_bytes(stored.values()), strict=True))


def _why(exc: Exception) -> str:
    return f"{exc} is missing" if isinstance(exc, KeyError) else str(exc) or type(exc).__name__
