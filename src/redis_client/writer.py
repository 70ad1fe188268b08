"""Writes checkpoints: each atomically, in the order of the calls, and only what Redis does not have yet."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from ..domain import Checkpoint, Marker, Part, Status, natural_of
from .connection import RedisConnection, Word, bytes_or_none
from .errors import taken
from .format import PARTS_AT_ONCE, encode_highest, encode_marker, encode_meta, encode_part
from .names import ALL_SETS, MARKERS, NUMBERS, SETS, Names, marker_field
from .quarantine import Quarantine
from .scripts import EPOCH, FINISH, FORGET, MARK, OWNER, SAVE, Script


async def _encoded(stream_id: str, parts: Sequence[Part]) -> list[Word]:
    """Numbers and JSON in turn, made so that other tasks get their turn, too."""
    words: list[Word] = []
    for start in range(0, len(parts), PARTS_AT_ONCE):
        for part in parts[start : start + PARTS_AT_ONCE]:
            words += (part.number, encode_part(stream_id, part))
        await asyncio.sleep(0)
    return words


@dataclass(frozen=True, slots=True)
class _Written:
    """What this process last wrote of a stream. While Redis has the same revision, Redis has these parts.

    ``record`` has no parts.
    """

    revision: bytes
    record: Checkpoint
    parts: Mapping[int, Part]


class RedisWriter:
    """Writes the streams' checkpoints, and remembers what it last wrote of each. Every method is one attempt.

    Redis refuses a write if it does not hold what was written last; then the checkpoint is written whole.
    """

    def __init__(self, connection: RedisConnection, names: Names, quarantine: Quarantine) -> None:
        self._connection = connection
        self._names = names
        self._quarantine = quarantine
        self._written: dict[str, _Written] = {}
        self._unanswered: dict[str, _Written] = {}  # what was sent last of a stream and may have been written
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
            await self._write(operation, self._next(replace(checkpoint, parts={}), wanted), last)

    async def write_anew(self, stream_id: str) -> bool:
        """Write the last written state of the stream; False if it was there after all, or has ended."""
        async with self._turn(stream_id):
            last = self._written.get(stream_id)
            return last is not None and await self._write("save", self._next(last.record, last.parts), None)

    def _next(self, record: Checkpoint, parts: Mapping[int, Part]) -> _Written:
        """What to write; under the same revision if it was sent before and not answered."""
        sent = self._unanswered.get(record.stream_id)
        if sent is not None and (sent.record, sent.parts) == (record, parts):
            return sent
        return _Written(next(self._revisions), record, parts)

    async def _write(self, operation: str, wanted: _Written, last: _Written | None) -> bool:
        """``last``: what Redis should hold. True if the stream was missing from the set that it belongs to."""
        stream_id = wanted.record.stream_id
        sent, self._unanswered[stream_id] = self._unanswered.get(stream_id), wanted
        found = last.revision if last else b""
        while True:
            word, told = await self._save(operation, wanted, last, found)
            if word == b"OK":
                break
            # Redis lost the checkpoint, or has an earlier one, or one that was written without an answer.
            found = bytes_or_none(told) or b""
            last, sent = (sent, None) if sent is not None and found == sent.revision else (None, sent)
        self._written[stream_id] = wanted
        del self._unanswered[stream_id]
        return bool(told)

    async def _save(self, operation: str, wanted: _Written, last: _Written | None, found: bytes) -> tuple[bytes, Any]:
        """Of the parts only what is not in ``last``; without it all. ``found``: the revision in Redis."""
        record, stream_id = wanted.record, wanted.record.stream_id.encode()
        meta, parts = self._names.of_stream(stream_id)
        before = last.parts if last else {}
        changed = [p for n, p in wanted.parts.items() if before.get(n) is not p and before.get(n) != p]
        gone = sorted(before.keys() - wanted.parts.keys())
        whole = replace(record, parts=wanted.parts)
        fields = {**encode_meta(whole), "owner": OWNER, "epoch": EPOCH, "revision": wanted.revision}
        words = [item for field in fields.items() for item in field]
        encoded = await _encoded(record.stream_id, changed)
        held = len(before) if last else b""
        counts = (len(words), len(encoded), len(gone))
        answer = await self._step(
            operation,
            SAVE,
            (meta, parts, *self._sets(record.status)),
            (stream_id, wanted.revision, found, held, *counts, *words, *encoded, *gone),
            hashes=(meta, parts),
        )
        return answer[0], answer[1]

    async def finish(self, checkpoint: Checkpoint, marker: Marker, most_names: int) -> None:
        """Remove the stream's keys and leave what stays of it."""
        number = checkpoint.number or 1
        name = (natural_of(checkpoint.key, number) if number > 1 else None) or ""
        highest = encode_highest(checkpoint.bucket, number)
        done, *others = self._sets(Status.COMPLETED)
        keys = self._names.of_stream(checkpoint.stream_id.encode())
        markers, numbers = self._names.of(MARKERS), self._names.of(NUMBERS)
        left = (marker_field(marker.snapshot.identity), encode_marker(marker))
        async with self._turn(checkpoint.stream_id):
            await self._end(
                "finish",
                FINISH,
                checkpoint.stream_id,
                (*keys, done, markers, numbers, *others),
                (*left, name.encode(), highest, most_names),
                hashes=(*keys, markers, numbers),
            )

    async def forget(self, stream_id: str) -> None:
        """Remove all that Redis has of a stream."""
        keys, sets = self._names.of_stream(stream_id.encode()), [self._names.of(name) for name in ALL_SETS]
        async with self._turn(stream_id):
            await self._end("forget", FORGET, stream_id, (*keys, *sets), (), hashes=keys)

    async def _end(
        self,
        operation: str,
        script: Script,
        stream_id: str,
        keys: Sequence[bytes],
        words: Sequence[Word],
        *,
        hashes: Sequence[bytes],
    ) -> None:
        """Remove a record in whatever revision Redis has it; a late attempt removes none that was written since."""
        written = self._written.get(stream_id)
        word, found = b"", written.revision if written else b""
        while word != b"OK":
            words_now = (stream_id.encode(), found, *words)
            word, told = await self._step(operation, script, keys, words_now, hashes=hashes)
            found = bytes_or_none(told) or b""
        self._written.pop(stream_id, None)
        self._unanswered.pop(stream_id, None)

    async def mark(self, marker: Marker) -> None:
        """Leave a marker of a stream that has no record."""
        done, markers = self._names.of(SETS[Status.COMPLETED]), self._names.of(MARKERS)
        words = (marker.stream_id.encode(), marker_field(marker.snapshot.identity), encode_marker(marker))
        await self._step("put_marker", MARK, (done, markers), words, hashes=(markers,))

    async def _step(
        self, operation: str, script: Script, keys: Sequence[bytes], words: Sequence[Word], *, hashes: Sequence[bytes]
    ) -> list[Any]:
        """One attempt; where something of another type is in its way, that is set aside, and it is made again."""

        async def ask() -> list[Any]:
            return await self._connection.step(operation, script, keys, words)

        answer = await self._quarantine.making_way(operation, ask, hashes)
        if answer[0] == b"TAKEN":
            raise taken(operation, answer[1])
        return answer

    def _sets(self, status: Status) -> list[bytes]:
        """The set of this status, and then all others."""
        own = SETS[status]
        return [self._names.of(name) for name in (own, *(name for name in ALL_SETS if name != own))]

    def _turn(self, stream_id: str) -> asyncio.Lock:
        """Keeps the order of writes of one stream, although they may use different connections."""
        return self._turns.setdefault(stream_id, asyncio.Lock())
