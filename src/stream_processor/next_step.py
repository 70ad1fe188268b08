"""What a stream does next, decided from facts: when it is taken up, from then on, after a refusal, after a loss.

Pure. The facts come in, one numbered case goes out; ``StreamProcessor`` acts on it, and comes back with the facts as
they are then. What is dear to know (who writes, whether the structure of the file proves its end) is not gathered
beforehand: a case says that it is to be asked, and the answer is a fact of the next decision.
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

# When a stream is taken up. A record is what an earlier process believed: each case but the first two asks the store.
#
#  1  a stream of the same file that began later is done -> leave the file to it. Redis has lost that this one ended;
#     the file holds the later recording by now.
#  2  the parts of a file that was gone were being made an object -> finish that. Before 4, which would take what had
#     been sent of the file for the whole of it.
#  3  the object was proved -> look whether it is there still, and describe it
#  4  a completion was sent and its answer is not known -> find out what it came to
#  5  there is an upload -> go on with the parts that the store lists
#  6  there is none -> say so in Redis, then look for one of an earlier loss of Redis
#
# From then on, until the object is proved. The order is the protocol: an upload before its parts, copies before what is
# sent, everything that is whole on disk before the question whether the recording has ended.
#
#  7  the object is proved -> describe it
#  8  the recording was to be completed, and was not -> say in Redis that it goes on
#  9  no upload -> begin one
# 10  it replaces an object, of which nothing was taken over yet -> copy what has not changed
# 11  the file was not looked at since something was done -> look
# 12  it is shorter than the object that is replaced -> leave that object: another recording is in the file now. Before
#     anything is sent, and never by the seal: the object would have been overwritten with it.
# 13  it is longer than any object may be -> fail, before any of it is sent
# 14  chunks may be whole on disk and not in S3 -> send them for one turn, then look again (11). Before 16: a recording
#     that came to us finished has been quiet for long, and is sent chunk by chunk all the same, in turns with others.
# 15  the file is empty -> wait for a hint, however long: an object without a byte helps nobody
# 16  it has been quiet for its time -> finish
# 17  it is quiet, but not for long enough -> ask whether its end is proved. What makes asking worth while (quiet for
#     two seconds, never seen reopened) has a memory of its own: ``Sight`` answers no without asking anybody.
# 18  its end is proved -> finish, without waiting for the rest of the quiet time
# 19  else -> wait: for a hint, for the quiet time, or for the next question
#
# A wart: 12 knows a shorter file only once the object was looked at (10), and by its size alone. A new recording that
# is longer than the old one in the same file is sent as its continuation; the seal finds all of it changed.


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
    """Whether what is to be completed is what was sent of a file that is gone."""
    return record.status is Status.PENDING_COMPLETION and record.failure == SOURCE_MISSING


def taking_up(record: Checkpoint, later: Marker | None) -> Case:
    """Cases 1 to 6. ``later``: what Redis has of a completed stream of the same file."""
    if later is not None and later.started_at > record.started_at:
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
    """What is known of a stream that was taken up. ``now`` and ``idle_at`` are of the monotonic clock.

    ``is_copied``: what the replaced object has was taken over into this upload. ``replaced_size``: bytes of that
    object, 0 where there is none. ``seen``: the file at a look since the last thing that was done; None: not looked at.
    ``all_sent``: every chunk that was whole then is in S3. ``end_is_proved``: None while nobody has asked.
    """

    record: Checkpoint
    is_copied: bool
    replaced_size: int
    largest_object: int
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


# After something on the way refused. What is raised says which of the three truths was wrong: what was believed of the
# file (1, 2), of the upload (3), or of what the store takes (4 to 7).
#
#  1  the file is not as it was believed to be -> back: look at it, and go on from there. No failure, a recorder writes.
#  2  it cannot be read now -> the same step again, after a pause
#  3  the store does not know the upload -> look at the object: somebody may have completed it
#  4  the schedule has no part for the file's end -> another upload with larger parts
#  5  the store takes fewer parts than that -> another upload with fewer parts
#  6  something on the way takes no body of that size -> another upload with smaller parts
#  7  the store cannot take this part into this upload -> another upload
#  8  anything else is not this stream's to decide: a failure for good, the store's or Redis's absence, a file that is
#     gone, a bug


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
    """The way on after ``error``."""
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


# When the store does not know the upload any more (refusal 3). Completed by somebody, aborted or expired look alike;
# only the object tells.
#
#  1  nothing is at the key, or still the object that was to be replaced -> the upload is lost: another one for the same
#     key, under the same condition. Where the object to be replaced is gone, nothing is replaced any more.
#  2  an object whose bytes were not compared with the file's yet -> compare them: same size proves nothing
#  3  it is the file, whoever completed it -> proved; nothing is sent again
#  4  other bytes, but made by this stream, or from this very file and not longer than it: a completion of ours that
#     nobody heard of, and the file has changed since -> bring it up to date
#  5  anything else -> a stranger's: another key


class Loss(Enum):
    """What the loss of an upload leads to; the numbers are those of the table above."""

    LOST = 1
    COMPARE = 2
    COMPLETED = 3
    OUTDATED = 4
    STRANGERS = 5


def after_loss(record: Checkpoint, stored: StoredObject | None, *, is_the_file: bool | None, size: int) -> Loss:
    """``stored``: the object at the stream's key; ``is_the_file``: whether it was found to be, None: not compared.
    ``size``: the file's, when it was last seen."""
    if stored is None or stored.etag == record.replaces:
        return Loss.LOST
    if is_the_file is None:
        return Loss.COMPARE
    if is_the_file:
        return Loss.COMPLETED
    if whose.is_ours(stored, record.stream_id, record.identity, size):
        return Loss.OUTDATED
    return Loss.STRANGERS
