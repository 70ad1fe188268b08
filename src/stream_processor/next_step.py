"""Decides what a stream does next from facts: at its start, from then on, after a refusal, and after a loss.

Pure. Facts are arguments, and the result is one numbered case; ``StreamProcessor`` acts on it, and returns with the
facts as they are then. Facts that are expensive to determine (open writers, whether the file's structure proves its
end) are not gathered in advance: a case requests them, and the answer is a fact of the next decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from ..domain import (
    SOURCE_MISSING,
    STATUSES,
    Checkpoint,
    Marker,
    OverCapacity,
    Resume,
    Snapshot,
    Status,
    StoredObject,
    resuming,
    whose,
)
from ..exceptions import ChunkProcessingError, FileChanged, PartNotTaken, PartNumberRefused, PartTooLarge, UploadGone

# At the start of a stream. A checkpoint may be outdated: each case but the first two queries the store.
#
#  1  a stream of the same file that began later is done, or this very stream is -> leave the file to it. Redis has lost
#     the end of this stream, or got one of its writes late, after the end. The file may contain a later recording now.
#  2  the parts of a missing file were being completed -> finish that. Before 4, which would treat the parts as the
#     whole file.
#  3  the object was proved -> check that it still exists, and describe it
#  4  a completion was sent and its answer is unknown -> determine its result
#  5  there is an upload -> continue with the parts that the store lists
#  6  there is none -> save the checkpoint, then look for an upload from before a data loss in Redis
#
# From then on, until the object is proved. The order is the protocol: an upload before its parts, copies before sent
# parts, and all whole chunks before the question whether the recording has ended.
#
#  7  the object is proved -> describe it
#  8  the recording was about to be completed, and was not -> save that it continues
#  9  no upload -> create one
# 10  it replaces an object, of which nothing was copied yet -> copy the unchanged chunks
# 11  the file was not looked at since the last action -> look
# 12  it is shorter than the object to be replaced -> keep that object: the file contains another recording. Before
#     anything is sent, and never in the seal: that would overwrite the object.
# 13  it exceeds the maximum object size -> fail, before any of it is sent
# 14  there may be whole chunks on disk that are not in S3 -> send them for one turn, then look again (11). Before 16: a
#     recording that was finished when it was found is also sent chunk by chunk, in turns with others.
# 15  the file is empty -> wait for a hint, however long: an empty object is useless
# 16  it has been quiet for the timeout -> finish
# 17  it is quiet, but not for long enough -> ask whether its end is proved. ``Sight`` remembers whether the question is
#     useful (quiet for two seconds, never reopened), and otherwise answers no without any system call.
# 18  its end is proved -> finish without waiting for the rest of the timeout
# 19  else -> wait: for a hint, for the timeout, or for the next question
#
# A recording that may be sent in one request (``whole_below``) needs no upload: it is looked at (11) before 9, and gets
# one only when it is longer. The caller that finishes it checks whether it has one.
#
# A limitation: 12 detects a shorter file only after the object was checked (10), and by its size alone. A new recording
# that is longer than the old one in the same file is sent as its continuation; the seal finds all of it changed.


class Case(Enum):
    """What to do next; the numbers are those of the table above."""

    LEAVE_TO_LATER = 1
    FINISH_REMAINS = 2
    LOOK_AT_OBJECT = 3
    SETTLE = 4
    REJOIN = 5
    ADOPT = 6
    PROVED = 7
    GO_ON = 8
    OPEN = 9
    COPY = 10
    LOOK = 11
    LEAVE_OBJECT = 12
    TOO_LONG = 13
    SEND = 14
    EMPTY = 15
    QUIET = 16
    ASK_FOR_END = 17
    END_PROVED = 18
    WAIT = 19


def are_remains(record: Checkpoint) -> bool:
    """Whether the parts of a missing file are being completed as an object."""
    return record.status is Status.PENDING_COMPLETION and record.failure == SOURCE_MISSING


def _has_ended(record: Checkpoint, marker: Marker) -> bool:
    """Whether the marker is that of this very stream, and of this file. Replacements of its object are counted."""
    is_same = (marker.stream_id, marker.started_at) == (record.stream_id, record.started_at)
    is_of_same_file = record.manifest is None or record.manifest.snapshot == marker.snapshot
    return is_same and is_of_same_file and marker.replacements >= record.replacements


def taking_up(record: Checkpoint, later: Marker | None) -> Case:
    """Cases 1 to 6. ``later``: the marker in Redis of a completed stream of the same file, or of this one."""
    if later is not None and (later.started_at > record.started_at or _has_ended(record, later)):
        return Case.LEAVE_TO_LATER
    if are_remains(record):
        return Case.FINISH_REMAINS
    match resuming.where_to_resume(record):
        case Resume.DESCRIBE:
            return Case.LOOK_AT_OBJECT
        case Resume.RESOLVE_COMPLETION:
            return Case.SETTLE
        case Resume.UPLOAD:
            return Case.REJOIN
    return Case.ADOPT


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a running stream. ``now`` and ``idle_at`` are on the monotonic clock.

    ``is_copied``: unchanged parts of the replaced object were copied into this upload. ``replaced_size``: size of that
    object, 0 if there is none. ``seen``: the file at a look since the last action; None: not looked at. ``all_sent``:
    every chunk that was whole then is in S3. ``end_is_proved``: None if not asked yet.
    ``whole_below``: size from which on it needs an upload; below, it is sent in one request when it has ended.
    """

    record: Checkpoint
    is_copied: bool
    replaced_size: int
    largest_object: int
    whole_below: int
    seen: Snapshot | None = None
    all_sent: bool = False
    now: float = 0.0
    idle_at: float = inf
    end_is_proved: bool | None = None


def decide(facts: Facts) -> Case:
    """Cases 7 to 19."""
    record, seen = facts.record, facts.seen
    if STATUSES[record.status].is_proved:
        return Case.PROVED
    if not STATUSES[record.status].is_growing:
        return Case.GO_ON
    if record.upload_id is None:
        is_short = seen is None or seen.size < facts.whole_below
        if not (facts.whole_below and is_short):
            return Case.OPEN
    if record.replaces is not None and not facts.is_copied:
        return Case.COPY
    if seen is None:
        return Case.LOOK
    if seen.size < facts.replaced_size:
        return Case.LEAVE_OBJECT
    if seen.size > facts.largest_object:
        return Case.TOO_LONG
    if not facts.all_sent:
        return Case.SEND
    if not seen.size:
        return Case.EMPTY
    if facts.now >= facts.idle_at:
        return Case.QUIET
    if facts.end_is_proved is None:
        return Case.ASK_FOR_END
    if facts.end_is_proved:
        return Case.END_PROVED
    return Case.WAIT


# After an error. It shows which assumption was wrong: about the file (1, 2), about the upload (3), or about what the
# store accepts (4 to 7).
#
#  1  the file has changed -> re-examine it, and continue from there. Not a failure: a recorder writes.
#  2  it cannot be read now -> the same step again, after a pause
#  3  the store does not know the upload -> check the object: the upload may have been completed
#  4  the schedule has no part for the file's end -> another upload with larger parts
#  5  the store accepts fewer parts -> another upload with fewer parts
#  6  a server refuses a body of that size -> another upload with smaller parts
#  7  the store cannot accept this part in this upload -> another upload
#  8  anything else is decided elsewhere: a permanent failure, an outage of the store or of Redis, a missing file, a bug


class Refusal(Enum):
    """What a refusal leads to; the numbers are those of the table above."""

    BACK = 1
    PAUSE = 2
    LOOK_AT_OBJECT = 3
    LARGER_PARTS = 4
    FEWER_PARTS = 5
    SMALLER_PARTS = 6
    ANOTHER_UPLOAD = 7
    NOT_OURS = 8


def after_refusal(error: BaseException) -> Refusal:
    """The action after ``error``."""
    match error:
        case FileChanged():
            return Refusal.BACK
        case ChunkProcessingError():
            return Refusal.PAUSE
        case UploadGone():
            return Refusal.LOOK_AT_OBJECT
        case OverCapacity():
            return Refusal.LARGER_PARTS
        case PartNumberRefused():
            return Refusal.FEWER_PARTS
        case PartTooLarge():
            return Refusal.SMALLER_PARTS
        case PartNotTaken():
            return Refusal.ANOTHER_UPLOAD
        case _:
            return Refusal.NOT_OURS


# When the store no longer knows the upload (refusal 3). Only the object shows whether the upload was completed or
# aborted, or has expired.
#
#  1  nothing is at the key, or still the object to be replaced -> the upload is lost: create another one for the same
#     key, under the same condition. If the object to be replaced is gone, nothing is replaced any more.
#  2  an object whose bytes were not compared with the file's yet -> compare them: equal sizes prove nothing
#  3  the object equals the file, whoever completed it -> proved; nothing is sent again
#  4  other bytes, but made by this stream, or from this very file and not longer than it: our own completion, whose
#     answer was lost, and the file has changed since -> replace it
#  5  anything else -> another program's object: use another key


class Loss(Enum):
    """What the loss of an upload leads to; the numbers are those of the table above."""

    LOST = 1
    COMPARE = 2
    COMPLETED = 3
    OUTDATED = 4
    STRANGERS = 5


def after_loss(record: Checkpoint, stored: StoredObject | None, *, is_the_file: bool | None, size: int) -> Loss:
    """``stored``: the object at the stream's key. ``is_the_file``: whether it equals the file, None: not compared.
    ``size``: the last known size of the file."""
    if stored is None or stored.etag == record.replaces:
        return Loss.LOST
    if is_the_file is None:
        return Loss.COMPARE
    if is_the_file:
        return Loss.COMPLETED
    if whose.is_ours(stored, record.stream_id, record.identity, size):
        return Loss.OUTDATED
    return Loss.STRANGERS
