"""Which files are on disk, as one whole scan met them: a file counts as gone only if that is certain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ..domain import Identity, Snapshot
from ..exceptions import ChunkProcessingError


class Census:
    """Of one moment. Blocks: for the thread that scans.

    ``by_inode``: the paths of each inode. ``moving``: inodes that left their place lately, and may not have been met at
    the new one. ``is_unknown``: whether a path lies where the scan could not look.

    The scan meets only what the patterns accept, and nothing that was created after it. So a file that it did not meet
    is looked for at its last known path, too.
    """

    def __init__(
        self,
        by_inode: Mapping[int, Sequence[str]],
        moving: Collection[int],
        is_unknown: Callable[[str], bool],
        stat: Callable[[str], Snapshot | None],
    ) -> None:
        self._by_inode = by_inode
        self._moving = moving
        self._is_unknown = is_unknown
        self._stat = stat

    def are_gone(self, files: Sequence[tuple[Identity, str]]) -> list[bool]:
        """For each file, by its identity and the path that it was last known under, whether it is nowhere in the
        folder. An inode alone proves nothing, because it is used again: where one is met, its birth is asked for."""
        return [not self._may_be_there(identity, path) for identity, path in files]

    def _may_be_there(self, identity: Identity, path: str) -> bool:
        if identity.inode in self._moving or self._is_unknown(path):
            return True
        if any(self._is_at(name, identity, if_nothing=True) for name in self._by_inode.get(identity.inode, ())):
            return True  # or it went just now, and is missed the next time
        return self._is_at(path, identity, if_nothing=False)

    def _is_at(self, path: str, identity: Identity, *, if_nothing: bool) -> bool:
        try:
            snapshot = self._stat(path)
        except ChunkProcessingError:
            return True  # unknown
        return if_nothing if snapshot is None else snapshot.identity == identity
