"""The way to a running daemon on this machine: a socket that its commands use, and nobody else.

An abstract Unix socket, so that it needs no file and no writable folder. Its name follows from the watched folder and
``REDIS_KEY_PREFIX``, so that a command finds the daemon of its settings. It speaks HTTP and JSON. Only root and the
daemon's own user are answered; whoever asks checks the other end, too.

``names`` is for both ends, ``caller`` for commands; the other end is ``doorkeeper``. Only the standard library is used.
"""

from .caller import LONG_ANSWER_SECONDS, Door, DoorError, NoAnswer, Refused, find_doors, knock
from .names import MISSING_FOLDER, Peer, name_of, peer_of

__all__ = [
    "LONG_ANSWER_SECONDS",
    "MISSING_FOLDER",
    "Door",
    "DoorError",
    "NoAnswer",
    "Peer",
    "Refused",
    "find_doors",
    "knock",
    "name_of",
    "peer_of",
]
