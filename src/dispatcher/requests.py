"""What an operator asks for: try a failed recording again, or give it up; and whether anything is left to do.

A failed stream is in the register and has no task, so that nothing else acts on it meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from ..domain import Checkpoint, Identity, World
from ..exceptions import Stopped, silent_file
from ..ownership import Keys
from ..timeouts import timeout
from . import figures
from .hints import Hints
from .newcomers import Newcomers
from .recovery import Recovery
from .register import Register

#: How long a look at the file may take.
LOOK_SECONDS = 10.0


class Refusal(StrEnum):
    """Why nothing was done."""

    UNKNOWN = "unknown"  # no recording that failed has this ID
    FILE_MISSING = "file_missing"  # there is nothing to try again with
    FILE_THERE = "file_there"  # its file would be uploaded as a new recording


@dataclass(frozen=True, slots=True)
class GivingUp:
    """What is given up: the stream's key and uploads, with the bytes that S3 holds in the current one."""

    key: str
    upload_ids: tuple[str, ...]
    stored: int


class Requests:
    """Acts on failed streams, and only on them."""

    def __init__(
        self, world: World, register: Register, newcomers: Newcomers, hints: Hints, recovery: Recovery, keys: Keys
    ) -> None:
        self._world = world
        self._register = register
        self._newcomers = newcomers
        self._hints = hints
        self._recovery = recovery
        self._keys = keys
        self._giving_up: dict[Identity, tuple[Checkpoint, asyncio.Event]] = {}
        self._stopping = False

    def stop(self) -> None:
        """The daemon stops: what still waits is not taken up any more."""
        self._stopping = True

    async def until_given_up(self, path: str, identity: Identity) -> None:
        """Returns when neither this file's recording nor one that had its path is being given up: its end decides what
        may be claimed."""
        while over := self._given_up_for(path, identity):
            await over.wait()

    def _given_up_for(self, path: str, identity: Identity) -> asyncio.Event | None:
        of_file = (over for record, over in self._giving_up.values() if identity == record.identity)
        of_path = (over for record, over in self._giving_up.values() if path == record.path)
        return next(of_file, None) or next(of_path, None)

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    @property
    def nothing_is_left(self) -> bool:
        """Whether every file that was hinted is done, has failed or is ignored."""
        return (
            not self._stopping
            and self._recovery.is_over
            and self._hints.nothing_is_left
            and not len(self._newcomers)
            and not self._register.by_identity
        )

    async def retry(self, stream_id: str) -> Refusal | None:
        """Try the failed recording again, as after a change of its file.

        Raises ``ChunkProcessingError``, and ``Stopped`` if only the next start will try it.
        """
        if self._stopping:
            raise Stopped
        record = self._failed(stream_id)
        if record is None:
            return Refusal.UNKNOWN
        if not await self._is_there(record):
            return Refusal.FILE_MISSING
        self._hints.add(record.path)
        return None

    async def give_up(self, stream_id: str, *, apply: bool) -> GivingUp | Refusal:
        """Abort the stream's own uploads and forget it; without ``apply`` only say so.

        Uploads first: a kill in between leaves a checkpoint whose upload is gone, which is given up again. Uploads of
        earlier recordings of the same name stay; they are failed recordings of their own after the next start. Waits
        for the store and Redis, and a claim of the file waits for this; if it is cancelled or raises, the recording is
        failed as before.
        """
        record = self._failed(stream_id)
        if record is None:
            return Refusal.UNKNOWN
        if await self._is_there(record):
            return Refusal.FILE_THERE
        own = [(old.key, old.upload_id) for old in record.superseded if old.stream_id == record.stream_id]
        uploads = [(key, one) for key, one in [(record.key, record.upload_id), *own] if one is not None]
        plan = GivingUp(record.key, tuple(one for _, one in uploads), sum(p.size for p in record.parts.values()))
        if not apply:
            return plan
        if self._register.failed.pop(record.identity, None) is None:
            return Refusal.UNKNOWN  # its file was seen again while this looked for it
        over = asyncio.Event()
        self._giving_up[record.identity] = record, over
        try:
            for key, upload_id in uploads:
                await self._world.store.abort_upload(key, upload_id)
            await self._world.checkpoints.forget(record.stream_id)
        except BaseException:
            self._register.failed.setdefault(record.identity, record)
            raise
        else:
            self._keys.give_back(record.identity)
        finally:
            del self._giving_up[record.identity]
            over.set()
        figures.tell_how_many(self._register, self._world)
        return plan

    def _failed(self, stream_id: str) -> Checkpoint | None:
        return next((each for each in self._register.failed.values() if each.stream_id == stream_id), None)

    async def _is_there(self, record: Checkpoint) -> bool:
        """Raises ``ChunkProcessingError``, also if the file hangs: so a timeout of the rest means store or Redis."""
        try:
            async with timeout(LOOK_SECONDS):
                snapshot = await self._world.recordings.snapshot(record.path)
        except TimeoutError:
            raise silent_file(LOOK_SECONDS) from None
        return snapshot is not None and snapshot.identity == record.identity
