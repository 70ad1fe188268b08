"""The one place where requests to the store are repeated: above the edge, which makes one attempt, and holding nothing.

An attempt takes a turn, asks, and gives the turn back, also when it fails. Only then is waited, with the one policy
(``retry``), and before that the recording gives back whatever others may wait for (``errand``).

While the store as a whole does not answer, one small request asks for all: nobody takes a turn or reads a chunk until
it is answered. A refusal is an answer: what the store refuses is for each recording to ask again.
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

#: What the store refuses so many times, or leaves so many times without an answer, while it answers all else, it does
#: not tell. Not at the first: a store that is asked too much refuses this and that.
_REFUSALS = 3
_SILENCES = 8


class PatientStore:
    """The port ``ObjectStore``: small requests are repeated until they work, each attempt in a turn of its own.

    A part is sent once (``upload_part``), because its turn, its memory and its bytes are the sender's: he repeats it
    with ``until_it_works``. A completion is never repeated once it was sent.
    """

    def __init__(self, store: ObjectStore, slots: Slots, *, policy: RetryPolicy, emit: moments.Emit) -> None:
        self._store = store
        self._slots = slots
        self._policy = policy
        self._emit = emit
        self._way = _Way(store.ping, policy, slots.end_all_probations)
        # No requests: the store is only reminded, or says what it remembers.
        self.has_no_checksums = store.has_no_checksums
        self.begun_without_checksums = store.begun_without_checksums

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
                    # A refusal is an answer all the same.
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

        # Whoever gets none sends the part: no store keeps a recording waiting because it cannot copy.
        return await self.where_told("copy_part", copy)

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        return await self._ask("list_parts", lambda: self._store.list_parts(key, upload_id))

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        """The edge raises only what happened before it was sent."""

        async def complete() -> Answer:
            return await self._store.complete_upload(key, upload_id, manifest, parts)

        # In no turn: it holds no memory, and a store may take a quarter of an hour to answer it.
        return await self.until_it_works("probe", complete)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self._ask("abort_upload", lambda: self._store.abort_upload(key, upload_id))

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        return await self._ask("list_uploads", lambda: self._store.list_uploads(key))

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        return await self._ask("list_uploads", lambda: self._store.list_uploads_under(prefix))

    async def head(self, key: str) -> StoredObject | None:
        return await self._ask("head", lambda: self._store.head(key))

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
    """Whether the store as a whole answers, as far as anybody knows; while it does not, one of those who wait asks."""

    def __init__(self, ask: Callable[[], Awaitable[None]], policy: RetryPolicy, when_back: Callable[[], None]) -> None:
        self._ask = ask
        self._policy = policy
        self._when_back = when_back
        self._is_silent = self._was_missed = False
        self._failures = 0
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Wait until the store answers. Raises ``Stopped`` when the daemon stops."""
        while self._is_silent:
            current_errand().make_room()
            async with self._asking:
                if self._is_silent:
                    await self._policy.wait_out(self._policy.wait_in_a_row(self._failures))
                    await self._look()

    async def look(self) -> None:
        """After a failure: is it the store, or what it was asked? Who fails while another looks need not."""
        if not self._is_silent and not self._asking.locked():
            async with self._asking:
                await self._look()

    async def _look(self) -> None:
        with suppress(S3Unavailable):
            await self.ask()

    async def answers(self) -> bool:
        """Whether the store as a whole does, and refuses nothing."""
        try:
            await self.ask()
        except S3Unavailable:
            return False
        return True

    async def ask(self) -> None:
        """Ask once. Raises ``S3Unavailable``; a refusal is an answer all the same. Once all is well again whoever waits
        is woken."""
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
