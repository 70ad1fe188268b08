"""All recordings together: which exist, which is taken up next, and how each ends.

Hints arrive, and each recording gets a task with a processor, which this package creates only through a factory.
``ownership`` determines what a file is; ``slots`` decides which recording may send.

``dispatcher`` owns the tasks and their ends. ``hints`` looks at paths, and ``sightings`` decides what a look means;
``register`` keeps the state of all recordings, ``newcomers`` the queues of files to be taken up, ``head_start`` their
order at the start, ``known_files`` those of them that Redis knows, ``recovery`` the resumption at start, and
``figures`` the counts. ``pauses`` defines the waiting time after unexpected errors.

Every recording ends in ``Dispatcher._settle``: add what follows from that there, such as deleting the local file. It
runs again for every finished file at each start. What is to happen once for each object and must survive a kill, such
as a notification to another program, belongs in ``stream_processor.describing``.
"""

from .dispatcher import Dispatcher
from .requests import GivingUp, Refusal, Requests

__all__ = [
    "Dispatcher",
    "GivingUp",
    "Refusal",
    "Requests",
]
