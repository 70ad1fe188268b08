"""The one place with retries of requests to the store: above ``S3Client``, which makes one attempt, and holding
nothing.

An attempt acquires a turn, sends the request, and releases the turn, also on failure. Only then it waits, by the common
policy (``retry``); before that the recording releases everything that others may wait for (``errand``).

During an outage of the store, one small request stands for all: no caller acquires a turn or reads a chunk until it is
answered. A refusal is an answer: each recording repeats a refused request itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from ..domain import (
    Answer,
    Chunk,
    ChunkBody,
    Hashes,
    ListedObject,
    Manifest,
    Need,
    ObjectStore,
    OpenUpload,
    Slots,
    StoredObject,
    StoredPart,
    current_errand,
    moments,
)
from ..exceptions import S3OperationError, S3Rejected, S3Unavailable
from ..retry import RetryPolicy, until_it_works

T = TypeVar("T")

#: Number of refusals, or of missing answers, of one request, while the store answers all others, after which its
#: information counts as unavailable. Not at the first: an overloaded store refuses single requests.
_REFUSALS = 3
_SILENCES = 8


class PatientStore:
    """The port ``ObjectStore`` with retries: small requests are repeated until they succeed, each attempt in a turn of
    its own.

    A part is sent once (``upload_part``), because the sender owns its turn, its memory and its bytes, and repeats it
    with ``until_it_works``. A completion is never repeated once it was sent.
    """

    def __init__(self, store: ObjectStore, slots: Slots, *, policy: RetryPolicy, emit: moments.Emit) -> None:
        self._store = store
        self._slots = slots
        self._policy = policy
        self._emit = emit
        self._way = _Way(store.ping, policy, slots.end_all_probations)
        # No requests: these only read and write local state.
        self.has_no_checksums = store.has_no_checksums
        self.begun_without_checksums = store.begun_without_checksums
        self.completed = store.completed
        self.may_hold_more = store.may_hold_more
        self.refuses_a_second_put = store.refuses_a_second_put
        # Neither retried nor in a turn of its own: its caller has one, and decides what follows.
        self.put_whole = store.put_whole

    @property
    def bucket(self) -> str:
        return self._store.bucket

    @property
    def is_atomic(self) -> bool:
        return self._store.is_atomic

    async def ping(self) -> None:
        await self._way.ask()

    async def until_it_works(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        async def attempt() -> T:
            await self._way.open()
            try:
                return await call()
            except S3Unavailable as exc:
                if not exc.misconfigured:
                    await self._way.look()
                raise

        return await until_it_works(f"s3.{operation}", attempt, policy=self._policy, emit=self._emit)

    async def where_told(self, operation: str, ask: Callable[[ObjectStore], Awaitable[T]]) -> T | None:
        failures = {True: 0, False: 0}  # refused, or left without an answer

        async def told() -> T | None:
            try:
                return await self._in_a_turn(operation, lambda: ask(self._store))
            except S3Rejected:
                return None
            except S3Unavailable as exc:
                if await self._way.answers():
                    failures[exc.misconfigured] += 1
                if failures[True] >= _REFUSALS or failures[False] >= _SILENCES:
                    return None
                raise

        return await self.until_it_works(operation, told)

    async def _ask(self, operation: str, call: Callable[[], Awaitable[T]], *, need: Need | None = None) -> T:
        async def ask() -> T:
            if need is not None:  # it may take a minute, in which others need the turn
                await self._store.learn(need)
            return await self._in_a_turn(operation, call)

        return await self.until_it_works(operation, ask)

    async def _in_a_turn(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with self._slots.turn():
                try:
                    answer = await call()
                except S3OperationError as exc:
                    # A refusal is an answer, too.
                    self._slots.ask_answered(answered=not isinstance(exc, S3Unavailable))
                    raise
        except TimeoutError:
            self._slots.ask_answered(answered=False)
            raise S3Unavailable(f"{operation}: no answer while many others waited", operation=operation) from None
        self._slots.ask_answered(answered=True)
        return answer

    async def hashes(self, upload_id: str | None = None) -> Hashes:
        return await self.until_it_works("probe", lambda: self._store.hashes(upload_id))

    async def hashes_of_copies(self) -> Hashes:
        return await self.until_it_works("probe", self._store.hashes_of_copies)

    async def learn(self, need: Need) -> None:
        await self.until_it_works("probe", lambda: self._store.learn(need))

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        async def create() -> str:
            return await self._store.create_upload(key, metadata, of_copies=of_copies)

        return await self._ask("create_upload", create, need=Need.COPY if of_copies else Need.CREATE)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        return await self._store.upload_part(key, upload_id, number, body)

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        async def copy(store: ObjectStore) -> StoredPart | None:
            return await store.copy_part(key, upload_id, chunk, source_key=source_key, source_etag=source_etag)

        # Without an answer the part is sent instead: no recording waits because a store cannot copy.
        return await self.where_told("copy_part", copy)

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        return await self._ask("list_parts", lambda: self._store.list_parts(key, upload_id))

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        """``S3Client`` raises only errors from before the completion was sent."""

        async def complete() -> Answer:
            return await self._store.complete_upload(key, upload_id, manifest, parts)

        # Without a turn: it holds no memory, and a store may need a quarter of an hour to answer.
        return await self.until_it_works("probe", complete)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self._ask("abort_upload", lambda: self._store.abort_upload(key, upload_id))

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        return await self._ask("list_uploads", lambda: self._store.list_uploads(key))

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        return await self._ask("list_uploads", lambda: self._store.list_uploads_under(prefix))

    async def head(self, key: str) -> StoredObject | None:
        return await self._ask("head", lambda: self._store.head(key))

    async def glance(self, key: str) -> StoredObject | None:
        return await self._ask("head", lambda: self._store.glance(key))

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        return await self._ask("list_objects", lambda: self._store.list_objects(prefix, wanted))

    async def object_crc64(self, key: str, etag: str) -> int | None:
        return await self._ask("get_object", lambda: self._store.object_crc64(key, etag))

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        async def put() -> bool:
            return await self._store.put_document(key, body, replaces=replaces)

        return await self._ask("put_document", put, need=Need.DOCUMENT)

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        return await self._ask("get_document", lambda: self._store.get_document(key))


class _Way:
    """The known availability of the store as a whole; during an outage one of the waiting callers checks it."""

    def __init__(self, ask: Callable[[], Awaitable[None]], policy: RetryPolicy, when_back: Callable[[], None]) -> None:
        self._ask = ask
        self._policy = policy
        self._when_back = when_back
        self._is_silent = self._was_missed = False
        self._failures = 0
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Wait until the store is available. Raises ``Stopped`` if the daemon stops."""
        while self._is_silent:
            current_errand().make_room()
            async with self._asking:
                if self._is_silent:
                    await self._policy.wait_out(self._policy.wait_in_a_row(self._failures))
                    await self._look()

    async def look(self) -> None:
        """After a failure: was it the store, or the request? Only one caller checks at a time."""
        if not self._is_silent and not self._asking.locked():
            async with self._asking:
                await self._look()

    async def _look(self) -> None:
        with suppress(S3Unavailable):
            await self.ask()

    async def answers(self) -> bool:
        """Whether the store as a whole is available, and refuses nothing."""
        try:
            await self.ask()
        except S3Unavailable:
            return False
        return True

    async def ask(self) -> None:
        """Check once. Raises ``S3Unavailable``; a refusal is an answer, too. When the store is available again, all
        waiting callers are woken."""
        try:
            await self._ask()
        except S3Unavailable as exc:
            self._was_missed = True
            self._is_silent = not exc.misconfigured
            self._failures += 1
            raise
        self._failures = 0
        self._is_silent = False
        if self._was_missed:
            self._was_missed = False
            self._when_back()
            self._policy.bell.ring()
