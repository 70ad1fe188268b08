"""What a hint is worth: what a look at its path has shown goes in, one numbered case comes out.

A hint says only that something may have happened at a path: it may be late, doubled, or about something that is over.
So nothing is believed but the look itself and the books, and the same sighting always leads to the same case.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum, auto

from ..domain import Snapshot

#: Seconds since the last write after which a file is taken to lie ready. Only the order depends on it.
_FRESH_SECONDS = 120.0


class Case(IntEnum):
    """Which case it is; ``hints`` says what is done in each."""

    GONE = auto()
    GONE_WHILE_CARRIED = auto()
    ITS_OWN_PATH = auto()
    MOVED = auto()
    LINK = auto()
    BETTER_NAME = auto()
    IN_ANOTHERS_PLACE = auto()
    EMPTY = auto()
    DONE = auto()
    WAITS_TO_BE_READ = auto()
    CHANGED_WHILE_IT_WAITED = auto()
    WRITTEN_LATELY = auto()
    LIES_READY = auto()


@dataclass(frozen=True, slots=True)
class Sighting:
    """A look at a path, and what the books say of the path and of the file that is there.

    * ``snapshot``: what is there now; None: nothing.
    * ``is_carried_here``: by the books a living recording, of whatever file, has this path.
    * ``name``: the path that the living recording of this very file has; None: the file has no living recording.
    * ``at_name``: what is at that path now, looked at if it is another path; None: nothing.
    * ``done``: as what the file at this path was done.
    * ``to_be_read``, ``ready``: as what it waits in these queues of newcomers.
    * ``now``: seconds since 1970, as file times are.
    """

    path: str
    snapshot: Snapshot | None
    now: float
    is_carried_here: bool = False
    name: str | None = None
    at_name: Snapshot | None = None
    done: Snapshot | None = None
    to_be_read: Snapshot | None = None
    ready: Snapshot | None = None


# 1  Nothing is there: what was known of the path is forgotten. A recording may have had other names (hard links) and
#    have lost its path with this one, and nobody else will say so: all of those are looked at again.
# 2  The same, and a living recording had the path. It is told, but not ended: a rename shows as a file that is gone
#    before it shows as one that is new, and the processor waits for that.
# 3  A living recording, where it belongs: its processor looks for itself.
# 4  A living recording under a new name, and its old one is gone or has another file: it was renamed. Whoever had the
#    new name by the books has lost his file to it.
# 5, 6  A living recording under two names. The bytewise smaller one is its path, so that the choice depends neither on
#    which hint came first nor on a restart. The other name is told of once and left alone.
# 7  Another file lies where a living recording was. What became of that one comes first, since its end decides under
#    which key the file may go: the path is looked at again then.
# 8  An empty file is none yet. It is told of once, and is taken up with its first bytes.
# 9  Done as it is. Scans and late hints come here; a touch does not, it is another stat.
# 10 It waits to be read, as it is: to put it in anew would send it to the end of the queue.
# 11 It has changed while it waited in one of the patient queues: it grows, whatever its times say, because a share's
#    clock may be wrong. A wart: among the fresh nobody compares, and a file with such times that changes there a second
#    time comes to 13, and back to here with the third.
# 12 Written to lately: it may be growing, so it does not stand behind a folder of finished files.
# 13 It lies ready: it has time.
def decide(seen: Sighting) -> Case:
    """The case of a sighting; the first that applies. What each means, and why, is said above."""
    snapshot = seen.snapshot
    if snapshot is None:
        if seen.is_carried_here:
            return Case.GONE_WHILE_CARRIED
        return Case.GONE
    if seen.name is not None:
        if seen.name == seen.path:
            return Case.ITS_OWN_PATH
        if seen.at_name is None or seen.at_name.identity != snapshot.identity:
            return Case.MOVED
        if os.fsencode(seen.path) > os.fsencode(seen.name):
            return Case.LINK
        return Case.BETTER_NAME
    if seen.is_carried_here:
        return Case.IN_ANOTHERS_PLACE
    if snapshot.size == 0:
        return Case.EMPTY
    if seen.done == snapshot:
        return Case.DONE
    if seen.to_be_read == snapshot:
        return Case.WAITS_TO_BE_READ
    if seen.to_be_read is not None or seen.ready not in (None, snapshot):
        return Case.CHANGED_WHILE_IT_WAITED
    if seen.now - snapshot.mtime_ns / 1e9 < _FRESH_SECONDS:
        return Case.WRITTEN_LATELY
    return Case.LIES_READY
