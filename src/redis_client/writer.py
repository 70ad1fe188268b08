"""Writes checkpoints: each atomically, in the order of the calls, and only what Redis does not have yet."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ..domain import Checkpoint, Part, Status
from .connection import Command
from .format import PARTS_AT_ONCE, encode_meta, encode_part
from .names import ALL_SETS, SETS, Names
from .quarantine import Quarantine

T = TypeVar("T")


def _sliced(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + PARTS_AT_ONCE] for start in range(0, len(items), PARTS_AT_ONCE))


@dataclass(frozen=True, slots=True)
class _Written:
    """What this process last wrote of a stream. While Redis has the same revision, Redis has these parts.

    ``record`` has no parts.
    """

    revision: bytes
    record: Checkpoint
    parts: Mapping[int, Part]


class RedisWriter:
    """Writes the streams' checkpoints, and remembers what it last wrote of each. Every method is one attempt. None
    checks whether another process has written meanwhile: a daemon does not share its checkpoints."""

    def __init__(self, names: Names, quarantine: Quarantine) -> None:
        self._names = names
        self._quarantine = quarantine
        self._written: dict[str, _Written] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        nonce = secrets.token_hex(8)
        self._revisions = (f"{nonce}-{number}".encode() for number in count(1))

    @property
    def written(self) -> tuple[str, ...]:
        """The streams whose checkpoints Redis should have."""
        return tuple(self._written)

    def was_loaded(self, checkpoint: Checkpoint, revision: bytes) -> None:
        """Redis has this checkpoint, with these parts and no others, for as long as it has this revision."""
        written = _Written(revision, replace(checkpoint, parts={}), checkpoint.parts)
        self._written.setdefault(checkpoint.stream_id, written)

    async def write(self, operation: str, checkpoint: Checkpoint, parts: Mapping[int, Part], *, keep: bool) -> None:
        """``keep``: keep earlier parts that are not in ``parts``."""
        async with self._turn(checkpoint.stream_id):
            last = self._written.get(checkpoint.stream_id)
            wanted = {**last.parts, **parts} if keep and last else dict(parts)
            if last is None or not await self._write_changes(operation, checkpoint, wanted, last):
                await self._write_whole(operation, checkpoint, wanted)

    async def write_anew(self, stream_id: str) -> bool:
        """Write the last written state of the stream; False if it was there after all, or has ended."""
        async with self._turn(stream_id):
            last = self._written.get(stream_id)
            return last is not None and await self._write_whole("save", last.record, last.parts)

    async def _write_changes(
        self, operation: str, checkpoint: Checkpoint, wanted: Mapping[int, Part], last: _Written
    ) -> bool:
        """Write all fields, and of the parts only the changes. False: Redis did not have what we last wrote.

        The transaction itself returns what Redis had before, so lost or rolled back data is detected without another
        round trip.
        """
        meta, parts = self._names.of_stream(checkpoint.stream_id.encode())
        changed = [p for n, p in wanted.items() if last.parts.get(n) is not p and last.parts.get(n) != p]
        gone = sorted(last.parts.keys() - wanted.keys())
        revision = next(self._revisions)
        had_revision, had_parts, *_ = await self._quarantine.commit(
            operation,
            [
                # First: these two read what the commands below overwrite.
                ("HGET", meta, "revision"),
                ("HLEN", parts),
                *self._meta_commands(replace(checkpoint, parts=wanted), revision),
                *await self._part_commands(checkpoint.stream_id, changed),
                *self._forget_commands(parts, gone),
            ],
        )
        if (had_revision, had_parts) != (last.revision, len(last.parts)):
            return False
        self._written[checkpoint.stream_id] = _Written(revision, replace(checkpoint, parts={}), wanted)
        return True

    async def _write_whole(self, operation: str, checkpoint: Checkpoint, wanted: Mapping[int, Part]) -> bool:
        """True if the stream was missing from the sets that it should have been in."""
        _, parts = self._names.of_stream(checkpoint.stream_id.encode())
        revision = next(self._revisions)
        *_, joined = await self._quarantine.commit(
            operation,
            [
                ("DEL", parts),
                *await self._part_commands(checkpoint.stream_id, list(wanted.values())),
                # The last of them adds the stream to its set.
                *self._meta_commands(replace(checkpoint, parts=wanted), revision),
            ],
        )
        self._written[checkpoint.stream_id] = _Written(revision, replace(checkpoint, parts={}), wanted)
        return bool(joined)

    async def remove(self, operation: str, stream_id: str, and_also: Sequence[Command]) -> Any:
        """Returns the reply to the last command."""
        async with self._turn(stream_id):
            answers = await self._quarantine.commit(
                operation, [("DEL", *self._names.of_stream(stream_id.encode())), *and_also]
            )
            self._written.pop(stream_id, None)
            return answers[-1]

    def _meta_commands(self, checkpoint: Checkpoint, revision: bytes) -> list[Command]:
        stream_id = checkpoint.stream_id.encode()
        meta, _ = self._names.of_stream(stream_id)
        fields = {**encode_meta(checkpoint), "revision": revision}
        return [
            ("DEL", meta),
            ("HSET", meta, *(item for field in fields.items() for item in field)),
            *self.membership(stream_id, checkpoint.status),
        ]

    async def _part_commands(self, stream_id: str, parts: Sequence[Part]) -> list[Command]:
        _, key = self._names.of_stream(stream_id.encode())
        commands: list[Command] = []
        for some in _sliced(parts):
            fields = [item for part in some for item in (part.number, encode_part(stream_id, part))]
            commands.append(("HSET", key, *fields))
            await asyncio.sleep(0)  # encoding 10,000 parts must not block the event loop
        return commands

    def _forget_commands(self, key: bytes, numbers: Sequence[int]) -> list[Command]:
        return [("HDEL", key, *some) for some in _sliced(numbers)]

    def membership(self, stream_id: bytes, status: Status) -> list[Command]:
        """Add to the set of this status and remove from all others."""
        own = SETS[status]
        others: list[Command] = [("SREM", self._names.of(name), stream_id) for name in ALL_SETS if name != own]
        return [*others, ("SADD", self._names.of(own), stream_id)]

    def _turn(self, stream_id: str) -> asyncio.Lock:
        """Keeps the order of writes of one stream, although they may use different connections."""
        return self._turns.setdefault(stream_id, asyncio.Lock())
