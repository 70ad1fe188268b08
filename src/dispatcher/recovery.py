"""The start: every unfinished stream in Redis resumes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..domain import STATUSES, Care, Checkpoint, Identity, World, believable, moments
from ..exceptions import Permanent
from ..ownership import Claims, Keys
from . import figures, pauses
from .register import Register


class Recovery:
    """Reads all checkpoints from Redis once: no other daemon carries any. New files are taken up only afterwards: it
    must be known first which of them are in progress."""

    def __init__(
        self, world: World, register: Register, claims: Claims, keys: Keys, go_on: Callable[[Checkpoint], None]
    ) -> None:
        self._world = world
        self._register = register
        self._claims = claims
        self._keys = keys
        self._go_on = go_on
        self._has_told = asyncio.Event()
        self._remembered: tuple[tuple[str, Identity], ...] = ()

    async def remembered(self) -> tuple[tuple[str, Identity], ...]:
        """Path and identity of each stream with a checkpoint at the start, as soon as Redis has answered."""
        await self._has_told.wait()
        return self._remembered

    @property
    def is_over(self) -> bool:
        """Whether Redis has answered."""
        return self._has_told.is_set()

    async def run(self) -> None:
        """Runs until Redis has answered. A refusal is retried indefinitely: the operator may fix the cause."""
        retry = pauses.FIRST_SECONDS
        while True:
            try:
                return await self._recover()
            except Permanent as exc:
                self._world.telemetry.emit(moments.Unexpected(file_path="", error=exc, retry_seconds=retry))
                await asyncio.sleep(retry)
                retry = pauses.longer(retry)

    async def _recover(self) -> None:
        records = await self._world.checkpoints.load()
        self._remembered = tuple((record.path, record.identity) for record in records)
        self._has_told.set()
        resumed = 0
        gone = {old.stream_id for record in records for old in record.superseded if old.stream_id != record.stream_id}
        # a successor takes care of the others
        remaining = [record for record in records if record.stream_id not in gone]
        for record in remaining:
            self._claims.uploads.keep(record)
            if STATUSES[record.status].care is Care.KEPT:
                self._register.failed.setdefault(record.identity, record)
        for record in believable(record for record in remaining if STATUSES[record.status].care is Care.CARRIED):
            if record.identity not in self._register.by_identity:
                self._keys.take(record.key, record.identity)
                self._go_on(record)
                resumed += 1
        figures.tell_how_many(self._register, self._world)
        self._world.telemetry.emit(moments.StreamsRecovered(streams=resumed))
