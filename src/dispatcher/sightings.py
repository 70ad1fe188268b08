"""The meaning of a hint: the result of a look at its path is the input, one numbered case the output.

A hint says only that something may have happened at a path: it may be late, duplicated, or outdated. So only the look
itself and the register count, and the same sighting always leads to the same case.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum, auto

from ..domain import Snapshot

#: Seconds since the last write after which a file counts as ready. This only affects the order.
_FRESH_SECONDS = 120.0


class Case(IntEnum):
    """The cases; ``hints`` defines the action for each."""

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
    """A look at a path, and the register's information about the path and the file there.

    * ``snapshot``: the file there now; None: nothing.
    * ``is_carried_here``: the register has an active recording, of any file, at this path.
    * ``name``: the path of the active recording of this very file; None: the file has no active recording.
    * ``at_name``: the file at that path now, if it is another path; None: nothing.
    * ``done``: the snapshot at which the file at this path was done.
    * ``to_be_read``, ``ready``: the snapshot with which it waits in these queues of newcomers.
    * ``now``: seconds since 1970, like file times.
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


# 1  Nothing is there: forget the path. A recording may have had other names (hard links) and have lost its path with
#    this one, and nothing else reports that: all of those are examined again.
# 2  The same, and an active recording had the path. It gets a hint, but is not ended: a rename looks like a deletion
#    before it shows the new name, and the processor waits for that.
# 3  An active recording at its own path: its processor looks for itself.
# 4  An active recording under a new name, and its old path is gone or has another file: it was renamed. A recording
#    registered under the new name has lost its file to it.
# 5, 6  An active recording under two names. The bytewise smaller one is its path, so that the choice depends neither on
#    the order of the hints nor on a restart. The other name is logged once and ignored.
# 7  Another file is at the path of an active recording. That recording ends first, since its end decides which key the
#    file may get: the path is examined again then.
# 8  An empty file is not a recording yet. It is logged once, and is taken up with its first bytes.
# 9  Done as it is. Scans and late hints lead here; a touch does not, because the stat differs.
# 10 It waits unchanged to be read: adding it again would move it to the end of the queue.
# 11 It has changed while it waited in one of the slower queues: it grows, whatever its times are, since a share's
#    clock may be wrong. A limitation: the queue of fresh files does not compare; a file with wrong times that changes
#    there a second time leads to 13, and the third time back to here.
# 12 Written recently: it may be growing, so it does not wait behind a folder of finished files.
# 13 It is ready, and can wait.
def decide(seen: Sighting) -> Case:
    """The case of a sighting; the first that applies. The comment above explains them."""
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
