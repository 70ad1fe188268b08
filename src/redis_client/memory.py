"""What is remembered of finished recordings, all of it: read page by page, and pruned.

A page is one exchange. What is changed is changed by a script that looks whether the marker is still the one that was
read: the recording may have been completed again meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..domain import MarkerPage, Remembered, Status
from .connection import Command, RedisConnection, bytes_or_none, of_bytes, reading
from .format import UNREADABLE, decode_remembered, stream_of_marker, with_unseen
from .names import CENSUS, MARKERS, SETS, Names, identity_of_field, marker_field
from .quarantine import Quarantine
from .scripts import REVISE

#: Markers in a page: read and judged, they take about 5 ms.
_MARKERS_AT_ONCE = 200
_IDS_AT_ONCE = 1000


class RedisMemory:
    """The markers of one bucket and the members of ``streams:completed``. Every method waits until Redis is back."""

    def __init__(self, connection: RedisConnection, names: Names, quarantine: Quarantine, bucket: str) -> None:
        self._connection = connection
        self._retried = connection.retried
        self._quarantine = quarantine
        self._bucket = bucket
        self._markers = names.of(MARKERS)
        self._completed = names.of(SETS[Status.COMPLETED])
        self._census = names.of(CENSUS)

    async def markers(self, cursor: int) -> tuple[int, MarkerPage]:
        """Those that can be read, and the streams of the others."""
        following, found = await self._page(("HSCAN", self._markers, cursor, "COUNT", _MARKERS_AT_ONCE))
        markers: list[Remembered] = []
        skipped: set[str | None] = set()
        for field, raw in zip(found[::2], found[1::2], strict=True):
            marker = self._readable(field, raw)
            if marker is None:
                skipped.add(stream_of_marker(raw))
            else:
                markers.append(marker)
        return following, MarkerPage(markers, skipped)

    async def revise(self, changes: Sequence[tuple[Remembered, int | None]]) -> int:
        """In pieces, each at once."""
        done = 0
        for start in range(0, len(changes), _MARKERS_AT_ONCE):
            done += await self._revise_some(changes[start : start + _MARKERS_AT_ONCE])
        return done

    async def completed(self, cursor: int) -> tuple[int, list[str]]:
        """As they are written; what is no text of ours is left out."""
        following, found = await self._page(("SSCAN", self._completed, cursor, "COUNT", _IDS_AT_ONCE))
        return following, [stream_id.decode() for stream_id in found if stream_id.isascii()]

    async def leave_completed(self, stream_ids: Sequence[str]) -> None:
        """In pieces."""
        for start in range(0, len(stream_ids), _IDS_AT_ONCE):
            ids = [stream_id.encode() for stream_id in stream_ids[start : start + _IDS_AT_ONCE]]
            await self._commit(("SREM", self._completed, *ids))

    async def ran(self) -> int | None:
        """None for what is no number, too."""
        raw = await self._commit(("HGET", self._census, "ran_seconds"))
        return int(raw) if isinstance(raw, bytes) and raw.isdigit() else None

    async def set_ran(self, seconds: int) -> None:
        """Written whole."""
        await self._commit(("HSET", self._census, "ran_seconds", seconds))

    async def _commit(self, command: Command) -> Any:
        return await self._retried("census", lambda: self._once(command))

    async def _once(self, command: Command) -> Any:
        call = partial(self._connection.run, "census", [command])
        (answer,) = await self._quarantine.making_way("census", call, (self._markers, self._census))
        return answer

    async def _page(self, command: Command) -> tuple[int, list[bytes]]:
        """Where to go on, and what was found: of a hash field and value in turn."""

        async def once() -> tuple[int, list[bytes]]:
            page = await self._once(command)
            with reading("census"):
                cursor, found = page
                items = [each for pair in found.items() for each in pair] if isinstance(found, dict) else list(found)
                return int(cursor), of_bytes(items)

        return await self._retried("census", once)

    def _readable(self, field: bytes, raw: bytes) -> Remembered | None:
        """None also for a marker of another bucket."""
        try:
            return decode_remembered(self._bucket, identity_of_field(field), raw)
        except UNREADABLE:
            return None  # set aside when its file is asked for; a newer release may have written it

    async def _revise_some(self, changes: Sequence[tuple[Remembered, int | None]]) -> int:
        arguments: list[bytes] = []
        for marker, unseen in changes:
            raw = bytes_or_none(marker.state) or b""
            value = b"" if unseen is None else with_unseen(raw, unseen)
            arguments += [marker_field(marker.identity), raw, value, marker.stream_id.encode()]
        return await self._retried("census", partial(self._revise_once, arguments))

    async def _revise_once(self, arguments: Sequence[bytes]) -> int:
        step = partial(self._connection.step, "census", REVISE, (self._markers, self._completed), arguments)
        answer = await self._quarantine.making_way("census", step, (self._markers,))
        with reading("census"):
            return int(answer[1])
