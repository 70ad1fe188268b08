"""Which keys the files of this daemon's living streams have, so that two of them never meet at one.

Of this process: nothing in Redis keeps another daemon from taking the same key.
"""

from __future__ import annotations

from ..domain import Identity


class Keys:
    """Whose key is whose; a key that nobody has is free for whoever takes it first."""

    def __init__(self) -> None:
        self._owners: dict[str, Identity] = {}

    def take(self, key: str, identity: Identity) -> bool:
        """True when the key is this file's now; taking it twice is no error."""
        return self._owners.setdefault(key, identity) == identity

    def is_anothers(self, key: str, identity: Identity) -> bool:
        """Whether a living stream has it, and not this file's."""
        return self._owners.get(key, identity) != identity

    def is_taken(self, key: str) -> bool:
        """Whether a living stream has it."""
        return key in self._owners

    def leave(self, key: str, identity: Identity) -> None:
        """The file's stream passed the key by, or has gone on to another."""
        if self._owners.get(key) == identity:
            del self._owners[key]

    def give_back(self, identity: Identity) -> None:
        """The file's stream has ended."""
        self._owners = {key: owner for key, owner in self._owners.items() if owner != identity}
