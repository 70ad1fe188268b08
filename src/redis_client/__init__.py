"""The memory: checkpoints in Redis.

redis-py is known here alone. Keys, sets and the format of what is written are this room's own; a value that cannot be
read is set aside under another key, never guessed at.
"""

from .checkpoints import RedisCheckpoints
from .probe_notes import RedisProbeNotes

__all__ = [
    "RedisCheckpoints",
    "RedisProbeNotes",
]
