"""Checkpoints in Redis: whole, versioned records, each written at once, none of them trusted blindly.

Keys, all behind ``REDIS_KEY_PREFIX``:

* ``stream:{id}:meta``: a hash of readable fields; what a stream does not have (yet) has no field. ``revision`` is
  another one after each write.
* ``stream:{id}:parts``: a hash of part number to JSON. Every value names its own stream, so that a value in the
  wrong place, or a reply that belongs to another question, is noticed and not believed.
* ``streams:active``, ``streams:pending_completion`` (holds s3_completed too), ``streams:completed`` and
  ``streams:failed``: sets of stream ids.
* ``streams:markers``: a hash of ``<inode>:<birth_ns>`` to the JSON of what a completed stream leaves.
* ``streams:numbers``: a hash of a name (its natural key) to the JSON of the highest number that a recording of it got.
* ``bad:<key>``: what could not be read, kept for a human being.

A Redis that was emptied or rolled back under a living daemon gets the whole record again with the next write, and
``keep_records`` writes those anew that nobody writes to.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakValueDictionary

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    NoPermissionError,
    RedisError,
    ResponseError,
)

from ..domain import Checkpoint, Identity, Marker, Part, Status, natural_of
from ..exceptions import RedisOperationError, RedisUnavailable
from ..retry import RetryPolicy, ServiceObserver, observed, until_it_works
from .errors import UNREADABLE_ANSWER, RedisRejected, error_class, said, translate
from .format import (
    UNREADABLE,
    decode_highest,
    decode_marker,
    decode_meta,
    decode_part,
    encode_highest,
    encode_marker,
    encode_meta,
    encode_part,
)
from .turns import RedisTurns

log = logging.getLogger(__package__)
T = TypeVar("T")
Command = tuple[bytes | str | int, ...]
_Page = tuple[int, Mapping[bytes, bytes]]  # where to go on (0: nowhere), and what was found

_PING_SECONDS = 2.5  # less than whoever asks for readiness waits, so that the silence is told
COMMAND_SECONDS = 15.0  # around everything: waiting for a connection, connecting, asking, reading the answer
KEPT_SECONDS = 5.0  # so often it is asked whether Redis still knows the streams
#: So many parts are encoded or decoded before other tasks get their turn: about 5 ms.
PARTS_AT_ONCE = 500

MARKERS = b"streams:markers"
NUMBERS = b"streams:numbers"
#: Of more names than these nothing is remembered, and it begins anew: then the keys of each are listed once more.
MOST_NAMES = 10_000
#: The set that a stream of this status is a member of.
SETS: Mapping[Status, bytes] = {
    Status.ACTIVE: b"streams:active",
    Status.PENDING_COMPLETION: b"streams:pending_completion",
    Status.S3_COMPLETED: b"streams:pending_completion",
    Status.COMPLETED: b"streams:completed",
    Status.FAILED: b"streams:failed",
}
ALL_SETS = tuple(dict.fromkeys(SETS.values()))


class CheckpointTelemetry(Protocol):
    """Hears what an operator should know of Redis itself."""

    def record_set_aside(self, *, key: str, reason: str) -> None:
        """Something under ``key`` could not be used; where it was moved, ``reason`` says where to."""

    def redis_may_lose(self, *, reason: str) -> None:
        """Redis is configured so that it can lose records."""

    def redis_forgot(self, *, records: int) -> None:
        """Redis no longer knew so many streams of this process; they were written anew."""


def _marker_field(identity: Identity) -> bytes:
    return b"%d:%d" % (identity.inode, identity.birth_ns)


def _why(exc: Exception) -> str:
    return f"{exc} is missing" if isinstance(exc, KeyError) else str(exc) or type(exc).__name__


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _sliced(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + PARTS_AT_ONCE] for start in range(0, len(items), PARTS_AT_ONCE))


# -- the checkpoints ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Written:
    """What this process last wrote of a stream. While Redis has the same revision, Redis has these parts.

    ``record`` has none of them.
    """

    revision: bytes
    record: Checkpoint
    parts: Mapping[int, Part]


class RedisCheckpoints:
    """``ports.Checkpoints`` in one Redis; an async context manager, one for the process.

    Entering it asks Redis for nothing, so that the daemon starts while Redis is away. Every method but
    ``save_part`` and ``ping`` waits until Redis is back.
    """

    def __init__(
        self,
        url: str,
        *,
        key_prefix: str,
        bucket: str,
        policy: RetryPolicy,
        observer: ServiceObserver,
        telemetry: CheckpointTelemetry,
        connections: int = 16,
    ) -> None:
        self._url = url
        self._prefix = key_prefix.encode()
        self._bucket = bucket
        self._policy = policy
        self._missed = False  # by the last look whether it is there
        self._observer = observer
        self._telemetry = telemetry
        self._connections = connections
        self._turns_at_redis = RedisTurns(connections)
        self._client: Redis | None = None
        self._written: dict[str, _Written] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        nonce = secrets.token_hex(8)
        self._revisions = (f"{nonce}-{number}".encode() for number in count(1))
        self._questions = (f"{nonce}-{number}" for number in count(1))

    async def __aenter__(self) -> Self:
        self._client = Redis.from_pool(self._pool())
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _pool(self) -> BlockingConnectionPool:
        """Explicit about everything that a version of redis-py might change; the URL may set the time limits."""
        try:
            asked: dict[str, Any] = dict(parse_url(self._url))
        except ValueError:  # its text may quote the password
            raise RedisOperationError("REDIS_URL is no redis://, rediss:// or unix:// address") from None
        limits = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0, "health_check_interval": 15, "timeout": 5.0}
        fixed = {
            "max_connections": self._connections,
            "retry": Retry(NoBackoff(), 0),  # repeated in one place only
            "retry_on_timeout": False,
            "decode_responses": False,
            "protocol": 2,  # with 3, redis-py no longer refuses a connection that has an unread reply in it
        }
        return BlockingConnectionPool(**{**limits, **asked, **fixed})

    # -- the port -----------------------------------------------------------------------------------------------

    async def load(self) -> list[Checkpoint]:
        """Every stream that is active, pending completion or failed; what cannot be read is set aside."""
        await self._retried("load", lambda: self._set_aside_wrong_types("load"))
        found = [await self._load_one(stream_id) for stream_id in sorted(await self._retried("load", self._members))]
        return [checkpoint for checkpoint in found if checkpoint is not None]

    async def save(self, checkpoint: Checkpoint) -> None:
        """Write the whole record; of its parts only those that Redis does not have yet."""
        await self._retried("save", lambda: self._write("save", checkpoint, checkpoint.parts, keep=False))

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        """Write the record with these parts added to those that it has. Raises ``RedisUnavailable`` at once."""
        added = {**checkpoint.parts, **{part.number: part for part in parts}}
        await self._write("save_part", checkpoint, added, keep=True)

    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        """Remove the stream's keys, leave the marker and a member of ``streams:completed``."""
        stream_id = checkpoint.stream_id.encode()
        commands = [
            *self._membership(stream_id, Status.COMPLETED),
            ("HSET", self._key(MARKERS), _marker_field(marker.snapshot.identity), encode_marker(marker)),
            *self._number_commands(checkpoint),
        ]
        names = await self._retried("finish", lambda: self._remove("finish", checkpoint.stream_id, commands))
        if checkpoint.number is not None and isinstance(names, int) and names > MOST_NAMES:
            await self._retried("finish", lambda: self._commit("finish", [("DEL", self._key(NUMBERS))]))

    async def forget(self, stream_id: str) -> None:
        """Remove all that Redis has of a stream."""
        commands = [("SREM", self._key(name), stream_id.encode()) for name in ALL_SETS]
        await self._retried("forget", lambda: self._remove("forget", stream_id, commands))

    def _number_commands(self, checkpoint: Checkpoint) -> list[Command]:
        """The last answer is how many names are remembered."""
        number = checkpoint.number or 1
        name = natural_of(checkpoint.key, number) if number > 1 else None
        if name is None:
            return []
        key, value = self._key(NUMBERS), encode_highest(checkpoint.bucket, number)
        return [("HSET", key, name.encode(), value), ("HLEN", key)]

    async def marker(self, identity: Identity) -> Marker | None:
        """What a completed stream of this file left; None too when that was for another bucket."""
        command = ("HGET", self._key(MARKERS), _marker_field(identity))
        (raw,) = await self._retried("marker", lambda: self._commit("marker", [command]))
        return await self._marker(identity, raw)

    async def remembered(self, identity: Identity, name: str) -> tuple[Marker | None, int | None]:
        """The marker, and the highest number of the name; what is no number is none."""
        marker: Command = ("HGET", self._key(MARKERS), _marker_field(identity))
        # Twice, so that answers that have changed places are noticed: the two would not be the same.
        commands = [marker, ("HGET", self._key(NUMBERS), name.encode()), marker]

        async def ask() -> tuple[bytes | None, bytes | None]:
            raw, number, again = await self._commit("marker", commands)
            with _reading("marker"):
                if raw != again:
                    raise TypeError("the answers have changed places")
                return _bytes_or_none(raw), _bytes_or_none(number)

        raw, number = await self._retried("marker", ask)
        return await self._marker(identity, raw), decode_highest(self._bucket, number)

    async def _marker(self, identity: Identity, raw: Any) -> Marker | None:
        field = _marker_field(identity)
        if raw is None:
            return None
        try:
            marker = decode_marker(identity, raw)
        except UNREADABLE as exc:
            await self._set_aside_marker(field, raw, _why(exc))
            return None
        return marker if marker.bucket == self._bucket else None

    async def put_marker(self, marker: Marker) -> None:
        """Leave a marker, and a member of ``streams:completed``, for an object that was proved without a record."""
        commands = [
            ("HSET", self._key(MARKERS), _marker_field(marker.snapshot.identity), encode_marker(marker)),
            ("SADD", self._key(SETS[Status.COMPLETED]), marker.stream_id.encode()),
        ]
        await self._retried("put_marker", lambda: self._commit("put_marker", commands))

    # -- beside the port ----------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Ask Redis once whether it is there. Raises ``RedisUnavailable``. Once it is again, nobody sleeps on."""
        try:
            await self._run("ping", [("PING",)], transaction=False, seconds=_PING_SECONDS)
        except RedisUnavailable as exc:
            self._missed = True
            self._observer.operation_failed(operation="redis.ping", error=exc, attempt=1, wait_seconds=0.0)
            raise
        if self._missed:
            self._missed = False
            self._policy.bell.ring()

    async def beside(self, verb: str, name: str, *arguments: bytes) -> Any:
        """One command about a key of this daemon's that is no stream's. One attempt, and none that takes long."""
        command: Command = (verb, self._key(name.encode()), *arguments)
        (answer,) = await self._run("beside", [command], transaction=False, seconds=_PING_SECONDS)
        return answer

    async def warn_about_configuration(self) -> None:
        """Tell telemetry when Redis may evict records or forget them in a restart; silent where CONFIG is forbidden."""
        asked = [("CONFIG GET", name) for name in ("maxmemory-policy", "appendonly", "save")]
        try:
            replies = await self._retried("configuration", lambda: self._ask("configuration", asked))
        except RedisRejected as exc:
            log.debug("Redis does not tell its configuration: %s", exc)
            return
        told: dict[str, str] = {name: value for reply in replies for name, value in reply.items()}
        policy = told.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            self._telemetry.redis_may_lose(reason=f"maxmemory-policy is {policy}: set it to noeviction")
        if told.get("appendonly") == "no" and told.get("save") == "":
            self._telemetry.redis_may_lose(reason="nothing is kept on disk: set appendonly to yes")

    async def keep_records(self) -> None:
        """Never ends: whatever made Redis forget streams that this process has written, it gets them again.

        Each record is written together with its place in one of the sets, so the sets tell what is gone. A living
        stream would write its own with its next part; one that has failed, and is kept, would never.
        """
        while True:
            await self._policy.rest(KEPT_SECONDS)
            written = tuple(self._written)  # before the sets are read: what is written meanwhile is none of the lost
            await self._retried("load", lambda: self._set_aside_wrong_types("load"))
            held = await self._retried("load", self._members)
            lost = [stream_id for stream_id in written if stream_id.encode() not in held]
            anew = []
            for stream_id in lost:
                with suppress(RedisUnavailable):  # no other waits for it: it is among the lost the next time, too
                    anew.append(await self._write_anew(stream_id))
            if any(anew):
                self._telemetry.redis_forgot(records=sum(anew))

    async def _write_anew(self, stream_id: str) -> bool:
        """What was last written of the stream; False when it was there after all, or has ended."""
        async with self._turn(stream_id):
            last = self._written.get(stream_id)
            return last is not None and await self._write_whole("save", last.record, last.parts)

    async def _ask(self, operation: str, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._run(operation, commands, transaction=False)
        except RedisUnavailable as exc:
            if isinstance(exc.__cause__, NoPermissionError):  # this one right is not needed: do not wait for it
                raise RedisRejected(str(exc), operation=operation, code="NOPERM") from exc
            raise

    # -- writing ------------------------------------------------------------------------------------------------

    async def _write(self, operation: str, checkpoint: Checkpoint, parts: Mapping[int, Part], *, keep: bool) -> None:
        """One attempt. ``keep``: parts that were written before and are not named stay."""
        async with self._turn(checkpoint.stream_id):
            last = self._written.get(checkpoint.stream_id)
            wanted = {**last.parts, **parts} if keep and last else dict(parts)
            if last is None or not await self._write_changes(operation, checkpoint, wanted, last):
                await self._write_whole(operation, checkpoint, wanted)

    async def _write_changes(
        self, operation: str, checkpoint: Checkpoint, wanted: Mapping[int, Part], last: _Written
    ) -> bool:
        """Write the fields whole, of the parts only what changed. False: Redis did not have what we last wrote.

        The transaction itself tells what Redis had before it, so an emptied or rolled back Redis is noticed
        without another round trip.
        """
        meta, parts = self._keys(checkpoint.stream_id.encode())
        changed = [p for n, p in wanted.items() if last.parts.get(n) is not p and last.parts.get(n) != p]
        gone = sorted(last.parts.keys() - wanted.keys())
        revision = next(self._revisions)
        had_revision, had_parts, *_ = await self._commit(
            operation,
            [
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
        """True when the stream was in none of the sets it should have been in."""
        _, parts = self._keys(checkpoint.stream_id.encode())
        revision = next(self._revisions)
        *_, joined = await self._commit(
            operation,
            [
                ("DEL", parts),
                *await self._part_commands(checkpoint.stream_id, list(wanted.values())),
                # The last of them gives the stream its place in its set.
                *self._meta_commands(replace(checkpoint, parts=wanted), revision),
            ],
        )
        self._written[checkpoint.stream_id] = _Written(revision, replace(checkpoint, parts={}), wanted)
        return bool(joined)

    async def _remove(self, operation: str, stream_id: str, and_also: Sequence[Command]) -> Any:
        """The answer to the last command."""
        async with self._turn(stream_id):
            answers = await self._commit(operation, [("DEL", *self._keys(stream_id.encode())), *and_also])
            self._written.pop(stream_id, None)
            return answers[-1]

    def _meta_commands(self, checkpoint: Checkpoint, revision: bytes) -> list[Command]:
        stream_id = checkpoint.stream_id.encode()
        meta, _ = self._keys(stream_id)
        fields = {**encode_meta(checkpoint), "revision": revision}
        return [
            ("DEL", meta),
            ("HSET", meta, *(item for field in fields.items() for item in field)),
            *self._membership(stream_id, checkpoint.status),
        ]

    async def _part_commands(self, stream_id: str, parts: Sequence[Part]) -> list[Command]:
        _, key = self._keys(stream_id.encode())
        commands: list[Command] = []
        for some in _sliced(parts):
            fields = [item for part in some for item in (part.number, encode_part(stream_id, part))]
            commands.append(("HSET", key, *fields))
            await asyncio.sleep(0)
        return commands

    def _forget_commands(self, key: bytes, numbers: Sequence[int]) -> list[Command]:
        return [("HDEL", key, *some) for some in _sliced(numbers)]

    def _membership(self, stream_id: bytes, status: Status) -> list[Command]:
        own = SETS[status]
        others: list[Command] = [("SREM", self._key(name), stream_id) for name in ALL_SETS if name != own]
        return [*others, ("SADD", self._key(own), stream_id)]

    def _turn(self, stream_id: str) -> asyncio.Lock:
        """Writes of one stream keep their order, although they may take different connections."""
        return self._turns.setdefault(stream_id, asyncio.Lock())

    # -- reading ------------------------------------------------------------------------------------------------

    async def _members(self) -> set[bytes]:
        """The ids in all sets that hold streams with something left to do."""
        found: set[bytes] = set()
        for name in {SETS[Status.ACTIVE], SETS[Status.PENDING_COMPLETION], SETS[Status.FAILED]}:
            cursor = None
            while cursor != 0:
                command = ("SSCAN", self._key(name), cursor or 0, "COUNT", 500)
                (page,) = await self._run("load", [command], transaction=False)
                with _reading("load"):
                    cursor, ids = page
                    found.update(_of_bytes(ids))
                    cursor = int(cursor)
        return found

    async def _load_one(self, stream_id: bytes) -> Checkpoint | None:
        meta, parts = self._keys(stream_id)
        commands = [("HGETALL", meta), ("HSCAN", parts, 0, "COUNT", PARTS_AT_ONCE)]
        fields, page = await self._retried("load", lambda: self._run("load", commands, wrong_type_is_none=True))
        try:
            if fields is None:
                raise ValueError("it is no hash")
            if not fields:
                raise ValueError("the stream's meta is missing")
            name = stream_id.decode()
            texts = {field.decode(): value for field, value in fields.items()}
            checkpoint = decode_meta(name, texts)
        except UNREADABLE as exc:
            await self._set_aside_stream(stream_id, _why(exc))
            return None
        if checkpoint.bucket != self._bucket:
            self._report(meta, f"left alone: it belongs to the bucket {checkpoint.bucket}")
            return None
        if page is None:
            await self._retried("load", lambda: self._set_aside("load", parts, "it is no hash"))
            page = (0, {})
        held, whole = await self._load_parts(name, page)
        # A part that was left out is still in Redis: then no revision fits, and the next write writes all anew.
        self._written.setdefault(name, _Written(texts.get("revision", b"") if whole else b"", checkpoint, held))
        return replace(checkpoint, parts=MappingProxyType(held))

    async def _load_parts(self, stream_id: str, page: _Page) -> tuple[dict[int, Part], bool]:
        """The parts in their order, page by page, so that other tasks get their turn; False: some were left out."""
        held: dict[int, Part] = {}
        whole = True
        cursor, stored = page
        while True:
            for number, raw in stored.items():
                found = self._decode_part(stream_id, number, raw)
                if found is None:
                    whole = False
                else:
                    held[found.number] = found
            if cursor == 0:
                return dict(sorted(held.items())), whole
            cursor, stored = await self._retried("load", partial(self._next_parts, stream_id, cursor))

    async def _next_parts(self, stream_id: str, cursor: int) -> _Page:
        _, key = self._keys(stream_id.encode())
        (page,) = await self._run("load", [("HSCAN", key, cursor, "COUNT", PARTS_AT_ONCE)], transaction=False)
        with _reading("load"):
            following, stored = page
            return int(following), dict(zip(_of_bytes(stored), _of_bytes(stored.values()), strict=True))

    def _decode_part(self, stream_id: str, number: bytes, raw: bytes) -> Part | None:
        """None for a part that cannot be read: it is reported and left out, since the store lists it."""
        try:
            return decode_part(stream_id, number, raw)
        except UNREADABLE as exc:
            _, key = self._keys(stream_id.encode())
            self._report(key + b"[" + number + b"]", f"part left out: {_why(exc)}")
            return None

    # -- setting aside --------------------------------------------------------------------------------------------

    async def _set_aside_stream(self, stream_id: bytes, reason: str) -> None:
        async def move() -> None:
            for key in self._keys(stream_id):
                await self._move_aside("load", key)
            # Last: as long as it is a member, a start that was killed here finds it again.
            await self._commit("load", [("SREM", self._key(name), stream_id) for name in ALL_SETS])

        await self._retried("load", move)
        self._report(self._keys(stream_id)[0], f"{reason}; kept under {_shown(self._key(b'bad:'))}…")

    async def _set_aside_wrong_types(self, operation: str) -> None:
        """Make way for our sets and hashes where something else has their name."""
        wanted = {self._key(name): b"set" for name in ALL_SETS} | {self._key(MARKERS): b"hash"}
        kinds = await self._run(operation, [("TYPE", key) for key in wanted])
        for (key, kind), found in zip(wanted.items(), kinds, strict=True):
            if found not in (kind, b"none"):
                await self._set_aside(operation, key, f"it is a {_shown(found)}, not a {_shown(kind)}")

    async def _set_aside(self, operation: str, key: bytes, reason: str) -> None:
        if name := await self._move_aside(operation, key):
            self._report(key, f"{reason}; moved to {_shown(name)}")

    async def _move_aside(self, operation: str, key: bytes) -> bytes | None:
        """Rename to the first free ``bad:`` name, which is returned. What is gone already is set aside already."""
        for name in self._bad_names(key):
            try:
                (renamed,) = await self._run(operation, [("RENAMENX", key, name)])
            except RedisRejected as exc:
                if "no such key" not in str(exc):
                    raise
                return None
            if renamed:
                return name
        raise AssertionError("unreachable: there is always another name")

    async def _set_aside_marker(self, field: bytes, raw: bytes, reason: str) -> None:
        key = self._key(MARKERS)

        async def move() -> None:
            for name in self._bad_names(key + b":" + field):
                (stored,) = await self._run("marker", [("SET", name, raw, "NX")])
                if stored:
                    await self._run("marker", [("HDEL", key, field)])
                    return

        await self._retried("marker", move)
        self._report(key + b"[" + field + b"]", reason)

    def _bad_names(self, key: bytes) -> Iterator[bytes]:
        name = self._prefix + b"bad:" + key.removeprefix(self._prefix)
        yield name
        yield from (name + b"~%d" % number for number in count(2))

    def _report(self, key: bytes, reason: str) -> None:
        self._telemetry.record_set_aside(key=_shown(key), reason=reason)

    # -- asking Redis -----------------------------------------------------------------------------------------------

    def _key(self, name: bytes) -> bytes:
        return self._prefix + name

    def _keys(self, stream_id: bytes) -> tuple[bytes, bytes]:
        """The names of a stream's meta and of its parts."""
        return self._key(b"stream:" + stream_id + b":meta"), self._key(b"stream:" + stream_id + b":parts")

    async def _retried(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        return await until_it_works(f"redis.{operation}", call, policy=self._policy, observer=self._observer)

    async def _commit(self, operation: str, commands: Sequence[Command]) -> list[Any]:
        """Run the transaction; where something of another type is in its way, set that aside and run it again."""
        try:
            return await self._run(operation, commands)
        except RedisRejected as exc:
            if exc.code != "WRONGTYPE":
                raise
        await self._set_aside_wrong_types(operation)
        for key in dict.fromkeys(command[1] for command in commands if command[0] in ("HGET", "HLEN", "HSET")):
            assert isinstance(key, bytes)
            (kind,) = await self._run(operation, [("TYPE", key)])
            if kind not in (b"hash", b"none"):
                await self._set_aside(operation, key, f"it is a {_shown(kind)}, not a hash")
        return await self._run(operation, commands)

    async def _run(
        self,
        operation: str,
        commands: Iterable[Command],
        *,
        transaction: bool = True,
        wrong_type_is_none: bool = False,
        seconds: float | None = None,
    ) -> list[Any]:
        """One attempt at all commands together. Raises ``RedisUnavailable`` or ``RedisRejected``."""
        with observed(self._observer, "redis", operation, error_class):
            return await self._ask_once(
                operation, commands, transaction, wrong_type_is_none, seconds or COMMAND_SECONDS
            )

    async def _ask_once(
        self,
        operation: str,
        commands: Iterable[Command],
        transaction: bool,
        wrong_type_is_none: bool,
        seconds: float,
    ) -> list[Any]:
        assert self._client is not None, "used outside of its async with"
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        # Always a pipeline: cancelled, it gives its connection back even when it is cancelled twice.
        pipe = self._client.pipeline(transaction=transaction)
        question = next(self._questions)
        # Answered with the same word, so that answers to other questions are told from ours. One argument: redis-py
        # takes any answer to a PING that it knows as such for PONG or not.
        for command in (*commands, (f"PING {question}",)):
            pipe.execute_command(*command)
        try:
            async with asyncio.timeout(seconds) as limit, self._turns_at_redis.taken(limit):
                replies = await pipe.execute(raise_on_error=not wrong_type_is_none)
            *answers, answered = [_without_wrong_type(reply) for reply in replies]
            if answered != question.encode():
                raise ResponseError("the answers belong to other questions")
        except (RedisError, OSError, *UNREADABLE_ANSWER) as exc:  # the built-in TimeoutError is an OSError
            if task and task.cancelling() > cancels:
                raise asyncio.CancelledError from exc  # swallowed as below: nobody is there to ask again for
            error = ResponseError(f"no such answer was expected: {exc}") if isinstance(exc, UNREADABLE_ANSWER) else exc
            if isinstance(error, ResponseError) and said(error)[0] in ("", "READONLY"):
                await self._connect_anew()
            raise translate(error, operation=f"redis.{operation}") from exc
        if task and task.cancelling() > cancels:
            # redis-py sends inside wait_for, and Python 3.11's wait_for can swallow a cancellation.
            raise asyncio.CancelledError
        return answers

    async def _connect_anew(self) -> None:
        """After a failover the name in REDIS_URL leads to another server: old connections would never see it. One whose
        answers were not understood may have more of them to come."""
        assert self._client is not None
        with suppress(RedisError, OSError):
            await self._client.connection_pool.disconnect(inuse_connections=False)


def _of_bytes(items: Iterable[object]) -> list[bytes]:
    """Raises ``TypeError`` for anything else."""
    found = [item for item in items if isinstance(item, bytes)]
    if len(found) != len(list(items)):
        raise TypeError("not all of it is text")
    return found


def _bytes_or_none(answer: object) -> bytes | None:
    """Raises ``TypeError`` for anything else."""
    if answer is None or isinstance(answer, bytes):
        return answer
    raise TypeError("it is no text")


@contextmanager
def _reading(operation: str) -> Iterator[None]:
    """Round the reading of an answer: one of another shape than its question's is asked for again."""
    try:
        yield
    except UNREADABLE_ANSWER as exc:
        unread = ResponseError(f"no such answer was expected: {exc}")
        raise translate(unread, operation=f"redis.{operation}") from exc


def _without_wrong_type(reply: Any) -> Any:
    """None in place of the error that the key holds another type. Raises any other error."""
    if isinstance(reply, ResponseError):
        if said(reply)[0] != "WRONGTYPE":
            raise reply
        return None
    return reply
