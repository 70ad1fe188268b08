"""The memory: checkpoints in Redis.

redis-py is known here alone. Keys, sets and the format of what is written are this room's own; a value that cannot be
read is set aside under another key, never guessed at.

``checkpoints`` fulfils the port of that name in ``domain.ports``. ``names`` and ``format`` say what lies where and how
it is written down, ``reader`` and ``writer`` do it, ``quarantine`` moves aside what cannot be used, and ``connection``
is the one exchange with Redis under all of them, with ``turns`` at its connections. ``probe_notes`` are for the store.
"""

from .checkpoints import RedisCheckpoints
from .probe_notes import RedisProbeNotes

__all__ = [
    "RedisCheckpoints",
    "RedisProbeNotes",
]
