"""Checkpoints in Redis.

The only package that uses redis-py. It defines the Redis keys, the sets and the storage format. A value that cannot be
read is set aside under another key, never guessed.

``checkpoints`` implements the port of that name in ``domain.ports``. ``names`` defines the keys and ``format`` the
encoding; ``reader`` and ``writer`` use them, and ``quarantine`` sets invalid values aside. ``connection`` makes the
requests for all of them, and ``turns`` limits its connections. ``probe_notes`` stores notes for the store's probe.
``outside`` is for commands that only look.

Another store for checkpoints is another package: ``domain.ports.Checkpoints`` defines what it must do, and what else
depends on Redis; ``tests/contract/test_checkpoints.py`` tests it, and ``main._checkpoints`` builds it.
"""

from .checkpoints import RedisCheckpoints
from .outside import RedisOutside, open_outside
from .probe_notes import RedisProbeNotes
from .unfinished import read_unfinished

__all__ = [
    "RedisCheckpoints",
    "RedisOutside",
    "RedisProbeNotes",
    "open_outside",
    "read_unfinished",
]
