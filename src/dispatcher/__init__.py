"""All recordings together: which there are, which of them is taken up next, and how each ends.

Hints come in, and each recording gets a task that is carried by a processor, which this room knows by a factory alone.
What a file is, it asks ``ownership``; who may send, the slots decide.

``dispatcher`` has the tasks and their ends. ``hints`` looks at paths, and ``sightings`` decides what that is worth;
``register`` has the books, ``newcomers`` those who wait to be taken up, ``recovery`` the start and ``figures`` what is
counted. ``pauses`` says how long to wait after what nobody foresaw.
"""

from .dispatcher import Dispatcher

__all__ = [
    "Dispatcher",
]
