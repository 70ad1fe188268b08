"""The keys of this daemon's active streams, so that no two of them use the same one.

Only for this process: nothing in Redis prevents another daemon from taking the same key.
"""

from __future__ import annotations

from ..domain import Identity


class Keys:
    """Maps keys to files; the first stream to ask gets a free key."""

    def __init__(self) -> None:
        self._owners: dict[str, Identity] = {}

    def take(self, key: str, identity: Identity) -> bool:
        """True if the key is this file's now; taking it twice is not an error."""
        return self._owners.setdefault(key, identity) == identity

    def is_anothers(self, key: str, identity: Identity) -> bool:
        """Whether the active stream of another file has it."""
        return self._owners.get(key, identity) != identity

    def is_taken(self, key: str) -> bool:
        """Whether an active stream has it."""
        return key in self._owners

    def leave(self, key: str, identity: Identity) -> None:
        """The file's stream gave up the key, or has moved on to another."""
        if self._owners.get(key) == identity:
            del self._owners[key]

    def give_back(self, identity: Identity) -> None:
        """The file's stream has ended."""
        # All of its keys: a stream that moves to another key has taken that before it leaves the old one.
        self._owners = {key: owner for key, owner in self._owners.items() if owner != identity}
