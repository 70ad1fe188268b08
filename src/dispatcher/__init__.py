"""All recordings together: which there are, which of them is taken up next, and how each ends.

Hints come in, and each recording gets a task that is carried by a processor, which this room knows by a factory alone.
What a file is, it asks ``ownership``; who may send, the slots decide.
"""

from .dispatcher import Dispatcher

__all__ = [
    "Dispatcher",
]
