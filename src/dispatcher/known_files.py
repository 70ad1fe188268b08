"""Ready files that Redis knows to be done, many in one exchange: a folder may hold 100,000 of them at a start."""

from __future__ import annotations

from itertools import islice

from ..domain import Marker, Snapshot, World, moments
from ..exceptions import Permanent, Stopped, Transient
from ..ownership import Claims
from ..timeouts import timeout
from .newcomers import CLAIM_SECONDS, Queue
from .register import Register

#: Number of files in one exchange.
_AT_ONCE = 200
#: With fewer ready files, each is claimed by itself.
_FEWEST = 20


class KnownFiles:
    """Asks Redis for the next files of the queue, each once. What it does not find is left to the claims."""

    def __init__(self, world: World, claims: Claims, register: Register, queue: Queue) -> None:
        self._world = world
        self._claims = claims
        self._register = register
        self._queue = queue
        self._left = 0  # files at the head of the queue that were asked for

    async def take(self) -> list[tuple[str, Snapshot, Marker]]:
        """Files that are done as they are; they have left the queue. None: take up the next one by itself."""
        if self._left > 0:
            self._left -= 1
            return []
        if len(self._queue.files) < _FEWEST:
            return []
        asked = {path: seen.snapshot for path, seen in islice(self._queue.files.items(), _AT_ONCE)}
        known = await self._known(asked)
        found = [(path, asked[path], marker) for path, marker in known.items() if self._is_free(path, asked[path])]
        for path, _, _ in found:
            self._queue.take(path)
        self._left = len(asked) - len(found)
        return found

    def _is_free(self, path: str, snapshot: Snapshot) -> bool:
        """Whether it still waits as it was, and has no stream, not even a failed one."""
        streams, identity = self._register, snapshot.identity
        is_held = path in streams.by_path or identity in streams.by_identity or identity in streams.failed
        return not is_held and self._queue.snapshot(path) == snapshot

    async def _known(self, asked: dict[str, Snapshot]) -> dict[str, Marker]:
        try:
            async with timeout(CLAIM_SECONDS):
                return await self._claims.known(asked)
        except (Permanent, Transient, Stopped, TimeoutError):
            return {}  # the claim of each file reports it, and delays no other
        except Exception as exc:  # noqa: BLE001 - one bad file never stops the others; it is reported whole
            self._world.telemetry.emit(moments.Unexpected(file_path="", error=exc, retry_seconds=0.0))
            return {}
